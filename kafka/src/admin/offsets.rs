//! Offsets: the ends of logs, and how far groups have read.

use std::collections::{BTreeMap, BTreeSet};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as rd;

use super::Admin;
use super::request::{Objects, array, object_error};
use crate::error::{KafkaError, Result, code};
use crate::native::partition_list::{self, PartitionList};

/// Which end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetOf {
    /// The oldest record.
    Earliest,
    /// After the newest record.
    Latest,
    /// After the newest record that a reader of committed records gets: before the oldest open transaction.
    LatestCommitted,
}

const LIST: &str = "list offsets";
const GROUP: &str = "list a group's offsets";

impl Admin {
    /// One end of each partition's log.
    ///
    /// # Errors
    /// Also when one of the partitions doesn't exist.
    pub fn offsets(
        &self,
        partitions: &[(String, i32)],
        of: OffsetOf,
        deadline: Duration,
    ) -> Result<BTreeMap<(String, i32), i64>> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let options = self.options(LIST, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, deadline)?;
        if of == OffsetOf::LatestCommitted {
            let level = rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED;
            // SAFETY: the options are valid and the returned error is ours.
            unsafe {
                let error = rd::rd_kafka_AdminOptions_set_isolation_level(options.as_ptr(), level);
                self.client.check_object(LIST, error)?;
            }
        }
        let spec = match of {
            OffsetOf::Earliest => rd::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST,
            OffsetOf::Latest | OffsetOf::LatestCommitted => {
                rd::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST
            }
        };
        let elements = partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition, spec as i64));
        let list = PartitionList::of(self.call(LIST), elements)?;
        // SAFETY: client, list and options are alive; the list is copied.
        let asked = self.ask(LIST, deadline, |queue| unsafe {
            rd::rd_kafka_ListOffsets(self.client.as_ptr(), list.as_ptr(), options.as_ptr(), queue);
        });
        let event = match asked {
            Err(error) if error.code() == Some(code::NO_ENTRY) => {
                return Err(self.why_no_leaders(partitions, deadline)?);
            }
            asked => asked?,
        };
        let mut count = 0;
        // SAFETY: the result lives as long as the event.
        let found: Vec<_> = unsafe {
            let result = rd::rd_kafka_event_ListOffsets_result(event.as_ptr());
            let infos = rd::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            let read = |info: &*const rd::rd_kafka_ListOffsetsResultInfo_t| {
                partition_list::read_element(rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*info))
            };
            array(infos.cast_const(), count).iter().map(read).collect()
        };
        self.without_errors(LIST, found)
    }

    /// How far a group has read; empty for a group that doesn't exist or has committed nothing.
    pub fn group_offsets(&self, group: &str, deadline: Duration) -> Result<BTreeMap<(String, i32), i64>> {
        self.of_groups()?.list_group_offsets(group, deadline)
    }

    fn list_group_offsets(&self, group: &str, deadline: Duration) -> Result<BTreeMap<(String, i32), i64>> {
        let operation = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
        let options = self.options(GROUP, operation, deadline)?;
        let name = self.name(GROUP, group)?;
        let mut objects = Objects::new(rd::rd_kafka_ListConsumerGroupOffsets_destroy);
        // SAFETY: the name is copied; null stands for all partitions.
        let object = unsafe { rd::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), ptr::null()) };
        objects.push(NonNull::new(object).ok_or_else(|| self.out_of_memory(GROUP))?);
        // SAFETY: client, objects and options are alive; the objects are copied.
        let event = self.ask(GROUP, deadline, |queue| unsafe {
            let (rk, count) = (self.client.as_ptr(), objects.len());
            rd::rd_kafka_ListConsumerGroupOffsets(rk, objects.as_mut_ptr(), count, options.as_ptr(), queue);
        })?;
        let mut count = 0;
        // SAFETY: the result lives as long as the event.
        let groups = unsafe {
            let result = rd::rd_kafka_event_ListConsumerGroupOffsets_result(event.as_ptr());
            array(
                rd::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count).cast_const(),
                count,
            )
        };
        let mut found = Vec::new();
        for native in groups {
            // SAFETY: as above; error and list belong to the event.
            unsafe {
                if let Some((code, reason)) = object_error(rd::rd_kafka_group_result_error(*native)) {
                    let error = self.call(GROUP).failed(code, format!("{group}: {reason}"));
                    return if error.is_not_found() { Ok(BTreeMap::new()) } else { Err(error) };
                }
                found.extend(partition_list::read(rd::rd_kafka_group_result_partitions(*native)));
            }
        }
        // A negative offset stands for "nothing committed".
        found.retain(|element| element.error != 0 || element.offset >= 0);
        self.without_errors(GROUP, found)
    }

    /// The library answers the same whether topics or partitions are missing or only their leaders.
    fn why_no_leaders(&self, partitions: &[(String, i32)], deadline: Duration) -> Result<KafkaError> {
        let names: BTreeSet<_> = partitions.iter().map(|(topic, _)| topic.clone()).collect();
        let names: Vec<_> = names.into_iter().collect();
        let found = self.describe_topics(&names, deadline)?;
        let missing = partitions.iter().find_map(|(topic, partition)| match found.get(topic) {
            None => Some(format!("topic {topic} doesn't exist")),
            Some(of) if of.partitions.iter().all(|p| p.id != *partition) => {
                Some(format!("topic {topic} has no partition {partition}"))
            }
            Some(_) => None,
        });
        Ok(match missing {
            Some(reason) => self.call(LIST).failed(code::UNKNOWN_TOPIC_OR_PART, reason),
            None => self.call(LIST).failed(code::LEADER_NOT_AVAILABLE, "no partition has a leader"),
        })
    }

    fn without_errors(
        &self,
        call: &'static str,
        elements: Vec<partition_list::Element>,
    ) -> Result<BTreeMap<(String, i32), i64>> {
        let mut offsets = BTreeMap::new();
        for partition_list::Element { topic, partition, offset, error, .. } in elements {
            if error != 0 {
                return Err(self.call(call).failed(error, format!("{topic} [{partition}] has no offset")));
            }
            offsets.insert((topic, partition), offset);
        }
        Ok(offsets)
    }
}
