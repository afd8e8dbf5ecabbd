//! The edge of step two: one thread that polls partial values, commits transactions, and hands values to the outputs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use acequia_crds::pipeline::aggregation::EmitKind;
use acequia_crds::stage::AggregationWork;
use acequia_crds::stage_report::SourceReport;
use acequia_kafka::Connection;
use acequia_kafka::consumer::{Polled, Rebalance, Records, TopicPartition};
use acequia_kafka::error::KafkaError;
use acequia_kafka::log::read_partition;
use acequia_kafka::producer::Producer;

use super::dirty::Dirty;
use super::header::LowWatermark;
use super::state::{GroupKey, Rules, State};
use crate::aggregator::codec::Unreadable;
use crate::aggregator::health::{Condition, Health};
use crate::aggregator::member::{Claim, Member};
use crate::aggregator::output::document::{Layout, document, topic_key};
use crate::aggregator::output::{Batch, OutputEvent, OutputHandle, Row};
use crate::aggregator::partial::SourcePartition;
use crate::aggregator::record::RecordPlan;
use crate::aggregator::transaction::{CrashPoints, Outcome, carry_out};
use crate::stop::Stop;

/// Records a poll may bring.
const POLL_RECORDS: usize = 20_000;
/// How long a poll waits while something is under way.
const BUSY_WAIT: Duration = Duration::from_millis(20);
/// How long it waits when nothing is.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// How long the first record of a transaction waits for company.
const LINGER: Duration = Duration::from_millis(50);
/// Records after which a transaction is committed.
const MAX_RECORDS: u64 = 50_000;
/// How long a moved offset that no record moved waits for company.
const OFFSET_LINGER: Duration = Duration::from_secs(2);
/// Rows of a batch.
const BATCH_ROWS: usize = 5_000;
/// How long a changelog may take to be read.
const RESTORE_DEADLINE: Duration = Duration::from_secs(120);
/// How often the topics are asked for new partitions.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often state that isn't needed any more is looked for while nothing comes.
const TIDY_EVERY: Duration = Duration::from_secs(30);
/// How often state and lag are told.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// Sources that a report names.
const REPORTED_SOURCES: usize = 100;

const POINTS: CrashPoints = CrashPoints {
    begin: "merge begins a transaction",
    sent: "merge has sent its records",
    offsets: "merge has sent its offsets",
    committed: "merge has committed",
};

/// Where values go.
pub struct Output {
    /// What it is, for its place in the changelog: the same as long as it is the same output.
    pub id: String,
    /// Its name in the status.
    pub name: String,
    /// How it is written.
    pub way: Way,
}

/// How an output is written.
pub enum Way {
    /// Into a topic, in the transaction of the change.
    Topic(String),
    /// Into a store, by a task of its own, after the change is committed.
    Store(OutputHandle),
}

/// Step two of one worker.
pub struct Merger {
    /// Its place in the group.
    pub member: Member,
    /// The cluster.
    pub connection: Connection,
    /// What it is told.
    pub work: AggregationWork,
    /// What the state goes by.
    pub rules: Rules,
    /// Names of groups and measures.
    pub layout: Layout,
    /// For the day of a time.
    pub plan: RecordPlan,
    /// When values are written.
    pub emit: EmitKind,
    /// Where values are written.
    pub outputs: Vec<Output>,
    /// Bytes of state of both steps.
    pub state_bytes: Arc<AtomicU64>,
    /// What the worker says of itself.
    pub health: Health,
    /// Whether to stop.
    pub stop: Stop,
}

/// A partials partition that is being read.
struct Partition {
    state: State,
    /// What each output doesn't have yet.
    dirty: Vec<Dirty>,
    /// Offset after the last record that was taken.
    next: i64,
}

/// The state of the loop.
struct Loop {
    it: Merger,
    expected: Vec<SourcePartition>,
    partitions: BTreeMap<i32, Partition>,
    open_since: Option<Instant>,
    records: u64,
    /// Since when an offset has moved that no record moved.
    moved_since: Option<Instant>,
    /// The batch on its way to each output, and the newest broker's time of a window that it closes.
    in_flight: Vec<Option<(u64, Option<i64>)>>,
    next_batch: u64,
    emit_at: Instant,
    look_at: Instant,
    tidy_at: Instant,
    report_at: Instant,
    today: i32,
}

/// Merges until a stop is asked for.
///
/// # Errors
/// The client can't go on; a restart begins anew.
pub fn merge(merger: Merger) -> Result<(), KafkaError> {
    let now = Instant::now();
    let today = merger.plan.day(now_ms());
    let mut run = Loop {
        in_flight: merger.outputs.iter().map(|_| None).collect(),
        it: merger,
        expected: Vec::new(),
        partitions: BTreeMap::new(),
        open_since: None,
        records: 0,
        moved_since: None,
        next_batch: 0,
        emit_at: now,
        look_at: now,
        tidy_at: now + TIDY_EVERY,
        report_at: now,
        today,
    };
    while !run.it.stop.is_requested() {
        run.turn()?;
    }
    run.it.health.stopping();
    run.commit(true)?;
    let Loop { it: Merger { member: Member { consumer, .. }, .. }, .. } = run;
    consumer.close(Duration::from_secs(5))
}

impl Loop {
    fn turn(&mut self) -> Result<(), KafkaError> {
        self.look_for_sources();
        self.claim()?;
        let Polled { rebalance, records, ends, faults } =
            self.it.member.consumer.poll(POLL_RECORDS, self.poll_wait());
        if !records.is_empty() {
            self.it.member.heard();
        }
        self.take(&records)?;
        for end in ends {
            if let Some(partition) = self.partitions.get_mut(&end.partition) {
                partition.next = partition.next.max(end.offset);
                self.moved_since.get_or_insert_with(Instant::now);
                self.it.member.advance(&end.topic, end.partition, end.offset);
            }
        }
        for change in rebalance {
            self.on_rebalance(change)?;
        }
        if let Some(sentence) = self.it.member.on_faults(faults)? {
            self.drop_everything();
            self.it.member.stop(sentence)?;
        }
        self.hear_outputs();
        self.turn_the_day();
        // Once a turn, so that both ways of showing values go by the same.
        let is_time = Instant::now() >= self.emit_at;
        if self.is_due(is_time) {
            self.commit(is_time)?;
        }
        self.emit(is_time);
        self.report();
        Ok(())
    }

    /// Every partition of every input must be heard of before a window is final.
    fn look_for_sources(&mut self) {
        let now = Instant::now();
        if now < self.look_at {
            return;
        }
        self.look_at = now + LOOK_EVERY;
        match self.it.member.partition_counts(&self.it.work.aggregation.from) {
            // One that isn't seen just now would let windows seem final.
            Ok(counts) if counts.len() < self.it.work.aggregation.from.len() => {
                self.look_at = now + Duration::from_secs(1);
            }
            Ok(counts) => {
                let of = |(topic, count): (String, usize)| {
                    (0..count as i32)
                        .map(move |partition| SourcePartition { topic: topic.clone(), partition })
                };
                self.expected = counts.into_iter().flat_map(of).collect();
            }
            Err(error) => {
                tracing::warn!(%error, "the input topics can't be described");
                self.look_at = now + Duration::from_secs(1);
            }
        }
    }

    fn poll_wait(&self) -> Duration {
        let dirty = || {
            self.partitions.values().any(|partition| partition.dirty.iter().any(|dirty| !dirty.is_empty()))
        };
        if self.open_since.is_some() || dirty() { BUSY_WAIT } else { IDLE_WAIT }
    }

    fn claim(&mut self) -> Result<(), KafkaError> {
        // Without them a window could seem final too early.
        if self.expected.is_empty() {
            return Ok(());
        }
        let claims = self.it.member.claims();
        let mut restored = Vec::with_capacity(claims.len());
        for claim in &claims {
            match self.restore(claim) {
                Ok(partition) => restored.push((claim.at.partition, partition)),
                Err(Restore::Kafka(error)) => {
                    self.it.member.cannot_claim(&error);
                    return Ok(());
                }
                Err(Restore::Unreadable(error)) => {
                    let at = format!("{}[{}]", self.it.work.state_topic, claim.at.partition);
                    return self.it.member.stop(format!("{at}: the changelog holds {error}"));
                }
            }
        }
        self.partitions.extend(restored);
        if claims.is_empty() { Ok(()) } else { self.it.member.begin(&claims) }
    }

    fn restore(&self, claim: &Claim) -> Result<Partition, Restore> {
        let mut state = State::default();
        if claim.note.is_some() {
            let (topic, partition) = (&self.it.work.state_topic, claim.at.partition);
            let mut wrong = None;
            read_partition(&self.it.connection, topic, partition, RESTORE_DEADLINE, |record| {
                let Some(key) = record.key else { return };
                if let Err(error) = state.restore(&self.it.rules, key, record.value) {
                    wrong = Some(error);
                }
            })
            .map_err(Restore::Kafka)?;
            if let Some(error) = wrong {
                return Err(Restore::Unreadable(error));
            }
        }
        let mut partition = Partition {
            dirty: self.it.outputs.iter().map(|_| Dirty::default()).collect(),
            state,
            next: claim.offset,
        };
        for (output, dirty) in self.it.outputs.iter().zip(&mut partition.dirty) {
            // What is in a store is known only to whoever wrote it, and writing it again changes nothing.
            let flushed = match output.way {
                Way::Store(_) => i64::MIN,
                // Whether the day turned meanwhile is known to nobody.
                Way::Topic(_) if self.it.rules.shape.is_daily() => i64::MIN,
                Way::Topic(_) => {
                    partition.state.header().flushed.get(&output.id).copied().unwrap_or(i64::MIN)
                }
            };
            // What is final went to the topic with the transaction that made it so. It isn't told twice, although open
            // windows that wait for their time keep `flushed` behind it.
            let is_told = |pane_ms: i64| flushed != i64::MIN && partition.state.is_closed(pane_ms);
            let missing = partition.state.all().filter(|(_, offset)| *offset >= flushed);
            missing
                .filter(|((pane_ms, _), _)| !is_told(*pane_ms))
                .for_each(|(key, offset)| dirty.add(key, offset));
        }
        Ok(partition)
    }

    fn take(&mut self, records: &Records) -> Result<(), KafkaError> {
        for batch in records.by_partition() {
            let Some(partition) = self.partitions.get_mut(&batch.partition()) else { continue };
            for record in batch.iter() {
                let Some(value) = record.value else { continue };
                let at = (record.offset, record.timestamp_ms().unwrap_or(0));
                let key = record.key.unwrap_or_default();
                if let Err(error) = partition.state.apply(&self.it.rules, &self.expected, at, key, value) {
                    let sentence = format!("{}[{}] {error}", batch.topic(), batch.partition());
                    self.drop_everything();
                    return self.it.member.stop(sentence);
                }
            }
            self.records += batch.len() as u64;
            self.open_since.get_or_insert_with(Instant::now);
            partition.next = batch.next_offset().unwrap_or(partition.next);
            self.it.member.advance(batch.topic(), batch.partition(), partition.next);
        }
        Ok(())
    }

    fn on_rebalance(&mut self, change: Rebalance) -> Result<(), KafkaError> {
        match change {
            Rebalance::Assigned(partitions) => {
                tracing::info!(?partitions, "merge: partitions assigned");
                self.it.member.given(partitions)
            }
            Rebalance::Revoked(partitions) => {
                tracing::info!(?partitions, "merge: partitions revoked");
                self.commit(false)?;
                self.forget(&partitions);
                self.it.member.let_go(&partitions)
            }
            Rebalance::Lost(partitions) => {
                tracing::warn!(?partitions, "merge: partitions lost");
                self.drop_everything();
                self.it.member.lost();
                self.it.member.let_go(&partitions)?;
                self.it.member.start_over()
            }
        }
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        self.partitions.retain(|partition, _| !partitions.iter().any(|at| at.partition == *partition));
    }

    /// Throws away all state: it is restored from what is committed.
    fn drop_everything(&mut self) {
        self.partitions.clear();
        (self.open_since, self.moved_since, self.records) = (None, None, 0);
    }

    fn hear_outputs(&mut self) {
        for index in 0..self.it.outputs.len() {
            let Way::Store(handle) = &self.it.outputs[index].way else { continue };
            let events: Vec<OutputEvent> = handle.events.try_iter().collect();
            let name = self.it.outputs[index].name.clone();
            for event in events {
                match event {
                    OutputEvent::Written { number } => self.written(index, number),
                    OutputEvent::Emptied => {
                        // A store that is new to a stage that is new has lost nothing.
                        if self.partitions.values().any(|partition| partition.state.group_count() > 0) {
                            tracing::warn!(
                                output = name,
                                "the store lost its values: they are written again"
                            );
                        }
                        for partition in self.partitions.values_mut() {
                            let Partition { state, dirty, .. } = partition;
                            state.all().for_each(|(key, offset)| dirty[index].add(key, offset));
                        }
                    }
                    OutputEvent::Failing { error } => {
                        self.it.health.set(&name, Condition::Waiting(format!("{name}: {error}")));
                    }
                    OutputEvent::Working => self.it.health.set(&name, Condition::Running),
                }
            }
        }
    }

    fn written(&mut self, index: usize, number: u64) {
        let Some((expected, closed_ms)) = self.in_flight[index] else { return };
        if expected != number {
            return;
        }
        self.in_flight[index] = None;
        self.partitions.values_mut().for_each(|partition| partition.dirty[index].written());
        if let Some(closed_ms) = closed_ms {
            let delay_ms = u64::try_from(now_ms() - closed_ms).unwrap_or(0);
            self.it.health.report(|report| report.visible_after_ms = Some(delay_ms));
        }
    }

    /// At midnight what counts only today changes everywhere.
    fn turn_the_day(&mut self) {
        let today = self.it.plan.day(now_ms());
        if today == self.today || !self.it.rules.shape.is_daily() {
            return;
        }
        self.today = today;
        for Partition { state, dirty, .. } in self.partitions.values_mut() {
            state.forget_days(&self.it.rules, today);
            for dirty in dirty.iter_mut() {
                state.all().for_each(|(key, offset)| dirty.add(key, offset));
            }
        }
    }

    fn is_due(&self, is_time: bool) -> bool {
        let waited = self.open_since.is_some_and(|since| since.elapsed() >= LINGER);
        let has_topic = self.it.outputs.iter().any(|output| matches!(output.way, Way::Topic(_)));
        waited
            || self.records >= MAX_RECORDS
            || Instant::now() >= self.tidy_at
            || self.moved_since.is_some_and(|since| since.elapsed() >= OFFSET_LINGER)
            || (has_topic && is_time && self.topics_are_dirty())
    }

    fn topics_are_dirty(&self) -> bool {
        let is_topic = |index: usize| matches!(self.it.outputs[index].way, Way::Topic(_));
        self.partitions.values().any(|partition| {
            let due = |key: &GroupKey| self.is_due_to_be_shown(partition, key, true);
            partition.dirty.iter().enumerate().any(|(index, dirty)| is_topic(index) && dirty.any(due))
        })
    }

    /// Whether a group's values may be written now. `is_time`: the interval of `emit` has passed.
    fn is_due_to_be_shown(&self, partition: &Partition, key: &GroupKey, is_time: bool) -> bool {
        partition.state.is_closed(key.0)
            || match self.it.emit {
                EmitKind::Every(_) => is_time,
                // Silence may publish what no record has closed.
                EmitKind::OnClose => partition.state.header().is_silent(&self.expected),
            }
    }

    /// `is_time`: the interval of `emit` has passed.
    fn commit(&mut self, is_time: bool) -> Result<(), KafkaError> {
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
    fn prepare(
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

    fn row(&self, partition: &Partition, key: &GroupKey) -> Option<Row> {
        partition.state.row(&self.it.rules, &self.expected, key, self.today)
    }

    /// Hands values to the stores that have nothing on their way.
    fn emit(&mut self, is_time: bool) {
        // The time isn't over for what can be shown only after the next commit.
        let mut waits = false;
        let mut partitions = std::mem::take(&mut self.partitions);
        for index in 0..self.it.outputs.len() {
            // What is for a topic goes with a commit.
            let is_topic = matches!(self.it.outputs[index].way, Way::Topic(_));
            if is_topic || self.in_flight[index].is_some() {
                continue;
            }
            let mut rows = Vec::new();
            for partition in partitions.values_mut() {
                // What isn't committed yet must not be shown.
                if partition.state.has_changes() {
                    waits = true;
                    continue;
                }
                let mut dirty = std::mem::take(&mut partition.dirty[index]);
                let most = BATCH_ROWS.saturating_sub(rows.len());
                let due = dirty.take(most, |key| self.is_due_to_be_shown(partition, key, is_time));
                rows.extend(due.iter().filter_map(|key| self.row(partition, key)));
                if rows.is_empty() {
                    // Groups that are gone leave nothing to write.
                    dirty.written();
                }
                partition.dirty[index] = dirty;
            }
            if !rows.is_empty() {
                self.send(index, rows);
            }
        }
        self.partitions = partitions;
        if is_time && !waits {
            let every = match self.it.emit {
                EmitKind::Every(every) => Duration::from_millis(every.as_ms()),
                EmitKind::OnClose => Duration::ZERO,
            };
            self.emit_at = Instant::now() + every;
        }
    }

    fn send(&mut self, index: usize, rows: Vec<Row>) {
        let Way::Store(handle) = &self.it.outputs[index].way else { return };
        let number = self.next_batch;
        self.next_batch += 1;
        let closed_ms = rows.iter().filter(|row| row.is_final).map(|row| row.changed_ms).max();
        // There is room, since nothing is on its way; an ended task belongs to a process that is ending.
        if handle.batches.try_send(Batch { number, rows }).is_ok() {
            self.in_flight[index] = Some((number, closed_ms));
        }
    }

    fn report(&mut self) {
        let now = Instant::now();
        if now < self.report_at {
            return;
        }
        self.report_at = now + REPORT_EVERY;
        self.it.member.report();
        let states = || self.partitions.values().map(|partition| &partition.state);
        let bytes: usize = states().map(State::size_bytes).sum();
        let all = self.it.health.set_state_bytes("merge", bytes as u64);
        self.it.state_bytes.store(all, Ordering::Relaxed);
        let open_windows = states().map(State::open_windows).max().unwrap_or(0) as u64;
        let groups = states().map(State::group_count).sum::<usize>() as u64;
        let dropped = states().map(State::dropped).sum();
        let header = states().map(State::header).next();
        let low = header.map(|header| header.low_watermark(&self.expected, self.it.rules.idle_retention_ms));
        let source = |id: &SourcePartition| {
            let state = header.and_then(|header| header.sources.get(id)).copied().unwrap_or_default();
            SourceReport {
                source: id.to_string(),
                watermark_ms: state.watermark_ms,
                idle: state.idle_since_ms.is_some(),
            }
        };
        let is_windowed = self.it.rules.window != crate::aggregator::window::Window::Global;
        let named = self.expected.iter().filter(|_| is_windowed).take(REPORTED_SOURCES);
        let sources: Vec<SourceReport> = named.map(source).collect();
        let held_back_by = header.filter(|_| is_windowed).and_then(|header| {
            let slowest = header.slowest(&self.expected)?;
            let state = header.sources.get(&slowest);
            let why = match state {
                None => "it hasn't been heard of",
                Some(state) if state.watermark_ms.is_none() => "it has had no record yet",
                Some(state) if state.idle_since_ms.is_some() => "it is idle",
                Some(_) => "its events are the oldest",
            };
            Some(format!("{slowest}: {why}"))
        });
        self.it.health.report(|report| {
            report.open_windows = open_windows;
            report.groups = groups;
            report.dropped = dropped;
            report.watermark_ms = if let Some(LowWatermark::At(low)) = low { Some(low) } else { None };
            report.sources = sources;
            report.held_back_by = held_back_by;
        });
    }
}

/// Of the changelog: its partition, key and value.
type Entry = (i32, Vec<u8>, Option<Vec<u8>>);
/// Of an output topic: the topic, key and value.
type Document = (String, Vec<u8>, Option<Vec<u8>>);

enum Restore {
    Kafka(KafkaError),
    Unreadable(Unreadable),
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
