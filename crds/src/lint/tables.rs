//! Topics that an aggregation reads as tables: for each key only the latest record counts, so all records of one key
//! have to be in one partition.

use super::Report;
use crate::pipeline::PipelineSpec;
use crate::pipeline::aggregation::Aggregation;
use crate::pipeline::generator::TemplateKind;
use crate::pipeline::transform::Format;

pub(super) fn check(aggregation: &Aggregation, path: &str, report: &mut Report<'_>) {
    let spec = report.spec;
    for (index, topic) in aggregation.from.iter().enumerate() {
        let path = format!("{path}.from[{index}]");
        let writers = writers(spec, topic);
        if aggregation.format == Format::Debezium {
            if let Some(writer) = writers.first() {
                let message = format!("`{topic}` holds no changes of a table: {} writes it", writer.name);
                report.add(path, message, "write `format: json`, or capture a table");
            }
        } else if aggregation.latest_by.is_some()
            && spec.topic(topic).is_some_and(|topic| topic.partitions > 1)
            && let Some(writer) = writers.iter().find(|writer| !writer.keyed)
        {
            let message = format!(
                "`latestBy` needs all records of one value in one partition, but {} gives `{topic}` no keys",
                writer.name
            );
            report.add(path, message, "add `key` there");
        }
    }
}

/// A stage that writes plain records to a topic.
struct Writer {
    /// What it is called in messages.
    name: String,
    /// It gives its records keys.
    keyed: bool,
}

fn writers(spec: &PipelineSpec, topic: &str) -> Vec<Writer> {
    let sources = spec.sources.iter().filter(|source| source.topic.as_deref() == Some(topic));
    let sources = sources
        .map(|source| Writer { name: format!("the source `{}`", source.name), keyed: source.key.is_some() });
    let events = spec.generators.iter().flat_map(|generator| {
        let templates = generator.templates.iter().filter_map(|template| match template.kind() {
            Some(TemplateKind::Event(event)) => Some(event),
            _ => None,
        });
        templates.filter(|event| event.topic == topic).map(|event| Writer {
            name: format!("the generator `{}`", generator.name),
            keyed: event.key.is_some(),
        })
    });
    sources.chain(events).collect()
}
