//! `spec.topics`: the topics of the Pipeline.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{self, IntOrText};

/// A Kafka topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::TOPIC))]
pub struct Topic {
    /// Its name in Kafka.
    #[schemars(with = "text::TopicName")]
    pub name: String,
    /// Number of partitions; it can only grow. Default: 1.
    #[serde(default = "Topic::default_partitions")]
    #[schemars(range(min = 1, max = 10_000))]
    pub partitions: i32,
    /// Copies of each partition. Default: the broker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replication_factor: Option<i32>,
    /// Settings of the topic; those not named are left alone. Example: `retention.ms: 86400000`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    pub config: BTreeMap<String, IntOrText>,
    /// What happens to it when it leaves the spec or the Pipeline is deleted. Default: `spec.deletionPolicy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Somebody else's: used, never created, changed or deleted. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    /// Takes over a topic that exists already. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
    /// Lets `partitions` grow although keys then move to other partitions. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_rekey: bool,
}

impl Topic {
    const fn default_partitions() -> i32 {
        1
    }
}

/// What happens to something outside when it is no longer wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It is deleted.
    Delete,
}
