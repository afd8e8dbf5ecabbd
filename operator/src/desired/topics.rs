//! Topics of the manifest, and those that Acequia needs beside them.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::names::INTERNAL_PREFIX;
use acequia_crds::pipeline::topic::Topic;
use acequia_crds::problem::Problem;

use super::{Context, aggregations};
use crate::model::desired::{DeletionPolicy, DesiredTopic, Hold};

/// How long heartbeats are kept: nobody reads them, they only move a slot on.
const HEARTBEAT_RETENTION_MS: &str = "3600000";

pub(super) fn topics(context: &Context<'_>, problems: &mut Vec<Problem>) -> BTreeMap<String, DesiredTopic> {
    let keyed = keyed(context);
    let mut topics = BTreeMap::new();
    for (index, topic) in context.spec.topics.iter().enumerate() {
        let field = format!("spec.topics[{index}]");
        if topic.name.starts_with(INTERNAL_PREFIX) {
            problems.push(Problem::new(
                format!("{field}.name"),
                format!("names that begin with `{INTERNAL_PREFIX}` are Acequia's own"),
                "choose another name",
            ));
        }
        let is_keyed = keyed.contains(topic.name.as_str());
        topics.insert(topic.name.clone(), of_the_manifest(context, field, topic, is_keyed));
    }
    topics.extend(heartbeats(context));
    topics.extend(aggregations::topics(context));
    topics
}

fn of_the_manifest(context: &Context<'_>, field: String, topic: &Topic, keyed: bool) -> DesiredTopic {
    let hold = match (topic.external, topic.adopt) {
        (true, _) => Hold::External,
        (false, true) => Hold::Adopt,
        (false, false) => Hold::Own,
    };
    DesiredTopic {
        field,
        partitions: u32::try_from(topic.partitions).ok(),
        replication_factor: topic.replication_factor.and_then(|factor| u32::try_from(factor).ok()),
        config: topic.config.iter().map(|(key, value)| (key.clone(), value.to_text())).collect(),
        deletion_policy: topic.deletion_policy.unwrap_or(context.spec.deletion_policy).into(),
        hold,
        keyed,
        allow_rekey: topic.allow_rekey,
        stage: None,
        groups: BTreeSet::new(),
    }
}

/// Topics whose records have keys.
fn keyed<'a>(context: &Context<'a>) -> BTreeSet<&'a str> {
    let spec = context.spec;
    let captured = spec.sources.iter().filter_map(|source| source.debezium.as_ref());
    let captured = captured.flat_map(|debezium| debezium.tables.iter().map(|table| table.topic.as_str()));
    let polled = spec.sources.iter().filter(|source| source.key.is_some());
    let events = spec.generators.iter().flat_map(|generator| &generator.templates);
    let events = events.filter_map(|template| template.event.as_ref()).filter(|event| event.key.is_some());
    let aggregations = || spec.aggregations.iter();
    // A table counts the latest record of each key, so a key must stay where its records are.
    let tables = aggregations().filter(|aggregation| aggregations::is_of_tables(aggregation));
    let written = aggregations().flat_map(|aggregation| &aggregation.to);
    captured
        .chain(tables.flat_map(|aggregation| aggregation.from.iter().map(String::as_str)))
        .chain(written.filter_map(|output| output.topic.as_deref()))
        .chain(polled.filter_map(|source| source.topic.as_deref()))
        .chain(events.map(|event| event.topic.as_str()))
        .collect()
}

/// One topic a Debezium source, so that its connector needs no right to create any.
fn heartbeats<'a>(context: &'a Context<'_>) -> impl Iterator<Item = (String, DesiredTopic)> + 'a {
    context.spec.sources.iter().enumerate().filter(|(_, source)| source.debezium.is_some()).map(
        |(index, source)| {
            let topic = DesiredTopic {
                field: format!("spec.sources[{index}].debezium (heartbeat topic)"),
                partitions: Some(1),
                replication_factor: None,
                config: BTreeMap::from([("retention.ms".to_owned(), HEARTBEAT_RETENTION_MS.to_owned())]),
                deletion_policy: DeletionPolicy::Delete,
                hold: Hold::Own,
                keyed: true,
                allow_rekey: false,
                stage: None,
                groups: BTreeSet::new(),
            };
            (context.identity.heartbeat_topic(&source.name), topic)
        },
    )
}
