//! What goes from the source thread to the writer: parts of partitions, ready to be written.

use std::sync::Arc;

use acequia_kafka::consumer::PartitionRecords;

use super::append::AppendRows;
use super::dead_letters::DeadLetter;
use super::mirror::MirrorRows;

/// A partition by its identity: a topic that was deleted and created again is another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id, in Kafka's text form.
    pub topic_id: Arc<str>,
    /// The partition's number.
    pub partition: i32,
}

impl std::fmt::Display for PartitionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// The records of one partition from `from` up to, but without, `to`.
///
/// `from` is where the part before ended, not the offset of the first record: transaction markers and compaction
/// leave gaps, and the guard must not take a gap for a loss.
#[derive(Debug)]
pub struct Part {
    /// The partition.
    pub partition: PartitionId,
    /// The claim under which it was read; a part of an older claim is thrown away.
    pub lease: u64,
    /// Offset at which the part before ended.
    pub from: i64,
    /// Offset to go on from.
    pub to: i64,
    /// Records in it, tombstones and dead letters included.
    pub records: u64,
    /// What to write.
    pub rows: Rows,
    /// What can't be written.
    pub rejected: Vec<DeadLetter>,
}

impl Part {
    /// Bytes that it holds, about.
    pub fn size_bytes(&self) -> usize {
        let rows = match &self.rows {
            Rows::Append(rows) => rows.buffer.len(),
            Rows::Mirror(rows) => rows.size_bytes(),
        };
        rows + self.rejected.iter().map(DeadLetter::size_bytes).sum::<usize>()
    }
}

/// The rows of a part, in the form that its mode writes.
#[derive(Debug)]
pub enum Rows {
    /// Rows to add.
    Append(AppendRows),
    /// Rows to put and to delete, the last change of each key.
    Mirror(MirrorRows),
}

/// What is written in one transaction.
#[derive(Debug, Default)]
pub struct Chunk {
    /// At most one part of each partition.
    pub parts: Vec<Part>,
    /// The polled batches that rows point into, kept for the bytes of dead letters.
    pub batches: Vec<PartitionRecords>,
    /// Bytes of rows in all parts, about.
    pub size_bytes: usize,
}

impl Chunk {
    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Records in all parts.
    pub fn records(&self) -> u64 {
        self.parts.iter().map(|part| part.records).sum()
    }
}
