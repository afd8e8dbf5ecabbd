//! `spec.gateway`: a REST API and a live dashboard.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text;
use super::union::only;
use super::value::Empty;
use super::workers::{self, Workers};
use crate::duration::Duration;

/// Serves queries as JSON, a dashboard of them, and Grafana's JSON protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::GATEWAY))]
pub struct Gateway {
    /// Number of processes. Default: 1.
    #[serde(default = "Gateway::default_replicas")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: u32,
    /// Who may read; no default.
    pub access: Access,
    /// The queries.
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub endpoints: Vec<Endpoint>,
    /// A page with figures and charts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard: Option<Dashboard>,
    /// Differences from `spec.workers`; `replicas` is above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = workers::of_a_fixed_stage)]
    pub workers: Option<Workers>,
}

impl Gateway {
    const fn default_replicas() -> u32 {
        1
    }
}

/// Who may read: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Access {
    /// Who knows the key `token` of this Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::ObjectName>")]
    pub token_secret: Option<String>,
    /// Everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Empty>,
}

/// Who may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKind<'a> {
    /// Who knows the token in this Secret.
    Token(&'a str),
    /// Everybody.
    Anonymous,
}

impl Access {
    /// Its kind; nothing when the spec names none or both.
    pub fn kind(&self) -> Option<AccessKind<'_>> {
        only([
            self.token_secret.as_deref().map(AccessKind::Token),
            self.anonymous.map(|_| AccessKind::Anonymous),
        ])
    }
}

/// A path that answers with JSON: a `query` of a PostgreSQL or Cassandra store, or a key of a `redis` store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::ENDPOINT))]
pub struct Endpoint {
    /// Example: `/api/top_pizzas`.
    #[schemars(with = "text::Short", regex(pattern = text::ENDPOINT_PATH))]
    pub path: String,
    /// Name of a store.
    #[schemars(with = "text::NameRef")]
    pub store: String,
    /// A SELECT; `:name` stands for a parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Long>")]
    pub query: Option<String>,
    /// A key of a Redis store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisEndpoint>,
    /// Parameters of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub parameters: Vec<Parameter>,
    /// Sorts the answer, where the store cannot. Example: `sold desc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Short>", regex(pattern = text::ORDER_BY))]
    pub order_by: Option<String>,
    /// Cuts the answer, after `orderBy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// How long an answer may be used again. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Duration>,
}

/// Where an endpoint's answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointKind<'a> {
    /// A query.
    Query(&'a str),
    /// A key of a Redis store.
    Redis(&'a RedisEndpoint),
}

impl Endpoint {
    /// Where its answer comes from; nothing when the spec names neither or both.
    pub fn kind(&self) -> Option<EndpointKind<'_>> {
        only([self.query.as_deref().map(EndpointKind::Query), self.redis.as_ref().map(EndpointKind::Redis)])
    }
}

/// A key of a Redis store: a JSON document, a hash or a sorted set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedisEndpoint {
    /// The key; `{name}` stands for a parameter. Example: `metrics:dashboard`.
    #[schemars(with = "text::Short")]
    pub key: String,
}

/// A parameter of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::OPTIONAL_RANGE))]
pub struct Parameter {
    /// Its name in the request and, as `:name`, in the query.
    #[schemars(with = "text::Identifier")]
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// When the request has none. Default: it must have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<text::IntOrText>,
    /// For `int`: the least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// For `int`: the greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
}

/// What a parameter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ParameterType {
    /// A whole number.
    Int,
    /// Text of at most 1,000 characters.
    Text,
    /// A date.
    Date,
    /// A date and time.
    Timestamp,
}

/// The number of rows of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::LIMIT))]
pub struct Limit {
    /// Name of the request's parameter.
    #[schemars(with = "text::Identifier")]
    pub parameter: String,
    /// Rows when the request has none.
    #[schemars(range(min = 1, max = 100_000))]
    pub default: u32,
    /// The most a request may ask for.
    #[schemars(range(min = 1, max = 100_000))]
    pub max: u32,
}

/// A page with figures and charts, which keeps itself up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dashboard {
    /// Its title.
    #[schemars(with = "text::Short")]
    pub title: String,
    /// Time between two updates. Default: `5s`.
    #[serde(default = "Dashboard::default_refresh")]
    pub refresh: Duration,
    /// Its parts, in reading order.
    #[schemars(length(min = 1, max = 50))]
    pub panels: Vec<Panel>,
}

impl Dashboard {
    const fn default_refresh() -> Duration {
        Duration::from_ms(5_000)
    }
}

/// One figure, chart or table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Panel {
    /// Its title.
    #[schemars(with = "text::Short")]
    pub title: String,
    /// How it is drawn.
    pub kind: PanelKind,
    /// Path of an endpoint.
    #[schemars(with = "text::Short")]
    pub endpoint: String,
    /// Field for the labels or the time axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::FieldRef>")]
    pub label: Option<String>,
    /// Field with the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::FieldRef>")]
    pub value: Option<String>,
    /// Field that splits it into several lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::FieldRef>")]
    pub series: Option<String>,
    /// Unit of the value. Example: `USD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Short>")]
    pub unit: Option<String>,
}

/// How a panel is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PanelKind {
    /// One large figure.
    Stat,
    /// Lines over time.
    Timeseries,
    /// Bars.
    Bar,
    /// A pie.
    Pie,
    /// All fields in rows.
    Table,
    /// One text.
    Text,
}
