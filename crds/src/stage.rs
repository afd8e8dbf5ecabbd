//! What one worker is told: its slice of the spec, with every reference resolved.
//!
//! The operator writes it to a file (a ConfigMap in the cluster), the worker reads it; nothing secret is in it.
//! Secrets are named, and the worker finds them as files: `<secrets folder>/<secret name>/<key>`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::pipeline::generator::Generator;
use crate::pipeline::kafka::Kafka;
use crate::pipeline::sink::PostgresSink;
use crate::pipeline::store::Postgres;

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
pub enum Work {
    /// Makes rows.
    Generator(GeneratorWork),
    /// Moves topics into a store.
    Sink(SinkWork),
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
