//! `spec.transforms`, and what they share with aggregations: how a topic is read.

use super::Report;
use super::expressions::{RECORD, ROW};
use crate::manifest::field;
use crate::pipeline::PipelineSpec;
use crate::pipeline::source::{CapturedTable, Debezium, SourceKind};
use crate::pipeline::transform::Format;

pub(super) fn check(report: &mut Report<'_>) {
    let spec = report.spec;
    report.unique(spec.transforms.iter().map(|transform| transform.name.as_str()), "spec.transforms", "name");
    for (index, transform) in spec.transforms.iter().enumerate() {
        let path = format!("spec.transforms[{index}]");
        report.inputs(&transform.from, &path);
        report.topic(&transform.to, &format!("{path}.to"));
        let rows = rows(&transform.from, transform.format, spec);
        if rows.is_none() {
            report.add(
                format!("{path}.from"),
                "mixes topics of Debezium sources with others",
                "split the transform, or write `format: json` to read change events as they are",
            );
        }
        let record: Vec<&str> = if rows == Some(true) { [RECORD, ROW].concat() } else { RECORD.to_vec() };
        let variables = report.steps(transform.explode.as_ref(), &transform.lookups, &path, &record);
        report.optional_expression(transform.filter.as_ref(), &format!("{path}.where"), &variables);
        report.optional_expression(transform.key.as_ref(), &format!("{path}.key"), &variables);
        for (name, text) in &transform.select {
            report.expression(text, &field(&format!("{path}.select"), name), &variables);
        }
        if let Some(workers) = &transform.workers {
            report.workers(workers, &format!("{path}.workers"));
        }
    }
}

/// Whether topics are read as rows; nothing when that cannot be told.
fn rows(from: &[String], format: Option<Format>, spec: &PipelineSpec) -> Option<bool> {
    if let Some(format) = format {
        return Some(format == Format::Debezium);
    }
    let captured = from.iter().filter(|topic| !captures(spec, topic).is_empty()).count();
    match captured {
        0 => Some(false),
        all if all == from.len() => Some(true),
        _ => None,
    }
}

/// The tables whose changes go to a topic, each with the Debezium source that captures it.
pub(super) fn captures<'a>(spec: &'a PipelineSpec, topic: &str) -> Vec<(&'a Debezium, &'a CapturedTable)> {
    let debezium = spec.sources.iter().filter_map(|source| match source.kind() {
        Some(SourceKind::Debezium(debezium)) => Some(debezium),
        _ => None,
    });
    debezium
        .flat_map(|debezium| debezium.tables.iter().map(move |table| (debezium, table)))
        .filter(|(_, table)| table.topic == topic)
        .collect()
}
