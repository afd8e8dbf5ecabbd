//! Templates of keys: text with `{expression}` parts over the window and the group.

use std::collections::BTreeMap;

use acequia_crds::expression::{Expression, Form, Scope};

use super::document::{Layout, iso, number};
use super::{Row, group};
use crate::expression::{FieldExpression, Value};

/// The variable that has the window's `start` and `end`.
const WINDOW: &str = "window";

/// A template of a key, compiled.
#[derive(Clone, Debug)]
pub(super) struct KeyTemplate {
    groups: Vec<String>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    WindowStart,
    WindowEnd,
    /// The value of `groupBy` at this place.
    Group(usize),
    Expression(FieldExpression),
}

impl KeyTemplate {
    /// Compiles a template; on an error the rest of a sentence that begins with where the template stands.
    pub fn new(template: &str, layout: &Layout, is_global: bool) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once('{') {
            let (expression, after) =
                after.split_once('}').ok_or("has a `{` without `}`; write it as `metrics:{window.start}`")?;
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            parts.push(part(expression, layout, is_global)?);
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { groups: layout.groups.clone(), parts })
    }

    /// The key of a row. A part that has no value for it is `null`, as a group without a value is.
    pub fn key(&self, row: &Row) -> String {
        let scalars = group::scalars(&row.group);
        let edge = |edge: Option<i64>| edge.map_or_else(|| "null".to_owned(), iso);
        let mut values = None;
        let mut key = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::WindowStart => key.push_str(&edge(row.window.map(|window| window.start_ms))),
                Part::WindowEnd => key.push_str(&edge(row.window.map(|window| window.end_ms))),
                Part::Group(index) => {
                    key.push_str(&scalars.get(*index).map_or("null".into(), |scalar| group::text(scalar)));
                }
                Part::Expression(expression) => {
                    let values = values.get_or_insert_with(|| self.values(row, &scalars));
                    key.push_str(&expression.evaluate(values).map_or_else(|_| "null".to_owned(), value_text));
                }
            }
        }
        key
    }

    fn values(&self, row: &Row, scalars: &[&str]) -> BTreeMap<String, serde_json::Value> {
        let window = row.window.map(|window| {
            let edges = [("start", window.start_ms), ("end", window.end_ms)];
            edges.into_iter().map(|(name, ms)| (name.to_owned(), iso(ms).into())).collect()
        });
        let window = window.map(|window| (WINDOW.to_owned(), serde_json::Value::Object(window)));
        let groups = self.groups.iter().zip(scalars).map(|(name, scalar)| {
            (name.clone(), serde_json::from_str(scalar).unwrap_or(serde_json::Value::Null))
        });
        window.into_iter().chain(groups).collect()
    }
}

fn part(text: &str, layout: &Layout, is_global: bool) -> Result<Part, String> {
    let wrong = |error: String| format!("has `{{{text}}}` in it: {error}");
    let expression = Expression::parse(text).map_err(|error| wrong(error.to_string()))?;
    let window = (!is_global).then_some(WINDOW);
    let variables: Vec<&str> = layout.groups.iter().map(String::as_str).chain(window).collect();
    if let Some(error) = expression.check(&Scope { variables: &variables }).first() {
        return Err(wrong(error.to_string()));
    }
    if let Form::Path(path) = expression.form() {
        let fields: Vec<&str> = path.fields.iter().map(String::as_str).collect();
        let group = layout.groups.iter().position(|group| *group == path.root);
        match (group, &fields[..]) {
            (Some(index), []) => return Ok(Part::Group(index)),
            (None, ["start"]) => return Ok(Part::WindowStart),
            (None, ["end"]) => return Ok(Part::WindowEnd),
            (None, _) => {
                return Err(wrong("a window has only `window.start` and `window.end`; write one".into()));
            }
            (Some(_), _) => {}
        }
    }
    FieldExpression::new(&expression).map(Part::Expression).map_err(|error| wrong(error.to_string()))
}

fn value_text(value: Value<'static>) -> String {
    match value {
        Value::Absent | Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Decimal(value) => number(value),
        Value::Number(text) | Value::Text(text) | Value::Json(text) => text.into_owned(),
        Value::Timestamp(micros) => iso(micros.div_euclid(1000)),
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// The key beside a key in which versions are kept, in the same slot of a cluster: Redis takes the slot from what
/// stands in the first braces, where there is anything.
pub(super) fn companion(key: &str) -> String {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    match tag {
        Some(tag) if !tag.is_empty() => format!("{key}:acequia"),
        _ => format!("{{{key}}}:acequia"),
    }
}
