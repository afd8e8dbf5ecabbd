//! How a worker is asked to stop: SIGTERM, SIGINT, or the end of standard input.

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells whether the process has been asked to stop. Cheap to clone and to ask.
#[derive(Clone, Debug)]
pub struct Stop {
    requested: watch::Receiver<bool>,
}

/// The side that asks.
#[derive(Debug)]
pub struct StopRequest {
    requested: watch::Sender<bool>,
}

/// A pair of both sides.
pub fn channel() -> (StopRequest, Stop) {
    let (sender, receiver) = watch::channel(false);
    (StopRequest { requested: sender }, Stop { requested: receiver })
}

impl StopRequest {
    /// Asks; asking twice is the same as once.
    pub fn send(&self) {
        self.requested.send_replace(true);
    }
}

impl Stop {
    /// Whether someone has asked.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Returns once someone has asked, or once nobody can ask any more.
    pub async fn requested(&self) {
        let mut requested = self.requested.clone();
        // An error means that the sender is gone: the process is ending.
        let _ = requested.wait_for(|asked| *asked).await;
    }

    /// Waits for that long; returns true when a stop was asked for meanwhile.
    pub async fn within(&self, pause: std::time::Duration) -> bool {
        tokio::time::timeout(pause, self.requested()).await.is_ok()
    }
}

/// Asks for a stop at SIGTERM or SIGINT and, when `with_stdin`, at the end of standard input: so the children of
/// an `acequia run` that was killed end as well.
pub async fn listen(request: StopRequest, with_stdin: bool) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stopping at SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stopping at SIGINT"),
        () = end_of_stdin(), if with_stdin => tracing::info!("stopping: whoever started this worker is gone"),
    }
    request.send();
    Ok(())
}

async fn end_of_stdin() {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0_u8; 256];
    while !matches!(stdin.read(&mut ignored).await, Ok(0) | Err(_)) {}
}
