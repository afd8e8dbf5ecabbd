//! The edge of step one: one thread that polls, lets the step take records, and commits transactions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use acequia_crds::stage::AggregationWork;
use acequia_kafka::Connection;
use acequia_kafka::consumer::{PartitionRecords, Polled, Position, Rebalance, Records, TopicPartition};
use acequia_kafka::error::KafkaError;
use acequia_kafka::log::read_partition;

use super::letters::dead_letter;
use super::lookups::{Follower, Rows as LookupRows};
use super::rows::Rows;
use super::step::{Combine, Held, Known, Writes};
use crate::aggregator::codec::{Reader, Unreadable, Write};
use crate::aggregator::health::{Condition, Health};
use crate::aggregator::member::{Claim, Member};
use crate::aggregator::partial::{Mark, SourcePartition, write_marks};
use crate::aggregator::transaction::{CrashPoints, Outcome, carry_out};
use crate::record::RecordView;
use crate::stop::Stop;

/// Records a poll may bring.
const POLL_RECORDS: usize = 20_000;
/// How long a poll waits while something is under way.
const BUSY_WAIT: Duration = Duration::from_millis(20);
/// How long it waits when nothing is.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// How long the first record of a transaction waits for company.
const LINGER: Duration = Duration::from_millis(60);
/// Records after which a transaction is committed.
const MAX_RECORDS: u64 = 200_000;
/// How long a moved offset that no record moved waits for company.
const OFFSET_LINGER: Duration = Duration::from_secs(2);
/// A partition without records for this long, after its end was reached, is idle.
const QUIET: Duration = Duration::from_secs(1);
/// How often a claim of silence is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How long a changelog may take to be read.
const RESTORE_DEADLINE: Duration = Duration::from_secs(120);
/// How often state and lag are told.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// Most records of one partition that may wait for a lookup before it is fetched no further.
const PARKED_BATCHES: usize = 4;

const POINTS: CrashPoints = CrashPoints {
    begin: "combine begins a transaction",
    sent: "combine has sent its records",
    offsets: "combine has sent its offsets",
    committed: "combine has committed",
};

/// A partition in which a record waits for a row that it looks up.
struct Parked {
    batches: VecDeque<PartitionRecords>,
    /// The record that waits, in the first batch.
    index: usize,
    lookup: usize,
    key: String,
    /// The end of the log behind the batches, which is told once.
    end: Option<Position>,
}

/// Step one of one worker.
pub struct Combiner {
    /// Its place in the group.
    pub member: Member,
    /// The cluster.
    pub connection: Connection,
    /// What it is told.
    pub work: AggregationWork,
    /// The step.
    pub combine: Combine,
    /// The rows of its lookups.
    pub lookups: LookupRows,
    /// What reads them.
    pub follower: Follower,
    /// Partitions of the partials topic.
    pub partials_partitions: i32,
    /// Partitions of the changelog of rows.
    pub rows_partitions: i32,
    /// Bytes of state of both steps.
    pub state_bytes: Arc<AtomicU64>,
    /// What the worker says of itself.
    pub health: Health,
    /// Whether to stop.
    pub stop: Stop,
}

/// The state of the loop.
struct Loop {
    it: Combiner,
    parked: BTreeMap<TopicPartition, Parked>,
    /// When the first record of the open transaction was taken, and how many there are.
    open_since: Option<Instant>,
    records: u64,
    moved_since: Option<Instant>,
    /// Since when partitions are at their end.
    quiet_since: BTreeMap<SourcePartition, Instant>,
    told: BTreeMap<SourcePartition, Mark>,
    renew_at: Instant,
    report_at: Instant,
    is_full: bool,
    late: u64,
}

/// Reads until a stop is asked for.
///
/// # Errors
/// The client can't go on; a restart begins anew.
pub fn read(combiner: Combiner) -> Result<(), KafkaError> {
    let now = Instant::now();
    let mut run = Loop {
        it: combiner,
        parked: BTreeMap::new(),
        open_since: None,
        records: 0,
        moved_since: None,
        quiet_since: BTreeMap::new(),
        told: BTreeMap::new(),
        renew_at: now + RENEW_EVERY,
        report_at: now,
        is_full: false,
        late: 0,
    };
    if !run.load_lookups() {
        return Ok(());
    }
    while !run.it.stop.is_requested() {
        run.turn()?;
    }
    run.it.health.stopping();
    run.commit()?;
    let Loop { it: Combiner { member: Member { consumer, .. }, .. }, .. } = run;
    consumer.close(Duration::from_secs(5))
}

impl Loop {
    /// Loads the looked-up topics to their ends; false when a stop was asked for meanwhile.
    fn load_lookups(&mut self) -> bool {
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

    fn turn(&mut self) -> Result<(), KafkaError> {
        self.it.follower.follow(&mut self.it.lookups, Duration::ZERO);
        self.claim()?;
        let Polled { rebalance, records, ends, faults } =
            self.it.member.consumer.poll(POLL_RECORDS, self.poll_wait());
        if !records.is_empty() {
            self.it.member.heard();
        }
        self.take(records)?;
        self.unpark()?;
        self.note_ends(ends);
        for change in rebalance {
            self.on_rebalance(change)?;
        }
        if let Some(sentence) = self.it.member.on_faults(faults)? {
            self.drop_everything();
            self.it.member.stop(sentence)?;
        }
        self.note_silence();
        if self.is_due() {
            self.commit()?;
        }
        self.bound_state()?;
        self.report();
        Ok(())
    }

    fn poll_wait(&self) -> Duration {
        let busy = self.open_since.is_some() || !self.parked.is_empty();
        if busy { BUSY_WAIT } else { IDLE_WAIT }
    }

    fn claim(&mut self) -> Result<(), KafkaError> {
        let claims = self.it.member.claims();
        let mut restored = Vec::with_capacity(claims.len());
        for claim in &claims {
            match self.restore(claim) {
                Ok(known) => restored.push((source_of(&claim.at), known)),
                Err(Restore::Kafka(error)) => {
                    self.it.member.cannot_claim(&error);
                    return Ok(());
                }
                Err(Restore::Unreadable(error)) => {
                    let sentence =
                        format!("{}: the changelog of its rows holds {error}", source_of(&claim.at));
                    return self.it.member.stop(sentence);
                }
            }
        }
        for (id, known) in restored {
            self.it.combine.add_source(id, known);
        }
        if claims.is_empty() {
            return Ok(());
        }
        self.it.member.begin(&claims)?;
        if self.is_full {
            let begun: Vec<TopicPartition> = claims.into_iter().map(|claim| claim.at).collect();
            self.it.member.consumer.pause(&begun)?;
        }
        Ok(())
    }

    fn restore(&self, claim: &Claim) -> Result<Known, Restore> {
        let max_event_ms = claim.note.as_deref().and_then(|note| note.parse().ok());
        let known = Known { max_event_ms, rows: None, is_only_partition: claim.is_only_partition };
        let Some(topic) = &self.it.work.rows_topic else { return Ok(known) };
        let id = source_of(&claim.at);
        let prefix = row_prefix(&id);
        let mut rows = Rows::default();
        // The state of a topic that was made anew would take back what was never added again.
        if claim.note.is_some() {
            let partition = id.partition % self.it.rows_partitions.max(1);
            let mut wrong = None;
            read_partition(&self.it.connection, topic, partition, RESTORE_DEADLINE, |record| {
                let Some(key) = record.key.and_then(|key| key.strip_prefix(prefix.as_slice())) else {
                    return;
                };
                match Reader::new(key).bytes() {
                    Ok(key) => rows.restore(key, record.value),
                    Err(error) => wrong = Some(error),
                }
            })
            .map_err(Restore::Kafka)?;
            if let Some(error) = wrong {
                return Err(Restore::Unreadable(error));
            }
        }
        Ok(Known { rows: Some(rows), ..known })
    }

    fn take(&mut self, records: Records) -> Result<(), KafkaError> {
        for batch in records.into_partitions() {
            let at = TopicPartition { topic: batch.topic().clone(), partition: batch.partition() };
            if !self.it.member.owns(&at) {
                continue;
            }
            self.quiet_since.remove(&source_of(&at));
            if let Some(parked) = self.parked.get_mut(&at) {
                parked.batches.push_back(batch);
                parked.end = None;
            } else {
                self.take_batch(&at, VecDeque::from([batch]), 0)?;
            }
        }
        Ok(())
    }

    /// Takes the records of batches of one partition, from a record of the first on, up to one that must wait.
    fn take_batch(
        &mut self,
        at: &TopicPartition,
        mut batches: VecDeque<PartitionRecords>,
        mut from: usize,
    ) -> Result<(), KafkaError> {
        let now_ms = now_ms();
        let Some(source) = self.it.combine.source(&at.topic, at.partition) else { return Ok(()) };
        self.it.combine.set_idle(source, false);
        while let Some(batch) = batches.front() {
            let mut held = None;
            for index in from..batch.len() {
                let Some(record) = batch.get(index) else { break };
                let Some(value) = record.value else { continue };
                let view = RecordView {
                    topic: record.topic,
                    partition: record.partition,
                    offset: record.offset,
                    timestamp_ms: record.timestamp_ms().unwrap_or(now_ms),
                    now_ms,
                    key: record.key,
                    value,
                };
                if let Err(why) = self.it.combine.take(source, &view, &self.it.lookups) {
                    held = Some((index, record.offset, why));
                    break;
                }
            }
            self.open_since.get_or_insert_with(Instant::now);
            match held {
                None => {
                    self.records += batch.len() as u64 - from as u64;
                    let next = batch.next_offset().unwrap_or_default();
                    self.it.member.advance(&at.topic, at.partition, next);
                    batches.pop_front();
                    from = 0;
                }
                Some((index, offset, Held::Waits { lookup, key })) => {
                    self.records += index as u64 - from as u64;
                    self.it.member.advance(&at.topic, at.partition, offset);
                    self.park(at, Parked { batches, index, lookup, key, end: None });
                    return Ok(());
                }
                Some((_, offset, Held::Stopped(sentence))) => {
                    let sentence = format!("{}[{}] offset {offset}: {sentence}", at.topic, at.partition);
                    self.drop_everything();
                    return self.it.member.stop(sentence);
                }
            }
        }
        Ok(())
    }

    fn park(&mut self, at: &TopicPartition, parked: Parked) {
        self.it.lookups.wait(parked.lookup, &parked.key, Instant::now());
        self.parked.insert(at.clone(), parked);
        self.pace(at);
    }

    /// Partitions with much that waits are fetched no further.
    fn pace(&mut self, at: &TopicPartition) {
        let much = self.parked.get(at).is_some_and(|parked| parked.batches.len() >= PARKED_BATCHES);
        if much && let Err(error) = self.it.member.consumer.pause(std::slice::from_ref(at)) {
            tracing::warn!(%error, "a partition can't be paused");
        }
    }

    /// Goes on where a row has come, or was waited for long enough.
    fn unpark(&mut self) -> Result<(), KafkaError> {
        let now = Instant::now();
        let waiting: Vec<TopicPartition> = self.parked.keys().cloned().collect();
        for at in waiting {
            let Some(parked) = self.parked.remove(&at) else { continue };
            let found = crate::aggregator::record::Lookups::row(&self.it.lookups, parked.lookup, &parked.key);
            let is_missing = matches!(found, crate::aggregator::record::Found::Missing);
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

    fn note_ends(&mut self, ends: Vec<Position>) {
        for end in ends {
            let at = TopicPartition { topic: end.topic.clone(), partition: end.partition };
            if let Some(parked) = self.parked.get_mut(&at) {
                parked.end = Some(end);
                continue;
            }
            if !self.it.member.owns(&at) {
                continue;
            }
            self.it.member.advance(&at.topic, at.partition, end.offset);
            self.moved_since.get_or_insert_with(Instant::now);
            self.quiet_since.entry(source_of(&at)).or_insert_with(Instant::now);
        }
    }

    fn note_silence(&mut self) {
        // What isn't read any more only seems silent.
        if self.is_full {
            return;
        }
        for (id, since) in &self.quiet_since {
            if since.elapsed() >= QUIET
                && let Some(source) = self.it.combine.source(&id.topic, id.partition)
            {
                self.it.combine.set_idle(source, true);
            }
        }
    }

    fn on_rebalance(&mut self, change: Rebalance) -> Result<(), KafkaError> {
        match change {
            Rebalance::Assigned(partitions) => {
                tracing::info!(?partitions, "combine: partitions assigned");
                self.it.member.given(partitions)
            }
            Rebalance::Revoked(partitions) => {
                tracing::info!(?partitions, "combine: partitions revoked");
                self.commit()?;
                self.forget(&partitions);
                self.it.member.let_go(&partitions)
            }
            Rebalance::Lost(partitions) => {
                tracing::warn!(?partitions, "combine: partitions lost");
                self.drop_everything();
                self.forget(&partitions);
                self.it.member.lost();
                self.it.member.let_go(&partitions)?;
                self.it.member.start_over()
            }
        }
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for at in partitions {
            let id = source_of(at);
            self.parked.remove(at);
            self.quiet_since.remove(&id);
            self.told.remove(&id);
            self.it.combine.remove_source(&id);
        }
    }

    /// Throws away what the open transaction holds.
    fn drop_everything(&mut self) {
        self.it.combine.roll_back();
        self.parked.clear();
        self.quiet_since.clear();
        self.told.clear();
        (self.open_since, self.moved_since, self.records) = (None, None, 0);
    }

    fn is_due(&self) -> bool {
        let waited =
            |since: Option<Instant>, long: Duration| since.is_some_and(|since| since.elapsed() >= long);
        self.records >= MAX_RECORDS
            || waited(self.open_since, LINGER)
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

    fn commit(&mut self) -> Result<(), KafkaError> {
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
                let send = |producer: &acequia_kafka::producer::Producer| self.send(producer, &writes);
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

    fn send(&self, producer: &acequia_kafka::producer::Producer, writes: &Writes) -> Result<(), KafkaError> {
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

    /// At the bound of state nothing more is read, so that the process isn't killed.
    fn bound_state(&mut self) -> Result<(), KafkaError> {
        let limit = self.it.work.state_limit_bytes;
        let is_full = self.it.state_bytes.load(Ordering::Relaxed) >= limit;
        if is_full == self.is_full {
            return Ok(());
        }
        self.is_full = is_full;
        let all: Vec<TopicPartition> = self.it.member.partitions().cloned().collect();
        if is_full {
            for at in &all {
                let source = self.it.combine.source(&at.topic, at.partition);
                if let Some(source) = source {
                    self.it.combine.set_idle(source, false);
                }
            }
            let mib = limit >> 20;
            let sentence = format!(
                "the state has reached its bound of {mib} MiB, so nothing more is read; raise `resources.memory` of \
                 the aggregation's workers, use more replicas, or keep fewer groups, windows or rows"
            );
            self.it.health.set("state", Condition::Stopped(sentence));
            self.it.member.consumer.pause(&all)
        } else {
            self.it.health.set("state", Condition::Running);
            // Kept, since an end is told once, but it may not be the end any more.
            for since in self.quiet_since.values_mut() {
                *since = Instant::now();
            }
            let waiting: BTreeSet<_> = self.parked.keys().cloned().collect();
            let resumed: Vec<_> = all.into_iter().filter(|at| !waiting.contains(at)).collect();
            self.it.member.consumer.resume(&resumed)
        }
    }

    fn report(&mut self) {
        let now = Instant::now();
        if now < self.report_at {
            return;
        }
        self.report_at = now + REPORT_EVERY;
        if self.is_full {
            self.it.member.look_at_ends();
        }
        self.it.member.report();
        let bytes = self.it.combine.size_bytes() + self.it.lookups.size_bytes();
        let all = self.it.health.set_state_bytes("combine", bytes as u64);
        self.it.state_bytes.store(all, Ordering::Relaxed);
        let (late, missed, rows) = (self.late, self.it.lookups.missed(), self.it.combine.row_count() as u64);
        self.it.health.report(|report| {
            report.late = late;
            report.lookups_missed = missed;
            report.rows = rows;
        });
    }
}

enum Restore {
    Kafka(KafkaError),
    Unreadable(Unreadable),
}

fn source_of(at: &TopicPartition) -> SourcePartition {
    SourcePartition { topic: at.topic.to_string(), partition: at.partition }
}

/// How the keys of a source's rows begin in the changelog.
fn row_prefix(source: &SourcePartition) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.bytes(source.topic.as_bytes());
    bytes.signed(source.partition.into());
    bytes
}

/// The key of a row in the changelog.
fn row_key(source: &SourcePartition, key: &[u8]) -> Vec<u8> {
    let mut bytes = row_prefix(source);
    bytes.bytes(key);
    bytes
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
