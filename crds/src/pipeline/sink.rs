//! `spec.sinks`: topics into a store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text;
use super::transform::Explode;
use super::union::only;
use super::workers::{self, Workers};

/// Moves topics into a store: `postgres` or `cassandra`, as the store's kind is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::SINK))]
pub struct Sink {
    /// Name of the stage.
    #[schemars(with = "text::Name")]
    pub name: String,
    /// Topics to read.
    #[schemars(with = "Vec<text::TopicRef>", length(min = 1, max = 30))]
    pub from: Vec<String>,
    /// Store to write.
    #[schemars(with = "text::NameRef")]
    pub store: String,
    /// Consumer group. Default: `acequia.<namespace>.<pipeline>.sink-<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::TopicName>")]
    pub group: Option<String>,
    /// One row for each element of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explode: Option<Explode>,
    /// Rows of PostgreSQL tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresSink>,
    /// Rows of a Cassandra table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cassandra: Option<CassandraSink>,
    /// Differences from `spec.workers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = workers::of_a_stage)]
    pub workers: Option<Workers>,
}

/// Where a sink writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkKind<'a> {
    /// Tables of a PostgreSQL database.
    Postgres(&'a PostgresSink),
    /// A table of a Cassandra keyspace.
    Cassandra(&'a CassandraSink),
}

impl Sink {
    /// Its kind; nothing when the spec names none or both.
    pub fn kind(&self) -> Option<SinkKind<'_>> {
        only([
            self.postgres.as_ref().map(SinkKind::Postgres),
            self.cassandra.as_ref().map(SinkKind::Cassandra),
        ])
    }
}

/// How records become rows of a Cassandra table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CassandraSink {
    /// The table; it is created.
    #[schemars(with = "text::Identifier")]
    pub table: String,
    /// Its primary key; the first column is the partition key.
    #[schemars(with = "Vec<text::FieldRef>", length(min = 1, max = 16))]
    pub primary_key: Vec<String>,
    /// Its columns.
    #[schemars(length(min = 1, max = 100))]
    pub columns: Vec<Column>,
}

/// How records become rows of PostgreSQL tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::POSTGRES_SINK))]
pub struct PostgresSink {
    /// The table. Default for `mirror`: the source's names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Identifier>")]
    pub table: Option<String>,
    /// What a record does to the table: `append` adds, `upsert` replaces by key, `mirror` applies changes.
    pub mode: WriteMode,
    /// Columns that identify a row: for `upsert`, and a `mirror` with `columns`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<text::FieldRef>", length(max = 16))]
    pub key: Vec<String>,
    /// The columns. Default for `mirror`: the source's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub columns: Vec<Column>,
}

/// What a record does to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WriteMode {
    /// Each record adds a row, exactly once.
    Append,
    /// Each record inserts or replaces the row with its key.
    Upsert,
    /// Change events are applied: the table equals the source table.
    Mirror,
}

/// One column of a table that Acequia creates and fills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Column {
    /// Its name.
    #[schemars(with = "text::Identifier")]
    pub name: String,
    /// The store's own type. Example: `numeric(12,2)`.
    #[serde(rename = "type")]
    #[schemars(with = "text::Short")]
    pub type_name: String,
    /// Expression. Default: `event.<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub value: Option<String>,
    /// May be absent, and is NULL then. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}
