//! What only the whole shows: cycles, and two writers of one thing.

use std::collections::BTreeMap;

use super::Report;
use super::transforms::captures;
use crate::pipeline::PipelineSpec;
use crate::pipeline::aggregation::OutputKind;
use crate::pipeline::generator::TemplateKind;
use crate::pipeline::sink::{SinkKind, WriteMode};
use crate::pipeline::source::SourceKind;
use crate::pipeline::store::{Store, StoreKind};

pub(super) fn check(report: &mut Report<'_>) {
    cycles(report);
    change_topics(report);
    outputs(report);
}

/// An edge from topic to topic, and the field that makes it.
struct Edge<'a> {
    from: &'a [String],
    to: &'a str,
    path: String,
}

fn edges(spec: &PipelineSpec) -> Vec<Edge<'_>> {
    let transforms = spec.transforms.iter().enumerate().map(|(index, transform)| Edge {
        from: &transform.from,
        to: &transform.to,
        path: format!("spec.transforms[{index}].to"),
    });
    let aggregations = spec.aggregations.iter().enumerate().flat_map(|(index, aggregation)| {
        aggregation.to.iter().enumerate().filter_map(move |(output, to)| {
            let topic = to.topic.as_deref()?;
            Some(Edge {
                from: &aggregation.from,
                to: topic,
                path: format!("spec.aggregations[{index}].to[{output}].topic"),
            })
        })
    });
    transforms.chain(aggregations).collect()
}

fn cycles(report: &mut Report<'_>) {
    let edges = edges(report.spec);
    for edge in &edges {
        if let Some(way) = way_back(edge, &edges) {
            let fix = "write to another topic";
            report.add(&edge.path, format!("records would go round for ever: {}", way.join(" → ")), fix);
            return;
        }
    }
}

/// The topics on the shortest way from where an edge ends to where it begins.
fn way_back<'a>(edge: &Edge<'a>, edges: &[Edge<'a>]) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![edge.to]];
    let mut seen = vec![edge.to];
    let mut next = 0;
    while let Some(way) = ways.get(next).cloned() {
        next += 1;
        let last = way.last().copied().unwrap_or_default();
        if edge.from.iter().any(|topic| topic == last) {
            return Some([vec![last], way].concat());
        }
        for following in edges.iter().filter(|other| other.from.iter().any(|topic| topic == last)) {
            if !seen.contains(&following.to) {
                seen.push(following.to);
                ways.push([way.clone(), vec![following.to]].concat());
            }
        }
    }
    None
}

/// A topic with the changes of a table holds nothing else: readers take it for that table.
fn change_topics(report: &mut Report<'_>) {
    let spec = report.spec;
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (index, source) in spec.sources.iter().enumerate() {
        let Some(SourceKind::Debezium(debezium)) = source.kind() else { continue };
        for (table, captured) in debezium.tables.iter().enumerate() {
            if let Some(other) = taken.insert(&captured.topic, &captured.table) {
                let message = format!("`{}` carries the changes of `{other}` already", captured.topic);
                let path = format!("spec.sources[{index}].debezium.tables[{table}].topic");
                report.add(path, message, "give each table a topic of its own");
            }
        }
    }
    for (path, topic) in other_writers(spec) {
        if let Some((_, captured)) = captures(spec, topic).first() {
            let message = format!("`{topic}` carries the changes of `{}`", captured.table);
            report.add(path, message, "write to another topic");
        }
    }
}

fn other_writers(spec: &PipelineSpec) -> Vec<(String, &str)> {
    let sources = spec.sources.iter().enumerate().filter_map(|(index, source)| {
        Some((format!("spec.sources[{index}].topic"), source.topic.as_deref()?))
    });
    let generators = spec.generators.iter().enumerate().flat_map(|(index, generator)| {
        generator.templates.iter().enumerate().filter_map(move |(template, made)| match made.kind() {
            Some(TemplateKind::Event(event)) => Some((
                format!("spec.generators[{index}].templates[{template}].event.topic"),
                event.topic.as_str(),
            )),
            _ => None,
        })
    });
    let edges = edges(spec).into_iter().map(|edge| (edge.path, edge.to));
    sources.chain(generators).chain(edges).collect()
}

/// One writer for each table and each key.
fn outputs(report: &mut Report<'_>) {
    let spec = report.spec;
    let mut written: BTreeMap<(String, String), String> = BTreeMap::new();
    for (path, place, name) in tables(spec).into_iter().chain(aggregated(spec)) {
        if let Some(other) = written.get(&(place.clone(), name.clone())) {
            let message = format!("`{name}` is written by {other} already");
            report.add(path, message, "give each writer an output of its own");
        } else {
            let stage = path
                .rsplit_once(".to[")
                .or_else(|| path.split_once(".postgres"))
                .or_else(|| path.split_once(".cassandra"));
            written.insert((place, name), stage.map_or(path.as_str(), |(stage, _)| stage).to_owned());
        }
    }
}

/// The tables that sinks write: path, database, table.
fn tables(spec: &PipelineSpec) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (index, sink) in spec.sinks.iter().enumerate() {
        let place = place(spec, &sink.store);
        let path = format!("spec.sinks[{index}]");
        match sink.kind() {
            Some(SinkKind::Postgres(postgres)) => {
                if let Some(table) = &postgres.table {
                    found.push((format!("{path}.postgres.table"), place, table.clone()));
                } else if postgres.mode == WriteMode::Mirror {
                    for topic in &sink.from {
                        let captured = captures(spec, topic);
                        let tables =
                            captured.iter().filter_map(|(_, captured)| captured.table.rsplit('.').next());
                        // Two topics of one sink have a message of their own.
                        let new = tables.filter(|table| {
                            !found.iter().any(|(other, _, name)| *other == path && name == table)
                        });
                        let new: Vec<_> =
                            new.map(|table| (path.clone(), place.clone(), table.to_owned())).collect();
                        found.extend(new);
                    }
                }
            }
            Some(SinkKind::Cassandra(cassandra)) => {
                found.push((format!("{path}.cassandra.table"), place, cassandra.table.clone()));
            }
            None => {}
        }
    }
    found
}

/// The tables, keys and topics that aggregations write: path, place, name. Values in a topic have window and group as
/// their key, so those of two aggregations would replace each other.
fn aggregated(spec: &PipelineSpec) -> Vec<(String, String, String)> {
    let outputs = spec.aggregations.iter().enumerate().flat_map(|(index, aggregation)| {
        aggregation
            .to
            .iter()
            .enumerate()
            .map(move |(output, to)| (format!("spec.aggregations[{index}].to[{output}]"), to))
    });
    outputs
        .filter_map(|(path, output)| {
            let place = || Some(place(spec, output.store.as_deref()?));
            match output.kind()? {
                OutputKind::Redis(redis) => Some((format!("{path}.redis.key"), place()?, redis.key.clone())),
                OutputKind::Postgres(table) => {
                    Some((format!("{path}.postgres.table"), place()?, table.table.clone()))
                }
                OutputKind::Cassandra(table) => {
                    Some((format!("{path}.cassandra.table"), place()?, table.table.clone()))
                }
                OutputKind::Topic(topic) => {
                    Some((format!("{path}.topic"), "topics".to_owned(), topic.to_owned()))
                }
            }
        })
        .collect()
}

/// What a store reaches: two stores may reach the same database.
fn place(spec: &PipelineSpec, store: &str) -> String {
    match spec.store(store).and_then(Store::kind) {
        Some(StoreKind::Postgres(postgres)) => {
            format!("postgres {}:{}/{}", postgres.host, postgres.port, postgres.database)
        }
        Some(StoreKind::Redis(redis)) => format!("redis {}", redis.address),
        Some(StoreKind::Cassandra(cassandra)) => {
            format!("cassandra {}/{}", cassandra.contact_points.concat(), cassandra.keyspace)
        }
        None => format!("store {store}"),
    }
}
