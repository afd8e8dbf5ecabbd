//! Outputs: absolute values of committed state, each with a version, so that neither a replay nor a worker that was
//! frozen replaces a newer value.
//!
//! Each output in a store has a task of its own ([`spawn`]), so a store that is down holds up only itself. What it is
//! sent is written until it succeeds; writing the same rows again changes nothing, whatever came in between. The
//! comparison of versions is made by the store, in the call or transaction that writes.

pub mod document;
mod group;
mod key;
mod keys;
mod postgres;
mod redis;
mod table;
mod target;
mod task;
#[cfg(test)]
mod tests;

use rust_decimal::Decimal;

pub use target::Target;
pub use task::{Batch, OutputEvent, OutputHandle, spawn};

/// The order of the values of one group in one output: the greater is the newer. It follows from the log alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// When the incarnation began in this partials partition: the broker's time of its first record. An incarnation
    /// that came later has a greater one, although its offsets begin anew.
    pub birth_ms: i64,
    /// Offset of the partials record that changed the value last.
    pub offset: i64,
    /// Tells apart what the same offset yields at different times: the day, where a measure has `today`.
    pub sequence: i64,
}

/// From `start_ms` up to, but without, `end_ms`, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First millisecond.
    pub start_ms: i64,
    /// First millisecond after.
    pub end_ms: i64,
}

/// The values of one group of one window, as they are to be in an output.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The window; none: the global one.
    pub window: Option<Span>,
    /// The values of `groupBy` as a JSON array of scalars, in their order: `["Toys","c"]`. Without `groupBy`: `[]`.
    pub group: Vec<u8>,
    /// One value a measure, in their order (null: there is none, as the average of nothing). None: no record is left
    /// in the group, so it is removed from the output.
    pub measures: Option<Vec<Option<Decimal>>>,
    /// The window takes no more records.
    pub is_final: bool,
    /// How often the values have changed.
    pub revision: u64,
    /// Up to where all sources have been read, in event time; none before the first event, and for global windows.
    pub watermark_ms: Option<i64>,
    /// Which values these are.
    pub version: Version,
    /// The broker's time of the change, in milliseconds since 1970. Keys expire `ttl` after the later of this and the
    /// window's end, so a replay doesn't extend them.
    pub changed_ms: i64,
}
