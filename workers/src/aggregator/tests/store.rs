//! An output: values by key, each with its version, as a store keeps them.

use std::collections::BTreeMap;

use super::reference::{Figures, Key};
use crate::aggregator::output::Row;

/// A store, or what a reader of a topic makes of it.
#[derive(Debug, Default)]
pub struct Store {
    rows: BTreeMap<Key, Row>,
    /// What must never happen, and did.
    pub faults: Vec<String>,
}

impl Store {
    /// Writes a row unless what is there is newer.
    pub fn write(&mut self, row: &Row) {
        let key = key(row);
        if self.rows.get(&key).is_none_or(|there| there.version <= row.version) {
            self.rows.insert(key, row.clone());
        }
    }

    /// Writes a row of a worker that owns its group: it can't be older than what is there.
    pub fn write_newer(&mut self, row: &Row) {
        let key = key(row);
        if let Some(there) = self.rows.get(&key)
            && there.version > row.version
        {
            self.faults.push(format!("{key:?} went back from {:?} to {:?}", there.version, row.version));
        }
        self.write(row);
    }

    /// Writes a row, whatever is there.
    pub fn overwrite(&mut self, row: &Row) {
        self.rows.insert(key(row), row.clone());
    }

    /// Loses everything.
    pub fn empty(&mut self) {
        self.rows.clear();
    }

    /// What is shown.
    pub fn figures(&self) -> BTreeMap<Key, Figures> {
        let figures = |(key, row): (&Key, &Row)| {
            let measures = row.measures.clone()?;
            // An average has as many digits as fit.
            let measures = measures.into_iter().map(|value| Some(value?.round_dp(9)));
            Some((key.clone(), Figures { measures: measures.collect(), is_final: row.is_final }))
        };
        self.rows.iter().filter_map(figures).collect()
    }
}

fn key(row: &Row) -> Key {
    let group = String::from_utf8(row.group.clone()).unwrap();
    (row.window.map(|window| window.start_ms), group)
}
