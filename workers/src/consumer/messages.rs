//! What the source thread and the writer tell each other.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::batch::{Chunk, PartitionId};
use super::step::Step;

/// What the source thread asks for. Commands are carried out in order.
#[derive(Debug)]
pub enum Command {
    /// Claim these partitions; the number is the offset to start at where nobody has been yet.
    Claim {
        /// The number of the claim.
        lease: u64,
        /// The partitions.
        partitions: Vec<(PartitionId, i64)>,
    },
    /// Write a chunk.
    Flush(Chunk),
    /// Forget these partitions, and say when everything before is done.
    Release {
        /// Comes back in the answer.
        number: u64,
        /// The partitions.
        partitions: Vec<PartitionId>,
    },
    /// Ask the source's catalogue about fields.
    LookUp {
        /// The topic whose event has them.
        topic: String,
        /// The fields.
        fields: BTreeSet<String>,
    },
}

/// What the writer answers.
#[derive(Debug)]
pub enum Event {
    /// The tables are there; from now on records are turned into rows by this step.
    Ready(Arc<Step>),
    /// A partition is claimed.
    Claimed {
        /// The partition.
        partition: PartitionId,
        /// The number of the claim.
        lease: u64,
        /// Offset to go on from.
        next_offset: i64,
    },
    /// A part is in the store.
    Flushed {
        /// The partition.
        partition: PartitionId,
        /// Offset after its last record.
        to: i64,
    },
    /// Everything before a release is done.
    Released {
        /// The number of the release.
        number: u64,
    },
    /// All claims are void.
    Lost {
        /// Why, for people.
        error: String,
    },
    /// A partition can't go on by itself; its claim is void.
    Blocked {
        /// The partition.
        partition: PartitionId,
        /// What is wrong.
        error: String,
    },
}
