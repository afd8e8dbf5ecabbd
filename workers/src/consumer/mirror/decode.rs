//! From one Debezium record to one change of a table. Reads the envelope once, builds no document.
//!
//! The envelope: <https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events>.

use std::borrow::Cow;
use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Cell;
use super::table::{ColumnKind, MirrorTable};
use crate::postgres::quote::array_literal;

/// What Debezium writes instead of a large value that the change didn't touch.
const UNAVAILABLE: &str = "__debezium_unavailable_value";
/// The same in a `bytea` column.
const UNAVAILABLE_BASE64: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
/// The same in an array of `uuid`: the UUID that is named by it.
const UNAVAILABLE_UUID: &str = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";
/// The same in a column of type `hstore`.
const UNAVAILABLE_HSTORE: &str = r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#;

/// What a record does to its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Inserts or replaces the row with this key.
    Put {
        /// The key's values as text.
        key: Vec<String>,
        /// One cell a column.
        cells: Vec<Cell>,
    },
    /// Deletes the row with this key.
    Delete {
        /// The key's values as text.
        key: Vec<String>,
    },
    /// Deletes all rows.
    Truncate,
    /// A message that is no change of a row.
    Nothing,
}

/// Why a record is no change of its table.
#[derive(Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// It isn't a change event: it goes to the dead letters.
    Malformed(String),
    /// It has fields that the table as known doesn't: the source's catalogue must be read again.
    UnknownFields(BTreeSet<String>),
    /// It can't be applied, and leaving it out would make the mirror wrong.
    Refused(String),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    op: Cow<'a, str>,
    #[serde(borrow, default)]
    before: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
}

/// Decodes one record; `value` is not a tombstone.
pub fn decode(table: &MirrorTable, key: Option<&[u8]>, value: &[u8]) -> Result<Change, Undecodable> {
    let text = std::str::from_utf8(value).map_err(|error| malformed("the value is not UTF-8", &error))?;
    let envelope: Envelope<'_> = serde_json::from_str(text)
        .map_err(|error| malformed("the value is no Debezium change event", &error))?;
    match envelope.op.as_ref() {
        "c" | "r" | "u" => {
            let after = envelope
                .after
                .filter(|after| after.get() != "null")
                .ok_or_else(|| Undecodable::Malformed(format!("op `{}` without `after`", envelope.op)))?;
            put(table, after, envelope.op == "u")
        }
        "d" => delete(table, key, envelope.before).map_err(|undecodable| match undecodable {
            // Left out, the row would stay in the mirror.
            Undecodable::Malformed(cause) => {
                Undecodable::Refused(format!("a delete that names no row: {cause}"))
            }
            other => other,
        }),
        "t" if table.partitions == 1 => Ok(Change::Truncate),
        "t" => Err(Undecodable::Refused(format!(
            "the source table of `{}` was truncated, and the topic has {} partitions, so the truncate has no place among \
             the changes; delete with DELETE instead, or give the topic one partition and take a new snapshot",
            table.name, table.partitions
        ))),
        "m" => Ok(Change::Nothing),
        other => Err(Undecodable::Malformed(format!("unknown op `{other}`"))),
    }
}

fn put(table: &MirrorTable, after: &RawValue, may_leave_out: bool) -> Result<Change, Undecodable> {
    let row = read_row(table, after)?;
    if row.leaves_out && !may_leave_out {
        return Err(Undecodable::Refused(format!(
            "a row of `{}` got a new key, and the event lacks its large columns that didn't change; set REPLICA \
             IDENTITY FULL on the source table and take a new snapshot",
            table.name
        )));
    }
    let key = key_of(table, &row.cells)?;
    Ok(Change::Put { key, cells: row.cells })
}

/// The record's key is the row's key, whatever the replica identity; `before` serves where there is none.
fn delete(table: &MirrorTable, key: Option<&[u8]>, before: Option<&RawValue>) -> Result<Change, Undecodable> {
    let from_key = key
        .and_then(|key| std::str::from_utf8(key).ok())
        .and_then(|text| serde_json::from_str::<&RawValue>(text).ok())
        .filter(|key| key.get().starts_with('{'));
    let row = from_key
        .or(before.filter(|before| before.get() != "null"))
        .ok_or_else(|| Undecodable::Malformed("a delete without key and `before`".to_owned()))?;
    let row = read_row(table, row)?;
    Ok(Change::Delete { key: key_of(table, &row.cells)? })
}

fn key_of(table: &MirrorTable, row: &[Cell]) -> Result<Vec<String>, Undecodable> {
    table
        .key
        .iter()
        .map(|index| match row.get(*index) {
            Some(Cell::Text(text)) => Ok(text.clone()),
            _ => {
                let column = table.columns.get(*index).map_or("?", |column| &column.name);
                Err(Undecodable::Malformed(format!("no value for the key column `{column}`")))
            }
        })
        .collect()
}

fn read_row(table: &MirrorTable, row: &RawValue) -> Result<Row, Undecodable> {
    let mut problem = None;
    let row = RowSeed { table, problem: &mut problem }
        .deserialize(&mut serde_json::Deserializer::from_str(row.get()))
        .map_err(|error| malformed("the row is no JSON object", &error))?;
    match problem {
        Some(problem) => Err(problem),
        None => Ok(row),
    }
}

struct Row {
    cells: Vec<Cell>,
    /// The source left out large values that the change didn't touch.
    leaves_out: bool,
}

struct RowSeed<'t> {
    table: &'t MirrorTable,
    problem: &'t mut Option<Undecodable>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Row;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a row as a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut cells = vec![Cell::Unchanged; self.table.columns.len()];
        let mut leaves_out = false;
        while let Some(field) = map.next_key::<Cow<'de, str>>()? {
            let raw: &'de RawValue = map.next_value()?;
            let Some(index) = self.table.column(&field) else {
                if !self.table.ignored.contains(field.as_ref()) {
                    match self.problem.get_or_insert_with(|| Undecodable::UnknownFields(BTreeSet::new())) {
                        Undecodable::UnknownFields(fields) => _ = fields.insert(field.into_owned()),
                        Undecodable::Malformed(_) | Undecodable::Refused(_) => {}
                    }
                }
                continue;
            };
            let kind = self.table.columns.get(index).map_or(ColumnKind::Scalar, |column| column.kind);
            match read_cell(kind, raw.get()) {
                Ok(cell) => {
                    leaves_out |= cell == Cell::Unchanged;
                    if let Some(place) = cells.get_mut(index) {
                        *place = cell;
                    }
                }
                Err(cause) => {
                    self.problem
                        .get_or_insert_with(|| Undecodable::Malformed(format!("column `{field}`: {cause}")));
                }
            }
        }
        Ok(Row { cells, leaves_out })
    }
}

fn read_cell(kind: ColumnKind, raw: &str) -> Result<Cell, String> {
    if raw == "null" {
        return Ok(Cell::Null);
    }
    if raw.starts_with('[') {
        return array_cell(kind, raw);
    }
    if !raw.starts_with('"') {
        return Ok(Cell::Text(raw.to_owned()));
    }
    let text: String = serde_json::from_str(raw).map_err(|error| error.to_string())?;
    let is_left_out = text == UNAVAILABLE || text == UNAVAILABLE_HSTORE;
    if is_left_out || (kind == ColumnKind::Bytes && text == UNAVAILABLE_BASE64) {
        return Ok(Cell::Unchanged);
    }
    match kind {
        ColumnKind::Bytes => bytes_cell(&text),
        ColumnKind::Scalar | ColumnKind::Array => Ok(Cell::Text(text)),
    }
}

fn bytes_cell(text: &str) -> Result<Cell, String> {
    use std::fmt::Write as _;

    let bytes = STANDARD.decode(text).map_err(|error| error.to_string())?;
    Ok(Cell::Text(bytes.iter().fold(String::from("\\x"), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })))
}

fn array_cell(kind: ColumnKind, raw: &str) -> Result<Cell, String> {
    let value: serde_json::Value = serde_json::from_str(raw).map_err(|error| error.to_string())?;
    if is_array_left_out(&value) {
        return Ok(Cell::Unchanged);
    }
    match kind {
        ColumnKind::Array => array_literal(&value).map(Cell::Text).map_err(|error| error.to_string()),
        ColumnKind::Scalar | ColumnKind::Bytes => Ok(Cell::Text(raw.to_owned())),
    }
}

/// Arrays of texts hold the placeholder, those of numbers its bytes, those of UUIDs one made of it.
fn is_array_left_out(value: &serde_json::Value) -> bool {
    let Some(items) = value.as_array() else { return false };
    let placeholders = [UNAVAILABLE, UNAVAILABLE_BASE64, UNAVAILABLE_UUID];
    let is_placeholder =
        |item: &serde_json::Value| item.as_str().is_some_and(|text| placeholders.contains(&text));
    let is_byte = |(item, byte): (&serde_json::Value, u8)| item.as_i64() == Some(byte.into());
    (items.len() == 1 && items.iter().all(is_placeholder))
        || (items.len() == UNAVAILABLE.len() && items.iter().zip(UNAVAILABLE.bytes()).all(is_byte))
}

fn malformed(what: &str, error: &dyn std::error::Error) -> Undecodable {
    Undecodable::Malformed(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests;
