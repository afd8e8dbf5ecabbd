//! What the API has and this version does not.

use crate::pipeline::PipelineSpec;
use crate::pipeline::generator::TemplateKind;
use crate::pipeline::sink::{Sink, SinkKind, WriteMode};
use crate::pipeline::source::SourceKind;
use crate::pipeline::store::StoreKind;
use crate::pipeline::workers::Workers;
use crate::problem::{Problem, Spot};

/// Every field that asks for what this version does not have.
pub fn not_available(spec: &PipelineSpec) -> Vec<Problem> {
    let mut missing = Missing(Vec::new());
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
        missing
            .field(format!("spec.aggregations[{index}]"), &format!("the aggregation `{}`", aggregation.name));
    }
    if spec.gateway.is_some() {
        missing.field("spec.gateway".to_owned(), "the gateway");
    }
    if let Some(workers) = &spec.workers {
        self::workers(workers, "spec.workers", &mut missing);
    }
    missing.0
}

struct Missing(Vec<Problem>);

impl Missing {
    fn field(&mut self, path: String, what: &str) {
        let problem = Problem::new(path, format!("{what} is not available in this version"), "remove it");
        self.0.push(problem.at(Spot::Key));
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

fn workers(workers: &Workers, path: &str, missing: &mut Missing) {
    let cluster = [
        ("image", workers.image.is_some()),
        ("resources", workers.resources.is_some()),
        ("nodeSelector", !workers.node_selector.is_empty()),
        ("tolerations", !workers.tolerations.is_empty()),
    ];
    for (field, _) in cluster.iter().filter(|(_, there)| *there) {
        missing.field(format!("{path}.{field}"), &format!("`{field}`, which is for clusters,"));
    }
    if let Some(replicas) = &workers.replicas {
        if replicas.min != replicas.max {
            missing.field(format!("{path}.replicas"), "autoscaling (`min` below `max`)");
        } else if replicas.target_lag.is_some() {
            missing.field(format!("{path}.replicas.targetLag"), "`targetLag`");
        }
    }
}
