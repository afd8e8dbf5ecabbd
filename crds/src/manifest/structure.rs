//! Holds a document against the schema of the CRD, as the API server does, but with the fix in each message.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;
use serde_json::{Map, Value};

use super::{API_VERSION, field};
use crate::crd;
use crate::duration::Duration;
use crate::pipeline::text;
use crate::problem::{Problem, Spot};

/// Everything in the document that is not as the schema wants it.
pub(super) fn check(document: &Value) -> Vec<Problem> {
    let mut found = Vec::new();
    let Some(map) = document.as_object() else {
        let fix = "it begins with `apiVersion: acequia.dev/v1alpha1` and `kind: Pipeline`";
        return vec![Problem::new("", "this is not a manifest", fix)];
    };
    exactly(map, "apiVersion", API_VERSION, &mut found);
    exactly(map, "kind", "Pipeline", &mut found);
    name(map, &mut found);
    let schema = &crd::schema()["properties"];
    for key in map.keys() {
        if !["apiVersion", "kind", "metadata", "spec", "status"].contains(&key.as_str()) {
            found.push(unknown("", key, &["apiVersion", "kind", "metadata", "spec"]));
        }
    }
    match map.get("spec") {
        Some(spec) => value(spec, &schema["spec"], "spec", &mut found),
        None => found.push(Problem::new("spec", "is missing", "describe the Pipeline under `spec:`")),
    }
    found
}

fn exactly(map: &Map<String, Value>, key: &str, expected: &str, found: &mut Vec<Problem>) {
    match map.get(key) {
        None => found.push(Problem::new(key, "is missing", format!("write `{key}: {expected}`"))),
        Some(other) if other != expected => {
            let message = format!("`{}` is not known here", plain(other));
            found.push(Problem::new(key, message, format!("write `{key}: {expected}`")));
        }
        Some(_) => {}
    }
}

fn name(map: &Map<String, Value>, found: &mut Vec<Problem>) {
    let path = "metadata.name";
    match map.get("metadata").and_then(|metadata| metadata.get("name")) {
        Some(Value::String(name)) if name.len() <= 40 && matches(text::NAME, name) => {}
        Some(other) => {
            let message = format!("`{}` is no name of a Pipeline", plain(other));
            found.push(Problem::new(path, message, NAME_FIX));
        }
        None => found.push(Problem::new(path, "is missing", "give the Pipeline a name")),
    }
}

const NAME_FIX: &str = "use lower-case letters, digits and `-`, at most 40 characters";

fn value(value: &Value, schema: &Value, path: &str, found: &mut Vec<Problem>) {
    if value.is_null() {
        found.push(Problem::new(path, "is empty", "give it a value or remove it").at(Spot::Key));
        return;
    }
    if schema.get("x-kubernetes-preserve-unknown-fields").is_some() {
        return;
    }
    if schema.get("x-kubernetes-int-or-string").is_some() {
        match value {
            Value::String(_) => {}
            Value::Number(number) if number.is_i64() => {}
            Value::Bool(_) | Value::Number(_) => {
                let message = format!("is {value}, neither a whole number nor a text");
                found.push(Problem::new(path, message, format!("quote it: \"{value}\"")));
            }
            other => found.push(wrong_type(other, "a whole number or a text", path)),
        }
        return;
    }
    match (schema["type"].as_str().unwrap_or_default(), value) {
        ("object", Value::Object(map)) => object(map, schema, path, found),
        ("array", Value::Array(items)) => array(items, schema, path, found),
        ("string", Value::String(text)) => string(text, schema, path, found),
        ("boolean", Value::Bool(_)) => {}
        ("integer", Value::Number(number)) if number.is_i64() || number.is_u64() => {
            bounds(number.as_f64().unwrap_or_default(), schema, path, found);
        }
        ("number", Value::Number(number)) => bounds(number.as_f64().unwrap_or_default(), schema, path, found),
        ("string", other) => found.push(not_a_text(other, schema, path)),
        ("object", other) => found.push(wrong_type(other, &object_shape(schema), path)),
        ("array", other) => found.push(wrong_type(other, "a list: `[a, b]` or lines with `- `", path)),
        ("boolean", other) => found.push(wrong_type(other, "true or false", path)),
        (_, other) => found.push(wrong_type(other, "a number", path)),
    }
}

fn object(map: &Map<String, Value>, schema: &Value, path: &str, found: &mut Vec<Problem>) {
    let additional = schema.get("additionalProperties");
    let properties = schema.get("properties").and_then(Value::as_object);
    let known: Vec<&str> = properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    for (key, child) in map {
        let child_path = field(path, key);
        if let Some(child_schema) = properties.and_then(|properties| properties.get(key)).or(additional) {
            value(child, child_schema, &child_path, found);
        } else {
            found.push(unknown(path, key, &known));
        }
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for name in &required {
        // A misspelt field has its own message already.
        let misspelt =
            map.keys().any(|key| !known.contains(&key.as_str()) && nearest(key, &known) == Some(name));
        if !map.contains_key(*name) && !misspelt {
            let fix = format!("add `{name}: {}`", example(&schema["properties"][name]));
            found.push(Problem::new(field(path, name), "is missing", fix));
        }
    }
    count_of_fields(map, schema, &known, &required, path, found);
}

/// Unions: exactly one of the fields that are not required anyway.
fn count_of_fields(
    map: &Map<String, Value>,
    schema: &Value,
    known: &[&str],
    required: &[&str],
    path: &str,
    found: &mut Vec<Problem>,
) {
    let bound = |key: &str| schema[key].as_u64().and_then(|bound| usize::try_from(bound).ok());
    if schema.get("properties").is_none() {
        if bound("maxProperties").is_some_and(|most| map.len() > most) {
            let most = bound("maxProperties").unwrap_or_default();
            found.push(Problem::new(
                path,
                format!("has {} entries", map.len()),
                format!("{most} are the most"),
            ));
        }
        return;
    }
    if bound("maxProperties").is_none() {
        return;
    }
    let options: Vec<&str> = known.iter().copied().filter(|name| !required.contains(name)).collect();
    let there: Vec<&str> = options.iter().copied().filter(|name| map.contains_key(*name)).collect();
    // A misspelt option has its own message already.
    let misspelt = map.keys().any(|key| !known.contains(&key.as_str()));
    if there.len() == 1 || (there.is_empty() && misspelt) {
        return;
    }
    let message = if there.is_empty() {
        format!("needs one of {}", quoted(&options))
    } else {
        format!("has {} at once", quoted(&there))
    };
    let fix = if there.is_empty() { "add one of them" } else { "keep exactly one of them" };
    found.push(Problem::new(path, message, fix));
}

fn array(items: &[Value], schema: &Value, path: &str, found: &mut Vec<Problem>) {
    let bound = |key: &str| schema[key].as_u64().and_then(|bound| usize::try_from(bound).ok());
    if bound("minItems").is_some_and(|least| items.len() < least) {
        found.push(Problem::new(path, "is an empty list", "add an entry"));
    }
    if let Some(most) = bound("maxItems").filter(|most| items.len() > *most) {
        let message = format!("has {} entries", items.len());
        found.push(Problem::new(path, message, format!("{most} are the most; split the Pipeline")));
    }
    for (index, item) in items.iter().enumerate() {
        value(item, &schema["items"], &format!("{path}[{index}]"), found);
    }
}

fn string(text: &str, schema: &Value, path: &str, found: &mut Vec<Problem>) {
    if let Some(options) = schema["enum"].as_array() {
        let options: Vec<&str> = options.iter().filter_map(Value::as_str).collect();
        if !options.contains(&text) {
            let fix = nearest(text, &options).map_or_else(
                || format!("use one of {}", quoted(&options)),
                |near| format!("did you mean `{near}`?"),
            );
            found.push(Problem::new(path, format!("`{text}` is not known here"), fix));
        }
        return;
    }
    let length = text.chars().count();
    let most = schema["maxLength"].as_u64().and_then(|most| usize::try_from(most).ok());
    if text.is_empty() && most.is_some() {
        found.push(Problem::new(path, "is an empty text", "give it a value or remove it"));
    } else if let Some(most) = most.filter(|most| length > *most) {
        found.push(Problem::new(path, format!("has {length} characters"), format!("{most} are the most")));
    } else if let Some(pattern) = schema["pattern"].as_str().filter(|pattern| !matches(pattern, text)) {
        let (message, fix) = explain(pattern, text);
        found.push(Problem::new(path, message, fix));
    }
}

/// Why a text does not match, in words.
fn explain(pattern: &str, given: &str) -> (String, String) {
    if pattern == Duration::PATTERN {
        let reason = given.parse::<Duration>().err().map(|error| error.to_string()).unwrap_or_default();
        return reason.split_once("; ").map_or_else(
            || (reason.clone(), "write `10s`".to_owned()),
            |(why, fix)| (why.to_owned(), fix.to_owned()),
        );
    }
    let (what, fix) = match pattern {
        text::NAME => ("is no name", NAME_FIX),
        text::IDENTIFIER => (
            "is no name of a table, column or field",
            "use lower-case letters, digits and `_`, not a digit first, at most 63 characters",
        ),
        text::TOPIC => {
            ("is no name of a topic", "use letters, digits, `.`, `_` and `-`, at most 249 characters")
        }
        text::HTTP_URL | text::CONNECT_URL => ("is no HTTP address", "write it as `http://host:port`"),
        text::QUALIFIED_TABLE => ("is no table", "write schema and table, for example `public.orders`"),
        text::ENDPOINT_PATH => ("is no path of an endpoint", "write it as `/api/orders`"),
        text::ORDER_BY => ("is no order", "write a column and `asc` or `desc`"),
        text::CLASS => ("is no Java class", "write its full name, for example `org.example.MyConnector`"),
        _ => ("does not fit here", "see `kubectl explain` of the field"),
    };
    (format!("`{given}` {what}"), fix.to_owned())
}

fn bounds(number: f64, schema: &Value, path: &str, found: &mut Vec<Problem>) {
    let least = schema["minimum"].as_f64();
    let most = schema["maximum"].as_f64();
    if let Some(least) = least.filter(|least| number < *least) {
        found.push(Problem::new(path, format!("{number} is too small"), format!("{least} is the least")));
    }
    if let Some(most) = most.filter(|most| number > *most) {
        found.push(Problem::new(path, format!("{number} is too large"), format!("{most} is the most")));
    }
}

fn not_a_text(given: &Value, schema: &Value, path: &str) -> Problem {
    if schema["pattern"] == Duration::PATTERN && given.is_number() {
        let (message, fix) = explain(Duration::PATTERN, &plain(given));
        return Problem::new(path, message, fix);
    }
    match given {
        Value::Bool(_) => {
            let fix =
                "quote it: YAML reads `yes`, `no`, `on`, `off`, `y` and `n` without quotes as true or false";
            Problem::new(path, "is true or false, not a text", fix)
        }
        Value::Number(number) => {
            Problem::new(path, format!("{number} is a number, not a text"), format!("quote it: \"{number}\""))
        }
        other => wrong_type(other, "a text", path),
    }
}

fn wrong_type(given: &Value, wanted: &str, path: &str) -> Problem {
    let is = match given {
        Value::Object(_) => "is a map".to_owned(),
        Value::Array(_) => "is a list".to_owned(),
        Value::String(text) => format!("is the text `{text}`"),
        other => format!("is {other}"),
    };
    Problem::new(path, is, format!("write {wanted}"))
}

/// How a value of the field begins.
fn example(schema: &Value) -> String {
    let names = |key: &str| schema[key].as_array().into_iter().flatten().filter_map(Value::as_str);
    let described = schema["description"].as_str().and_then(|text| text.split("Example: `").nth(1));
    if let Some(example) = described.and_then(|text| text.split('`').next()) {
        return example.to_owned();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let required: Vec<String> = names("required").map(|name| format!("{name}: …")).collect();
            let properties = schema["properties"].as_object();
            match properties.and_then(|properties| properties.keys().min()) {
                Some(first) if required.is_empty() => format!("{{{first}: …}}"),
                _ => format!("{{{}}}", required.join(", ")),
            }
        }
        Some("array") => "[…]".to_owned(),
        _ => names("enum").next().unwrap_or("…").to_owned(),
    }
}

fn object_shape(schema: &Value) -> String {
    let mut fields = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    match fields.next() {
        Some(first) => format!("a map, for example `{{{first}: …}}`"),
        None if schema.get("additionalProperties").is_some() => "a map: `{name: value}`".to_owned(),
        None => "`{}`".to_owned(),
    }
}

fn unknown(path: &str, key: &str, known: &[&str]) -> Problem {
    let fix = if let Some(near) = nearest(key, known) {
        format!("did you mean `{near}`?")
    } else if known.is_empty() {
        "write `{}`".to_owned()
    } else {
        format!("the fields here are {}", quoted(known))
    };
    Problem::new(field(path, key), format!("there is no field `{key}` here"), fix).at(Spot::Key)
}

/// The word that was probably meant.
pub(crate) fn nearest<'a>(word: &str, options: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let word = plain(word);
    let best = options
        .iter()
        .map(|option| (strsim::damerau_levenshtein(&word, &plain(option)), *option))
        .min_by_key(|(distance, _)| *distance)?;
    let allowed = if word.len() <= 4 { 1 } else { 2 };
    (best.0 <= allowed).then_some(best.1)
}

pub(crate) fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The patterns of the schema are few; each is compiled once.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    static COMPILED: LazyLock<Mutex<HashMap<String, Option<Regex>>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let regex = compiled.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}
