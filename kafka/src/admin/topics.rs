//! Topics: describe, create, grow, delete.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_char;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;

use super::request::{Event, Objects, Options, array, object_error, topic_results};
use super::{Admin, PerName};
use crate::error::{Result, code};
use crate::native::{millis, text};
use crate::topic_id::TopicId;

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its identity: another one after it was deleted and created again.
    pub id: TopicId,
    /// Its partitions in the order of their numbers.
    pub partitions: Vec<Partition>,
    /// Whether it is one of Kafka's own, such as `__consumer_offsets`.
    pub internal: bool,
}

/// A partition as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 0.
    pub id: i32,
    /// The broker that leads it; `None` while none does.
    pub leader: Option<i32>,
    /// How many brokers hold it.
    pub replicas: usize,
}

/// A topic to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Number of partitions; −1 is the broker's default.
    pub partitions: i32,
    /// On how many brokers each partition is kept; −1 is the broker's default.
    pub replication_factor: i32,
    /// Configuration that differs from the broker's.
    pub config: BTreeMap<String, String>,
}

/// How often a change is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

const DESCRIBE: &str = "describe topics";
const LIST: &str = "list topics";
const CREATE: &str = "create topics";
const GROW: &str = "create partitions";
const DELETE: &str = "delete topics";

impl Admin {
    /// Topics by name; those that don't exist are absent.
    pub fn describe_topics(&self, names: &[String], deadline: Duration) -> Result<BTreeMap<String, Topic>> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let options =
            self.options(DESCRIBE, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, deadline)?;
        let owned = names.iter().map(|name| self.name(DESCRIBE, name)).collect::<Result<Vec<_>>>()?;
        let mut pointers: Vec<*const c_char> = owned.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the pointers are valid strings, copied by the call; the collection is freed right after its use.
        let event = self.ask(DESCRIBE, deadline, |queue| unsafe {
            let collection =
                rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            rd::rd_kafka_DescribeTopics(self.client.as_ptr(), collection, options.as_ptr(), queue);
            rd::rd_kafka_TopicCollection_destroy(collection);
        })?;
        let mut count = 0;
        // SAFETY: the result lives as long as the event, which outlives this function's use of it.
        let descriptions = unsafe {
            let result = rd::rd_kafka_event_DescribeTopics_result(event.as_ptr());
            array(rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count), count)
        };
        let mut topics = BTreeMap::new();
        for description in descriptions {
            // SAFETY: as above.
            match unsafe {
                (object_error(rd::rd_kafka_TopicDescription_error(*description)), name_of(*description))
            } {
                (None, name) => {
                    // SAFETY: as above.
                    topics.insert(name, unsafe { topic(*description) });
                }
                (Some((code::UNKNOWN_TOPIC_OR_PART | code::UNKNOWN_TOPIC, _)), _) => {}
                (Some((code, reason)), name) => {
                    return Err(self.call(DESCRIBE).failed(code, format!("{name}: {reason}")));
                }
            }
        }
        Ok(topics)
    }

    /// The names of all topics that this user may see.
    pub fn list_topics(&self, deadline: Duration) -> Result<BTreeSet<String>> {
        let mut metadata = ptr::null();
        // SAFETY: the client is alive; on success the metadata is ours.
        let code = unsafe {
            rd::rd_kafka_metadata(
                self.client.as_ptr(),
                1,
                ptr::null_mut(),
                &raw mut metadata,
                millis(deadline),
            )
        };
        self.look_at_reports(LIST)?;
        match code as i32 {
            code::TIMED_OUT | code::TRANSPORT => return Err(self.timed_out(LIST, deadline)),
            _ => self.client.check(LIST, code)?,
        }
        self.set_outage(None);
        // SAFETY: the call succeeded, so the metadata is valid and holds `topic_cnt` topics; freed once.
        unsafe {
            let count = usize::try_from((*metadata).topic_cnt).unwrap_or(0);
            let names = (0..count).map(|index| text::owned((*(*metadata).topics.add(index)).topic)).collect();
            rd::rd_kafka_metadata_destroy(metadata);
            Ok(names)
        }
    }

    /// Creates topics in one request, or, with `validate_only`, asks whether they could be created. Returns when the
    /// created topics can be seen and have leaders (a controller answers earlier), or at the deadline.
    pub fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
        deadline: Duration,
    ) -> Result<PerName> {
        if topics.is_empty() {
            return Ok(PerName::new());
        }
        let started = Instant::now();
        let options =
            self.options(CREATE, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS, deadline)?;
        self.wait_for_the_controller(CREATE, &options, deadline)?;
        if validate_only {
            self.validate_only(CREATE, &options)?;
        }
        let mut objects = Objects::new(rd::rd_kafka_NewTopic_destroy);
        for topic in topics {
            objects.push(self.new_topic(topic)?);
        }
        // SAFETY: client, objects and options are alive; the objects are copied.
        let event = self.ask(CREATE, deadline, |queue| unsafe {
            let (rk, count) = (self.client.as_ptr(), objects.len());
            rd::rd_kafka_CreateTopics(rk, objects.as_mut_ptr(), count, options.as_ptr(), queue);
        })?;
        let mut count = 0;
        // SAFETY: the result lives as long as the event.
        let outcome = unsafe {
            let result = rd::rd_kafka_event_CreateTopics_result(event.as_ptr());
            topic_results(array(
                rd::rd_kafka_CreateTopics_result_topics(result, &raw mut count).cast_const(),
                count,
            ))
        };
        if !validate_only {
            let led = |topic: Option<&Topic>| {
                topic.is_some_and(|t| t.partitions.iter().all(|p| p.leader.is_some()))
            };
            self.wait_until_seen(&outcome, deadline.saturating_sub(started.elapsed()), |_, topic| led(topic));
        }
        Ok(outcome)
    }

    /// Raises the number of partitions to the given totals. Returns when the new ones can be seen, or at the deadline.
    pub fn create_partitions(&self, totals: &[(String, i32)], deadline: Duration) -> Result<PerName> {
        if totals.is_empty() {
            return Ok(PerName::new());
        }
        let started = Instant::now();
        let options =
            self.options(GROW, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, deadline)?;
        self.wait_for_the_controller(GROW, &options, deadline)?;
        let mut objects = Objects::new(rd::rd_kafka_NewPartitions_destroy);
        let mut reason = [0 as c_char; text::ERROR_TEXT_BYTES];
        for (topic, total) in totals {
            let (name, total) = (self.name(GROW, topic)?, usize::try_from(*total).unwrap_or(0));
            // SAFETY: the name is copied and the buffer has the stated size.
            let object = unsafe {
                rd::rd_kafka_NewPartitions_new(name.as_ptr(), total, reason.as_mut_ptr(), reason.len())
            };
            // SAFETY: on failure librdkafka ended the text with a zero byte within the buffer.
            objects.push(NonNull::new(object).ok_or_else(|| {
                self.call(GROW).invalid(format!("{topic}: {}", unsafe { text::owned(reason.as_ptr()) }))
            })?);
        }
        // SAFETY: client, objects and options are alive; the objects are copied.
        let event = self.ask(GROW, deadline, |queue| unsafe {
            let (rk, count) = (self.client.as_ptr(), objects.len());
            rd::rd_kafka_CreatePartitions(rk, objects.as_mut_ptr(), count, options.as_ptr(), queue);
        })?;
        let mut count = 0;
        // SAFETY: the result lives as long as the event.
        let outcome = unsafe {
            let result = rd::rd_kafka_event_CreatePartitions_result(event.as_ptr());
            let topics = rd::rd_kafka_CreatePartitions_result_topics(result, &raw mut count);
            topic_results(array(topics.cast_const(), count))
        };
        let wanted: BTreeMap<_, _> = totals.iter().map(|(name, total)| (name.as_str(), *total)).collect();
        self.wait_until_seen(&outcome, deadline.saturating_sub(started.elapsed()), |name, topic| {
            let count = topic.map_or(0, |topic| i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX));
            wanted.get(name).is_none_or(|wanted| count >= *wanted)
        });
        Ok(outcome)
    }

    /// Deletes topics by name. Compare ids first: the name may belong to another topic by now. Returns when they can't
    /// be seen any more, or at the deadline.
    pub fn delete_topics(&self, names: &[String], deadline: Duration) -> Result<PerName> {
        if names.is_empty() {
            return Ok(PerName::new());
        }
        let started = Instant::now();
        let options =
            self.options(DELETE, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS, deadline)?;
        self.wait_for_the_controller(DELETE, &options, deadline)?;
        let mut objects = Objects::new(rd::rd_kafka_DeleteTopic_destroy);
        for name in names {
            let name = self.name(DELETE, name)?;
            // SAFETY: the name is copied.
            let object = unsafe { rd::rd_kafka_DeleteTopic_new(name.as_ptr()) };
            objects.push(NonNull::new(object).ok_or_else(|| self.out_of_memory(DELETE))?);
        }
        // SAFETY: client, objects and options are alive; the objects are copied.
        let event: Event = self.ask(DELETE, deadline, |queue| unsafe {
            let (rk, count) = (self.client.as_ptr(), objects.len());
            rd::rd_kafka_DeleteTopics(rk, objects.as_mut_ptr(), count, options.as_ptr(), queue);
        })?;
        let mut count = 0;
        // SAFETY: the result lives as long as the event.
        let outcome = unsafe {
            let result = rd::rd_kafka_event_DeleteTopics_result(event.as_ptr());
            topic_results(array(
                rd::rd_kafka_DeleteTopics_result_topics(result, &raw mut count).cast_const(),
                count,
            ))
        };
        self.wait_until_seen(&outcome, deadline.saturating_sub(started.elapsed()), |_, topic| {
            topic.is_none()
        });
        Ok(outcome)
    }

    /// Waits until each topic that was changed looks as wanted to the brokers, which learn of it a moment after the
    /// controller. A wait in vain isn't an error: the change is made.
    fn wait_until_seen(
        &self,
        changed: &PerName,
        deadline: Duration,
        looks_right: impl Fn(&str, Option<&Topic>) -> bool,
    ) {
        let started = Instant::now();
        let names: Vec<_> =
            changed.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(name, _)| name.clone()).collect();
        loop {
            let left = deadline.saturating_sub(started.elapsed());
            match self.describe_topics(&names, left) {
                Ok(seen) if names.iter().all(|name| looks_right(name, seen.get(name))) => return,
                _ if left <= LOOK_AGAIN => return,
                _ => std::thread::sleep(LOOK_AGAIN),
            }
        }
    }

    fn new_topic(&self, topic: &NewTopic) -> Result<NonNull<rd::rd_kafka_NewTopic_t>> {
        let mut reason = [0 as c_char; text::ERROR_TEXT_BYTES];
        let name = self.name(CREATE, &topic.name)?;
        // SAFETY: the name is copied and the buffer has the stated size.
        let object = unsafe {
            let (partitions, factor) = (topic.partitions, topic.replication_factor);
            rd::rd_kafka_NewTopic_new(name.as_ptr(), partitions, factor, reason.as_mut_ptr(), reason.len())
        };
        let Some(object) = NonNull::new(object) else {
            // SAFETY: on failure librdkafka ended the text with a zero byte within the buffer.
            let reason = unsafe { text::owned(reason.as_ptr()) };
            return Err(self.call(CREATE).invalid(format!("{}: {reason}", topic.name)));
        };
        // Freed if a setting is refused.
        let mut guard = Objects::new(rd::rd_kafka_NewTopic_destroy);
        guard.push(object);
        for (key, value) in &topic.config {
            let (key, value) = (self.name(CREATE, key)?, self.name(CREATE, value)?);
            // SAFETY: the object is valid; both strings are copied.
            let code =
                unsafe { rd::rd_kafka_NewTopic_set_config(object.as_ptr(), key.as_ptr(), value.as_ptr()) };
            self.client.check(CREATE, code)?;
        }
        guard.release();
        Ok(object)
    }

    /// Answers when the controller has done it, not when it has heard of it.
    fn wait_for_the_controller(
        &self,
        call: &'static str,
        options: &Options,
        deadline: Duration,
    ) -> Result<()> {
        let mut reason = [0 as c_char; text::ERROR_TEXT_BYTES];
        // SAFETY: the options are valid and the buffer has the stated size.
        let code = unsafe {
            let timeout_ms = millis(deadline).clamp(1, 3_600_000);
            rd::rd_kafka_AdminOptions_set_operation_timeout(
                options.as_ptr(),
                timeout_ms,
                reason.as_mut_ptr(),
                reason.len(),
            )
        };
        self.client.check(call, code)
    }

    fn validate_only(&self, call: &'static str, options: &Options) -> Result<()> {
        let mut reason = [0 as c_char; text::ERROR_TEXT_BYTES];
        // SAFETY: the options are valid and the buffer has the stated size.
        let code = unsafe {
            rd::rd_kafka_AdminOptions_set_validate_only(
                options.as_ptr(),
                1,
                reason.as_mut_ptr(),
                reason.len(),
            )
        };
        self.client.check(call, code)
    }
}

/// # Safety
/// The description comes from an event that is alive.
unsafe fn name_of(description: *const rd::rd_kafka_TopicDescription_t) -> String {
    // SAFETY: as the caller promises.
    unsafe { text::owned(rd::rd_kafka_TopicDescription_name(description)) }
}

/// # Safety
/// The description comes from an event that is alive and has no error.
unsafe fn topic(description: *const rd::rd_kafka_TopicDescription_t) -> Topic {
    let mut count = 0;
    // SAFETY: as the caller promises; everything read belongs to the event.
    unsafe {
        let id = rd::rd_kafka_TopicDescription_topic_id(description);
        let partitions = rd::rd_kafka_TopicDescription_partitions(description, &raw mut count);
        let mut partitions: Vec<_> =
            array(partitions.cast_const(), count).iter().map(|native| partition(*native)).collect();
        partitions.sort_by_key(|partition| partition.id);
        Topic {
            id: TopicId::from_bits(
                rd::rd_kafka_Uuid_most_significant_bits(id),
                rd::rd_kafka_Uuid_least_significant_bits(id),
            ),
            partitions,
            internal: rd::rd_kafka_TopicDescription_is_internal(description) != 0,
        }
    }
}

/// # Safety
/// The partition comes from an event that is alive.
unsafe fn partition(native: *const rd::rd_kafka_TopicPartitionInfo_t) -> Partition {
    let mut replicas = 0;
    // SAFETY: as the caller promises; the leader is null while there is none.
    unsafe {
        rd::rd_kafka_TopicPartitionInfo_replicas(native, &raw mut replicas);
        let leader = rd::rd_kafka_TopicPartitionInfo_leader(native);
        let leader = (!leader.is_null()).then(|| rd::rd_kafka_Node_id(leader)).filter(|id| *id >= 0);
        Partition { id: rd::rd_kafka_TopicPartitionInfo_partition(native), leader, replicas }
    }
}
