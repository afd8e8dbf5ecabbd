//! What a worker says of itself at `GET /status`; the operator reads it every few seconds.

use serde::{Deserialize, Serialize};

/// The state of one worker process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageReport {
    /// What it is doing.
    pub state: StageState,
    /// One sentence: what is wrong, where, and what to do. Never holds a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Records that wait to be read, over all partitions of this worker. Absent while unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Records (sink) or rows (generator) moved since the process began.
    pub records: u64,
    /// Records or rows per second over the last few seconds.
    pub rate: f64,
    /// Records put to the dead letters since the process began.
    pub dead_letters: u64,
    /// Hash of the configuration file it runs with.
    pub config_hash: String,
    /// Generators: the setup SQL has been run (or there is none).
    #[serde(default)]
    pub setup_done: bool,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StageState {
    /// Not yet at work.
    Starting,
    /// At work.
    Running,
    /// A server or an object it needs is missing; it goes on by itself once that is there.
    Waiting,
    /// A person has to decide (data lost, a row that a mirror cannot hold); nothing moves until then.
    Stopped,
    /// Finishing what it holds.
    Stopping,
}

/// Hash of a configuration file's text: what tells two configurations apart.
pub fn config_hash(text: &str) -> String {
    use std::fmt::Write as _;

    use sha2::{Digest, Sha256};

    Sha256::digest(text.as_bytes()).iter().take(8).fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
