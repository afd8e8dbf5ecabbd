//! The consumer role: topics into a store, each record once.
//!
//! ```text
//! source thread: poll ─► step (pure) ─► parts ─┐ bounded channel
//! writer task:   claim · flush ONE transaction: guard, rows, dead letters, offsets
//! ```
//! The consumer group says who reads a partition; the table `acequia_offsets` in the store says from where, and an
//! epoch in it says who may write. So a record is in the store exactly when its offset is, whoever dies when.

mod append;
mod assignment;
mod batch;
mod dead_letters;
mod messages;
mod mirror;
mod offsets;
mod run;
mod source;
mod step;
mod tables;
mod writer;

pub use run::{ConsumerError, run};
