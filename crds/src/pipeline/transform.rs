//! `spec.transforms`: topic to topic; and the steps that aggregations and sinks share with them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text;
use super::workers::{self, Workers};
use crate::duration::Duration;

/// Reads topics, reshapes each record, writes a topic; exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Transform {
    /// Name of the stage.
    #[schemars(with = "text::Name")]
    pub name: String,
    /// Topics to read.
    #[schemars(with = "Vec<text::TopicRef>", length(min = 1, max = 30))]
    pub from: Vec<String>,
    /// How records are read. Default: `debezium` for topics of Debezium sources, else `json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// One record for each element of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explode: Option<Explode>,
    /// Rows of other topics to look up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub lookups: Vec<Lookup>,
    /// Expression: only records where it is true.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub filter: Option<String>,
    /// Fields of the new record and their expressions. Default: the record as it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, text::Expression>", extend("maxProperties" = 100))]
    pub select: BTreeMap<String, String>,
    /// Expression for the new key. Default: the old key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub key: Option<String>,
    /// Topic to write.
    #[schemars(with = "text::TopicRef")]
    pub to: String,
    /// Differences from `spec.workers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = workers::of_a_stage)]
    pub workers: Option<Workers>,
}

/// How a topic is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// Each record is an event.
    Json,
    /// The topic carries the changes of a table; it is read as the table's rows.
    Debezium,
}

/// Turns a record with a list into one record for each element.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Explode {
    /// Its name in expressions. Example: `item`.
    #[serde(rename = "as")]
    #[schemars(with = "text::Identifier")]
    pub name: String,
    /// Expression for the list. Example: `event.items`.
    #[schemars(with = "text::Expression")]
    pub value: String,
}

/// The latest row of another topic with a given key; null when there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lookup {
    /// Its name in expressions. Example: `product`.
    #[schemars(with = "text::Identifier")]
    pub name: String,
    /// The topic, read whole.
    #[schemars(with = "text::TopicRef")]
    pub topic: String,
    /// How it is read. Default: as its source writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Expression for its key. Example: `item.product_id`.
    #[serde(rename = "match")]
    #[schemars(with = "text::Expression")]
    pub key: String,
    /// How long to wait for a missing row. Default: `30s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Duration>,
}
