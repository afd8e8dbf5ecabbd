//! Values of generated rows and events.

use std::collections::BTreeMap;

use super::Report;
use crate::expression::Expression;
use crate::manifest::field;
use crate::pipeline::generator::{Choice, FieldKind, FieldValue};

type Values = BTreeMap<String, FieldValue>;

/// Checks the values of one row or event, which may refer to each other.
pub(super) fn check(values: &Values, path: &str, report: &mut Report<'_>) {
    for (name, value) in values {
        let path = field(path, name);
        let Some(kind) = value.kind() else { continue };
        one(kind, &path, report);
        let path = format!("{path}.{}", field_name(kind));
        if let Some(by) = kind.by() {
            other_field(by, name, values, &format!("{path}.by"), report);
        }
        if let FieldKind::Expression(text) = kind {
            let others: Vec<&str> = values.keys().map(String::as_str).filter(|other| other != name).collect();
            report.expression(text, &path, &others);
        }
    }
    for name in values.keys() {
        if depends_on_itself(name, values) {
            report.add(
                field(path, name),
                "depends on itself through `by` or an expression",
                "let one of these fields stand on its own",
            );
            return;
        }
    }
}

fn one(kind: FieldKind<'_>, path: &str, report: &mut Report<'_>) {
    match kind {
        FieldKind::Const(value) if value.is_object() || value.is_array() => {
            report.add(
                format!("{path}.const"),
                "is a map or a list",
                "write a text, a number, true or false",
            );
        }
        FieldKind::Int(range) => report.range(range.min, range.max, &format!("{path}.int")),
        FieldKind::AddInt(range) => report.range(range.min, range.max, &format!("{path}.addInt")),
        FieldKind::Decimal(range) => report.range(range.min, range.max, &format!("{path}.decimal")),
        FieldKind::Choice(choice) => weights(choice, &format!("{path}.choice"), report),
        _ => {}
    }
}

fn weights(choice: &Choice, path: &str, report: &mut Report<'_>) {
    if choice.weights.is_empty() {
        return;
    }
    let path = format!("{path}.weights");
    if choice.weights.len() != choice.values.len() {
        let message = format!("has {} weights for {} values", choice.weights.len(), choice.values.len());
        report.add(path, message, "give each value one weight");
    } else if choice.weights.iter().all(|weight| *weight == 0) {
        report.add(path, "has only weights of 0", "give at least one value a weight above 0");
    }
}

fn other_field(by: &str, name: &str, values: &Values, path: &str, report: &mut Report<'_>) {
    if by == name {
        report.add(
            path,
            format!("`{by}` is the field itself"),
            "name another field of the same row or event",
        );
    } else if !values.contains_key(by) {
        let names: Vec<&str> = values.keys().map(String::as_str).collect();
        report.add(path, format!("`{by}` is no field of this row or event"), super::pick(by, &names));
    }
}

/// The fields that a field needs first.
fn needs(value: &FieldValue) -> Vec<String> {
    let Some(kind) = value.kind() else { return Vec::new() };
    if let FieldKind::Expression(text) = kind {
        let variables = Expression::parse(text).map(|parsed| parsed.variables().to_vec()).unwrap_or_default();
        return variables.into_iter().map(|variable| variable.name).collect();
    }
    kind.by().map(str::to_owned).into_iter().collect()
}

fn depends_on_itself(name: &str, values: &Values) -> bool {
    let mut open = values.get(name).map(needs).unwrap_or_default();
    let mut seen = Vec::new();
    while let Some(next) = open.pop() {
        // Directly on itself has its own message.
        if next == name && !seen.is_empty() {
            return true;
        }
        if next != name && !seen.contains(&next) {
            open.extend(values.get(&next).map(needs).unwrap_or_default());
            seen.push(next);
        }
    }
    false
}

/// The name of the field that holds a value.
pub(super) const fn field_name(kind: FieldKind<'_>) -> &'static str {
    match kind {
        FieldKind::Const(_) => "const",
        FieldKind::Now => "now",
        FieldKind::Uuid => "uuid",
        FieldKind::Int(_) => "int",
        FieldKind::Decimal(_) => "decimal",
        FieldKind::Choice(_) => "choice",
        FieldKind::Existing(_) => "existing",
        FieldKind::Lookup(_) => "lookup",
        FieldKind::Parent(_) => "parent",
        FieldKind::AddInt(_) => "addInt",
        FieldKind::Person(_) => "person",
        FieldKind::Company(_) => "company",
        FieldKind::Word(_) => "word",
        FieldKind::Expression(_) => "expression",
    }
}
