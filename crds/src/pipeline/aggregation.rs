//! `spec.aggregations`: counts, sums and more, by window and group.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sink::Column;
use super::text;
use super::transform::{Explode, Format, Lookup};
use super::union::only;
use super::value::Empty;
use super::workers::{self, Workers};
use crate::duration::Duration;

/// Folds records into measures and writes them to its outputs; exactly once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::AGGREGATION))]
pub struct Aggregation {
    /// Name of the stage.
    #[schemars(with = "text::Name")]
    pub name: String,
    /// Topics to read.
    #[schemars(with = "Vec<text::TopicRef>", length(min = 1, max = 30))]
    pub from: Vec<String>,
    /// How records are read. Default: `json`.
    #[serde(default = "Aggregation::default_format")]
    pub format: Format,
    /// Expression (`json` only): for each value only the latest record counts. Example: `event.id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub latest_by: Option<String>,
    /// Rows of other topics to look up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub lookups: Vec<Lookup>,
    /// One record for each element of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explode: Option<Explode>,
    /// Expression for when it happened. Default: the record's timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub event_time: Option<String>,
    /// How far out of order an event may be. Default: `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Duration>,
    /// How long a window that has ended still takes late events. Default: `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_lateness: Option<Duration>,
    /// How long a window waits when nothing comes any more. Default: `1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_retention: Option<Duration>,
    /// The time zone of days. Default: `UTC`. Example: `Europe/Madrid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Short>")]
    pub time_zone: Option<String>,
    /// What is counted together.
    pub window: Window,
    /// Expression: only records where it is true.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub filter: Option<String>,
    /// Splits each window. Default: one group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub group_by: Vec<Group>,
    /// What is computed.
    #[schemars(length(min = 1, max = 30), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub measures: Vec<Measure>,
    /// When values are written. Default: `{every: 1s}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emit: Option<Emit>,
    /// Where values are written.
    #[schemars(length(min = 1, max = 10))]
    pub to: Vec<Output>,
    /// Differences from `spec.workers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = workers::of_a_stage)]
    pub workers: Option<Workers>,
}

impl Aggregation {
    const fn default_format() -> Format {
        Format::Json
    }
}

/// What is counted together: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Window {
    /// One after the other, of this length. Example: `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tumbling: Option<Duration>,
    /// Windows that overlap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hopping: Option<Hopping>,
    /// A window ends after a silence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// One window that never ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global: Option<Empty>,
}

/// What kind a window is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowKind<'a> {
    /// One after the other.
    Tumbling(Duration),
    /// Overlapping.
    Hopping(&'a Hopping),
    /// Ended by silence.
    Session(&'a Session),
    /// Never ending.
    Global,
}

impl Window {
    /// Its kind; nothing when the spec names none or several.
    pub fn kind(&self) -> Option<WindowKind<'_>> {
        only([
            self.tumbling.map(WindowKind::Tumbling),
            self.hopping.as_ref().map(WindowKind::Hopping),
            self.session.as_ref().map(WindowKind::Session),
            self.global.map(|_| WindowKind::Global),
        ])
    }
}

/// Windows that overlap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hopping {
    /// Length of each.
    pub size: Duration,
    /// Time from one start to the next; divides `size`.
    pub every: Duration,
}

/// A window for each burst of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Session {
    /// The silence that ends it.
    pub gap: Duration,
}

/// A part of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// Its name in outputs.
    #[schemars(with = "text::Identifier")]
    pub name: String,
    /// Expression. Example: `event.category`.
    #[schemars(with = "text::Expression")]
    pub value: String,
}

/// One computed value: exactly one of `count`, `sum`, `avg`, `min`, `max` and `countDistinct`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::MEASURE))]
pub struct Measure {
    /// Its name in outputs.
    #[schemars(with = "text::Identifier")]
    pub name: String,
    /// Number of records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Empty>,
    /// Expression to add up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub sum: Option<String>,
    /// Expression to average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub avg: Option<String>,
    /// Expression whose least value counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub min: Option<String>,
    /// Expression whose greatest value counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub max: Option<String>,
    /// Expression whose different values are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub count_distinct: Option<String>,
    /// Expression: only records where it is true.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub filter: Option<String>,
    /// Expression for a time: only the current day of `timeZone` counts. Example: `event.created_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub today: Option<String>,
}

/// What a measure computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasureKind<'a> {
    /// Number of records.
    Count,
    /// Total of an expression.
    Sum(&'a str),
    /// Average of an expression.
    Avg(&'a str),
    /// Least value of an expression.
    Min(&'a str),
    /// Greatest value of an expression.
    Max(&'a str),
    /// Number of different values of an expression.
    CountDistinct(&'a str),
}

impl MeasureKind<'_> {
    /// The field that holds it, for example `countDistinct`.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum(_) => "sum",
            Self::Avg(_) => "avg",
            Self::Min(_) => "min",
            Self::Max(_) => "max",
            Self::CountDistinct(_) => "countDistinct",
        }
    }

    /// The expression it is computed from; a count has none.
    pub const fn expression(&self) -> Option<&str> {
        match self {
            Self::Count => None,
            Self::Sum(text)
            | Self::Avg(text)
            | Self::Min(text)
            | Self::Max(text)
            | Self::CountDistinct(text) => Some(text),
        }
    }
}

impl Measure {
    /// What it computes; nothing when the spec names none or several.
    pub fn kind(&self) -> Option<MeasureKind<'_>> {
        only([
            self.count.map(|_| MeasureKind::Count),
            self.sum.as_deref().map(MeasureKind::Sum),
            self.avg.as_deref().map(MeasureKind::Avg),
            self.min.as_deref().map(MeasureKind::Min),
            self.max.as_deref().map(MeasureKind::Max),
            self.count_distinct.as_deref().map(MeasureKind::CountDistinct),
        ])
    }
}

/// When values are written: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Emit {
    /// Whenever they have changed, at most this often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// Once, when the window is final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_close: Option<Empty>,
}

/// When values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitKind {
    /// Whenever they have changed, at most this often.
    Every(Duration),
    /// Once, when the window is final.
    OnClose,
}

impl Emit {
    /// Its kind; nothing when the spec names none or both.
    pub fn kind(&self) -> Option<EmitKind> {
        only([self.every.map(EmitKind::Every), self.on_close.map(|_| EmitKind::OnClose)])
    }
}

/// Where values are written: a `topic`, or a `store` with `redis`, `postgres` or `cassandra`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::OUTPUT))]
pub struct Output {
    /// Name of a topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::TopicRef>")]
    pub topic: Option<String>,
    /// Name of a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::NameRef>")]
    pub store: Option<String>,
    /// Keys of a Redis store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisOutput>,
    /// A table of a PostgreSQL store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<TableOutput>,
    /// A table of a Cassandra store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cassandra: Option<TableOutput>,
}

/// Where values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind<'a> {
    /// A topic.
    Topic(&'a str),
    /// Keys of a Redis store.
    Redis(&'a RedisOutput),
    /// A table of a PostgreSQL store.
    Postgres(&'a TableOutput),
    /// A table of a Cassandra store.
    Cassandra(&'a TableOutput),
}

impl OutputKind<'_> {
    /// The field that holds it: `topic`, `redis`, `postgres` or `cassandra`.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Topic(_) => "topic",
            Self::Redis(_) => "redis",
            Self::Postgres(_) => "postgres",
            Self::Cassandra(_) => "cassandra",
        }
    }
}

impl Output {
    /// Its kind; nothing when the spec names none or several.
    pub fn kind(&self) -> Option<OutputKind<'_>> {
        only([
            self.topic.as_deref().map(OutputKind::Topic),
            self.redis.as_ref().map(OutputKind::Redis),
            self.postgres.as_ref().map(OutputKind::Postgres),
            self.cassandra.as_ref().map(OutputKind::Cassandra),
        ])
    }
}

/// Keys of a Redis store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedisOutput {
    /// The key: text with `{expression}` parts. Example: `sales:{window.start}`.
    #[schemars(with = "text::Short")]
    pub key: String,
    /// Layout of the value. Default: `json`.
    #[serde(default, rename = "as")]
    pub layout: RedisLayout,
    /// When keys expire. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
}

/// Layout of a value in Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RedisLayout {
    /// A JSON document of one group.
    #[default]
    Json,
    /// A hash; its fields are `<group>:<measure>`.
    Hash,
    /// A sorted set; groups ranked by the one measure.
    SortedSet,
}

/// A table that holds one row for each window and group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TableOutput {
    /// The table; it is created.
    #[schemars(with = "text::Identifier")]
    pub table: String,
    /// Columns beside window, groups and measures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub columns: Vec<Column>,
}
