//! The edge of step two: one thread that polls partial values, commits transactions, and hands values to the outputs.

mod commit;
mod show;
mod tell;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use acequia_crds::pipeline::aggregation::EmitKind;
use acequia_crds::stage::AggregationWork;
use acequia_kafka::Connection;
use acequia_kafka::consumer::{Polled, Rebalance, Records, TopicPartition};
use acequia_kafka::error::KafkaError;
use acequia_kafka::log::read_partition;

use super::dirty::Dirty;
use super::state::{Rules, State};
use crate::aggregator::health::Health;
use crate::aggregator::member::{Claim, Member, Restore};
use crate::aggregator::output::OutputHandle;
use crate::aggregator::output::document::Layout;
use crate::aggregator::partial::SourcePartition;
use crate::aggregator::record::RecordPlan;
use crate::aggregator::transaction::CrashPoints;
use crate::clock::now_ms;
use crate::stop::Stop;

/// Records a poll may bring.
const POLL_RECORDS: usize = 20_000;
/// How long a poll waits while something is under way.
const BUSY_WAIT: Duration = Duration::from_millis(20);
/// How long it waits when nothing is.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// How long a changelog may take to be read.
const RESTORE_DEADLINE: Duration = Duration::from_secs(120);
/// How often the topics are asked for new partitions.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often state that isn't needed any more is looked for while nothing comes.
const TIDY_EVERY: Duration = Duration::from_secs(30);
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
}

/// Of the changelog: its partition, key and value.
type Entry = (i32, Vec<u8>, Option<Vec<u8>>);
/// Of an output topic: the topic, key and value.
type Document = (String, Vec<u8>, Option<Vec<u8>>);
