//! What the API has and this version does not.

use crate::expression::Expression;
use crate::pipeline::PipelineSpec;
use crate::pipeline::aggregation::{Aggregation, MeasureKind, OutputKind, RedisLayout, WindowKind};
use crate::pipeline::generator::TemplateKind;
use crate::pipeline::sink::{Sink, SinkKind, WriteMode};
use crate::pipeline::source::SourceKind;
use crate::pipeline::store::StoreKind;
use crate::pipeline::workers::Workers;
use crate::problem::{Problem, Spot};

/// What runs the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Child processes of `acequia run`: nothing that says how pods are can be carried out.
    Machine,
    /// Deployments.
    Cluster,
}

/// Every field that asks for what this version does not have there.
pub fn not_available(spec: &PipelineSpec, place: Place) -> Vec<Problem> {
    let mut missing = Missing { problems: Vec::new(), place };
    stores(spec, &mut missing);
    generators(spec, &mut missing);
    sources(spec, &mut missing);
    for (index, transform) in spec.transforms.iter().enumerate() {
        missing.field(format!("spec.transforms[{index}]"), &format!("the transform `{}`", transform.name));
    }
    for (index, sink) in spec.sinks.iter().enumerate() {
        let path = format!("spec.sinks[{index}]");
        self::sink(sink, &path, &mut missing);
        mirror(spec, sink, &path, &mut missing);
    }
    for (index, aggregation) in spec.aggregations.iter().enumerate() {
        self::aggregation(aggregation, &format!("spec.aggregations[{index}]"), &mut missing);
    }
    if spec.gateway.is_some() {
        missing.field("spec.gateway".to_owned(), "the gateway");
    }
    if let Some(workers) = &spec.workers {
        self::workers(workers, "spec.workers", &mut missing);
    }
    missing.problems
}

struct Missing {
    problems: Vec<Problem>,
    place: Place,
}

impl Missing {
    fn field(&mut self, path: String, what: &str) {
        let problem = Problem::new(path, format!("{what} is not available in this version"), "remove it");
        self.problems.push(problem.at(Spot::Key));
    }
}

fn stores(spec: &PipelineSpec, missing: &mut Missing) {
    for (index, store) in spec.stores.iter().enumerate() {
        if let Some(StoreKind::Cassandra(_)) = store.kind() {
            missing.field(format!("spec.stores[{index}].cassandra"), "`cassandra`");
        }
    }
}

fn generators(spec: &PipelineSpec, missing: &mut Missing) {
    for (index, generator) in spec.generators.iter().enumerate() {
        let path = format!("spec.generators[{index}]");
        for (index, template) in generator.templates.iter().enumerate() {
            if let Some(TemplateKind::Event(_)) = template.kind() {
                missing.field(format!("{path}.templates[{index}].event"), "`event`");
            }
        }
        if let Some(workers) = &generator.workers {
            self::workers(workers, &format!("{path}.workers"), missing);
        }
    }
}

fn sources(spec: &PipelineSpec, missing: &mut Missing) {
    for (index, source) in spec.sources.iter().enumerate() {
        let path = format!("spec.sources[{index}]");
        match source.kind() {
            Some(SourceKind::Debezium(_)) | None => {}
            Some(other) => {
                missing.field(format!("{path}.{}", other.field()), &format!("`{}`", other.field()));
            }
        }
    }
}

fn sink(sink: &Sink, path: &str, missing: &mut Missing) {
    if sink.explode.is_some() {
        missing.field(format!("{path}.explode"), "`explode`");
    }
    match sink.kind() {
        Some(SinkKind::Postgres(postgres)) if postgres.mode == WriteMode::Upsert => {
            missing.field(format!("{path}.postgres.mode"), "`upsert`");
        }
        Some(SinkKind::Cassandra(_)) => missing.field(format!("{path}.cassandra"), "`cassandra`"),
        _ => {}
    }
    if let Some(workers) = &sink.workers {
        self::workers(workers, &format!("{path}.workers"), missing);
    }
}

/// A mirror takes its rows as they are.
fn mirror(spec: &PipelineSpec, sink: &Sink, path: &str, missing: &mut Missing) {
    let Some(SinkKind::Postgres(postgres)) = sink.kind() else { return };
    if postgres.mode != WriteMode::Mirror {
        return;
    }
    let captured = spec.sources.iter().filter_map(|source| source.debezium.as_ref());
    let mut tables = captured.flat_map(|debezium| &debezium.tables);
    if !postgres.columns.is_empty() && tables.any(|table| sink.from.contains(&table.topic)) {
        let what = "`columns` in a `mirror` of a captured table";
        missing.field(format!("{path}.postgres.columns"), what);
        return;
    }
    for (index, column) in postgres.columns.iter().enumerate() {
        let path = format!("{path}.postgres.columns[{index}]");
        if column.value.is_some() {
            missing.field(format!("{path}.value"), "`value` in a `mirror`");
        }
        if column.optional {
            missing.field(format!("{path}.optional"), "`optional` in a `mirror`");
        }
    }
}

fn aggregation(aggregation: &Aggregation, path: &str, missing: &mut Missing) {
    match aggregation.window.kind() {
        Some(WindowKind::Hopping(_)) => missing.field(format!("{path}.window.hopping"), "`hopping`"),
        Some(WindowKind::Session(_)) => missing.field(format!("{path}.window.session"), "`session`"),
        _ => {}
    }
    for (index, measure) in aggregation.measures.iter().enumerate() {
        if let Some(MeasureKind::CountDistinct(_)) = measure.kind() {
            missing.field(format!("{path}.measures[{index}].countDistinct"), "`countDistinct`");
        }
    }
    for (index, output) in aggregation.to.iter().enumerate() {
        let path = format!("{path}.to[{index}]");
        match output.kind() {
            Some(OutputKind::Redis(redis)) if redis.layout == RedisLayout::SortedSet => {
                missing.field(format!("{path}.redis.as"), "`sortedSet`");
            }
            Some(OutputKind::Postgres(table)) if !table.columns.is_empty() => {
                missing.field(format!("{path}.postgres.columns"), "`columns` of a table of windows");
            }
            Some(OutputKind::Cassandra(_)) => missing.field(format!("{path}.cassandra"), "`cassandra`"),
            _ => {}
        }
    }
    for (path, text) in expressions(aggregation, path) {
        let parsed = Expression::parse(text);
        if parsed.is_ok_and(|one| one.variables().iter().any(|variable| variable.name == "headers")) {
            missing.field(path, "`headers` in an aggregation");
        }
    }
    if let Some(workers) = &aggregation.workers {
        self::workers(workers, &format!("{path}.workers"), missing);
    }
}

/// Every expression over a record, with its path.
fn expressions<'a>(aggregation: &'a Aggregation, path: &str) -> Vec<(String, &'a str)> {
    let mut found = Vec::new();
    let mut add = |field: String, text: Option<&'a str>| {
        found.extend(text.map(|text| (format!("{path}.{field}"), text)));
    };
    add("latestBy".to_owned(), aggregation.latest_by.as_deref());
    add("explode.value".to_owned(), aggregation.explode.as_ref().map(|explode| explode.value.as_str()));
    add("eventTime".to_owned(), aggregation.event_time.as_deref());
    add("where".to_owned(), aggregation.filter.as_deref());
    for (index, lookup) in aggregation.lookups.iter().enumerate() {
        add(format!("lookups[{index}].match"), Some(&lookup.key));
    }
    for (index, group) in aggregation.group_by.iter().enumerate() {
        add(format!("groupBy[{index}].value"), Some(&group.value));
    }
    for (index, measure) in aggregation.measures.iter().enumerate() {
        let field = format!("measures[{index}]");
        add(format!("{field}.where"), measure.filter.as_deref());
        add(format!("{field}.today"), measure.today.as_deref());
        let texts =
            [("sum", &measure.sum), ("avg", &measure.avg), ("min", &measure.min), ("max", &measure.max)];
        for (kind, text) in texts {
            add(format!("{field}.{kind}"), text.as_deref());
        }
    }
    found
}

fn workers(workers: &Workers, path: &str, missing: &mut Missing) {
    let cluster = [
        ("image", workers.image.is_some()),
        ("resources", workers.resources.is_some()),
        ("nodeSelector", !workers.node_selector.is_empty()),
        ("tolerations", !workers.tolerations.is_empty()),
    ];
    if missing.place == Place::Machine {
        for (field, _) in cluster.iter().filter(|(_, there)| *there) {
            missing.field(format!("{path}.{field}"), &format!("`{field}`, which is for clusters,"));
        }
    }
    if let Some(replicas) = &workers.replicas {
        if replicas.min != replicas.max {
            missing.field(format!("{path}.replicas"), "autoscaling (`min` below `max`)");
        } else if replicas.target_lag.is_some() {
            missing.field(format!("{path}.replicas.targetLag"), "`targetLag`");
        }
    }
}
