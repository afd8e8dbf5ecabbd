//! The chunk that is being filled.

use std::time::{Duration, Instant};

use acequia_kafka::consumer::PartitionRecords;

use crate::consumer::append::Origin;
use crate::consumer::assignment::{Owned, Phase};
use crate::consumer::batch::{Chunk, Part};
use crate::consumer::step::{Halt, Step, size_bytes};
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
        let index = match self.chunk.parts.iter().position(|part| part.partition == owned.id) {
            Some(index) => index,
            None => {
                self.chunk.parts.push(Part {
                    partition: owned.id.clone(),
                    lease: *lease,
                    from: *sent,
                    to: *sent,
                    records: 0,
                    rows: step.empty_rows(),
                    rejected: Vec::new(),
                });
                self.chunk.parts.len() - 1
            }
        };
        let Some(part) = self.chunk.parts.get_mut(index) else { return Ok(()) };
        let (bytes_before, records_before) = (size_bytes(&part.rows), part.records);
        let halt = take_all(step, part, &batch, self.chunk.batches.len() as u32, *next, now_ms);
        if halt.is_ok() {
            part.to = batch.next_offset().unwrap_or(part.to).max(part.to);
        }
        self.records += part.records - records_before;
        self.chunk.size_bytes += size_bytes(&part.rows).saturating_sub(bytes_before);
        *next = (*next).max(part.to);
        owned.has_pending = true;
        self.chunk.batches.push(batch);
        self.since.get_or_insert(now);
        halt
    }

    /// The log of a partition was read up to `offset`: its part, if there is one, ends there.
    pub fn end(&mut self, owned: &mut Owned, offset: i64) {
        let Phase::Reading { next, .. } = &mut owned.phase else { return };
        *next = (*next).max(offset);
        if let Some(part) = self.chunk.parts.iter_mut().find(|part| part.partition == owned.id) {
            part.to = part.to.max(offset);
        }
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
