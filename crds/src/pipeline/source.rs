//! `spec.sources`: what comes in from outside.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::csv::Csv;
use super::kafka::SecretKey;
use super::text::{self, IntOrText};
use super::topic::DeletionPolicy;
use super::union::only;
use super::workers::{self, Workers};
use crate::duration::Duration;

/// Brings data into topics: exactly one of `debezium`, `connector`, `sql`, `http` and `csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::SOURCE))]
pub struct Source {
    /// Name of the stage.
    #[schemars(with = "text::Name")]
    pub name: String,
    /// Captures the changes of tables with Debezium on Kafka Connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debezium: Option<Debezium>,
    /// Any other Kafka Connect connector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connector: Option<Connector>,
    /// Repeats a query and sends what is new or changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<Sql>,
    /// Fetches JSON over HTTP, again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// Reads a file of comma-separated values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<Csv>,
    /// Topic to write; for `sql`, `http` and `csv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::TopicRef>")]
    pub topic: Option<String>,
    /// Field whose value is the record's key. Default: no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Short>")]
    pub key: Option<String>,
    /// Fields and their expressions over `body` (`http`) or `event`. Default: all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, text::Expression>", extend("maxProperties" = 100))]
    pub select: BTreeMap<String, String>,
    /// Differences from `spec.workers`; always one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = workers::of_a_fixed_stage)]
    pub workers: Option<Workers>,
}

/// What kind a source is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SourceKind<'a> {
    /// Debezium on Kafka Connect.
    Debezium(&'a Debezium),
    /// Any other connector.
    Connector(&'a Connector),
    /// A repeated query.
    Sql(&'a Sql),
    /// A repeated HTTP request.
    Http(&'a Http),
    /// A file.
    Csv(&'a Csv),
}

impl SourceKind<'_> {
    /// The field that holds it, for example `debezium`.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Debezium(_) => "debezium",
            Self::Connector(_) => "connector",
            Self::Sql(_) => "sql",
            Self::Http(_) => "http",
            Self::Csv(_) => "csv",
        }
    }
}

impl Source {
    /// Its kind; nothing when the spec names none or several.
    pub fn kind(&self) -> Option<SourceKind<'_>> {
        only([
            self.debezium.as_ref().map(SourceKind::Debezium),
            self.connector.as_ref().map(SourceKind::Connector),
            self.sql.as_ref().map(SourceKind::Sql),
            self.http.as_ref().map(SourceKind::Http),
            self.csv.as_ref().map(SourceKind::Csv),
        ])
    }
}

/// Captures tables of a PostgreSQL database, through a replication slot and a publication of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Debezium {
    /// Name of a PostgreSQL store; its user needs the right to replicate.
    #[schemars(with = "text::NameRef")]
    pub store: String,
    /// The tables and their topics.
    #[schemars(length(min = 1, max = 100))]
    pub tables: Vec<CapturedTable>,
    /// Which rows that are there already are read. Default: `initial`.
    #[serde(default)]
    pub snapshot: Snapshot,
    /// For slot, publication and offsets. A slot without a reader fills the database's disk. Default: `Delete`.
    #[serde(default = "Debezium::default_deletion_policy")]
    pub deletion_policy: DeletionPolicy,
    /// Further settings of the connector. Example: `heartbeat.interval.ms: 5000`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    pub config: BTreeMap<String, IntOrText>,
}

impl Debezium {
    const fn default_deletion_policy() -> DeletionPolicy {
        DeletionPolicy::Delete
    }
}

/// A table and the topic of its changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CapturedTable {
    /// `schema.table`. Example: `public.orders`.
    #[schemars(with = "String", regex(pattern = text::QUALIFIED_TABLE))]
    pub table: String,
    /// Name of a topic.
    #[schemars(with = "text::TopicRef")]
    pub topic: String,
}

/// Debezium's own names for what it reads before it streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Snapshot {
    /// All rows, the first time.
    #[default]
    Initial,
    /// All rows, at each start.
    Always,
    /// Nothing: only changes from now on.
    NoData,
    /// All rows, the first time and when the position was lost.
    WhenNeeded,
}

impl Snapshot {
    /// The value of `snapshot.mode`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::Always => "always",
            Self::NoData => "no_data",
            Self::WhenNeeded => "when_needed",
        }
    }
}

/// A Kafka Connect connector, configured by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connector {
    /// Its Java class; the administrator has to allow it.
    #[schemars(with = "text::Short", regex(pattern = text::CLASS))]
    pub class: String,
    /// Its settings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    pub config: BTreeMap<String, IntOrText>,
    /// Settings whose values are in Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub config_from: Vec<ConfigFrom>,
}

/// A setting whose value is in a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigFrom {
    /// Name of the setting.
    #[schemars(with = "text::Short")]
    pub key: String,
    /// Where its value is.
    pub secret: SecretKey,
}

/// A query that is repeated; each new or changed row is sent once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sql {
    /// Name of a PostgreSQL store.
    #[schemars(with = "text::NameRef")]
    pub store: String,
    /// A SELECT with the cursor's columns, without ORDER BY and LIMIT.
    #[schemars(with = "text::Long")]
    pub query: String,
    /// How new rows are told from old ones.
    pub cursor: Cursor,
    /// Time between two queries. Default: `2s`.
    #[serde(default = "Sql::default_interval")]
    pub interval: Duration,
    /// How far back to look again, for late commits. Default: `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookback: Option<Duration>,
}

impl Sql {
    const fn default_interval() -> Duration {
        Duration::from_ms(2_000)
    }
}

/// Columns that order and identify the rows of a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cursor {
    /// Column that grows with every change. Example: `updated_at`.
    #[schemars(with = "text::Identifier")]
    pub column: String,
    /// Column that identifies a row. Example: `id`.
    #[schemars(with = "text::Identifier")]
    pub key: String,
}

/// GET requests for JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    /// The address; `{n}` stands for the number of `iterate`.
    #[schemars(with = "text::Long", regex(pattern = text::HTTP_URL))]
    pub url: String,
    /// Numbers to put into the address. Default: always the same address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterate: Option<Iterate>,
    /// Pause between two requests, drawn evenly between both ends.
    pub interval: Pause,
    /// When to give up a request. Default: `10s`.
    #[serde(default = "Http::default_timeout")]
    pub timeout: Duration,
}

impl Http {
    const fn default_timeout() -> Duration {
        Duration::from_ms(10_000)
    }
}

/// A range of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::ITERATE))]
pub struct Iterate {
    /// The first.
    pub from: i64,
    /// The last, included.
    pub to: i64,
    /// In which order. Default: `ascending`.
    #[serde(default)]
    pub order: Order,
    /// Begins again after the last. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeat: bool,
}

/// In which order numbers are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// From the first to the last.
    #[default]
    Ascending,
    /// Shuffled, each once a round.
    Random,
}

/// A range of durations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pause {
    /// At least.
    pub min: Duration,
    /// At most.
    pub max: Duration,
}
