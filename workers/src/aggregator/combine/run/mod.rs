//! The edge of step one: one thread that polls, lets the step take records, and commits transactions.

mod commit;
mod parking;
mod pending;
mod watch;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use acequia_crds::stage::AggregationWork;
use acequia_kafka::Connection;
use acequia_kafka::consumer::{PartitionRecords, Polled, Rebalance, Records, TopicPartition};
use acequia_kafka::error::KafkaError;
use acequia_kafka::log::read_partition;

use parking::Parked;
use pending::{Pending, Topics};

use super::lookups::{Follower, Rows as LookupRows};
use super::rows::Rows;
use super::step::{Combine, Held, Known};
use crate::aggregator::codec::{Reader, Write};
use crate::aggregator::health::Health;
use crate::aggregator::member::{Claim, Member, Restore};
use crate::aggregator::partial::{Mark, SourcePartition};
use crate::aggregator::transaction::CrashPoints;
use crate::clock::now_ms;
use crate::record::RecordView;
use crate::stop::Stop;

/// Records a poll may bring.
const POLL_RECORDS: usize = 20_000;
/// How long a poll waits while something is under way.
const BUSY_WAIT: Duration = Duration::from_millis(20);
/// How long it waits when nothing is.
const IDLE_WAIT: Duration = Duration::from_millis(100);
/// How often a claim of silence is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How long a changelog may take to be read.
const RESTORE_DEADLINE: Duration = Duration::from_secs(120);
const POINTS: CrashPoints = CrashPoints {
    begin: "combine begins a transaction",
    sent: "combine has sent its records",
    offsets: "combine has sent its offsets",
    committed: "combine has committed",
};

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
    /// Whether the last poll brought records.
    more_come: bool,
    /// The transaction before, while it is being committed.
    pending: Option<Pending>,
    topics: Topics,
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
        topics: Topics::new(&combiner.work, combiner.partials_partitions, combiner.rows_partitions),
        it: combiner,
        parked: BTreeMap::new(),
        open_since: None,
        records: 0,
        more_come: false,
        pending: None,
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
    fn turn(&mut self) -> Result<(), KafkaError> {
        self.settle_if_over()?;
        self.it.follower.follow(&mut self.it.lookups, Duration::ZERO);
        self.claim()?;
        let Polled { rebalance, records, ends, faults } =
            self.it.member.consumer.poll(POLL_RECORDS, self.poll_wait());
        self.more_come = !records.is_empty();
        if self.more_come {
            self.it.member.heard();
        }
        self.take(records)?;
        self.unpark()?;
        self.note_ends(ends);
        for change in rebalance {
            self.on_rebalance(change)?;
        }
        if let Some(sentence) = self.it.member.on_faults(faults)? {
            self.drop_everything()?;
            self.it.member.stop(sentence)?;
        }
        self.note_silence();
        if self.is_due() {
            self.commit_meanwhile()?;
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
        for claim in claims.iter().filter(|claim| claim.is_made_anew) {
            // Its rows are read again, if they are still there.
            if let Err(sentence) = self.it.combine.take_back_all(&source_of(&claim.at)) {
                self.drop_everything()?;
                return self.it.member.stop(sentence);
            }
            self.open_since.get_or_insert_with(Instant::now);
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
        // Without any offset the other step has none either, and begins anew as well.
        if claim.note.is_some() || claim.is_made_anew {
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
                    self.drop_everything()?;
                    return self.it.member.stop(sentence);
                }
            }
        }
        Ok(())
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
                self.drop_everything()?;
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
