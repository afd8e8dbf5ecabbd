//! Which partitions this worker has, and how far it has read each: pure bookkeeping.

use std::collections::BTreeMap;
use std::time::Instant;

use acequia_kafka::consumer::{TopicPartition, Watermarks};

use super::batch::PartitionId;

/// The partitions that the group has given to this worker.
#[derive(Debug, Default)]
pub struct Assignment {
    partitions: BTreeMap<(String, i32), Owned>,
    next_lease: u64,
}

/// One partition of the assignment.
#[derive(Clone, Debug)]
pub struct Owned {
    /// Its identity.
    pub id: PartitionId,
    /// What it is waiting for.
    pub phase: Phase,
    /// Offset up to which the store has it, as far as known.
    pub flushed: Option<i64>,
    /// Offset that lag tools were told last.
    pub committed: Option<i64>,
    /// Records have been read that were not yet sent to the writer.
    pub has_pending: bool,
}

impl Owned {
    /// The offset up to which everything is in the store. Beyond the last record when the log's end was read and
    /// nothing is on its way: transaction markers are no records.
    pub fn position(&self) -> Option<i64> {
        match self.phase {
            Phase::Reading { next, sent, .. } if self.flushed == Some(sent) && !self.has_pending => {
                Some(next)
            }
            _ => self.flushed,
        }
    }

    /// The same partition as Kafka names it.
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition { topic: self.id.topic.clone(), partition: self.id.partition }
    }
}

/// What a partition is waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// To be claimed in the store.
    Unclaimed,
    /// The answer to this claim.
    Claiming {
        /// The claim's number.
        lease: u64,
        /// Where the log began and ended when the claim was made.
        log: Watermarks,
    },
    /// Records.
    Reading {
        /// The claim's number.
        lease: u64,
        /// Offset of the next record to read.
        next: i64,
        /// Where the last part that was sent to the writer ended: what the store has, or will have.
        sent: i64,
        /// Where the log ended when the partition was claimed.
        known_end: i64,
    },
    /// Another try: something in it needs a person.
    Blocked {
        /// When to try again.
        until: Instant,
        /// What is wrong.
        error: String,
    },
}

impl Assignment {
    /// The group has given a partition.
    pub fn add(&mut self, id: PartitionId) {
        let name = (id.topic.to_string(), id.partition);
        let owned = Owned { id, phase: Phase::Unclaimed, flushed: None, committed: None, has_pending: false };
        self.partitions.insert(name, owned);
    }

    /// The group has taken a partition.
    pub fn remove(&mut self, topic: &str, partition: i32) -> Option<Owned> {
        self.partitions.remove(&(topic.to_owned(), partition))
    }

    /// A partition, where the worker has it.
    pub fn get_mut(&mut self, topic: &str, partition: i32) -> Option<&mut Owned> {
        self.partitions.get_mut(&(topic.to_owned(), partition))
    }

    /// All partitions.
    pub fn iter(&self) -> impl Iterator<Item = &Owned> {
        self.partitions.values()
    }

    /// All partitions, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Owned> {
        self.partitions.values_mut()
    }

    /// A number no claim has had.
    pub fn new_lease(&mut self) -> u64 {
        self.next_lease += 1;
        self.next_lease
    }

    /// Claims are void: every partition that was being read must be claimed again.
    pub fn forget_claims(&mut self) {
        for owned in self.partitions.values_mut() {
            if !matches!(owned.phase, Phase::Blocked { .. }) {
                owned.phase = Phase::Unclaimed;
            }
            owned.has_pending = false;
        }
    }

    /// Partitions to claim now: the unclaimed, and the blocked whose time has come.
    pub fn claimable(&self, now: Instant) -> Vec<PartitionId> {
        self.partitions
            .values()
            .filter(|owned| match &owned.phase {
                Phase::Unclaimed => true,
                Phase::Blocked { until, .. } => *until <= now,
                Phase::Claiming { .. } | Phase::Reading { .. } => false,
            })
            .map(|owned| owned.id.clone())
            .collect()
    }

    /// What blocks partitions, if anything does.
    pub fn blocked(&self) -> Option<&str> {
        self.partitions.values().find_map(|owned| match &owned.phase {
            Phase::Blocked { error, .. } => Some(error.as_str()),
            _ => None,
        })
    }

    /// Whether every partition is being read.
    pub fn all_reading(&self) -> bool {
        self.partitions.values().all(|owned| matches!(owned.phase, Phase::Reading { .. }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(partition: i32) -> PartitionId {
        PartitionId { topic: "t".into(), topic_id: "i".into(), partition }
    }

    #[test]
    fn a_partition_is_claimed_once_it_is_given_and_again_when_claims_are_void() {
        let (mut assignment, now) = (Assignment::default(), Instant::now());
        assignment.add(id(0));
        assert_eq!(assignment.claimable(now), [id(0)]);
        let lease = assignment.new_lease();
        assignment.get_mut("t", 0).unwrap().phase = Phase::Reading { lease, next: 5, sent: 5, known_end: 9 };
        assert!(assignment.claimable(now).is_empty() && assignment.all_reading());
        assignment.forget_claims();
        assert_eq!(assignment.claimable(now), [id(0)]);
        assert!(assignment.new_lease() > lease);
    }

    #[test]
    fn a_blocked_partition_waits_for_its_time_and_holds_no_other_up() {
        let (mut assignment, now) = (Assignment::default(), Instant::now());
        assignment.add(id(0));
        assignment.add(id(1));
        let until = now + Duration::from_secs(30);
        assignment.get_mut("t", 0).unwrap().phase = Phase::Blocked { until, error: "bad".into() };
        assignment.forget_claims();
        assert_eq!(assignment.claimable(now), [id(1)]);
        assert_eq!(assignment.claimable(until), [id(0), id(1)]);
        assert_eq!(assignment.blocked(), Some("bad"));
    }
}
