//! The part of the source that gets partitions claimed, and tells how far they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_kafka::consumer::{Position, TopicPartition, Watermarks};
use acequia_kafka::error::KafkaError;

use super::{BLOCKED_FOR, Reader};
use crate::consumer::assignment::Phase;
use crate::consumer::batch::PartitionId;
use crate::consumer::messages::Command;

/// How long Kafka may take to answer a question about topics and partitions.
const ASK_DEADLINE: Duration = Duration::from_secs(5);
/// Pause before claims are tried again.
const CLAIM_PAUSE: Duration = Duration::from_millis(500);
/// When a partition whose leader doesn't answer is tried again.
const LEADERLESS_FOR: Duration = Duration::from_secs(5);
/// How often lag and state are told, and offsets committed.
const REPORT_EVERY: Duration = Duration::from_millis(500);

impl Reader {
    /// Asks the writer for the partitions that the group has given and the store has not.
    pub(super) fn claim_what_is_unclaimed(&mut self) {
        let now = Instant::now();
        if self.step.is_none() || now < self.claim_after {
            return;
        }
        if let Err(error) = self.identify(now).and_then(|()| self.claim(now)) {
            tracing::warn!(%error, "cannot claim partitions yet");
            self.troubles.kafka_failed(error.to_string(), now);
            self.claim_after = Instant::now() + CLAIM_PAUSE;
        }
    }

    /// Finds out which topics the partitions to claim belong to: by now one may have been deleted and made anew.
    fn identify(&mut self, now: Instant) -> Result<(), KafkaError> {
        let claimable = self.assignment.claimable(now);
        if self.unidentified.is_empty() && claimable.is_empty() {
            return Ok(());
        }
        let known = claimable.iter().map(|id| id.topic.to_string());
        let names: BTreeSet<String> =
            self.unidentified.iter().map(|at| at.topic.to_string()).chain(known).collect();
        let topics =
            self.source.admin.describe_topics(&names.into_iter().collect::<Vec<_>>(), ASK_DEADLINE)?;
        for (name, topic) in &topics {
            if self.source.topics.get(name).is_some_and(|known| known.partitions != topic.partitions.len()) {
                tracing::info!(topic = name, "the number of partitions has changed: starting anew");
                self.topics_changed = true;
            }
        }
        let ids: BTreeMap<String, Arc<str>> =
            topics.into_iter().map(|(name, topic)| (name, topic.id.to_string().into())).collect();
        for TopicPartition { topic, partition } in std::mem::take(&mut self.unidentified) {
            match ids.get(&*topic) {
                Some(topic_id) => {
                    self.assignment.add(PartitionId { topic, topic_id: topic_id.clone(), partition });
                }
                // Not seen by the broker that answered, or gone: then the group takes it away.
                None => {
                    self.unidentified.push(TopicPartition { topic, partition });
                    self.claim_after = now + CLAIM_PAUSE;
                }
            }
        }
        for PartitionId { topic, topic_id, partition } in claimable {
            if let Some(current) = ids.get(&*topic).filter(|current| **current != topic_id) {
                tracing::warn!(%topic, %current, "the topic was made anew: it is read from its start");
                self.assignment.add(PartitionId { topic, topic_id: current.clone(), partition });
            }
        }
        Ok(())
    }

    fn claim(&mut self, now: Instant) -> Result<(), KafkaError> {
        let partitions = self.assignment.claimable(now);
        if partitions.is_empty() {
            return Ok(());
        }
        let Ok(permit) = self.source.commands.clone().try_reserve_owned() else { return Ok(()) };
        self.check_membership(&partitions)?;
        let lease = self.assignment.new_lease();
        let mut claims = Vec::with_capacity(partitions.len());
        let mut logs = Vec::with_capacity(partitions.len());
        for id in partitions {
            match self.source.consumer.query_watermarks(&id.topic, id.partition, ASK_DEADLINE) {
                Ok(log) => {
                    claims.push((id, log.low));
                    logs.push(log);
                }
                // A partition without a leader must not hold up the others.
                Err(error) => {
                    self.troubles.kafka_failed(error.to_string(), now);
                    self.block(&id, LEADERLESS_FOR, error.to_string())?;
                }
            }
        }
        if claims.is_empty() {
            return Ok(());
        }
        for ((id, _), log) in claims.iter().zip(logs) {
            if let Some(owned) = self.assignment.get_mut(&id.topic, id.partition) {
                owned.phase = Phase::Claiming { lease, log };
            }
        }
        permit.send(Command::Claim { lease, partitions: claims });
        Ok(())
    }

    /// A worker that was frozen doesn't know yet that the group gave its partitions to others. Before it claims any
    /// *again* it commits where it was, which the coordinator takes from members only.
    fn check_membership(&mut self, partitions: &[PartitionId]) -> Result<(), KafkaError> {
        let known: Vec<Position> = self
            .assignment
            .iter()
            .filter(|owned| partitions.contains(&owned.id))
            .filter_map(|owned| {
                let offset = owned.flushed?;
                Some(Position { topic: owned.id.topic.clone(), partition: owned.id.partition, offset })
            })
            .collect();
        if known.is_empty() { Ok(()) } else { self.source.consumer.commit_and_wait(&known) }
    }

    pub(super) fn on_claimed(&mut self, id: &PartitionId, lease: u64, next: i64) -> Result<(), KafkaError> {
        let Some(owned) = self.assignment.get_mut(&id.topic, id.partition) else { return Ok(()) };
        let Phase::Claiming { lease: current, log } = owned.phase else { return Ok(()) };
        if current != lease || owned.id != *id {
            return Ok(());
        }
        if next < log.low || next > log.high {
            return self.block(id, BLOCKED_FOR, data_loss(id, Some((next, log))));
        }
        owned.phase = Phase::Reading { lease, next, sent: next, known_end: log.high };
        owned.flushed = Some(next);
        let start = Position { topic: id.topic.clone(), partition: id.partition, offset: next };
        self.source.consumer.assign(&[start])
    }

    /// Tells state and lag, and commits offsets for lag tools.
    pub(super) fn report(&mut self) {
        let now = Instant::now();
        if now < self.report_after {
            return;
        }
        self.report_after = now + REPORT_EVERY;
        if self.troubles.kafka_in_doubt() {
            match self.source.admin.list_topics(ASK_DEADLINE / 5) {
                // Whoever answers is reachable; a topic that is missing will be told again.
                Ok(_) => self.troubles.kafka_answers(now),
                Err(error) => self.troubles.kafka_failed(error.to_string(), now),
            }
        }
        if self.joined {
            self.source.progress.set_lag(self.lag());
        }
        self.commit();
        match (self.troubles.worst(now), self.assignment.blocked()) {
            (Some(error), _) => self.source.progress.waiting(error),
            (None, Some(error)) => self.source.progress.stopped(error),
            (None, None) if self.joined && self.unidentified.is_empty() && self.assignment.all_reading() => {
                self.source.progress.running();
            }
            (None, None) => {}
        }
    }

    /// Records that wait in all partitions of this worker; `None` while a partition isn't being read.
    fn lag(&self) -> Option<u64> {
        if !self.unidentified.is_empty() {
            return None;
        }
        self.assignment
            .iter()
            .map(|owned| {
                let Phase::Reading { known_end, .. } = owned.phase else { return None };
                // What the last fetch told may be older than what was asked when the partition was claimed.
                let fetched = self.source.consumer.watermarks(&owned.id.topic, owned.id.partition);
                let end = fetched.map_or(known_end, |log| log.high.max(known_end));
                Some(u64::try_from(end - owned.position()?).unwrap_or(0))
            })
            .sum()
    }

    pub(super) fn commit(&mut self) {
        let positions: Vec<Position> = self
            .assignment
            .iter_mut()
            .filter_map(|owned| {
                let offset = owned.position()?;
                let changed = owned.committed.replace(offset) != Some(offset);
                changed.then(|| Position {
                    topic: owned.id.topic.clone(),
                    partition: owned.id.partition,
                    offset,
                })
            })
            .collect();
        if !positions.is_empty()
            && let Err(error) = self.source.consumer.commit(&positions)
        {
            tracing::warn!(%error, "lag tools can't be told");
        }
    }
}

/// The sentence for records that were deleted before they were read.
pub(super) fn data_loss(id: &PartitionId, found: Option<(i64, Watermarks)>) -> String {
    let what = match found {
        Some((next, log)) if next > log.high => {
            format!("the store has it up to offset {next}, but the log ends at {}", log.high)
        }
        Some((next, log)) => format!("offsets {next} to {} were deleted before they were read", log.low),
        None => "the next offset isn't in the log any more".to_owned(),
    };
    format!(
        "DataLoss in {id}: {what}; to accept the loss set next_offset of its row in acequia_offsets, and raise the \
         topic's retention.ms so that it doesn't happen again"
    )
}
