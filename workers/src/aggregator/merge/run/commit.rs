//! Transactions: when one is due, what it writes, how it ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use acequia_kafka::error::KafkaError;
use acequia_kafka::producer::Producer;

use super::{Document, Entry, Loop, POINTS, TIDY_EVERY, Way};
use crate::aggregator::merge::state::GroupKey;
use crate::aggregator::output::document::{document, topic_key};
use crate::aggregator::transaction::{Outcome, carry_out};
use crate::clock::now_ms;

/// How long the first record of a transaction waits for company.
const LINGER: Duration = Duration::from_millis(50);
/// Records after which a transaction is committed.
const MAX_RECORDS: u64 = 50_000;
/// How long a moved offset that no record moved waits for company.
const OFFSET_LINGER: Duration = Duration::from_secs(2);

impl Loop {
    pub(super) fn is_due(&self, is_time: bool) -> bool {
        let waited = self.open_since.is_some_and(|since| since.elapsed() >= LINGER);
        let has_topic = self.it.outputs.iter().any(|output| matches!(output.way, Way::Topic(_)));
        waited
            || self.records >= MAX_RECORDS
            || Instant::now() >= self.tidy_at
            || self.moved_since.is_some_and(|since| since.elapsed() >= OFFSET_LINGER)
            || (has_topic && is_time && self.topics_are_dirty())
    }

    pub(super) fn topics_are_dirty(&self) -> bool {
        let is_topic = |index: usize| matches!(self.it.outputs[index].way, Way::Topic(_));
        self.partitions.values().any(|partition| {
            let due = |key: &GroupKey| self.is_due_to_be_shown(partition, key, true);
            partition.dirty.iter().enumerate().any(|(index, dirty)| is_topic(index) && dirty.any(due))
        })
    }

    /// `is_time`: the interval of `emit` has passed.
    pub(super) fn commit(&mut self, is_time: bool) -> Result<(), KafkaError> {
        if Instant::now() >= self.tidy_at {
            self.tidy_at = Instant::now() + TIDY_EVERY;
        }
        let mut changelog = Vec::new();
        let mut documents = Vec::new();
        for number in self.partitions.keys().copied().collect::<Vec<_>>() {
            self.prepare(number, is_time, &mut changelog, &mut documents);
        }
        let has_records = !changelog.is_empty() || !documents.is_empty();
        let offsets = self.it.member.offsets(has_records, |_| "-".to_owned());
        if offsets.is_empty() {
            (self.open_since, self.moved_since, self.records) = (None, None, 0);
            return Ok(());
        }
        let state_topic = &self.it.work.state_topic;
        let send = |producer: &Producer| {
            for (partition, key, value) in &changelog {
                producer.send(state_topic, Some(*partition), Some(key), value.as_deref())?;
            }
            for (topic, key, value) in &documents {
                producer.send(topic, None, Some(key), value.as_deref())?;
            }
            Ok(())
        };
        let outcome = match self.it.member.group_metadata() {
            Ok(group) => carry_out(&self.it.member.producer, POINTS, &offsets, &group, send)?,
            Err(error) => Outcome::Aborted(error),
        };
        match outcome {
            Outcome::Committed => {
                self.it.member.committed(&offsets);
                self.partitions.values_mut().for_each(|partition| partition.state.commit());
                (self.open_since, self.moved_since, self.records) = (None, None, 0);
                Ok(())
            }
            Outcome::Aborted(why) => {
                self.drop_everything();
                self.it.member.thrown_away(&why)
            }
        }
    }

    /// What a partition adds to the transaction. If that is thrown away, so is all that is noted here.
    pub(super) fn prepare(
        &mut self,
        number: i32,
        is_time: bool,
        changelog: &mut Vec<Entry>,
        documents: &mut Vec<Document>,
    ) {
        let Some(mut partition) = self.partitions.remove(&number) else { return };
        for (key, offset) in partition.state.changed() {
            partition.dirty.iter_mut().for_each(|dirty| dirty.add(key.clone(), offset));
        }
        for index in 0..self.it.outputs.len() {
            let Way::Topic(topic) = &self.it.outputs[index].way else { continue };
            let mut dirty = std::mem::take(&mut partition.dirty[index]);
            let due = dirty.take(usize::MAX, |key| self.is_due_to_be_shown(&partition, key, is_time));
            let rows = due.iter().filter_map(|key| self.row(&partition, key));
            documents
                .extend(rows.map(|row| (topic.clone(), topic_key(&row), document(&self.it.layout, &row))));
            dirty.written();
            partition.dirty[index] = dirty;
        }
        let flushed: BTreeMap<String, i64> = (self.it.outputs.iter().zip(&partition.dirty))
            .map(|(output, dirty)| (output.id.clone(), dirty.flushed(partition.next)))
            .collect();
        let everywhere = flushed.values().copied().min().unwrap_or(partition.next);
        partition.state.set_flushed(&flushed);
        partition.state.forget(&self.it.rules, everywhere, now_ms());
        if partition.state.has_changes() {
            let writes = partition.state.writes(&self.it.rules);
            changelog.extend(writes.into_iter().map(|(key, value)| (number, key, value)));
        }
        self.partitions.insert(number, partition);
    }

    /// Throws away all state: it is restored from what is committed.
    pub(super) fn drop_everything(&mut self) {
        self.partitions.clear();
        (self.open_since, self.moved_since, self.records) = (None, None, 0);
    }
}
