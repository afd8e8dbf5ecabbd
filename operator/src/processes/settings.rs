//! What the supervisor is told once.

use std::path::PathBuf;
use std::time::Duration;

use super::error::Error;

/// What the supervisor is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `acequia-worker` binary.
    pub worker: PathBuf,
    /// Folder for configurations, logs and process ids. Made private when it is made.
    pub state: PathBuf,
    /// Folder with the secrets: `<secrets>/<secret>/<key>`.
    pub secrets: PathBuf,
    /// How soon a process that ended is started again.
    pub backoff: Backoff,
    /// How long a process may take to stop before it is killed. Default: 15 s.
    pub grace: Duration,
    /// A log longer than this is put aside when its process starts, in bytes. Default: 8 MiB.
    pub log_max_bytes: u64,
}

impl Settings {
    /// The defaults, with these folders and this worker.
    pub const fn new(worker: PathBuf, state: PathBuf, secrets: PathBuf) -> Self {
        Self {
            worker,
            state,
            secrets,
            backoff: Backoff::DEFAULT,
            grace: Duration::from_secs(15),
            log_max_bytes: 8 << 20,
        }
    }
}

/// How soon a process that ended by itself is started again: each time after twice as long, up to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// A process that ran this long counts as healthy, and the next wait is the first one again.
    pub healthy_after: Duration,
}

impl Backoff {
    /// 1 s, doubled up to 30 s; healthy after 60 s.
    pub const DEFAULT: Self = Self {
        first: Duration::from_secs(1),
        max: Duration::from_secs(30),
        healthy_after: Duration::from_mins(1),
    };

    /// How many ends in a row there have been, this one included.
    pub fn failures(&self, before: u32, ran_for: Duration) -> u32 {
        if ran_for >= self.healthy_after { 1 } else { before.saturating_add(1) }
    }

    /// How long to wait after that many ends in a row.
    pub fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.first.saturating_mul(1 << doublings).min(self.max)
    }
}

/// The worker binary beside the running executable.
///
/// # Errors
/// There is none.
pub fn worker_beside_this() -> Result<PathBuf, Error> {
    let this = std::env::current_exe()
        .map_err(Error::file(&PathBuf::from("/proc/self/exe"), "find this program"))?;
    let path = this.with_file_name("acequia-worker");
    if path.is_file() { Ok(path) } else { Err(Error::NoWorker { path }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound() {
        let seconds: Vec<u64> = (1..=8).map(|failures| Backoff::DEFAULT.wait(failures).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(Backoff::DEFAULT.wait(u32::MAX), Duration::from_secs(30));
    }

    #[test]
    fn a_minute_of_health_forgets_the_failures_before() {
        let backoff = Backoff::DEFAULT;
        assert_eq!(backoff.failures(5, Duration::from_secs(59)), 6);
        assert_eq!(backoff.failures(5, Duration::from_mins(1)), 1);
    }
}
