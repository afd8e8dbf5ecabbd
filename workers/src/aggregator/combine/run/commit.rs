//! Transactions: when one is due, what it holds, what becomes of it.
//!
//! One is under way at most, and the next begins when it has ended: what was taken meanwhile stands on what it wrote. So
//! when it is thrown away, what was taken meanwhile goes with it, and all partitions are claimed again. Before
//! partitions are let go, it has ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_kafka::consumer::TopicPartition;
use acequia_kafka::error::KafkaError;

use super::pending::{Pending, Transaction};
use super::{Loop, RENEW_EVERY};
use crate::aggregator::partial::Mark;
use crate::aggregator::transaction::Outcome;

/// How long the first record of a transaction waits for company.
const LINGER: Duration = Duration::from_millis(60);
/// With this many records already there is much to catch up with, and a commit costs as much as tens of thousands.
const BUSY_RECORDS: u64 = 20_000;
/// How long a transaction waits for more records then, as long as they come.
const BUSY_LINGER: Duration = Duration::from_millis(250);
/// Records after which a transaction is committed.
const MAX_RECORDS: u64 = 200_000;
/// How long a moved offset that no record moved waits for company.
const OFFSET_LINGER: Duration = Duration::from_secs(2);

impl Loop {
    pub(super) fn is_due(&self) -> bool {
        let waited =
            |since: Option<Instant>, long: Duration| since.is_some_and(|since| since.elapsed() >= long);
        self.records >= MAX_RECORDS
            || waited(self.open_since, linger(self.records, self.more_come))
            || waited(self.moved_since, OFFSET_LINGER)
            || self.news().iter().any(|mark| self.is_urgent(mark))
    }

    /// A watermark that has moved goes with the records that moved it; silence, and its end, have no records.
    fn is_urgent(&self, mark: &Mark) -> bool {
        self.told.get(&mark.source).is_none_or(|told| told.is_idle != mark.is_idle || told == mark)
    }

    /// Marks that say something new, or that are to be renewed.
    fn news(&self) -> Vec<Mark> {
        let renew = Instant::now() >= self.renew_at;
        let is_new = |mark: &Mark| self.told.get(&mark.source) != Some(mark) || (renew && mark.is_idle);
        // Another may read by now what isn't owned.
        let is_owned = |mark: &Mark| self.it.member.owns_source(&mark.source.topic, mark.source.partition);
        self.it.combine.marks().into_iter().filter(|mark| is_new(mark) && is_owned(mark)).collect()
    }

    /// Commits what is open, and waits for it.
    pub(super) fn commit(&mut self) -> Result<(), KafkaError> {
        self.settle()?;
        self.begin_commit()?;
        self.settle()
    }

    /// Begins to commit what is open, unless the transaction before is still under way: then it waits for more records,
    /// as long as there is room for them.
    pub(super) fn commit_meanwhile(&mut self) -> Result<(), KafkaError> {
        if self.pending.as_ref().is_some_and(|pending| !pending.is_over()) && self.records < MAX_RECORDS {
            return Ok(());
        }
        self.settle()?;
        self.begin_commit()?;
        if self.it.combine.waits_for_commits() { self.settle() } else { Ok(()) }
    }

    fn begin_commit(&mut self) -> Result<(), KafkaError> {
        let mut writes = self.it.combine.writes();
        writes.marks = self.news();
        let note = |at: &TopicPartition| {
            let source = self.it.combine.source(&at.topic, at.partition);
            source
                .and_then(|source| self.it.combine.max_event_ms(source))
                .map_or("-".to_owned(), |max| max.to_string())
        };
        let offsets = self.it.member.offsets(!writes.is_empty(), note);
        let records = self.records;
        (self.open_since, self.moved_since, self.records) = (None, None, 0);
        if offsets.is_empty() {
            return Ok(());
        }
        // Of the generation in which the records came. When that is over, the coordinator refuses the offsets.
        let group = match self.it.member.group_metadata() {
            Ok(group) => group,
            Err(why) => return self.throw_away(&why),
        };
        if writes.marks.iter().any(|mark| mark.is_idle) {
            self.renew_at = Instant::now() + RENEW_EVERY;
        }
        self.told.extend(writes.marks.iter().map(|mark| (mark.source.clone(), mark.clone())));
        let transaction = Transaction { writes, offsets, group, records };
        let producer = Arc::clone(&self.it.member.producer);
        self.pending = Some(Pending::begin(producer, self.topics.clone(), transaction)?);
        Ok(())
    }

    /// Takes note of the end of the transaction under way, if it has come.
    pub(super) fn settle_if_over(&mut self) -> Result<(), KafkaError> {
        if self.pending.as_ref().is_some_and(Pending::is_over) { self.settle() } else { Ok(()) }
    }

    /// Waits for the end of the transaction under way, if there is one.
    fn settle(&mut self) -> Result<(), KafkaError> {
        match self.outcome()? {
            Some(why) => self.throw_away(&why),
            None => Ok(()),
        }
    }

    /// The same; why it was thrown away, if it was.
    fn outcome(&mut self) -> Result<Option<KafkaError>, KafkaError> {
        let Some(pending) = self.pending.take() else { return Ok(None) };
        let (records, late, dead_letters) = (pending.records, pending.late, pending.dead_letters);
        let offsets = pending.offsets.clone();
        match pending.outcome()? {
            Outcome::Committed => {
                self.it.combine.commit();
                self.it.member.committed(&offsets);
                self.it.health.add_records(records);
                self.it.health.add_dead_letters(dead_letters);
                self.late += late;
                Ok(None)
            }
            Outcome::Aborted(why) => Ok(Some(why)),
        }
    }

    fn throw_away(&mut self, why: &KafkaError) -> Result<(), KafkaError> {
        self.drop_everything()?;
        self.it.member.thrown_away(why)
    }

    /// Drops what is in hand: all partitions are to be claimed again, from what is committed.
    pub(super) fn drop_everything(&mut self) -> Result<(), KafkaError> {
        // However it ends: where to go on is asked for afterwards.
        self.outcome()?;
        self.it.combine.roll_back();
        self.parked.clear();
        self.quiet_since.clear();
        self.told.clear();
        (self.open_since, self.moved_since, self.records) = (None, None, 0);
        Ok(())
    }
}

/// How long a transaction waits for more records. `more_come`: the last poll brought some.
fn linger(records: u64, more_come: bool) -> Duration {
    if records >= BUSY_RECORDS && more_come { BUSY_LINGER } else { LINGER }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_to_catch_up_with_makes_transactions_longer_and_its_end_doesnt_wait() {
        for (records, more_come, long) in [
            (1, true, LINGER),
            (BUSY_RECORDS - 1, true, LINGER),
            (BUSY_RECORDS, true, BUSY_LINGER),
            (BUSY_RECORDS, false, LINGER),
        ] {
            assert_eq!(linger(records, more_come), long, "{records} {more_come}");
        }
    }
}
