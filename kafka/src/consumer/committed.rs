//! What a group has committed, and what a transaction needs to know of a member to commit for it.

use std::collections::BTreeMap;
use std::fmt;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;

use super::{BatchConsumer, TopicPartition};
use crate::error::{Result, code};
use crate::native::partition_list::Element;
use crate::native::{millis, text};

/// Where a group goes on reading a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The absolute offset of the next record.
    pub offset: i64,
    /// The note that was committed beside it; empty where there is none.
    pub metadata: String,
}

/// Who a member of a group is, and in which generation: what a transaction shows the group's coordinator, so that it
/// takes offsets of current members only. It grows old with the next rebalance.
pub struct GroupMetadata(NonNull<rd::rd_kafka_consumer_group_metadata_t>);

// SAFETY: plain memory without any tie to a thread, owned by this value alone.
unsafe impl Send for GroupMetadata {}
// SAFETY: shared references only read it.
unsafe impl Sync for GroupMetadata {}

impl BatchConsumer {
    /// What the group has committed for each of these partitions; those without a commit are absent.
    ///
    /// A transaction that holds offsets of one of them and isn't over yet is waited for (if
    /// [`super::ConsumerSettings::read_committed`]): its end decides where to go on. So a member that takes a
    /// partition over never starts before what a predecessor commits a moment later.
    ///
    /// # Errors
    /// [`crate::KafkaError::Timeout`] when such a transaction stays open for longer than `deadline`, or the
    /// coordinator doesn't answer.
    pub fn committed(
        &self,
        partitions: &[TopicPartition],
        deadline: Duration,
    ) -> Result<BTreeMap<TopicPartition, Committed>> {
        let call = "read committed offsets";
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut committed = BTreeMap::new();
        for (at, element) in partitions.iter().zip(self.stable_offsets(call, partitions, deadline)?) {
            if element.error != code::NONE {
                let reason = format!("the offset of {} [{}] can't be read", at.topic, at.partition);
                return Err(self.client.call(call).failed(element.error, reason));
            }
            // A negative offset stands for "nothing committed".
            if element.offset >= 0 {
                let found = Committed { offset: element.offset, metadata: element.metadata };
                committed.insert(at.clone(), found);
            }
        }
        Ok(committed)
    }

    fn stable_offsets(
        &self,
        call: &'static str,
        partitions: &[TopicPartition],
        deadline: Duration,
    ) -> Result<Vec<Element>> {
        let started = Instant::now();
        let list = self.list(call, partitions)?;
        loop {
            let left = deadline.saturating_sub(started.elapsed());
            // SAFETY: client and list are alive; nobody else uses the list. The library repeats the request by
            // itself, with pauses, while offsets are unstable or the coordinator is on the move.
            let code = unsafe { rd::rd_kafka_committed(self.client.as_ptr(), list.as_ptr(), millis(left)) };
            let timed_out = code as i32 == code::TIMED_OUT;
            if !timed_out {
                self.client.check(call, code)?;
            }
            let elements = list.elements();
            // Repeated by the library until it had to give its connection up.
            let unstable = elements.iter().any(|element| element.error == code::UNSTABLE_OFFSET_COMMIT);
            if !timed_out && !unstable {
                return Ok(elements);
            }
            if timed_out || left.is_zero() {
                let reason = "a transaction that holds offsets of these partitions is still open, or the group's \
                              coordinator doesn't answer";
                return Err(self.client.call(call).timed_out(deadline, reason));
            }
        }
    }

    /// Who this member is at present, for [`crate::producer::Producer::send_offsets`].
    ///
    /// # Errors
    /// [`crate::KafkaError::MemberGone`] while it is no member of the group: it has not joined yet, or was thrown out.
    /// Offsets that name no member would be taken from anyone, so there is nothing to show then.
    pub fn group_metadata(&self) -> Result<GroupMetadata> {
        let call = self.client.call("read the group's metadata");
        // SAFETY: the client is alive; what it returns belongs to us.
        let native = unsafe { rd::rd_kafka_consumer_group_metadata(self.client.as_ptr()) };
        let metadata = NonNull::new(native).map(GroupMetadata);
        match metadata {
            Some(metadata) if metadata.generation() >= 0 && !metadata.member().is_empty() => Ok(metadata),
            _ => Err(call.member_gone("it isn't a member at present")),
        }
    }
}

impl GroupMetadata {
    /// The group's name.
    pub fn group(&self) -> String {
        // SAFETY: valid as long as `self`, as is the text in it.
        unsafe { text::owned(rd::rd_kafka_consumer_group_metadata_group_id(self.as_ptr())) }
    }

    /// The member's name, which the coordinator gave it.
    pub fn member(&self) -> String {
        // SAFETY: as above.
        unsafe { text::owned(rd::rd_kafka_consumer_group_metadata_member_id(self.as_ptr())) }
    }

    /// The group's generation, which rises with each rebalance.
    pub fn generation(&self) -> i32 {
        // SAFETY: as above.
        unsafe { rd::rd_kafka_consumer_group_metadata_generation_id(self.as_ptr()) }
    }

    pub(crate) fn as_ptr(&self) -> *const rd::rd_kafka_consumer_group_metadata_t {
        self.0.as_ptr()
    }
}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // SAFETY: owned by this value, so freed once and used by nobody after.
        unsafe { rd::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) }
    }
}

impl fmt::Debug for GroupMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupMetadata")
            .field("group", &self.group())
            .field("member", &self.member())
            .field("generation", &self.generation())
            .finish()
    }
}
