//! Aggregations: records in, measures by window and group out; exactly once.
//!
//! Two steps over Kafka, so that they scale out with consumer groups. *Combine* folds each transaction of input into
//! partial values per (pane, group), keyed by group, in the partials topic. *Merge* owns the groups of its partials
//! partitions, keeps their values in a compacted changelog, and writes absolute values of committed state to the
//! outputs.

mod codec;
pub mod combine;
mod health;
pub mod measure;
mod member;
pub mod merge;
mod metrics;
pub mod output;
pub mod partial;
pub mod record;
mod run;
#[cfg(test)]
mod tests;
mod transaction;
pub mod window;

pub use run::{AggregatorError, run};
