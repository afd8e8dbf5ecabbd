//! Stages as child processes: the edge of `acequia run`.
//!
//! [`Supervisor`] keeps one process for each replica of each stage. A child is told everything by files: its
//! configuration (mode 0600), the folder with the secrets, where to write its address and its last words. It holds
//! the read end of a pipe whose write end only this process has, so it ends when this process does, even by
//! `kill -9`; what is left over all the same (a frozen child) the next run ends, after checking that it is really it.

mod child;
mod error;
mod files;
mod keeper;
mod leftovers;
mod settings;
mod supervisor;

pub use error::Error;
pub use settings::{Backoff, Settings, worker_beside_this};
pub use supervisor::Supervisor;

#[cfg(test)]
mod tests;
