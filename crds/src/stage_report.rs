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
    /// Aggregations: how far they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<AggregationReport>,
}

/// How far an aggregation is, as one of its workers sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AggregationReport {
    /// Up to where all sources have been read, in event time, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark_ms: Option<i64>,
    /// The source partition that holds the watermark back, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back_by: Option<String>,
    /// The watermark of each source partition that is known here; at most a hundred.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceReport>,
    /// Windows that still take records.
    pub open_windows: u64,
    /// Groups of all windows that are kept.
    pub groups: u64,
    /// Rows of tables whose contributions are kept.
    pub rows: u64,
    /// Memory of all state, about.
    pub state_bytes: u64,
    /// Records that came too late, since the process began.
    pub late: u64,
    /// Values that came for windows that `idleRetention` had ended, since the process began.
    pub dropped: u64,
    /// Lookups that found no row in time, since the process began.
    pub lookups_missed: u64,
    /// From the broker's time of the record that closed the last window to when every output had it, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visible_after_ms: Option<u64>,
}

/// How far a source partition of an aggregation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceReport {
    /// `<topic>[<partition>]`.
    pub source: String,
    /// Its watermark, in milliseconds since 1970; none before its first record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark_ms: Option<i64>,
    /// It has nothing to read.
    pub idle: bool,
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
