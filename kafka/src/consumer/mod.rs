//! A consumer that hands over whole batches per partition and lets its caller decide where each partition starts.
//!
//! [`BatchConsumer`] joins a group, but an assignment is only *announced* ([`Rebalance`]): the caller first claims
//! the partitions where it keeps its offsets, then calls [`BatchConsumer::assign`] with absolute positions. In the
//! same way a revocation is announced, the caller finishes what it has in hand, then calls
//! [`BatchConsumer::unassign`]. Until it does, the group waits, so answer within `max_poll_interval_ms`.
//!
//! The group alone doesn't keep two members from holding a partition: one that polls too late while a rebalance is on
//! its way hears of the loss only when it is back. So the claim must fence.
//!
//! Nothing is committed unless the caller says so. Who keeps offsets elsewhere commits for lag tools only; who keeps
//! them in Kafka sends them in a transaction ([`crate::producer::Producer::send_offsets`]), where the coordinator
//! fences by generation, and asks [`BatchConsumer::committed`] where to start.
//!
//! [`LogReader`] follows partitions without a group.

mod batch;
mod closing;
mod committed;
mod fault;
mod fetch;
mod log_reader;
mod position;
mod records;
mod rejoin;
mod remembered;
mod settings;
mod sorting;

pub use batch::{BatchConsumer, Polled};
pub use committed::{Committed, GroupMetadata};
pub use fault::Fault;
pub use log_reader::{LogPolled, LogReader, LogReaderSettings};
pub use position::Watermarks;
pub use records::{PartitionRecords, Record, Records};
pub use settings::ConsumerSettings;

use std::sync::Arc;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

/// A place in a partition: the offset of the next record to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// The absolute offset of the next record.
    pub offset: i64,
}

impl Position {
    /// Where the place is.
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition: self.partition }
    }
}

/// A change of what this member of the group owns. The group waits for the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// These partitions are ours from now on; none, when the group has more members than partitions or a rebalance
    /// changed nothing here. Answer with [`BatchConsumer::assign`], once, for those that could be claimed (none: an
    /// empty slice).
    Assigned(Vec<TopicPartition>),
    /// These partitions go to another member. Finish or drop what is in hand, then answer with
    /// [`BatchConsumer::unassign`] for all of them.
    Revoked(Vec<TopicPartition>),
    /// These partitions already belong to someone else (the session ended, or polls came too late). Drop what is in
    /// hand, then answer with [`BatchConsumer::unassign`] for all of them.
    Lost(Vec<TopicPartition>),
}
