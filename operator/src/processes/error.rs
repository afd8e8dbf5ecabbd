//! Why the processes of stages can't be kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the processes of stages can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder of the state can't be made, read or written.
    #[error("{path}: {what}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// Another `acequia run` works with this state folder.
    #[error("{path} is in use by another `acequia run`; stop that one, or choose another state folder")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// There is no worker binary where it should be.
    #[error(
        "no worker at {path}; build it (`cargo build -p acequia-workers`), or say where it is with --worker"
    )]
    NoWorker {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The worker can't be started.
    #[error("{worker} can't be started: {source}")]
    Spawn {
        /// The binary.
        worker: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP client that asks the workers can't be made.
    #[error("no HTTP client: {reason}")]
    Http {
        /// Why.
        reason: String,
    },
    /// The name would leave its folder.
    #[error("`{name}` can't be the name of a process")]
    Name {
        /// The name.
        name: String,
    },
    /// A worker that runs once ended without success.
    #[error("{name} failed: {exit}")]
    JobFailed {
        /// Its name.
        name: String,
        /// How it ended, and what it said.
        exit: String,
    },
    /// A worker that runs once didn't end in time and was killed.
    #[error("{name} didn't end within {} s and was killed; see {}", .deadline.as_secs(), .log.display())]
    JobTimeout {
        /// Its name.
        name: String,
        /// How long it had.
        deadline: Duration,
        /// Its log.
        log: PathBuf,
    },
}

impl Error {
    pub(super) fn file(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, what, source }
    }
}
