//! Mirror: change events make a table equal to its source.
//!
//! Change events are absolute: `after` is the whole row. So within one part only the last change of each key counts,
//! and writing a part twice would do no harm; the offsets in the same transaction see to it that it isn't.

mod decode;
mod merge;
mod table;

pub use decode::{Change, Undecodable, decode};
pub use merge::merge;
pub use table::{ColumnKind, MirrorColumn, MirrorTable};

use std::collections::HashMap;

/// The value of one column in a change event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// The event doesn't hold it: PostgreSQL leaves out large values that the change didn't touch.
    Unchanged,
    /// NULL.
    Null,
    /// A value, in the text form that PostgreSQL reads.
    Text(String),
}

/// What a part does to one table: the last change of each key.
#[derive(Debug, Default)]
pub struct MirrorRows {
    /// All rows before these changes are gone.
    pub truncated: bool,
    changes: HashMap<Vec<String>, Option<Vec<Cell>>>,
    size_bytes: usize,
}

impl MirrorRows {
    /// Adds a change that came after those added before.
    pub fn add(&mut self, change: Change) {
        match change {
            Change::Put { key, cells } => {
                self.size_bytes += cells.iter().map(cell_bytes).sum::<usize>();
                let cells = match self.changes.remove(&key) {
                    Some(Some(before)) => keep_unchanged(cells, before),
                    _ => cells,
                };
                self.changes.insert(key, Some(cells));
            }
            Change::Delete { key } => {
                self.size_bytes += key.iter().map(String::len).sum::<usize>();
                self.changes.insert(key, None);
            }
            Change::Truncate => {
                self.truncated = true;
                self.changes.clear();
            }
            Change::Nothing => {}
        }
    }

    /// Bytes of values added so far, about.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Rows to put, in no order: no two have the same key.
    pub fn puts(&self) -> impl Iterator<Item = &[Cell]> {
        self.changes.values().filter_map(|cells| cells.as_deref())
    }

    /// Keys of rows to delete.
    pub fn deletes(&self) -> impl Iterator<Item = &[String]> {
        self.changes.iter().filter(|(_, cells)| cells.is_none()).map(|(key, _)| key.as_slice())
    }
}

fn keep_unchanged(cells: Vec<Cell>, before: Vec<Cell>) -> Vec<Cell> {
    cells
        .into_iter()
        .zip(before)
        .map(|(now, before)| if now == Cell::Unchanged { before } else { now })
        .collect()
}

fn cell_bytes(cell: &Cell) -> usize {
    match cell {
        Cell::Unchanged | Cell::Null => 1,
        Cell::Text(text) => text.len() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, cells: &[Cell]) -> Change {
        Change::Put { key: vec![key.to_owned()], cells: cells.to_vec() }
    }

    fn text(value: &str) -> Cell {
        Cell::Text(value.to_owned())
    }

    #[test]
    fn the_last_change_of_a_key_counts() {
        let mut rows = MirrorRows::default();
        rows.add(put("1", &[text("1"), text("a")]));
        rows.add(put("2", &[text("2"), text("b")]));
        rows.add(put("1", &[text("1"), text("c")]));
        rows.add(Change::Delete { key: vec!["2".into()] });
        assert_eq!(rows.puts().collect::<Vec<_>>(), [[text("1"), text("c")]]);
        assert_eq!(rows.deletes().collect::<Vec<_>>(), [["2".to_owned()]]);
    }

    #[test]
    fn a_value_left_out_keeps_what_came_before() {
        let mut rows = MirrorRows::default();
        rows.add(put("1", &[text("1"), text("large")]));
        rows.add(put("1", &[text("1"), Cell::Unchanged]));
        assert_eq!(rows.puts().collect::<Vec<_>>(), [[text("1"), text("large")]]);
    }

    #[test]
    fn a_row_deleted_and_put_again_is_only_the_new_one() {
        let mut rows = MirrorRows::default();
        rows.add(put("1", &[text("1"), text("old")]));
        rows.add(Change::Delete { key: vec!["1".into()] });
        rows.add(put("1", &[text("1"), Cell::Unchanged]));
        assert_eq!(rows.puts().collect::<Vec<_>>(), [[text("1"), Cell::Unchanged]]);
        assert_eq!(rows.deletes().count(), 0);
    }

    #[test]
    fn a_truncate_forgets_what_came_before() {
        let mut rows = MirrorRows::default();
        rows.add(put("1", &[text("1")]));
        rows.add(Change::Truncate);
        rows.add(put("2", &[text("2")]));
        assert!(rows.truncated);
        assert_eq!(rows.puts().collect::<Vec<_>>(), [[text("2")]]);
    }
}
