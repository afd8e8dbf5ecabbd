//! Partitions in which a record waits for a row that it looks up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use acequia_kafka::consumer::{PartitionRecords, Position, TopicPartition};
use acequia_kafka::error::KafkaError;

use super::Loop;
use crate::aggregator::health::Condition;
use crate::aggregator::record::{Found, Lookups as _};

/// Most records of one partition that may wait for a lookup before it is fetched no further.
const PARKED_BATCHES: usize = 4;

/// A partition in which a record waits for a row that it looks up.
pub(super) struct Parked {
    pub batches: VecDeque<PartitionRecords>,
    /// The record that waits, in the first batch.
    pub index: usize,
    pub lookup: usize,
    pub key: String,
    /// The end of the log behind the batches, which is told once.
    pub end: Option<Position>,
}

impl Loop {
    /// Loads the looked-up topics to their ends; false when a stop was asked for meanwhile.
    pub(super) fn load_lookups(&mut self) -> bool {
        while !self.it.stop.is_requested() {
            let (loaded, faults) = self.it.follower.follow(&mut self.it.lookups, Duration::from_millis(10));
            if loaded {
                self.it.health.set("lookups", Condition::Running);
                return true;
            }
            if let Some(fault) = faults.first() {
                self.it
                    .health
                    .set("lookups", Condition::Waiting(format!("a topic to look up can't be read: {fault}")));
            }
        }
        false
    }

    pub(super) fn park(&mut self, at: &TopicPartition, parked: Parked) {
        self.it.lookups.wait(parked.lookup, &parked.key, Instant::now());
        self.parked.insert(at.clone(), parked);
        self.pace(at);
    }

    /// Partitions with much that waits are fetched no further.
    pub(super) fn pace(&mut self, at: &TopicPartition) {
        let much = self.parked.get(at).is_some_and(|parked| parked.batches.len() >= PARKED_BATCHES);
        if much && let Err(error) = self.it.member.consumer.pause(std::slice::from_ref(at)) {
            tracing::warn!(%error, "a partition can't be paused");
        }
    }

    /// Goes on where a row has come, or was waited for long enough.
    pub(super) fn unpark(&mut self) -> Result<(), KafkaError> {
        let now = Instant::now();
        let waiting: Vec<TopicPartition> = self.parked.keys().cloned().collect();
        for at in waiting {
            let Some(parked) = self.parked.remove(&at) else { continue };
            let found = self.it.lookups.row(parked.lookup, &parked.key);
            let is_missing = matches!(found, Found::Missing);
            if is_missing && !self.it.lookups.wait(parked.lookup, &parked.key, now) {
                self.parked.insert(at.clone(), parked);
                self.pace(&at);
                continue;
            }
            self.take_batch(&at, parked.batches, parked.index)?;
            self.note_ends(parked.end.into_iter().collect());
            if !self.parked.contains_key(&at) && self.it.member.owns(&at) && !self.is_full {
                self.it.member.consumer.resume(std::slice::from_ref(&at))?;
            }
        }
        Ok(())
    }
}
