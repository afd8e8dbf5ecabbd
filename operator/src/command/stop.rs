//! The end from outside: Ctrl-C or SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

use super::Error;

/// Ends at the first of them.
pub(super) fn asked_to_stop() -> Result<impl Future<Output = ()>, Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
