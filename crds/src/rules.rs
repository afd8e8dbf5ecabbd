//! The rules that the API server checks by itself (CEL, `x-kubernetes-validations`), each with a message that names the
//! field and the fix. [`crate::lint`] checks the same and more.
//!
//! The API server estimates what a rule may cost from the bounds of the lists and texts it reads, times the number of
//! places it can be in; that is why everything in the schema is bounded, and why unions inside generated values use
//! `minProperties` and `maxProperties` instead.

use serde::Serialize;

/// One rule.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rule {
    /// The expression that must be true of `self`.
    pub rule: &'static str,
    /// What is wrong otherwise, and what to do.
    pub message: &'static str,
}

const fn rule(rule: &'static str, message: &'static str) -> Rule {
    Rule { rule, message }
}

// Topics are compared as sets: comparing each with each, at 249 characters, would be over the API server's budget.

/// Rules of the whole spec.
pub const PIPELINE: &[Rule] = &[
    rule(
        "!has(self.sources) || has(self.connect) || self.sources.all(s, !has(s.debezium) && !has(s.connector))",
        "spec.connect is missing, which debezium and connector sources need; add `connect: {url: http://connect:8083}`",
    ),
    rule(
        "!has(self.generators) || self.generators.all(g, g.templates.all(t, !has(t.rows) || t.rows.all(r, has(self.stores) && self.stores.exists(s, s.name == r.store && has(s.postgres)))))",
        "spec.generators: `store` of a row is no postgres store of spec.stores; add it there",
    ),
    rule(
        "!has(self.sources) || self.sources.all(s, !has(s.debezium) || has(self.stores) && self.stores.exists(t, t.name == s.debezium.store && has(t.postgres)))",
        "spec.sources: `debezium.store` is no postgres store of spec.stores; add it there",
    ),
    rule(
        "!has(self.sources) || self.sources.all(s, !has(s.debezium) || has(self.topics) && sets.contains(self.topics.map(t, t.name), s.debezium.tables.map(c, c.topic)))",
        "spec.sources: `topic` of a table is not in spec.topics; add it there",
    ),
    rule(
        "!has(self.sources) || self.sources.all(s, !has(s.sql) || has(self.stores) && self.stores.exists(t, t.name == s.sql.store && has(t.postgres)))",
        "spec.sources: `sql.store` is no postgres store of spec.stores; add it there",
    ),
    rule(
        "!has(self.sources) || self.sources.all(s, !has(s.topic) || has(self.topics) && sets.contains(self.topics.map(t, t.name), [s.topic]))",
        "spec.sources: `topic` is not in spec.topics; add it there",
    ),
    rule(
        "!has(self.transforms) || self.transforms.all(s, has(self.topics) && sets.contains(self.topics.map(t, t.name), s.from + [s.to]))",
        "spec.transforms: `from` or `to` names a topic not in spec.topics; add it there",
    ),
    rule(
        "!has(self.sinks) || self.sinks.all(s, has(self.stores) && self.stores.exists(t, t.name == s.store))",
        "spec.sinks: `store` is not in spec.stores; add it there",
    ),
    rule(
        "!has(self.sinks) || self.sinks.all(s, has(self.topics) && sets.contains(self.topics.map(t, t.name), s.from))",
        "spec.sinks: `from` names a topic not in spec.topics; add it there (`external: true` if it is someone else's)",
    ),
    rule(
        "!has(self.aggregations) || self.aggregations.all(s, has(self.topics) && sets.contains(self.topics.map(t, t.name), s.from))",
        "spec.aggregations: `from` names a topic not in spec.topics; add it there",
    ),
    rule(
        "!has(self.aggregations) || self.aggregations.all(s, s.to.all(o, !has(o.store) || has(self.stores) && self.stores.exists(t, t.name == o.store)))",
        "spec.aggregations: `to[].store` is not in spec.stores; add it there",
    ),
    rule(
        "!has(self.gateway) || self.gateway.endpoints.all(e, has(self.stores) && self.stores.exists(t, t.name == e.store))",
        "spec.gateway.endpoints: `store` is not in spec.stores; add it there",
    ),
];

/// Rules of `spec.kafka`.
pub const KAFKA: &[Rule] = &[rule(
    "!has(self.sasl) || self.sasl.mechanism != 'PLAIN' || has(self.tls)",
    "`sasl.mechanism: PLAIN` without `tls` sends the password in clear; add `tls: {}` or use SCRAM-SHA-512",
)];

/// Rules of a topic.
pub const TOPIC: &[Rule] = &[rule(
    "!(has(self.external) && self.external) || !(has(self.adopt) && self.adopt)",
    "`external` and `adopt` exclude each other; keep `external` to leave the topic alone, `adopt` to take it over",
)];

/// Anything with `min` and `max`.
pub const RANGE: &[Rule] = &[rule("self.min <= self.max", "`min` is above `max`")];

/// Anything with `min` and `max` that may be absent.
pub const OPTIONAL_RANGE: &[Rule] =
    &[rule("!has(self.min) || !has(self.max) || self.min <= self.max", "`min` is above `max`")];

/// Numbers to go through.
pub const ITERATE: &[Rule] = &[rule("self.from <= self.to", "`from` is above `to`; swap them")];

/// The number of rows of an answer.
pub const LIMIT: &[Rule] = &[rule("self.default <= self.max", "`default` is above `max`; lower it")];

/// Rules of a template of a generator.
pub const TEMPLATE: &[Rule] = &[rule(
    "has(self.rows) != has(self.event)",
    "a template makes either `rows` or an `event`; keep exactly one of them",
)];

/// Rules of a row of a template.
pub const ROW: &[Rule] = &[
    rule(
        "[has(self.values), has(self.update), has(self.delete)].filter(x, x).size() == 1",
        "a row needs exactly one of `values` (insert), `update` and `delete`",
    ),
    rule(
        "has(self.values) != has(self.where)",
        "`where` belongs to `update` and `delete`, which need it; an insert (`values`) has none",
    ),
    rule(
        "has(self.values) || !has(self.children)",
        "`children` belong to an inserted row; add `values` or drop them",
    ),
];

/// Rules of a source.
pub const SOURCE: &[Rule] = &[
    rule(
        "[has(self.debezium), has(self.connector), has(self.sql), has(self.http), has(self.csv)].filter(x, x).size() == 1",
        "a source needs exactly one of `debezium`, `connector`, `sql`, `http` and `csv`; split it into several sources",
    ),
    rule(
        "has(self.topic) == (has(self.sql) || has(self.http) || has(self.csv))",
        "`topic` is needed for `sql`, `http` and `csv`, and has no place beside `debezium` (whose tables name theirs) and `connector`",
    ),
    rule(
        "!(has(self.debezium) || has(self.connector)) || (!has(self.key) && !has(self.select))",
        "`key` and `select` have no place beside `debezium` and `connector`; use a transform",
    ),
];

/// Rules of a file of comma-separated values.
pub const CSV: &[Rule] = &[rule(
    "[has(self.configMap), has(self.volumeClaim), has(self.url)].filter(x, x).size() == 1",
    "a csv source needs exactly one of `configMap`, `volumeClaim` and `url`",
)];

/// Rules of a sink.
pub const SINK: &[Rule] = &[rule(
    "has(self.postgres) != has(self.cassandra)",
    "a sink needs exactly one of `postgres` and `cassandra`, as its store is; split it into several sinks",
)];

/// Rules of a sink into PostgreSQL.
pub const POSTGRES_SINK: &[Rule] = &[
    rule(
        "self.mode == 'mirror' || (has(self.table) && has(self.columns))",
        "`append` and `upsert` need `table` and `columns`; add them, or use `mode: mirror` for captured tables",
    ),
    rule("self.mode != 'upsert' || has(self.key)", "`upsert` needs `key`: the columns that identify a row"),
    rule(
        "self.mode != 'append' || !has(self.key)",
        "`append` adds every record; drop `key` or use `mode: upsert`",
    ),
];

/// Rules of an aggregation.
pub const AGGREGATION: &[Rule] = &[rule(
    "!has(self.latestBy) || !has(self.format) || self.format == 'json'",
    "`latestBy` is for `format: json`; rows of a debezium topic have their table's key already, so drop it",
)];

/// Rules of a measure.
pub const MEASURE: &[Rule] = &[rule(
    "[has(self.count), has(self.sum), has(self.avg), has(self.min), has(self.max), has(self.countDistinct)].filter(x, x).size() == 1",
    "a measure needs exactly one of `count`, `sum`, `avg`, `min`, `max` and `countDistinct`",
)];

/// Rules of an output of an aggregation.
pub const OUTPUT: &[Rule] = &[
    rule(
        "[has(self.topic), has(self.redis), has(self.postgres), has(self.cassandra)].filter(x, x).size() == 1",
        "an output needs exactly one of `topic`, `redis`, `postgres` and `cassandra`; add one more entry to `to`",
    ),
    rule(
        "has(self.topic) != has(self.store)",
        "an output into a store needs `store`, an output into a topic has none",
    ),
];

/// Rules of the gateway.
pub const GATEWAY: &[Rule] = &[rule(
    "!has(self.dashboard) || self.dashboard.panels.all(p, self.endpoints.exists(e, e.path == p.endpoint))",
    "`dashboard.panels`: `endpoint` is the path of no endpoint; add it or correct the path",
)];

/// Rules of an endpoint.
pub const ENDPOINT: &[Rule] = &[rule(
    "has(self.query) != has(self.redis)",
    "an endpoint needs exactly one of `query` and `redis`, as its store is",
)];
