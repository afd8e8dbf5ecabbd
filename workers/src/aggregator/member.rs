//! A step's place in its consumer group: which partitions it has, and how far it has read each.
//!
//! Offsets live in Kafka, committed in the transactions that hold what was made of the records. So where a partition
//! goes on is asked anew each time it comes, and after each transaction that was thrown away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_kafka::Connection;
use acequia_kafka::admin::{Admin, OffsetOf};
use acequia_kafka::consumer::{
    BatchConsumer, ConsumerSettings, Fault, GroupMetadata, Position, TopicPartition, Watermarks,
};
use acequia_kafka::error::KafkaError;
use acequia_kafka::producer::{CommitAt, Producer, ProducerSettings};

use super::codec::Unreadable;
use super::health::{Condition, Health};
use crate::service::Troubles;

/// How long Kafka may take to answer a question.
const ASK_DEADLINE: Duration = Duration::from_secs(10);
/// Longest wait for a transaction that holds a partition's offset: a little more than transactions last.
const STABLE_DEADLINE: Duration = Duration::from_secs(15);
/// Pause before claims are tried again.
const CLAIM_PAUSE: Duration = Duration::from_millis(500);
/// When a partition that needs a person is tried again.
const BLOCKED_FOR: Duration = Duration::from_secs(20);

/// A partition that has come, and where to go on in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which one.
    pub at: TopicPartition,
    /// Identity of its topic.
    pub topic_id: String,
    /// Offset of the next record.
    pub offset: i64,
    /// The step's note beside the offset; none where nothing was committed for this very topic.
    pub note: Option<String>,
    /// Something was committed for another topic of this name, which is gone.
    pub is_made_anew: bool,
    /// The topic has no other partition.
    pub is_only_partition: bool,
}

/// Why what a partition holds couldn't be restored.
#[derive(Debug)]
pub enum Restore {
    /// Kafka can't be read; it is tried again.
    Kafka(KafkaError),
    /// What was written there can't be; it needs a person.
    Unreadable(Unreadable),
}

/// A partition that is being read.
#[derive(Clone, Debug)]
struct Owned {
    topic_id: String,
    /// Offset of the next record to take.
    next: i64,
    /// What was committed last.
    committed: Option<i64>,
    /// The log's end when it was last asked for: fetches don't tell it of a partition that is paused.
    end: i64,
}

/// A member of a step's group, with its transactional producer. Owned by one thread.
pub struct Member {
    /// For polls, pauses and watermarks.
    pub consumer: BatchConsumer,
    /// For transactions, one at a time.
    pub producer: Arc<Producer>,
    admin: Admin,
    /// `combine` or `merge`.
    step: &'static str,
    group: String,
    health: Health,
    troubles: Troubles,
    owned: BTreeMap<TopicPartition, Owned>,
    unclaimed: Vec<TopicPartition>,
    claim_after: Instant,
    stopped: Option<String>,
    joined: bool,
}

impl Member {
    /// Joins the group and fences whoever had this transactional id.
    ///
    /// # Errors
    /// The client can't be made, or the coordinator doesn't answer.
    pub fn join(
        connection: &Connection,
        settings: &ConsumerSettings,
        producer: &ProducerSettings,
        step: &'static str,
        health: Health,
    ) -> Result<Self, KafkaError> {
        let admin = Admin::connect(connection, &format!("{} admin", settings.client_id))?;
        let producer = Producer::connect(connection, producer)?;
        // Before the group is joined: what a predecessor left open is over when its offsets are asked for.
        producer.init_transactions(STABLE_DEADLINE)?;
        Ok(Self {
            consumer: BatchConsumer::subscribe(connection, settings)?,
            producer: Arc::new(producer),
            admin,
            step,
            group: settings.group.clone(),
            health,
            troubles: Troubles::default(),
            owned: BTreeMap::new(),
            unclaimed: Vec::new(),
            claim_after: Instant::now(),
            stopped: None,
            joined: false,
        })
    }

    /// The group has given partitions, perhaps none; they are claimed by [`Self::claims`].
    pub fn given(&mut self, partitions: Vec<TopicPartition>) -> Result<(), KafkaError> {
        self.joined = true;
        self.troubles.kafka_works();
        self.unclaimed.extend(partitions);
        // The group must not wait for state to be restored.
        self.consumer.assign(&[])
    }

    /// Lets partitions go: they were taken or lost.
    pub fn let_go(&mut self, partitions: &[TopicPartition]) -> Result<(), KafkaError> {
        self.owned.retain(|at, _| !partitions.contains(at));
        self.unclaimed.retain(|at| !partitions.contains(at));
        self.consumer.unassign(partitions)
    }

    /// Says that the group went on without this member.
    pub fn lost(&mut self) {
        self.joined = false;
        let error =
            "this worker's partitions went to others, or Kafka can't be reached; it joins its group again";
        self.troubles.kafka_failed(error.to_owned(), Instant::now());
    }

    /// A transaction was thrown away, and with it everything in hand: all partitions are claimed again.
    pub fn thrown_away(&mut self, why: &KafkaError) -> Result<(), KafkaError> {
        tracing::warn!(error = %why, step = self.step, "a transaction was thrown away: going on from what is committed");
        // Forgotten when the partitions are claimed again; a loop of these shall be seen.
        self.troubles.kafka_failed(why.to_string(), Instant::now());
        // What fails each time mustn't be tried without a pause.
        self.claim_after = self.claim_after.max(Instant::now() + CLAIM_PAUSE);
        self.start_over()
    }

    /// Everything in hand was dropped: all partitions are claimed again.
    pub fn start_over(&mut self) -> Result<(), KafkaError> {
        let held: Vec<TopicPartition> = std::mem::take(&mut self.owned).into_keys().collect();
        self.consumer.unassign(&held)?;
        self.unclaimed.extend(held);
        Ok(())
    }

    /// Nothing moves until a person has decided; tried again after a while.
    pub fn stop(&mut self, sentence: String) -> Result<(), KafkaError> {
        tracing::error!(step = self.step, error = sentence, "stopped");
        self.stopped = Some(sentence);
        self.claim_after = Instant::now() + BLOCKED_FOR;
        self.start_over()
    }

    /// Where to go on in the partitions that have come and aren't claimed; empty while none can be.
    pub fn claims(&mut self) -> Vec<Claim> {
        let now = Instant::now();
        if self.unclaimed.is_empty() || now < self.claim_after {
            return Vec::new();
        }
        match self.find() {
            Ok(Ok(claims)) => {
                self.stopped = None;
                claims
            }
            Ok(Err(sentence)) => {
                tracing::error!(step = self.step, error = sentence, "stopped");
                self.stopped = Some(sentence);
                self.claim_after = now + BLOCKED_FOR;
                Vec::new()
            }
            Err(error) => {
                self.cannot_claim(&error);
                Vec::new()
            }
        }
    }

    fn find(&self) -> Result<Result<Vec<Claim>, String>, KafkaError> {
        let names: BTreeSet<String> = self.unclaimed.iter().map(|at| at.topic.to_string()).collect();
        let names: Vec<String> = names.into_iter().collect();
        let topics = self.admin.describe_topics(&names, ASK_DEADLINE)?;
        let committed = self.consumer.committed(&self.unclaimed, STABLE_DEADLINE)?;
        let mut claims = Vec::new();
        for at in &self.unclaimed {
            let Some(topic) = topics.get(&*at.topic) else { continue };
            let topic_id = topic.id.to_string();
            let log = self.consumer.query_watermarks(&at.topic, at.partition, ASK_DEADLINE)?;
            let known = committed.get(at).map(|committed| (committed.offset, committed.metadata.as_str()));
            let note = known.and_then(|(offset, metadata)| {
                Some((offset, metadata.strip_prefix(&topic_id)?.strip_prefix(' ')?.to_owned()))
            });
            let is_made_anew = known.is_some() && note.is_none();
            if is_made_anew {
                tracing::warn!(topic = %at.topic, "the topic was made anew: it is read from its start");
            }
            let (offset, note) = note.map_or((log.low, None), |(offset, note)| (offset, Some(note)));
            if let Some(sentence) = self.data_loss(at, offset, log) {
                return Ok(Err(sentence));
            }
            let is_only_partition = topic.partitions.len() == 1;
            claims.push(Claim { at: at.clone(), topic_id, offset, note, is_made_anew, is_only_partition });
        }
        Ok(Ok(claims))
    }

    fn data_loss(&self, at: &TopicPartition, offset: i64, log: Watermarks) -> Option<String> {
        let what = match offset {
            _ if offset < log.low => {
                format!("offsets {offset} to {} were deleted before they were read", log.low)
            }
            _ if offset > log.high => {
                format!("it was read up to offset {offset}, but the log ends at {}", log.high)
            }
            _ => return None,
        };
        Some(format!(
            "DataLoss in {}[{}]: {what}; to accept the loss reset the offset of the group {} in it, and raise the \
             topic's retention.ms so that it doesn't happen again",
            at.topic, at.partition, self.group
        ))
    }

    /// Begins to read partitions whose state is there.
    pub fn begin(&mut self, claims: &[Claim]) -> Result<(), KafkaError> {
        self.troubles.kafka_works();
        for claim in claims {
            self.unclaimed.retain(|at| *at != claim.at);
            let owned =
                Owned { topic_id: claim.topic_id.clone(), next: claim.offset, committed: None, end: 0 };
            self.owned.insert(claim.at.clone(), owned);
        }
        let position = |claim: &Claim| Position {
            topic: claim.at.topic.clone(),
            partition: claim.at.partition,
            offset: claim.offset,
        };
        self.consumer.assign(&claims.iter().map(position).collect::<Vec<_>>())
    }

    /// State couldn't be restored yet; the claims are made again in a moment.
    pub fn cannot_claim(&mut self, error: &KafkaError) {
        let (error, now) = (error.to_string(), Instant::now());
        if self.troubles.worst(now) != Some(&error) {
            tracing::warn!(error, step = self.step, "partitions can't be claimed yet");
        }
        self.troubles.kafka_failed(error, now);
        self.claim_after = now + CLAIM_PAUSE;
    }

    /// Records of a partition were taken up to, but without, this offset.
    pub fn advance(&mut self, topic: &str, partition: i32, next: i64) {
        let owned = self.owned.iter_mut().find(|(at, _)| at.partition == partition && *at.topic == *topic);
        if let Some((_, owned)) = owned {
            owned.next = owned.next.max(next);
        }
    }

    /// Whether a partition is being read here.
    pub fn owns(&self, at: &TopicPartition) -> bool {
        self.owned.contains_key(at)
    }

    /// The same, by its topic's name.
    pub fn owns_source(&self, topic: &str, partition: i32) -> bool {
        self.owned.keys().any(|at| at.partition == partition && *at.topic == *topic)
    }

    /// The partitions that are being read here.
    pub fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.owned.keys()
    }

    /// The offsets that a transaction commits, each with the step's note: those that have moved. `has_records`: it
    /// writes something; then there is always one.
    pub fn offsets(&self, has_records: bool, note: impl Fn(&TopicPartition) -> String) -> Vec<CommitAt> {
        let at = |(at, owned): (&TopicPartition, &Owned)| CommitAt {
            topic: at.topic.clone(),
            partition: at.partition,
            offset: owned.next,
            metadata: format!("{} {}", owned.topic_id, note(at)),
        };
        let moved = self.owned.iter().filter(|(_, owned)| owned.committed != Some(owned.next));
        let mut offsets: Vec<CommitAt> = moved.map(at).collect();
        // It is by its offsets that a transaction is refused from a worker that was frozen while the group went on
        // without it.
        if offsets.is_empty() && has_records {
            offsets.extend(self.owned.iter().next().map(at));
        }
        offsets
    }

    /// These offsets are committed.
    pub fn committed(&mut self, offsets: &[CommitAt]) {
        for CommitAt { topic, partition, offset, .. } in offsets {
            let at = TopicPartition { topic: topic.clone(), partition: *partition };
            if let Some(owned) = self.owned.get_mut(&at) {
                owned.committed = Some(*offset);
            }
        }
    }

    /// Who this member is in its group.
    pub fn group_metadata(&self) -> Result<GroupMetadata, KafkaError> {
        self.consumer.group_metadata()
    }

    /// Takes what a poll found wrong. A sentence for [`Self::stop`], where nothing can move: drop what is in hand first.
    ///
    /// # Errors
    /// The client can't go on.
    pub fn on_faults(&mut self, faults: Vec<Fault>) -> Result<Option<String>, KafkaError> {
        let to_mend = self.troubles.take(faults, Instant::now())?;
        Ok(to_mend.lost.last().map(|(topic, partition)| {
            format!("DataLoss in {topic}[{partition}]: the next offset isn't in the log any more")
        }))
    }

    /// Something arrived: Kafka works.
    pub fn heard(&mut self) {
        self.troubles.kafka_works();
    }

    /// Says how the step is, and how many records wait for it.
    pub fn report(&mut self) {
        let now = Instant::now();
        if self.troubles.kafka_in_doubt() {
            match self.admin.list_topics(ASK_DEADLINE / 10) {
                Ok(_) => self.troubles.kafka_answers(now),
                Err(error) => self.troubles.kafka_failed(error.to_string(), now),
            }
        }
        self.health.set_lag(self.step, self.lag());
        let condition = match (&self.stopped, self.troubles.worst(now)) {
            (Some(sentence), _) => Condition::Stopped(sentence.clone()),
            (None, Some(error)) => Condition::Waiting(error.to_owned()),
            (None, None) if self.joined && self.unclaimed.is_empty() => Condition::Running,
            (None, None) => return,
        };
        self.health.set(self.step, condition);
    }

    /// Asks for the ends of all logs, for the lag while nothing is fetched.
    pub fn look_at_ends(&mut self) {
        let partitions: Vec<_> = self.owned.keys().map(|at| (at.topic.to_string(), at.partition)).collect();
        match self.admin.offsets(&partitions, OffsetOf::LatestCommitted, ASK_DEADLINE) {
            Ok(ends) => {
                for (at, owned) in &mut self.owned {
                    let end = ends.get(&(at.topic.to_string(), at.partition));
                    owned.end = end.copied().unwrap_or(owned.end);
                }
            }
            Err(error) => {
                tracing::warn!(%error, step = self.step, "the ends of partitions can't be asked for");
            }
        }
    }

    /// Records that wait in all partitions of this member; `None` while that isn't known.
    fn lag(&self) -> Option<u64> {
        if !self.joined || !self.unclaimed.is_empty() {
            return None;
        }
        let of = |(at, owned): (&TopicPartition, &Owned)| {
            let log = self.consumer.watermarks(&at.topic, at.partition)?;
            u64::try_from(log.high.max(owned.end) - owned.next).ok().or(Some(0))
        };
        self.owned.iter().map(of).sum()
    }

    /// Partitions of topics, by name; those that don't exist are absent.
    pub fn partition_counts(&self, topics: &[String]) -> Result<BTreeMap<String, usize>, KafkaError> {
        let found = self.admin.describe_topics(topics, ASK_DEADLINE)?;
        Ok(found.into_iter().map(|(name, topic)| (name, topic.partitions.len())).collect())
    }
}
