//! Topics' configuration, read whole and changed key by key.

use std::collections::BTreeMap;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as rd;

use super::request::{Objects, array, outcome};
use super::{Admin, PerName};
use crate::error::{Result, code};
use crate::native::text;

/// One key of a topic's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its value; `None` if the broker doesn't tell.
    pub value: Option<String>,
    /// Whether it was set on this topic; otherwise it is the broker's.
    pub is_topic_override: bool,
    /// Whether the value is secret.
    pub sensitive: bool,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    /// Sets a key to a value.
    Set(String, String),
    /// Puts a key back to the broker's value.
    Delete(String),
}

const DESCRIBE: &str = "describe topic configurations";
const ALTER: &str = "alter topic configurations";

impl Admin {
    /// The configuration of topics, key by key; topics that don't exist are absent.
    pub fn topic_configs(
        &self,
        names: &[String],
        deadline: Duration,
    ) -> Result<BTreeMap<String, BTreeMap<String, ConfigEntry>>> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let options =
            self.options(DESCRIBE, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, deadline)?;
        let mut objects = Objects::new(rd::rd_kafka_ConfigResource_destroy);
        for name in names {
            objects.push(self.topic_resource(DESCRIBE, name)?);
        }
        // SAFETY: client, objects and options are alive; the objects are copied.
        let event = self.ask(DESCRIBE, deadline, |queue| unsafe {
            let (rk, count) = (self.client.as_ptr(), objects.len());
            rd::rd_kafka_DescribeConfigs(rk, objects.as_mut_ptr(), count, options.as_ptr(), queue);
        })?;
        let mut count = 0;
        // SAFETY: the result lives as long as the event.
        let resources = unsafe {
            let result = rd::rd_kafka_event_DescribeConfigs_result(event.as_ptr());
            array(rd::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count).cast_const(), count)
        };
        let mut configs = BTreeMap::new();
        for resource in resources {
            // SAFETY: as above.
            let (name, outcome) = unsafe { resource_outcome(*resource) };
            match outcome {
                Ok(()) => {
                    // SAFETY: as above.
                    configs.insert(name, unsafe { entries(*resource) });
                }
                Err(refused) if refused.is_not_found() => {}
                Err(refused) => return Err(self.call(DESCRIBE).failed(refused.code, refused.to_string())),
            }
        }
        Ok(configs)
    }

    /// Changes only the named keys, of many topics in one request.
    pub fn incremental_alter_configs(
        &self,
        changes: &BTreeMap<String, Vec<ConfigChange>>,
        deadline: Duration,
    ) -> Result<PerName> {
        if changes.is_empty() {
            return Ok(PerName::new());
        }
        let options = self.options(
            ALTER,
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS,
            deadline,
        )?;
        let mut objects = Objects::new(rd::rd_kafka_ConfigResource_destroy);
        for (topic, changes) in changes {
            let resource = self.topic_resource(ALTER, topic)?;
            objects.push(resource);
            for change in changes {
                self.add_change(resource, change)?;
            }
        }
        // SAFETY: client, objects and options are alive; the objects are copied.
        let event = self.ask(ALTER, deadline, |queue| unsafe {
            let (rk, count) = (self.client.as_ptr(), objects.len());
            rd::rd_kafka_IncrementalAlterConfigs(rk, objects.as_mut_ptr(), count, options.as_ptr(), queue);
        })?;
        let mut count = 0;
        // SAFETY: the result lives as long as the event.
        unsafe {
            let result = rd::rd_kafka_event_IncrementalAlterConfigs_result(event.as_ptr());
            let resources = rd::rd_kafka_IncrementalAlterConfigs_result_resources(result, &raw mut count);
            Ok(array(resources.cast_const(), count)
                .iter()
                .map(|resource| resource_outcome(*resource))
                .collect())
        }
    }

    fn topic_resource(
        &self,
        call: &'static str,
        topic: &str,
    ) -> Result<NonNull<rd::rd_kafka_ConfigResource_t>> {
        let name = self.name(call, topic)?;
        // SAFETY: the name is copied.
        let resource = unsafe {
            rd::rd_kafka_ConfigResource_new(
                rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
                name.as_ptr(),
            )
        };
        NonNull::new(resource)
            .ok_or_else(|| self.call(call).invalid(format!("{topic:?} is not the name of a topic")))
    }

    fn add_change(
        &self,
        resource: NonNull<rd::rd_kafka_ConfigResource_t>,
        change: &ConfigChange,
    ) -> Result<()> {
        use rd::rd_kafka_AlterConfigOpType_t::{
            RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
        };
        let (operation, key, value) = match change {
            ConfigChange::Set(key, value) => {
                (RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, self.name(ALTER, key)?, Some(self.name(ALTER, value)?))
            }
            ConfigChange::Delete(key) => (RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, self.name(ALTER, key)?, None),
        };
        let value = value.as_ref().map_or(ptr::null(), |value| value.as_ptr());
        // SAFETY: the resource is valid, both strings are copied, and the returned error is ours.
        unsafe {
            let error = rd::rd_kafka_ConfigResource_add_incremental_config(
                resource.as_ptr(),
                key.as_ptr(),
                operation,
                value,
            );
            self.client.check_object(ALTER, error)
        }
    }
}

/// # Safety
/// The resource comes from an event that is alive.
unsafe fn resource_outcome(
    resource: *const rd::rd_kafka_ConfigResource_t,
) -> (String, std::result::Result<(), super::Refused>) {
    // SAFETY: as the caller promises.
    unsafe {
        let name = text::owned(rd::rd_kafka_ConfigResource_name(resource));
        let error = rd::rd_kafka_ConfigResource_error(resource);
        let reason = text::owned_if_some(rd::rd_kafka_ConfigResource_error_string(resource));
        debug_assert!(error as i32 != code::NONE || reason.is_none());
        (name.clone(), outcome(name, error, reason))
    }
}

/// # Safety
/// The resource comes from an event that is alive.
unsafe fn entries(resource: *const rd::rd_kafka_ConfigResource_t) -> BTreeMap<String, ConfigEntry> {
    let mut count = 0;
    // SAFETY: as the caller promises; everything read belongs to the event.
    unsafe {
        let entries = rd::rd_kafka_ConfigResource_configs(resource, &raw mut count);
        let entry = |native: &*const rd::rd_kafka_ConfigEntry_t| {
            let source = rd::rd_kafka_ConfigEntry_source(*native);
            let entry = ConfigEntry {
                value: text::owned_if_some(rd::rd_kafka_ConfigEntry_value(*native)),
                is_topic_override: source
                    == rd::rd_kafka_ConfigSource_t::RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG,
                sensitive: rd::rd_kafka_ConfigEntry_is_sensitive(*native) != 0,
            };
            (text::owned(rd::rd_kafka_ConfigEntry_name(*native)), entry)
        };
        array(entries.cast_const(), count).iter().map(entry).collect()
    }
}
