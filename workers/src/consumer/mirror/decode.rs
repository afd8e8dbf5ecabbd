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
            put(table, after)
        }
        "d" => delete(table, key, envelope.before),
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

fn put(table: &MirrorTable, after: &RawValue) -> Result<Change, Undecodable> {
    let row = read_row(table, after)?;
    let key = key_of(table, &row)?;
    Ok(Change::Put { key, cells: row })
}

/// The record's key is the row's key, whatever the replica identity; `before` serves where there is none.
fn delete(table: &MirrorTable, key: Option<&[u8]>, before: Option<&RawValue>) -> Result<Change, Undecodable> {
    let from_key =
        key.and_then(|key| std::str::from_utf8(key).ok()).and_then(|text| serde_json::from_str(text).ok());
    let row = from_key
        .or(before.filter(|before| before.get() != "null"))
        .ok_or_else(|| Undecodable::Malformed("a delete without key and `before`".to_owned()))?;
    let row = read_row(table, row)?;
    Ok(Change::Delete { key: key_of(table, &row)? })
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

fn read_row(table: &MirrorTable, row: &RawValue) -> Result<Vec<Cell>, Undecodable> {
    let mut problem = None;
    let cells = RowSeed { table, problem: &mut problem }
        .deserialize(&mut serde_json::Deserializer::from_str(row.get()))
        .map_err(|error| malformed("the row is no JSON object", &error))?;
    match problem {
        Some(problem) => Err(problem),
        None => Ok(cells),
    }
}

struct RowSeed<'t> {
    table: &'t MirrorTable,
    problem: &'t mut Option<Undecodable>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Vec<Cell>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Vec<Cell>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a row as a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut cells = vec![Cell::Unchanged; self.table.columns.len()];
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
        Ok(cells)
    }
}

fn read_cell(kind: ColumnKind, raw: &str) -> Result<Cell, String> {
    if raw == "null" {
        return Ok(Cell::Null);
    }
    if !raw.starts_with('"') {
        return match kind {
            ColumnKind::Array => Ok(array_cell(raw)?),
            _ => Ok(Cell::Text(raw.to_owned())),
        };
    }
    let text: String = serde_json::from_str(raw).map_err(|error| error.to_string())?;
    if text == UNAVAILABLE || (kind == ColumnKind::Bytes && text == UNAVAILABLE_BASE64) {
        return Ok(Cell::Unchanged);
    }
    match kind {
        ColumnKind::Bytes => {
            let bytes = STANDARD.decode(&text).map_err(|error| error.to_string())?;
            Ok(Cell::Text(bytes.iter().fold(String::from("\\x"), |mut hex, byte| {
                use std::fmt::Write as _;
                // Writing to a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            })))
        }
        ColumnKind::Scalar | ColumnKind::Array => Ok(Cell::Text(text)),
    }
}

fn array_cell(raw: &str) -> Result<Cell, String> {
    let value: serde_json::Value = serde_json::from_str(raw).map_err(|error| error.to_string())?;
    if value.as_array().is_some_and(|items| items.len() == 1 && items.iter().all(|item| item == UNAVAILABLE))
    {
        return Ok(Cell::Unchanged);
    }
    array_literal(&value).map(Cell::Text).map_err(|error| error.to_string())
}

fn malformed(what: &str, error: &dyn std::error::Error) -> Undecodable {
    Undecodable::Malformed(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::MirrorColumn;
    use super::*;

    fn table(partitions: usize) -> MirrorTable {
        let column = |name: &str, kind| MirrorColumn { name: name.into(), type_sql: "text".into(), kind };
        MirrorTable::new(
            "orders".into(),
            vec![
                column("id", ColumnKind::Scalar),
                column("note", ColumnKind::Scalar),
                column("photo", ColumnKind::Bytes),
                column("tags", ColumnKind::Array),
            ],
            &["id".to_owned()],
            partitions,
        )
    }

    fn text(value: &str) -> Cell {
        Cell::Text(value.to_owned())
    }

    fn change(value: &str) -> Result<Change, Undecodable> {
        decode(&table(3), Some(br#"{"id":7}"#), value.as_bytes())
    }

    #[test]
    fn create_read_and_update_put_the_row() {
        for op in ["c", "r", "u"] {
            let value = format!(
                r#"{{"before":null,"after":{{"id":7,"note":"a\"b","photo":"AP8=","tags":["x","y z"]}},"source":{{"lsn":1}},"op":"{op}","ts_ms":1}}"#
            );
            let Ok(Change::Put { key, cells }) = change(&value) else { panic!("{op}") };
            assert_eq!(key, ["7"]);
            assert_eq!(cells[..3], [text("7"), text("a\"b"), text("\\x00ff")]);
            assert!(matches!(&cells[3], Cell::Text(array) if array.starts_with('{')));
        }
    }

    #[test]
    fn a_delete_takes_the_key_of_the_record() {
        let expected = Change::Delete { key: vec!["7".into()] };
        assert_eq!(change(r#"{"op":"d","before":{"id":7,"note":null},"after":null}"#), Ok(expected.clone()));
        assert_eq!(change(r#"{"op":"d","before":null,"after":null}"#), Ok(expected.clone()));
        assert_eq!(decode(&table(3), None, br#"{"op":"d","before":{"id":7}}"#), Ok(expected));
    }

    #[test]
    fn a_value_left_out_by_the_source_is_unchanged_and_never_text() {
        let value = format!(
            r#"{{"op":"u","after":{{"id":7,"note":"{UNAVAILABLE}","photo":"{UNAVAILABLE_BASE64}","tags":["{UNAVAILABLE}"]}}}}"#
        );
        let Ok(Change::Put { cells, .. }) = change(&value) else { panic!("not a put") };
        assert_eq!(cells[1..], [Cell::Unchanged, Cell::Unchanged, Cell::Unchanged]);
    }

    #[test]
    fn a_null_is_not_unchanged_and_a_missing_field_is() {
        let Ok(Change::Put { cells, .. }) = change(r#"{"op":"c","after":{"id":7,"note":null}}"#) else {
            panic!("not a put")
        };
        assert_eq!(cells[1..], [Cell::Null, Cell::Unchanged, Cell::Unchanged]);
    }

    #[test]
    fn what_is_no_change_event_is_malformed() {
        for value in [
            "",
            "{",
            "[]",
            "1",
            r#"{"op":"c"}"#,
            r#"{"op":"x","after":{}}"#,
            r#"{"op":"c","after":{"id":null}}"#,
        ] {
            assert!(matches!(change(value), Err(Undecodable::Malformed(_))), "{value}");
        }
        assert!(matches!(decode(&table(1), None, b"\xff"), Err(Undecodable::Malformed(_))));
    }

    #[test]
    fn a_new_column_asks_for_the_catalogue() {
        let value = r#"{"op":"c","after":{"id":7,"colour":"red"}}"#;
        assert_eq!(change(value), Err(Undecodable::UnknownFields(["colour".to_owned()].into())));
        let mut known = table(3);
        known.ignored.insert("colour".into());
        assert!(decode(&known, None, value.as_bytes()).is_ok());
    }

    #[test]
    fn a_truncate_is_refused_above_one_partition() {
        let value = br#"{"op":"t","before":null,"after":null}"#;
        assert!(matches!(decode(&table(3), None, value), Err(Undecodable::Refused(_))));
        assert_eq!(decode(&table(1), None, value), Ok(Change::Truncate));
    }
}
