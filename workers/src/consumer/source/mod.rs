//! The one thread that owns the consumer: polls, turns records into parts, and hands chunks to the writer.

mod claims;
mod pending;

use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_kafka::admin::Admin;
use acequia_kafka::consumer::{BatchConsumer, Fault, Polled, Position, Rebalance, Records, TopicPartition};
use acequia_kafka::error::KafkaError;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::assignment::{Assignment, Phase};
use super::batch::PartitionId;
use super::messages::{Command, Event};
use super::step::{Halt, Step};
use super::tables::Topics;
use crate::clock::now_ms;
use crate::service::{Progress, ToMend, Troubles};
use crate::stop::Stop;
use pending::Pending;

/// Records a poll may bring.
const POLL_RECORDS: usize = 10_000;
/// How long a poll waits when nothing else is to be done.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// How long the thread stands still for a writer that is busy, before it pauses its partitions and polls again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long partitions that are being taken away may take to be written.
const RELEASE_DEADLINE: Duration = Duration::from_secs(10);
/// When a partition that needs a person is tried again.
const BLOCKED_FOR: Duration = Duration::from_secs(20);

/// The source of one sink.
pub struct Source {
    /// The member of the group.
    pub consumer: BatchConsumer,
    /// For topic ids.
    pub admin: Admin,
    /// What was known of the topics when the worker began.
    pub topics: Topics,
    /// To the writer.
    pub commands: mpsc::Sender<Command>,
    /// From the writer.
    pub events: crossbeam_channel::Receiver<Event>,
    /// What the worker says of itself.
    pub progress: Progress,
    /// Whether to stop.
    pub stop: Stop,
}

/// The state of a source's loop.
struct Reader {
    source: Source,
    step: Option<Arc<Step>>,
    assignment: Assignment,
    /// Given by the group, topic id not known yet.
    unidentified: Vec<TopicPartition>,
    pending: Pending,
    troubles: Troubles,
    paused: bool,
    /// The release that was asked for last, and the one that was answered last.
    release_number: u64,
    released: u64,
    joined: bool,
    /// A topic has other partitions than when the worker began: it ends, and is started anew.
    topics_changed: bool,
    claim_after: Instant,
    report_after: Instant,
}

/// Reads until a stop is asked for, or until the client can't go on.
pub fn read(source: Source) -> Result<(), KafkaError> {
    let now = Instant::now();
    let mut reader = Reader {
        source,
        step: None,
        assignment: Assignment::default(),
        unidentified: Vec::new(),
        pending: Pending::default(),
        troubles: Troubles::default(),
        paused: false,
        release_number: 0,
        released: 0,
        joined: false,
        topics_changed: false,
        claim_after: now,
        report_after: now,
    };
    while !reader.source.stop.is_requested() && !reader.topics_changed {
        reader.turn()?;
    }
    reader.finish()
}

impl Reader {
    fn turn(&mut self) -> Result<(), KafkaError> {
        while let Ok(event) = self.source.events.try_recv() {
            self.on_event(event)?;
        }
        self.claim_what_is_unclaimed();
        let Polled { rebalance, records, ends, faults } = self.source.consumer.poll(POLL_RECORDS, POLL_WAIT);
        let halts = self.take(records);
        self.end(ends, &halts);
        for change in rebalance {
            self.on_rebalance(change)?;
        }
        // Only now, since both may let a partition go, which would answer a rebalance that is open.
        for (partition, halt) in halts {
            self.on_halt(&partition, halt)?;
        }
        self.on_faults(faults)?;
        self.send_what_is_due()?;
        self.report();
        Ok(())
    }

    /// Notes the partitions whose log was read to its end. In a halted one it was read, but not taken.
    fn end(&mut self, ends: Vec<Position>, halts: &[(TopicPartition, Halt)]) {
        let Some(step) = self.step.clone() else { return };
        for end in ends {
            let (offset, at) = (end.offset, at(end));
            let is_halted = halts.iter().any(|(halted, _)| *halted == at);
            if !is_halted && let Some(owned) = self.assignment.get_mut(&at.topic, at.partition) {
                self.pending.end(&step, owned, offset, Instant::now());
            }
        }
    }

    /// Turns records into rows; returns the partitions that can't go on.
    fn take(&mut self, records: Records) -> Vec<(TopicPartition, Halt)> {
        let Some(step) = self.step.clone() else { return Vec::new() };
        if !records.is_empty() {
            self.troubles.kafka_works();
        }
        let now_ms = now_ms();
        let moment = (Instant::now(), now_ms);
        let mut halts = Vec::new();
        for batch in records.into_partitions() {
            let at = TopicPartition { topic: batch.topic().clone(), partition: batch.partition() };
            let Some(owned) = self.assignment.get_mut(&at.topic, at.partition) else { continue };
            if let Err(halt) = self.pending.add(&step, owned, batch, moment) {
                halts.push((at, halt));
            }
        }
        halts
    }

    fn on_event(&mut self, event: Event) -> Result<(), KafkaError> {
        match event {
            Event::Ready(step) => {
                self.step = Some(step);
                self.troubles.store_works();
            }
            Event::Claimed { partition, lease, next_offset } => {
                self.on_claimed(&partition, lease, next_offset)?;
            }
            Event::Flushed { partition, to } => {
                if let Some(owned) = self.assignment.get_mut(&partition.topic, partition.partition) {
                    owned.flushed = Some(to);
                }
            }
            Event::Released { number } => self.released = self.released.max(number),
            Event::Lost { error } => {
                tracing::warn!(error, "claims are void");
                self.troubles.store_failed(error);
                self.step = None;
                self.void_claims()?;
            }
            Event::Blocked { partition, error } => self.block(&partition, BLOCKED_FOR, error)?,
        }
        Ok(())
    }

    fn on_rebalance(&mut self, change: Rebalance) -> Result<(), KafkaError> {
        match change {
            Rebalance::Assigned(partitions) => {
                tracing::info!(?partitions, "partitions assigned");
                self.joined = true;
                self.troubles.kafka_works();
                self.unidentified.extend(partitions);
                // The group must not wait for the store; partitions are added as they are claimed.
                self.source.consumer.assign(&[])
            }
            Rebalance::Revoked(partitions) => {
                tracing::info!(?partitions, "partitions revoked");
                self.release(&partitions)?;
                self.forget(&partitions);
                self.source.consumer.unassign(&partitions)
            }
            Rebalance::Lost(partitions) => {
                tracing::warn!(?partitions, "partitions lost");
                self.joined = false;
                self.source.progress.set_lag(None);
                let error = "this worker's partitions went to others, or Kafka can't be reached; it joins its group again";
                self.troubles.kafka_failed(error.to_owned(), Instant::now());
                self.forget(&partitions);
                self.source.consumer.unassign(&partitions)
            }
        }
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for TopicPartition { topic, partition } in partitions {
            self.pending.forget(topic, *partition);
            self.assignment.remove(topic, *partition);
        }
        self.unidentified.retain(|unidentified| !partitions.contains(unidentified));
    }

    /// Writes what was read, and waits until the writer has let go of these partitions.
    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        let deadline = Instant::now() + RELEASE_DEADLINE;
        let chunk = self.pending.take();
        let ids: Vec<PartitionId> = self
            .assignment
            .iter()
            .filter(|owned| partitions.contains(&owned.topic_partition()))
            .map(|owned| owned.id.clone())
            .collect();
        self.release_number += 1;
        let number = self.release_number;
        let mut unsent = vec![Command::Release { number, partitions: ids }];
        if !chunk.is_empty() {
            self.mark_sent(&chunk);
            unsent.push(Command::Flush(chunk));
        }
        while Instant::now() < deadline && self.released < number {
            if let Some(command) = unsent.pop()
                && let Err(TrySendError::Full(command)) = self.source.commands.try_send(command)
            {
                unsent.push(command);
            }
            if let Ok(event) = self.source.events.recv_timeout(POLL_WAIT) {
                if matches!(event, Event::Lost { .. }) {
                    unsent.clear();
                    self.released = number;
                }
                self.on_event(event)?;
            }
        }
        if unsent.iter().any(|command| matches!(command, Command::Flush(_))) {
            // Its records are gone from here: the partitions that stay go on from what the store has.
            self.void_claims()?;
        }
        Ok(())
    }

    fn void_claims(&mut self) -> Result<(), KafkaError> {
        self.pending.clear();
        self.assignment.forget_claims();
        let held: Vec<_> = self.source.consumer.assignment().into_iter().map(at).collect();
        self.paused = false;
        self.source.consumer.unassign(&held)
    }

    fn on_halt(&mut self, at: &TopicPartition, halt: Halt) -> Result<(), KafkaError> {
        let Some(id) = self.assignment.get_mut(&at.topic, at.partition).map(|owned| owned.id.clone()) else {
            return Ok(());
        };
        self.flush_now();
        match halt {
            Halt::Refused(error) => self.block(&id, BLOCKED_FOR, error),
            Halt::UnknownFields(fields) => {
                let command = Command::LookUp { topic: at.topic.to_string(), fields };
                // If the writer is too busy to hear it, the same record asks again.
                let _ = self.source.commands.try_send(command);
                self.set_aside(&id, Phase::Unclaimed)
            }
        }
    }

    fn block(&mut self, id: &PartitionId, pause: Duration, error: String) -> Result<(), KafkaError> {
        tracing::warn!(partition = %id, error, "partition stopped");
        self.set_aside(id, Phase::Blocked { until: Instant::now() + pause, error })
    }

    /// Stops reading a partition, which stays this worker's.
    fn set_aside(&mut self, id: &PartitionId, phase: Phase) -> Result<(), KafkaError> {
        self.pending.forget(&id.topic, id.partition);
        let Some(owned) = self.assignment.get_mut(&id.topic, id.partition) else { return Ok(()) };
        owned.phase = phase;
        owned.has_pending = false;
        let partition = owned.topic_partition();
        self.source.consumer.unassign(&[partition])
    }

    fn send_what_is_due(&mut self) -> Result<(), KafkaError> {
        let started = Instant::now();
        while self.pending.is_due(Instant::now()) && !self.flush_now() && self.pending.is_full() {
            if started.elapsed() > PATIENCE || self.paused {
                return self.pause();
            }
            if let Ok(event) = self.source.events.recv_timeout(POLL_WAIT) {
                self.on_event(event)?;
            }
        }
        if self.paused && !self.pending.is_full() {
            self.paused = false;
            let held: Vec<_> = self.source.consumer.assignment().into_iter().map(at).collect();
            self.source.consumer.resume(&held)?;
        }
        Ok(())
    }

    /// Hands the chunk over if the writer has room; returns whether nothing is pending any more.
    fn flush_now(&mut self) -> bool {
        if self.pending.is_empty() {
            return true;
        }
        let Ok(permit) = self.source.commands.clone().try_reserve_owned() else { return false };
        let chunk = self.pending.take();
        self.mark_sent(&chunk);
        permit.send(Command::Flush(chunk));
        true
    }

    fn mark_sent(&mut self, chunk: &super::batch::Chunk) {
        for part in &chunk.parts {
            let owned = self.assignment.get_mut(&part.partition.topic, part.partition.partition);
            if let Some(owned) = owned {
                owned.has_pending = false;
                if let Phase::Reading { sent, lease, .. } = &mut owned.phase
                    && *lease == part.lease
                {
                    *sent = part.to;
                }
            }
        }
    }

    fn pause(&mut self) -> Result<(), KafkaError> {
        if !self.paused {
            self.paused = true;
            let held: Vec<_> = self.source.consumer.assignment().into_iter().map(at).collect();
            self.source.consumer.pause(&held)?;
        }
        Ok(())
    }

    fn on_faults(&mut self, faults: Vec<Fault>) -> Result<(), KafkaError> {
        let ToMend { lost, commit_again } = self.troubles.take(faults, Instant::now())?;
        if commit_again {
            self.assignment.iter_mut().for_each(|owned| owned.committed = None);
        }
        for (topic, partition) in lost {
            let id = self.assignment.get_mut(&topic, partition).map(|owned| owned.id.clone());
            if let Some(id) = id {
                self.block(&id, BLOCKED_FOR, claims::data_loss(&id, None))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), KafkaError> {
        self.source.progress.stopping();
        let all: Vec<_> = self.assignment.iter().map(super::assignment::Owned::topic_partition).collect();
        self.release(&all)?;
        self.commit();
        self.source.consumer.close(RELEASE_DEADLINE)
    }
}

fn at(position: Position) -> TopicPartition {
    TopicPartition { topic: position.topic, partition: position.partition }
}
