//! `spec.generators`.

use std::collections::BTreeMap;

use super::{Report, fields};
use crate::pipeline::generator::{
    EventTemplate, FieldValue, Generator, RowKind, RowTemplate, Template, TemplateKind,
};
use crate::pipeline::text;

pub(super) fn check(report: &mut Report<'_>) {
    let generators = &report.spec.generators;
    report.unique(generators.iter().map(|generator| generator.name.as_str()), "spec.generators", "name");
    for (index, generator) in generators.iter().enumerate() {
        one(generator, &format!("spec.generators[{index}]"), report);
    }
}

fn one(generator: &Generator, path: &str, report: &mut Report<'_>) {
    report.positive(generator.interval, &format!("{path}.interval"));
    let names = generator.templates.iter().map(|template| template.name.as_str());
    report.unique(names, &format!("{path}.templates"), "name");
    for (index, template) in generator.templates.iter().enumerate() {
        self::template(template, &format!("{path}.templates[{index}]"), report);
    }
    if let Some(workers) = &generator.workers {
        report.workers(workers, &format!("{path}.workers"));
    }
}

fn template(template: &Template, path: &str, report: &mut Report<'_>) {
    match template.kind() {
        Some(TemplateKind::Rows(rows)) => {
            for (index, row) in rows.iter().enumerate() {
                self::row(row, &format!("{path}.rows[{index}]"), report);
            }
        }
        Some(TemplateKind::Event(event)) => self::event(event, &format!("{path}.event"), report),
        None if template.event.is_some() => {
            report.add(path, "has `rows` and `event` at once", "split it into two templates");
        }
        None => report.add(path, "makes nothing", "add `rows` or an `event`"),
    }
}

fn row(row: &RowTemplate, path: &str, report: &mut Report<'_>) {
    report.postgres(&row.store, &format!("{path}.store"), "generated rows go into postgres stores");
    let (matching, sets) = match row.kind() {
        Some(RowKind::Insert { values, children }) => {
            if !row.matching.is_empty() {
                let fix = "remove it, or replace `values` by `update` or `delete`";
                report.add_key(format!("{path}.where"), "has no meaning for an insert (`values`)", fix);
            }
            columns(values, &format!("{path}.values"), report);
            for (index, child) in children.iter().enumerate() {
                let path = format!("{path}.children[{index}]");
                report.range(child.count.min, child.count.max, &format!("{path}.count"));
                columns(&child.values, &format!("{path}.values"), report);
            }
            return;
        }
        Some(RowKind::Update { set, matching }) => (matching, Some(set)),
        Some(RowKind::Delete { matching }) => (matching, None),
        None => {
            let there = [row.values.is_some(), row.update.is_some(), row.delete.is_some()];
            let several = there.iter().filter(|there| **there).count() > 1;
            let message =
                if several { "has several of `values`, `update` and `delete`" } else { "does nothing" };
            report.add(path, message, "write exactly one of `values` (insert), `update` and `delete`");
            return;
        }
    };
    if matching.is_empty() {
        let fix = "add `where`, for example `where: {id: {existing: {table: orders, column: id}}}`";
        report.add(path, "does not say which rows", fix);
    }
    if !row.children.is_empty() {
        let fix = "remove them, or insert a row with `values`";
        report.add_key(format!("{path}.children"), "belong to an inserted row", fix);
    }
    columns(matching, &format!("{path}.where"), report);
    if let Some(set) = sets {
        columns(set, &format!("{path}.update"), report);
    }
}

fn columns(values: &BTreeMap<String, FieldValue>, path: &str, report: &mut Report<'_>) {
    if values.is_empty() && !path.ends_with("where") {
        report.add(path, "names no column", "add at least one");
    }
    for name in values.keys() {
        report.identifier(name, &crate::manifest::field(path, name));
    }
    fields::check(values, path, report);
}

fn event(event: &EventTemplate, path: &str, report: &mut Report<'_>) {
    report.topic(&event.topic, &format!("{path}.topic"));
    if let Some(key) = &event.key
        && !event.value.contains_key(key)
    {
        let names: Vec<&str> = event.value.keys().map(String::as_str).collect();
        let message = format!("`{key}` is no field of `value`");
        report.add(format!("{path}.key"), message, super::pick(key, &names));
    }
    fields::check(&event.value, &format!("{path}.value"), report);
}

impl Report<'_> {
    /// Says so when a key of a map cannot be a column.
    pub(super) fn identifier(&mut self, name: &str, path: &str) {
        if !crate::manifest::matches(text::IDENTIFIER, name) {
            self.add_key(
                path,
                format!("`{name}` is no name of a column"),
                "use lower-case letters, digits and `_`, not a digit first, at most 63 characters",
            );
        }
    }
}
