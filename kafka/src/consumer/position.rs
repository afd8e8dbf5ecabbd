//! How far each partition was read.
//!
//! librdkafka keeps a position of its own, from which it goes on after every pause, and each cooperative rebalance
//! pauses all partitions for a moment. A batch moves that position past each message in it, errors included, whose
//! offset is that of the *next* record: the record after an error would be skipped at the next rebalance. So
//! positions are counted here as well, and after an error about a partition the library is set back to ours.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;

use super::sorting::Sorted;
use super::{BatchConsumer, PartitionRecords, Position, TopicPartition};
use crate::error::Result;
use crate::native::partition_list::PartitionList;
use crate::native::{Client, millis, text};

/// While records arrive, ends are looked at this often.
const LOOK_AT_ENDS_EVERY: Duration = Duration::from_secs(1);

/// An empty fetch is answered within 500 ms. Before it, the end that the library knows may be an old one.
const FIRST_FETCH: Duration = Duration::from_secs(1);

/// A partition that is being read.
pub(super) struct Assigned {
    /// Offset of the next record to hand over, or lower.
    pub next_offset: i64,
    pub paused: bool,
    /// The end that was last reported.
    end: Option<i64>,
    /// When the reading began, until the first record came.
    waits_since: Option<Instant>,
}

impl Assigned {
    pub fn at(next_offset: i64) -> Self {
        Self { next_offset, paused: false, end: None, waits_since: Some(Instant::now()) }
    }
}

/// The ends of a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// Offset of the oldest record.
    pub low: i64,
    /// Offset after the newest record.
    pub high: i64,
}

impl BatchConsumer {
    /// Goes on reading assigned partitions elsewhere, also those that stand still because their position wasn't in
    /// the log.
    ///
    /// # Errors
    /// While a rebalance is unanswered, since this would answer it.
    pub fn seek(&mut self, to: &[Position]) -> Result<()> {
        if self.unanswered {
            return Err(self.client.call("seek").invalid("a rebalance must be answered first"));
        }
        // The library's own seek refuses a partition that stands still.
        self.unassign(&to.iter().map(Position::topic_partition).collect::<Vec<_>>())?;
        self.assign(to)
    }

    /// The partitions that are assigned, with the offset of the next record of each.
    pub fn assignment(&self) -> Vec<Position> {
        self.assigned.iter().map(|(at, assigned)| position(at, assigned.next_offset)).collect()
    }

    /// The ends of a partition's log as the last fetch told them, without asking anyone; `None` before the first.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Option<Watermarks> {
        let topic = text::c_string(self.client.call("read watermarks"), topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive and both places outlive the call.
        let code = unsafe {
            let rk = self.client.as_ptr();
            rd::rd_kafka_get_watermark_offsets(rk, topic.as_ptr(), partition, &raw mut low, &raw mut high)
        };
        // Negative is "not known".
        (code as i32 == 0 && high >= 0).then_some(Watermarks { low: low.max(0), high })
    }

    /// The ends of a partition's log, asked from its leader.
    pub fn query_watermarks(&self, topic: &str, partition: i32, deadline: Duration) -> Result<Watermarks> {
        let call = "query watermarks";
        let topic = text::c_string(self.client.call(call), topic)?;
        let mut marks = Watermarks { low: -1, high: -1 };
        // SAFETY: the client is alive and both places outlive the call.
        let code = unsafe {
            rd::rd_kafka_query_watermark_offsets(
                self.client.as_ptr(),
                topic.as_ptr(),
                partition,
                &raw mut marks.low,
                &raw mut marks.high,
                millis(deadline),
            )
        };
        self.client.check(call, code).map(|()| marks)
    }

    /// Lets through what follows the partition's position: nothing twice, and nothing that isn't assigned (any more).
    pub(super) fn accept(&mut self, batch: Sorted) -> Option<PartitionRecords> {
        let mut records = batch.records;
        let partition = TopicPartition { topic: records.topic().clone(), partition: records.partition() };
        let assigned = self.assigned.get_mut(&partition)?;
        records.drop_before(assigned.next_offset);
        assigned.next_offset = records.next_offset()?;
        assigned.waits_since = None;
        Some(records)
    }

    /// Notes that the library's position in a partition went wrong.
    pub(super) fn suspect(&mut self, topic: &Arc<str>, partition: i32) {
        let partition = TopicPartition { topic: topic.clone(), partition };
        if self.assigned.contains_key(&partition) {
            self.suspects.insert(partition);
        }
    }

    /// Sets the library back to our position in suspect partitions, unless a rebalance is open: then after it, before
    /// anything else is taken from the queue.
    pub(super) fn go_back(&mut self) -> Result<()> {
        if self.suspects.is_empty() || self.unanswered {
            return Ok(());
        }
        let suspects = std::mem::take(&mut self.suspects);
        let found = suspects.iter().filter_map(|at| Some((at, self.assigned.get(at)?)));
        let (positions, paused): (Vec<_>, Vec<_>) = found
            .map(|(at, assigned)| (position(at, assigned.next_offset), assigned.paused.then(|| at.clone())))
            .unzip();
        let went = self
            .seek(&positions)
            .and_then(|()| self.pause(&paused.into_iter().flatten().collect::<Vec<_>>()));
        if went.is_err() {
            self.suspects = suspects;
        }
        went
    }

    /// The partitions that were read to an end not reported yet. Looked at when nothing else came, and now and then.
    pub(super) fn ends(&mut self, idle: bool) -> Vec<Position> {
        if !idle && self.ends_looked_at.elapsed() < LOOK_AT_ENDS_EVERY {
            return Vec::new();
        }
        self.ends_looked_at = Instant::now();
        let assigned: Vec<_> = self.assigned.keys().cloned().collect();
        let Ok(reached) = library_positions(&self.client, assigned.iter()) else { return Vec::new() };
        let mut ends = Vec::new();
        for (at, offset) in assigned.into_iter().zip(reached) {
            let Some(Watermarks { high, .. }) = self.watermarks(&at.topic, at.partition) else { continue };
            if let Some(assigned) = self.assigned.get_mut(&at) {
                let offset = offset.max(assigned.next_offset);
                let fetched = assigned.waits_since.is_none_or(|since| since.elapsed() > FIRST_FETCH);
                if fetched && offset >= high && assigned.end != Some(offset) && !self.suspects.contains(&at) {
                    assigned.end = Some(offset);
                    ends.push(position(&at, offset));
                }
            }
        }
        ends
    }
}

/// The library's positions in the order of the partitions. They are beyond transaction markers, and negative before
/// the first record.
pub(super) fn library_positions<'a>(
    client: &Client,
    partitions: impl Iterator<Item = &'a TopicPartition>,
) -> Result<Vec<i64>> {
    let call = "read positions";
    let list = PartitionList::of(client.call(call), partitions.map(|at| (&*at.topic, at.partition, 0)))?;
    // SAFETY: client and list are alive.
    let code = unsafe { rd::rd_kafka_position(client.as_ptr(), list.as_ptr()) };
    client.check(call, code)?;
    Ok(list.elements().into_iter().map(|element| element.offset).collect())
}

pub(super) fn position(at: &TopicPartition, offset: i64) -> Position {
    Position { topic: at.topic.clone(), partition: at.partition, offset }
}
