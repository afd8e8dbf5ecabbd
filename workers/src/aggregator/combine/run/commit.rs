//! Transactions: when one is due, what it writes, how it ends.

use std::time::{Duration, Instant};

use acequia_kafka::consumer::TopicPartition;
use acequia_kafka::error::KafkaError;
use acequia_kafka::producer::Producer;

use super::{Loop, POINTS, RENEW_EVERY, row_prefix};
use crate::aggregator::codec::Write;
use crate::aggregator::combine::letters::dead_letter;
use crate::aggregator::combine::step::Writes;
use crate::aggregator::partial::{Mark, SourcePartition, write_marks};
use crate::aggregator::transaction::{Outcome, carry_out};

/// How long the first record of a transaction waits for company.
const LINGER: Duration = Duration::from_millis(60);
/// With this many records already there is much to catch up with, and a commit costs as much as tens of thousands.
const BUSY_RECORDS: u64 = 20_000;
/// How long a transaction waits for more records then.
const BUSY_LINGER: Duration = Duration::from_millis(250);
/// Records after which a transaction is committed.
const MAX_RECORDS: u64 = 200_000;
/// How long a moved offset that no record moved waits for company.
const OFFSET_LINGER: Duration = Duration::from_secs(2);

impl Loop {
    pub(super) fn is_due(&self) -> bool {
        let waited =
            |since: Option<Instant>, long: Duration| since.is_some_and(|since| since.elapsed() >= long);
        let linger = if self.records >= BUSY_RECORDS { BUSY_LINGER } else { LINGER };
        self.records >= MAX_RECORDS
            || waited(self.open_since, linger)
            || waited(self.moved_since, OFFSET_LINGER)
            || self.news().iter().any(|mark| self.is_urgent(mark))
    }

    /// A watermark that has moved goes with the records that moved it; silence, and its end, have no records.
    pub(super) fn is_urgent(&self, mark: &Mark) -> bool {
        self.told.get(&mark.source).is_none_or(|told| told.is_idle != mark.is_idle || told == mark)
    }

    /// Marks that say something new, or that are to be renewed.
    pub(super) fn news(&self) -> Vec<Mark> {
        let renew = Instant::now() >= self.renew_at;
        let is_new = |mark: &Mark| self.told.get(&mark.source) != Some(mark) || (renew && mark.is_idle);
        // Another may read by now what isn't owned.
        let is_owned = |mark: &Mark| self.it.member.owns_source(&mark.source.topic, mark.source.partition);
        self.it.combine.marks().into_iter().filter(|mark| is_new(mark) && is_owned(mark)).collect()
    }

    pub(super) fn commit(&mut self) -> Result<(), KafkaError> {
        let mut writes = self.it.combine.writes();
        writes.marks = self.news();
        let note = |at: &TopicPartition| {
            let source = self.it.combine.source(&at.topic, at.partition);
            source
                .and_then(|source| self.it.combine.max_event_ms(source))
                .map_or("-".to_owned(), |max| max.to_string())
        };
        let offsets = self.it.member.offsets(!writes.is_empty(), note);
        if offsets.is_empty() {
            (self.open_since, self.moved_since, self.records) = (None, None, 0);
            return Ok(());
        }
        let outcome = match self.it.member.group_metadata() {
            Ok(group) => {
                let send = |producer: &Producer| self.send(producer, &writes);
                carry_out(&self.it.member.producer, POINTS, &offsets, &group, send)?
            }
            Err(error) => Outcome::Aborted(error),
        };
        match outcome {
            Outcome::Committed => {
                self.it.combine.commit();
                self.it.member.committed(&offsets);
                self.it.health.add_records(self.records);
                self.it.health.add_dead_letters(writes.dead_letters.len() as u64);
                self.late += writes.late.len() as u64;
                if writes.marks.iter().any(|mark| mark.is_idle) {
                    self.renew_at = Instant::now() + RENEW_EVERY;
                }
                self.told.extend(writes.marks.into_iter().map(|mark| (mark.source.clone(), mark)));
                (self.open_since, self.moved_since, self.records) = (None, None, 0);
                Ok(())
            }
            Outcome::Aborted(why) => {
                self.drop_everything();
                self.it.member.thrown_away(&why)
            }
        }
    }

    pub(super) fn send(&self, producer: &Producer, writes: &Writes) -> Result<(), KafkaError> {
        let work = &self.it.work;
        for (group, value) in &writes.partials {
            producer.send(&work.partials_topic, None, Some(group), Some(value))?;
        }
        if let Some(topic) = &work.rows_topic {
            for (source, key, value) in &writes.rows {
                let partition = source.partition % self.it.rows_partitions.max(1);
                producer.send(topic, Some(partition), Some(&row_key(source, key)), value.as_deref())?;
            }
        }
        if let Some(topic) = &work.late_topic {
            for late in &writes.late {
                producer.send(topic, None, late.key.as_deref(), Some(&late.value))?;
            }
        }
        for letter in &writes.dead_letters {
            let key = letter.key.as_deref();
            producer.send(&work.dead_letter_topic, None, key, Some(&dead_letter(letter)))?;
        }
        if !writes.marks.is_empty() {
            let marks = write_marks(&writes.marks);
            for partition in 0..self.it.partials_partitions {
                producer.send(&work.partials_topic, Some(partition), None, Some(&marks))?;
            }
        }
        Ok(())
    }
}

/// The key of a row in the changelog.
pub(super) fn row_key(source: &SourcePartition, key: &[u8]) -> Vec<u8> {
    let mut bytes = row_prefix(source);
    bytes.bytes(key);
    bytes
}
