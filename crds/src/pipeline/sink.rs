//! `spec.sinks`: topics into a store.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How records become rows of PostgreSQL tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresSink {
    /// The table. Needed for `append` and `upsert`; a `mirror` of captured tables uses their own names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[a-z_][a-z0-9_]{0,62}$"))]
    pub table: Option<String>,
    /// What a record does to the table.
    pub mode: WriteMode,
    /// The columns that identify a row, for `upsert`, and for a `mirror` with `columns`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub key: Vec<String>,
    /// The columns and where their values come from. A `mirror` takes them from the source's catalogue when absent.
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
    /// Name of the column.
    #[schemars(regex(pattern = "^[a-z_][a-z0-9_]{0,62}$"))]
    pub name: String,
    /// Type in the store's own words. Example: `numeric(12,2)`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 100))]
    pub type_name: String,
    /// Expression that yields the value. Default: `event.<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub value: Option<String>,
    /// An absent value is stored as NULL. Default: false; then a record without it goes to the dead letters.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}
