//! Writes a JSON value as YAML: what holds no further maps is on one line, and keys have a fixed order.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// What holds further maps is on one line only up to this length.
const WIDTH: usize = 900;
/// Keys that come first, in this order; the others follow by the alphabet.
const FIRST: [&str; 6] = ["apiVersion", "kind", "metadata", "description", "name", "type"];

/// Appends the value as a block.
pub(super) fn write(value: &Value, out: &mut String) {
    block(value, 0, out);
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) => {
            for (key, child) in sorted(map) {
                entry(&format!("{}{}:", " ".repeat(indent), scalar(key)), child, indent, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                entry(&format!("{}-", " ".repeat(indent)), item, indent, out);
            }
        }
        other => {
            out.push_str(&flow(other));
            out.push('\n');
        }
    }
}

/// A key or a dash, and what belongs to it: on the same line where it fits.
fn entry(head: &str, value: &Value, indent: usize, out: &mut String) {
    let line = flow(value);
    if is_leaf(value) || head.len() + 1 + line.len() <= WIDTH {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{head} {line}");
    } else {
        out.push_str(head);
        out.push('\n');
        block(value, indent + 1, out);
    }
}

/// A scalar, or a map or list of scalars.
fn is_leaf(value: &Value) -> bool {
    let is_scalar = |child: &Value| !child.is_object() && !child.is_array();
    match value {
        Value::Object(map) => map.values().all(is_scalar),
        Value::Array(items) => items.iter().all(is_scalar),
        _ => true,
    }
}

fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries
        .sort_by_key(|(key, _)| (FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()), *key));
    entries
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let parts: Vec<_> = sorted(map)
                .into_iter()
                .map(|(key, child)| format!("{}: {}", scalar(key), flow(child)))
                .collect();
            format!("{{{}}}", parts.join(", "))
        }
        Value::Array(items) => {
            let parts: Vec<_> = items.iter().map(flow).collect();
            format!("[{}]", parts.join(", "))
        }
        Value::String(text) => scalar(text),
        Value::Number(number) => match number.as_f64() {
            // Bounds arrive as doubles; `1.0` is written `1`.
            Some(double) if number.is_f64() && double.fract() == 0.0 && double.abs() < 1e15 => {
                format!("{double:.0}")
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Bare where every YAML parser reads the text back as this text, quoted as in JSON elsewhere.
fn scalar(text: &str) -> String {
    let words = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./ ".contains(&byte));
    let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'.');
    let ends_well = !text.ends_with(' ');
    let lower = text.to_ascii_lowercase();
    let another_type = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", ".", ".inf", ".nan"]
        .contains(&lower.as_str());
    if words && starts_well && ends_well && !another_type {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}
