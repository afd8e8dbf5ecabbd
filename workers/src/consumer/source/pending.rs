//! The chunk that is being filled.

use std::time::{Duration, Instant};

use acequia_kafka::consumer::PartitionRecords;

use crate::consumer::append::Origin;
use crate::consumer::assignment::{Owned, Phase};
use crate::consumer::batch::{Chunk, Part, PartitionId, Rows};
use crate::consumer::step::{Halt, Step};
use crate::record::RecordView;

/// Records after which a chunk is sent.
const MAX_RECORDS: u64 = 50_000;
/// Bytes of rows after which a chunk is sent.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// How long the first record of a chunk waits for company.
const LINGER: Duration = Duration::from_millis(25);

/// Collects records into a chunk until it is worth a transaction.
#[derive(Debug, Default)]
pub struct Pending {
    chunk: Chunk,
    records: u64,
    since: Option<Instant>,
}

impl Pending {
    /// Adds the records of one partition, up to one that halts it.
    pub fn add(
        &mut self,
        step: &Step,
        owned: &mut Owned,
        batch: PartitionRecords,
        (now, now_ms): (Instant, i64),
    ) -> Result<(), Halt> {
        let Phase::Reading { lease, next, sent, .. } = &mut owned.phase else { return Ok(()) };
        let batch_index = self.chunk.batches.len() as u32;
        let part = part_of(&mut self.chunk, step, &owned.id, *lease, *sent);
        let (bytes_before, records_before) = (part.size_bytes(), part.records);
        let halt = take_all(step, part, &batch, batch_index, *next, now_ms);
        if halt.is_ok() {
            part.to = batch.next_offset().unwrap_or(part.to).max(part.to);
        }
        self.records += part.records - records_before;
        let mut grown = part.size_bytes().saturating_sub(bytes_before);
        *next = (*next).max(part.to);
        owned.has_pending = true;
        self.since.get_or_insert(now);
        if matches!(part.rows, Rows::Append(_)) {
            // Kept for the bytes of dead letters; a few small columns of large records hold it all.
            grown = grown.max(batch.payload_bytes());
            self.chunk.batches.push(batch);
        }
        self.chunk.size_bytes += grown;
        halt
    }

    /// The log of a partition was read up to `offset`, beyond transaction markers: its part ends there. The store has
    /// to know it too, or the partition would seem to have lost records once retention has emptied the log.
    pub fn end(&mut self, step: &Step, owned: &mut Owned, offset: i64, now: Instant) {
        let Phase::Reading { lease, next, sent, .. } = &mut owned.phase else { return };
        if offset <= *next && !owned.has_pending && *next == *sent {
            return;
        }
        *next = (*next).max(offset);
        let part = part_of(&mut self.chunk, step, &owned.id, *lease, *sent);
        part.to = part.to.max(offset);
        owned.has_pending = true;
        self.since.get_or_insert(now);
    }

    /// Nothing more should be added.
    pub fn is_full(&self) -> bool {
        self.records >= MAX_RECORDS || self.chunk.size_bytes >= MAX_BYTES
    }

    /// Worth a transaction.
    pub fn is_due(&self, now: Instant) -> bool {
        self.is_full() || self.since.is_some_and(|since| now.duration_since(since) >= LINGER)
    }

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.chunk.is_empty()
    }

    /// Takes the chunk; a new one begins.
    pub fn take(&mut self) -> Chunk {
        std::mem::take(self).chunk
    }

    /// Throws away what was read of a partition.
    pub fn forget(&mut self, topic: &str, partition: i32) {
        let is_other = |part: &Part| &*part.partition.topic != topic || part.partition.partition != partition;
        self.chunk.parts.retain(is_other);
        self.records = self.chunk.records();
    }

    /// Throws everything away.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The part of a partition in the chunk; a new one begins where the one before ended.
fn part_of<'c>(chunk: &'c mut Chunk, step: &Step, id: &PartitionId, lease: u64, sent: i64) -> &'c mut Part {
    let index = chunk.parts.iter().position(|part| part.partition == *id).unwrap_or(chunk.parts.len());
    if index == chunk.parts.len() {
        chunk.parts.push(Part {
            partition: id.clone(),
            lease,
            from: sent,
            to: sent,
            records: 0,
            rows: step.empty_rows(),
            rejected: Vec::new(),
        });
    }
    &mut chunk.parts[index]
}

fn take_all(
    step: &Step,
    part: &mut Part,
    batch: &PartitionRecords,
    batch_index: u32,
    next: i64,
    now_ms: i64,
) -> Result<(), Halt> {
    for (index, record) in batch.iter().enumerate() {
        if record.offset < next {
            continue;
        }
        // A tombstone only tells compaction that the key is gone; the delete came before it.
        if let Some(value) = record.value {
            let view = RecordView {
                topic: record.topic,
                partition: record.partition,
                offset: record.offset,
                timestamp_ms: record.timestamp_ms().unwrap_or(0),
                now_ms,
                key: record.key,
                value,
            };
            step.take(
                &view,
                Origin { offset: record.offset, batch: batch_index, record: index as u32 },
                part,
            )?;
        }
        part.records += 1;
        part.to = record.offset + 1;
    }
    Ok(())
}
