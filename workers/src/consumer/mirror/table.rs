//! The table that a topic is mirrored into.

use std::collections::{BTreeSet, HashMap};

/// A mirrored table: where changes go and how their values are read.
#[derive(Clone, Debug)]
pub struct MirrorTable {
    /// Name in the store.
    pub name: String,
    /// The columns.
    pub columns: Vec<MirrorColumn>,
    /// Indices of the key's columns.
    pub key: Vec<usize>,
    /// Fields that events carry and the source's catalogue no longer has.
    pub ignored: BTreeSet<String>,
    /// Partitions of the topic; a truncate is in no order with the changes in other partitions.
    pub partitions: usize,
    by_name: HashMap<String, usize>,
}

/// A column of a mirrored table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorColumn {
    /// Its name, which is also the field's.
    pub name: String,
    /// Its type in the store, in PostgreSQL's words.
    pub type_sql: String,
    /// How its JSON value becomes text.
    pub kind: ColumnKind,
}

/// How Debezium writes the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// As JSON text, number or boolean whose text PostgreSQL reads.
    Scalar,
    /// As a JSON array.
    Array,
    /// As base64.
    Bytes,
}

impl MirrorTable {
    /// A table with these columns; `key` names those that identify a row, each of them a column.
    pub fn new(name: String, columns: Vec<MirrorColumn>, key: &[String], partitions: usize) -> Self {
        let by_name: HashMap<_, _> =
            columns.iter().enumerate().map(|(index, column)| (column.name.clone(), index)).collect();
        let key = key.iter().filter_map(|name| by_name.get(name).copied()).collect();
        Self { name, columns, key, ignored: BTreeSet::new(), partitions, by_name }
    }

    /// The column of a field.
    pub fn column(&self, field: &str) -> Option<usize> {
        self.by_name.get(field).copied()
    }

    /// The columns of the key.
    pub fn key_columns(&self) -> impl Iterator<Item = &MirrorColumn> {
        self.key.iter().filter_map(|index| self.columns.get(*index))
    }
}
