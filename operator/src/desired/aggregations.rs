//! Aggregations: what their workers are told, and the topics that hold their state.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::incarnation::incarnation;
use acequia_crds::names::{AggregationNames, StageId, StageKind};
use acequia_crds::pipeline::aggregation::{Aggregation, WindowKind};
use acequia_crds::pipeline::store::Store;
use acequia_crds::pipeline::transform::Format;
use acequia_crds::pipeline::workers::Workers;
use acequia_crds::problem::Problem;
use acequia_crds::stage::{AggregationWork, Work};

use super::Context;
use super::stages::{Entry, Parts, kafka_secrets, secrets_of, workers};
use crate::model::desired::{DeletionPolicy, DesiredTopic, Hold, Reads, Role};

/// Partitions of partial values and state where there are groups; without them everything is one group.
const PARTIALS_PARTITIONS: u32 = 4;
/// How long partial values, late records and dead letters are kept: 7 days.
const KEPT_MS: &str = "604800000";
/// Bytes of state after which a stage pauses: 1 GiB.
const STATE_LIMIT_BYTES: u64 = 1 << 30;
/// Settings of a changelog: read whole at each start, so it is compacted soon and in small pieces.
const CHANGELOG: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("max.compaction.lag.ms", "600000"),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("segment.bytes", "16777216"),
    ("segment.ms", "600000"),
];
/// Settings of partial values. The broker's time in them is what versions of values and idleness are judged by.
const PARTIALS: &[(&str, &str)] =
    &[("cleanup.policy", "delete"), ("message.timestamp.type", "LogAppendTime"), ("retention.ms", KEPT_MS)];
/// Settings of records put aside.
const ASIDE: &[(&str, &str)] = &[("cleanup.policy", "delete"), ("retention.ms", KEPT_MS)];

pub(super) fn stages(context: &Context<'_>, problems: &mut Vec<Problem>) -> Vec<Entry> {
    resolved(context).filter_map(|one| one.stage(context, problems)).collect()
}

pub(super) fn topics(context: &Context<'_>) -> Vec<(String, DesiredTopic)> {
    resolved(context).flat_map(|one| one.topics(context)).collect()
}

/// Whether it reads topics as tables, so that it remembers what each row contributed.
pub(super) const fn is_of_tables(aggregation: &Aggregation) -> bool {
    matches!(aggregation.format, Format::Debezium) || aggregation.latest_by.is_some()
}

/// An aggregation with everything in it resolved.
struct Resolved<'a> {
    /// Where it stands in the manifest.
    field: String,
    id: StageId,
    /// As the worker is told.
    spec: Aggregation,
    workers: Option<&'a Workers>,
    incarnation: String,
    names: AggregationNames,
}

fn resolved<'a>(context: &'a Context<'_>) -> impl Iterator<Item = Resolved<'a>> {
    let captured: BTreeSet<&str> = context
        .spec
        .sources
        .iter()
        .filter_map(|source| source.debezium.as_ref())
        .flat_map(|debezium| debezium.tables.iter().map(|table| table.topic.as_str()))
        .collect();
    context.spec.aggregations.iter().enumerate().map(move |(index, written)| {
        let mut spec = Aggregation { workers: None, ..written.clone() };
        for lookup in &mut spec.lookups {
            let is_captured = captured.contains(lookup.topic.as_str());
            lookup.format.get_or_insert(if is_captured { Format::Debezium } else { Format::Json });
        }
        let incarnation = incarnation(&spec);
        Resolved {
            field: format!("spec.aggregations[{index}]"),
            id: StageId::new(StageKind::Aggregation, &spec.name),
            names: context.identity.aggregation(&spec.name, &incarnation),
            spec,
            workers: written.workers.as_ref(),
            incarnation,
        }
    })
}

impl Resolved<'_> {
    fn stage(&self, context: &Context<'_>, problems: &mut Vec<Problem>) -> Option<Entry> {
        let names = self.spec.to.iter().filter_map(|output| output.store.as_deref());
        // A name that is no store was said to be wrong before.
        let stores: BTreeMap<String, Store> =
            names.filter_map(|name| Some((name.to_owned(), context.stores.get(name)?.clone()))).collect();
        let mut secrets = kafka_secrets(&context.kafka);
        secrets.extend(stores.values().flat_map(secrets_of));
        let reads = [
            (&self.names.combine_group, self.spec.from.as_slice()),
            (&self.names.merge_group, std::slice::from_ref(&self.names.partials_topic)),
        ];
        let reads = reads
            .map(|(group, topics)| Reads { group: group.clone(), topics: topics.iter().cloned().collect() });
        let parts = Parts {
            kind: StageKind::Aggregation,
            name: &self.spec.name,
            work: Work::Aggregation(self.work(stores)),
            role: Role::Aggregator,
            workers: workers(context, self.workers),
            secrets,
            reads: reads.into(),
        };
        parts.stage(context, &self.field, problems)
    }

    fn work(&self, stores: BTreeMap<String, Store>) -> AggregationWork {
        let names = self.names.clone();
        AggregationWork {
            aggregation: self.spec.clone(),
            incarnation: self.incarnation.clone(),
            combine_group: names.combine_group,
            merge_group: names.merge_group,
            partials_topic: names.partials_topic,
            state_topic: names.state_topic,
            rows_topic: is_of_tables(&self.spec).then_some(names.rows_topic),
            late_topic: self.has_an_end().then_some(names.late_topic),
            dead_letter_topic: names.dead_letter_topic,
            stores,
            state_limit_bytes: STATE_LIMIT_BYTES,
        }
    }

    /// A window that never ends is never missed.
    fn has_an_end(&self) -> bool {
        self.spec.window.kind() != Some(WindowKind::Global)
    }

    fn topics(&self, context: &Context<'_>) -> Vec<(String, DesiredTopic)> {
        let names = &self.names;
        let groups = if self.spec.group_by.is_empty() { 1 } else { PARTIALS_PARTITIONS };
        let partials = DesiredTopic {
            groups: [&names.combine_group, &names.merge_group].into_iter().cloned().collect(),
            ..self.topic("partials", Some(groups), PARTIALS)
        };
        let mut topics = vec![
            (names.partials_topic.clone(), partials),
            (names.state_topic.clone(), self.topic("state", Some(groups), CHANGELOG)),
            (names.dead_letter_topic.clone(), self.topic("dead letter", Some(1), ASIDE)),
        ];
        if is_of_tables(&self.spec) {
            // A row is remembered in the partition of the number that its record was in, so new ones move nothing.
            let rows = self.topic("rows", largest_input(context, &self.spec.from), CHANGELOG);
            topics.push((names.rows_topic.clone(), DesiredTopic { keyed: false, ..rows }));
        }
        if self.has_an_end() {
            topics.push((names.late_topic.clone(), self.topic("late record", Some(1), ASIDE)));
        }
        topics
    }

    fn topic(&self, what: &str, partitions: Option<u32>, config: &[(&str, &str)]) -> DesiredTopic {
        DesiredTopic {
            field: format!("{} ({what} topic)", self.field),
            partitions,
            replication_factor: None,
            config: config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            deletion_policy: DeletionPolicy::Delete,
            hold: Hold::Own,
            keyed: true,
            allow_rekey: false,
            stage: Some(self.id.clone()),
            groups: BTreeSet::new(),
        }
    }
}

/// Partitions of the largest topic that is read; None: somebody else's is among them.
fn largest_input(context: &Context<'_>, from: &[String]) -> Option<u32> {
    from.iter().try_fold(1, |largest: u32, name| {
        let topic = context.spec.topic(name).filter(|topic| !topic.external)?;
        Some(largest.max(u32::try_from(topic.partitions).ok()?))
    })
}
