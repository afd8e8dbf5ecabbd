//! Rows of other topics: how they are asked for, and how their topics are read.

use std::collections::BTreeMap;

use acequia_crds::pipeline::transform::Format;
use serde_json::value::RawValue;

use super::envelope::{Event, event};
use super::{Rejected, group};
use crate::expression::{FieldPaths, FieldSpans, Value};

/// The rows of the topics that an aggregation looks up.
pub trait Lookups {
    /// The row of a lookup, by its place among the aggregation's `lookups`, with a key as [`lookup_key`] spells it.
    fn row(&self, lookup: usize, key: &str) -> Found<'_>;
}

/// What there is under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The row: a JSON document.
    Row(&'a [u8]),
    /// It is known not to be there: it reads as null.
    Absent,
    /// It isn't there yet: the record waits.
    Missing,
}

/// The text that names a row, from the key of its record: of an object with one field (`{"id":5}`, as Debezium writes
/// keys) that field's value, a text without its quotes, a number in its shortest form; of any other key of a topic with
/// `format: json` the key itself.
///
/// # Errors
/// The key names no row that a lookup could match.
pub fn lookup_key(format: Format, key: &[u8]) -> Result<String, Rejected> {
    let key = str::from_utf8(key).map_err(|_| Rejected::new("the key isn't UTF-8"))?;
    let text = key.trim_ascii();
    if text.starts_with('{')
        && let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(text)
    {
        match (format, fields.values().next()) {
            (_, Some(field)) if fields.len() == 1 => return spelled(field.get()),
            (Format::Json, _) => return Ok(key.to_owned()),
            (Format::Debezium, _) => {
                let fields = fields.into_keys().collect::<Vec<_>>().join("`, `");
                let cause = format!("the key has the fields `{fields}`, where a lookup matches exactly one");
                return Err(Rejected::new(cause));
            }
        }
    }
    if text.starts_with('"') || format == Format::Debezium {
        return match serde_json::from_str::<&RawValue>(text) {
            Ok(value) => spelled(value.get()),
            Err(_) if format == Format::Json => Ok(key.to_owned()),
            Err(error) => Err(Rejected::new(format!("the key isn't JSON: {error}"))),
        };
    }
    Ok(key.to_owned())
}

/// The row that a record of a looked-up topic holds: a JSON document; none where the record says that it is gone.
///
/// # Errors
/// The value isn't JSON, or no change of a row.
pub fn lookup_row(format: Format, value: &[u8]) -> Result<Option<&[u8]>, Rejected> {
    let mut spans = FieldSpans::default();
    match format {
        Format::Json => {
            let mut paths = FieldPaths::default();
            let whole = paths.slot([]);
            let fields = paths.read(value, &mut spans).map_err(|error| Rejected::new(error.to_string()))?;
            Ok(fields.get(whole).filter(|row| *row != "null").map(str::as_bytes))
        }
        Format::Debezium => match event(value, &mut spans)? {
            Event::Put { row, .. } => Ok(Some(row.as_bytes())),
            Event::Remove => Ok(None),
            Event::Truncate => Err(Rejected::new(
                "the looked-up table was truncated, which says of no row that it is gone; delete with DELETE instead",
            )),
            Event::Message => {
                Err(Rejected::new("the change event is a message, which is no change of a row"))
            }
        },
    }
}

fn spelled(json: &str) -> Result<String, Rejected> {
    let value = Value::of_json(json).map_err(|error| Rejected::new(format!("the key: {error}")))?;
    let mut buffer = Vec::new();
    match key_text(&value, &mut buffer) {
        Ok(Some(text)) => Ok(text.to_owned()),
        Ok(None) => Err(Rejected::new("the key is null")),
        Err(problem) => Err(Rejected::new(format!("the key {problem}"))),
    }
}

/// The text of a key that is looked for; none for null and what isn't there. `buffer` is used where the value doesn't
/// hold the text already.
///
/// # Errors
/// It is no scalar; the rest of a sentence that begins with what it is.
pub(super) fn key_text<'k>(value: &'k Value<'_>, buffer: &'k mut Vec<u8>) -> Result<Option<&'k str>, String> {
    match value {
        Value::Absent | Value::Null => return Ok(None),
        Value::Text(text) => return Ok(Some(text)),
        Value::Number(text) if group::is_plain(text) => return Ok(Some(text)),
        _ => {}
    }
    buffer.clear();
    group::scalar(value, buffer)?;
    let text = str::from_utf8(buffer).map_err(|error| error.to_string())?;
    // A time is in quotes.
    Ok(Some(text.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debezium_key_is_the_text_of_its_only_field() {
        for (key, text) in [
            (r#"{"id":5}"#, "5"),
            (r#" {"id": 5.0} "#, "5"),
            (r#"{"id":"a\"b"}"#, "a\"b"),
            (r#"{"sku":"007"}"#, "007"),
            (r#"{"flag":true}"#, "true"),
            ("5", "5"),
            ("\"x\"", "x"),
        ] {
            assert_eq!(lookup_key(Format::Debezium, key.as_bytes()), Ok(text.to_owned()), "{key}");
        }
    }

    #[test]
    fn a_plain_key_of_a_json_topic_is_itself() {
        for (key, text) in [
            ("5", "5"),
            ("007", "007"),
            ("abc", "abc"),
            ("\"abc\"", "abc"),
            ("\"abc", "\"abc"),
            (r#"{"id":5}"#, "5"),
            (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#),
            ("{id}", "{id}"),
        ] {
            assert_eq!(lookup_key(Format::Json, key.as_bytes()), Ok(text.to_owned()), "{key}");
        }
    }

    #[test]
    fn a_key_that_no_lookup_could_match_is_refused() {
        for key in [r#"{"a":1,"b":2}"#, "{}", r#"{"id":null}"#, r#"{"id":[1]}"#, "abc", ""] {
            assert!(lookup_key(Format::Debezium, key.as_bytes()).is_err(), "{key}");
        }
        assert!(lookup_key(Format::Json, b"\xff").is_err());
    }

    #[test]
    fn the_row_of_a_change_event_is_what_is_after_it() {
        let row = |value: &'static str| lookup_row(Format::Debezium, value.as_bytes());
        assert_eq!(
            row(r#"{"before":null,"after":{"id": 5},"op":"c"}"#),
            Ok(Some(br#"{"id": 5}"#.as_slice()))
        );
        assert_eq!(row(r#"{"before":{"id":5},"after":null,"op":"d"}"#), Ok(None));
        assert!(row(r#"{"op":"t"}"#).is_err());
        assert!(row(r#"{"id":5}"#).is_err());
    }

    #[test]
    fn the_row_of_a_json_topic_is_the_value() {
        assert_eq!(lookup_row(Format::Json, b" {\"id\":5} "), Ok(Some(br#"{"id":5}"#.as_slice())));
        assert_eq!(lookup_row(Format::Json, b"null"), Ok(None));
        assert!(lookup_row(Format::Json, b"{").is_err());
    }
}
