//! What one worker is told: its slice of the spec, with every reference resolved.
//!
//! The operator writes it to a file (a ConfigMap in the cluster), the worker reads it; nothing secret is in it.
//! Secrets are named, and the worker finds them as files: `<secrets folder>/<secret name>/<key>`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::pipeline::aggregation::Aggregation;
use crate::pipeline::generator::Generator;
use crate::pipeline::kafka::Kafka;
use crate::pipeline::sink::PostgresSink;
use crate::pipeline::store::{Postgres, Store};

/// The whole of a worker's configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StageConfig {
    /// Identity of the Pipeline: `<cluster>/<namespace>/<name>`.
    pub pipeline: String,
    /// Identity of the stage in it: `<kind>-<name>`, for example `sink-dwh`.
    pub stage: String,
    /// The Kafka cluster.
    pub kafka: Kafka,
    /// What to do.
    pub work: Work,
}

/// What a stage does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "a process has one of them")]
pub enum Work {
    /// Makes rows.
    Generator(GeneratorWork),
    /// Moves topics into a store.
    Sink(SinkWork),
    /// Folds topics into measures.
    Aggregation(AggregationWork),
    /// Drops a replication slot and a publication, once, and exits.
    SlotRelease(SlotRelease),
}

/// The work of a generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GeneratorWork {
    /// The templates and their pace.
    pub generator: Generator,
    /// The stores that the templates and the setup name.
    pub stores: BTreeMap<String, Postgres>,
    /// Store → SQL to run there once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub setup: BTreeMap<String, String>,
}

/// The work of a sink into PostgreSQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SinkWork {
    /// The consumer group.
    pub group: String,
    /// What to read.
    pub topics: Vec<SinkTopic>,
    /// Where to write.
    pub store: Postgres,
    /// How to write.
    pub postgres: PostgresSink,
}

/// A topic that a sink reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SinkTopic {
    /// Name of the topic.
    pub name: String,
    /// The source table whose changes it carries, when a Debezium source of the same Pipeline writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured: Option<CapturedTable>,
}

/// A table that a Debezium source captures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapturedTable {
    /// The database it is in.
    pub store: Postgres,
    /// Its schema. Example: `public`.
    pub schema: String,
    /// Its name.
    pub table: String,
}

/// The work of an aggregation: both of its steps, which every process of the stage does.
///
/// Step one (*combine*) reads `from` and writes partial values; step two (*merge*) reads those and writes the outputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AggregationWork {
    /// The aggregation as the manifest has it, but without `workers`, and with the `format` of each lookup filled in.
    pub aggregation: Aggregation,
    /// Hash of what the aggregation means. Part of the names of the groups and topics below, so that an edit that
    /// changes the meaning starts from the log's beginning with state of its own.
    pub incarnation: String,
    /// The consumer group that reads `from`.
    pub combine_group: String,
    /// The consumer group that reads `partials_topic`.
    pub merge_group: String,
    /// Partial values and watermarks, from step one to step two. A group's are all in one partition.
    pub partials_topic: String,
    /// Changelog of step two, compacted; as many partitions as `partials_topic`.
    pub state_topic: String,
    /// Changelog of what each row of a table contributed, compacted; only for `format: debezium` and `latestBy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_topic: Option<String>,
    /// Where records go that came too late; none for a global window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_topic: Option<String>,
    /// Where records go that can't be read, with origin and cause.
    pub dead_letter_topic: String,
    /// The stores that the outputs name.
    pub stores: BTreeMap<String, Store>,
    /// Bytes of state after which the stage pauses instead of being killed.
    pub state_limit_bytes: u64,
}

/// A replication slot and a publication that nobody reads any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SlotRelease {
    /// The database they are in.
    pub store: Postgres,
    /// The slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
}
