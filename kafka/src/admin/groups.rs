//! Consumer groups: list, describe, delete.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_char;
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::bindings as rd;

use super::request::{Objects, array, group_results, object_error};
use super::{Admin, PerName};
use crate::error::Result;
use crate::native::partition_list;
use crate::native::text;

/// A consumer group as its coordinator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `Stable`, `PreparingRebalance`, `CompletingRebalance` or `Empty`.
    pub state: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// The client's id.
    pub client_id: String,
    /// The address it talks from.
    pub host: String,
    /// Set for a static member.
    pub instance_id: Option<String>,
    /// What it reads.
    pub partitions: Vec<(String, i32)>,
}

const LIST: &str = "list groups";
const DESCRIBE: &str = "describe groups";
const DELETE: &str = "delete groups";

impl Admin {
    /// Names of all groups that the brokers know, with members or without.
    pub fn list_groups(&self, deadline: Duration) -> Result<BTreeSet<String>> {
        let operation = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS;
        let options = self.options(LIST, operation, deadline)?;
        // SAFETY: client and options are alive.
        let event = self.ask(LIST, deadline, |queue| unsafe {
            rd::rd_kafka_ListConsumerGroups(self.client.as_ptr(), options.as_ptr(), queue);
        })?;
        let (mut listed, mut failed) = (0, 0);
        // SAFETY: the result lives as long as the event.
        let (groups, errors) = unsafe {
            let result = rd::rd_kafka_event_ListConsumerGroups_result(event.as_ptr());
            let groups = rd::rd_kafka_ListConsumerGroups_result_valid(result, &raw mut listed);
            let errors = rd::rd_kafka_ListConsumerGroups_result_errors(result, &raw mut failed);
            (array(groups.cast_const(), listed), array(errors.cast_const(), failed))
        };
        // SAFETY: as above. A list without the groups of one broker is none.
        if let Some((code, reason)) = errors.first().and_then(|error| unsafe { object_error(*error) }) {
            return Err(self.call(LIST).failed(code, reason));
        }
        // SAFETY: as above.
        let name = |group: &*const rd::rd_kafka_ConsumerGroupListing_t| unsafe {
            text::owned(rd::rd_kafka_ConsumerGroupListing_group_id(*group))
        };
        Ok(groups.iter().map(name).collect())
    }

    /// Groups by name; those that don't exist are absent.
    pub fn describe_groups(&self, names: &[String], deadline: Duration) -> Result<BTreeMap<String, Group>> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let operation = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
        let options = self.options(DESCRIBE, operation, deadline)?;
        let owned = names.iter().map(|name| self.name(DESCRIBE, name)).collect::<Result<Vec<_>>>()?;
        let mut pointers: Vec<*const c_char> = owned.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: client and options are alive; the names are copied.
        let event = self.ask(DESCRIBE, deadline, |queue| unsafe {
            let (rk, count) = (self.client.as_ptr(), pointers.len());
            rd::rd_kafka_DescribeConsumerGroups(rk, pointers.as_mut_ptr(), count, options.as_ptr(), queue);
        })?;
        let mut count = 0;
        // SAFETY: the result lives as long as the event.
        let descriptions = unsafe {
            let result = rd::rd_kafka_event_DescribeConsumerGroups_result(event.as_ptr());
            array(
                rd::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count).cast_const(),
                count,
            )
        };
        let mut groups = BTreeMap::new();
        for description in descriptions {
            // SAFETY: as above.
            let (name, error) = unsafe {
                let error = rd::rd_kafka_ConsumerGroupDescription_error(*description);
                (
                    text::owned(rd::rd_kafka_ConsumerGroupDescription_group_id(*description)),
                    object_error(error),
                )
            };
            if let Some((code, reason)) = error {
                let error = self.call(DESCRIBE).failed(code, format!("{name}: {reason}"));
                if error.is_not_found() {
                    continue;
                }
                return Err(error);
            }
            // SAFETY: as above.
            let group = unsafe { group(*description) };
            // Older brokers call a group that doesn't exist dead.
            if group.state != "Dead" {
                groups.insert(name, group);
            }
        }
        Ok(groups)
    }

    /// Deletes groups without members, and with them their committed offsets.
    ///
    /// The brokers are asked about the groups first: librdkafka ends the process when a broker turns out not to know
    /// the call for deleting, and a broker that can't describe groups is told from one that can by then.
    pub fn delete_groups(&self, names: &[String], deadline: Duration) -> Result<PerName> {
        if names.is_empty() {
            return Ok(PerName::new());
        }
        self.describe_groups(names, deadline)?;
        let options =
            self.options(DELETE, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS, deadline)?;
        let mut objects = Objects::new(rd::rd_kafka_DeleteGroup_destroy);
        for name in names {
            let name = self.name(DELETE, name)?;
            // SAFETY: the name is copied.
            let object = unsafe { rd::rd_kafka_DeleteGroup_new(name.as_ptr()) };
            objects.push(NonNull::new(object).ok_or_else(|| self.out_of_memory(DELETE))?);
        }
        // SAFETY: client, objects and options are alive; the objects are copied.
        let event = self.ask(DELETE, deadline, |queue| unsafe {
            let (rk, count) = (self.client.as_ptr(), objects.len());
            rd::rd_kafka_DeleteGroups(rk, objects.as_mut_ptr(), count, options.as_ptr(), queue);
        })?;
        let mut count = 0;
        // SAFETY: the result lives as long as the event.
        unsafe {
            let result = rd::rd_kafka_event_DeleteGroups_result(event.as_ptr());
            Ok(group_results(array(
                rd::rd_kafka_DeleteGroups_result_groups(result, &raw mut count).cast_const(),
                count,
            )))
        }
    }
}

/// # Safety
/// The description comes from an event that is alive and has no error.
unsafe fn group(description: *const rd::rd_kafka_ConsumerGroupDescription_t) -> Group {
    // SAFETY: as the caller promises; everything read belongs to the event or is static.
    unsafe {
        let state = rd::rd_kafka_ConsumerGroupDescription_state(description);
        let count = rd::rd_kafka_ConsumerGroupDescription_member_count(description);
        Group {
            state: text::owned(rd::rd_kafka_consumer_group_state_name(state)),
            members: (0..count)
                .map(|index| member(rd::rd_kafka_ConsumerGroupDescription_member(description, index)))
                .collect(),
        }
    }
}

/// # Safety
/// The member comes from an event that is alive.
unsafe fn member(native: *const rd::rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: as the caller promises; the list may be null, which reads as empty.
    unsafe {
        let assignment = rd::rd_kafka_MemberDescription_assignment(native);
        let list = if assignment.is_null() {
            std::ptr::null()
        } else {
            rd::rd_kafka_MemberAssignment_partitions(assignment)
        };
        GroupMember {
            client_id: text::owned(rd::rd_kafka_MemberDescription_client_id(native)),
            host: text::owned(rd::rd_kafka_MemberDescription_host(native)),
            instance_id: text::owned_if_some(rd::rd_kafka_MemberDescription_group_instance_id(native)),
            partitions: partition_list::read(list).into_iter().map(|e| (e.topic, e.partition)).collect(),
        }
    }
}
