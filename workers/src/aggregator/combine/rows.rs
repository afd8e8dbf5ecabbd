//! What each row of a table contributed, so that a change of the row replaces it and a delete takes it back.
//!
//! Kept per source partition, in memory and in a compacted changelog. The changelog is written in the transaction of
//! the change, so nothing else tells what a row contributed: an event's `before` is never trusted.

use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::aggregator::codec::{Reader, Unreadable, Write};
use crate::aggregator::measure::Input;
use crate::aggregator::record::Contribution;

/// The rows of one source partition.
#[derive(Debug, Default)]
pub struct Rows {
    contributed: HashMap<Box<[u8]>, Box<[u8]>, RandomState>,
    /// Pane → keys of rows that contribute to it.
    keys_by_pane: BTreeMap<i64, HashSet<Box<[u8]>, RandomState>>,
    /// What the open transaction replaced, in order.
    replaced: Vec<Replaced>,
    size_bytes: usize,
}

/// A key, and what the row contributed before.
type Replaced = (Box<[u8]>, Option<Box<[u8]>>);

/// What a row contributed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contributed {
    /// To which pane.
    pub pane_ms: i64,
    /// To which groups, and what.
    pub groups: Vec<(Vec<u8>, Vec<Option<Input>>)>,
}

/// Memory of an entry beside its bytes, about.
const ENTRY_BYTES: usize = 96;

impl Rows {
    /// What the row contributed, as it was written.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.contributed.get(key).map(|bytes| &**bytes)
    }

    /// A row contributes something else from now on, or nothing.
    pub fn replace(&mut self, key: &[u8], contributed: Option<Vec<u8>>) {
        let contributed = contributed.map(Vec::into_boxed_slice);
        let before = self.set(key, contributed);
        self.replaced.push((key.into(), before));
    }

    /// Loads an entry of the changelog.
    pub fn restore(&mut self, key: &[u8], contributed: Option<&[u8]>) {
        self.set(key, contributed.map(Into::into));
    }

    fn set(&mut self, key: &[u8], contributed: Option<Box<[u8]>>) -> Option<Box<[u8]>> {
        let size = |bytes: &[u8]| 2 * key.len() + bytes.len() + ENTRY_BYTES;
        let pane = |bytes: Option<&[u8]>| bytes.and_then(|bytes| pane_of(bytes).ok());
        let now = pane(contributed.as_deref());
        let before = match contributed {
            Some(bytes) => {
                self.size_bytes += size(&bytes);
                self.contributed.insert(key.into(), bytes)
            }
            None => self.contributed.remove(key),
        };
        self.size_bytes -= before.as_ref().map_or(0, |bytes| size(bytes));
        let was = pane(before.as_deref());
        if now != was {
            if let Some(pane_ms) = was {
                self.leave(pane_ms, key);
            }
            if let Some(pane_ms) = now {
                self.keys_by_pane.entry(pane_ms).or_default().insert(key.into());
            }
        }
        before
    }

    fn leave(&mut self, pane_ms: i64, key: &[u8]) {
        if let Some(keys) = self.keys_by_pane.get_mut(&pane_ms) {
            keys.remove(key);
            if keys.is_empty() {
                self.keys_by_pane.remove(&pane_ms);
            }
        }
    }

    /// Forgets the rows of panes that can no longer change; the changelog hears of it with the transaction.
    pub fn close(&mut self, is_closed: impl Fn(i64) -> bool) {
        while let Some(entry) = self.keys_by_pane.first_entry() {
            let pane_ms = *entry.key();
            if !is_closed(pane_ms) {
                return;
            }
            for key in entry.remove() {
                self.replace(&key, None);
            }
        }
    }

    /// All keys.
    pub fn keys(&self) -> Vec<Box<[u8]>> {
        self.contributed.keys().cloned().collect()
    }

    /// What the open transaction changed: keys and what they contribute now.
    pub fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut seen = std::collections::HashSet::new();
        let keys = self.replaced.iter().map(|(key, _)| &**key);
        keys.filter(move |key| seen.insert(*key)).map(|key| (key, self.get(key)))
    }

    /// The open transaction was committed.
    pub fn commit(&mut self) {
        self.replaced.clear();
    }

    /// The open transaction was thrown away.
    pub fn roll_back(&mut self) {
        for (key, before) in std::mem::take(&mut self.replaced).into_iter().rev() {
            self.set(&key, before);
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.contributed.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.contributed.is_empty()
    }

    /// Bytes of memory, about.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

/// The bytes of what a row contributes.
pub fn write<'c>(pane_ms: i64, contributions: impl Iterator<Item = Contribution<'c>>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.signed(pane_ms.into());
    let mut any = false;
    for Contribution { group, inputs } in contributions {
        any = true;
        bytes.bytes(group);
        bytes.unsigned(inputs.len() as u128);
        for input in inputs {
            bytes.push(input.is_some().into());
            if let Some(Input { value, day }) = input {
                bytes.decimal(*value);
                bytes.signed((*day).into());
            }
        }
    }
    any.then_some(bytes)
}

/// Reads what [`write`] wrote.
pub fn read(bytes: &[u8]) -> Result<Contributed, Unreadable> {
    let mut reader = Reader::new(bytes);
    let mut contributed = Contributed { pane_ms: reader.signed64()?, groups: Vec::new() };
    while !reader.is_at_end() {
        let group = reader.bytes()?.to_vec();
        let mut inputs = Vec::new();
        for _ in 0..reader.count()? {
            let input = if reader.byte()? == 1 {
                Some(Input { value: reader.decimal()?, day: reader.signed32()? })
            } else {
                None
            };
            inputs.push(input);
        }
        contributed.groups.push((group, inputs));
    }
    Ok(contributed)
}

/// The pane that a row contributed to.
pub fn pane_of(bytes: &[u8]) -> Result<i64, Unreadable> {
    Reader::new(bytes).signed64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pane_ms: i64, value: i64) -> Vec<u8> {
        let inputs = [Some(Input { value: value.into(), day: 3 }), None];
        write(pane_ms, [Contribution { group: br#"["a"]"#, inputs: &inputs }].into_iter()).unwrap()
    }

    #[test]
    fn what_a_row_contributed_is_read_back() {
        let read = read(&row(-30_000, 7)).unwrap();
        assert_eq!((read.pane_ms, read.groups.len()), (-30_000, 1));
        assert_eq!(read.groups[0].1, [Some(Input { value: 7.into(), day: 3 }), None]);
        assert_eq!(write(0, std::iter::empty()), None);
    }

    #[test]
    fn a_transaction_that_is_thrown_away_leaves_everything_as_it_was() {
        let mut rows = Rows::default();
        rows.replace(b"1", Some(row(0, 1)));
        rows.replace(b"2", Some(row(0, 2)));
        rows.commit();
        let size = rows.size_bytes();
        rows.replace(b"1", Some(row(0, 5)));
        rows.replace(b"1", Some(row(0, 6)));
        rows.replace(b"2", None);
        rows.replace(b"3", Some(row(0, 9)));
        let changes: Vec<_> =
            rows.changes().map(|(key, now)| (key.to_vec(), now.map(<[u8]>::to_vec))).collect();
        let expected = [(b"1", Some(row(0, 6))), (b"2", None), (b"3", Some(row(0, 9)))];
        assert_eq!(changes, expected.map(|(key, now)| (key.to_vec(), now)));
        rows.roll_back();
        assert_eq!((rows.get(b"1"), rows.get(b"2")), (Some(&*row(0, 1)), Some(&*row(0, 2))));
        assert_eq!((rows.len(), rows.size_bytes()), (2, size));
    }

    #[test]
    fn rows_of_closed_panes_are_forgotten_and_those_that_moved_on_are_not() {
        let mut rows = Rows::default();
        rows.replace(b"stays", Some(row(30, 1)));
        rows.replace(b"moved", Some(row(0, 1)));
        rows.replace(b"moved", Some(row(30, 1)));
        rows.replace(b"goes", Some(row(0, 1)));
        rows.commit();
        rows.close(|pane_ms| pane_ms < 30);
        assert_eq!(rows.changes().map(|(key, _)| key).collect::<Vec<_>>(), [b"goes"]);
        assert_eq!(rows.len(), 2);
        rows.roll_back();
        rows.close(|pane_ms| pane_ms < 30);
        assert_eq!(rows.len(), 2, "what came back is forgotten again");
    }

    #[test]
    fn a_row_that_changes_again_and_again_takes_no_more_memory() {
        let mut rows = Rows::default();
        for value in 0..100 {
            rows.replace(b"1", Some(row(0, value)));
            rows.replace(b"2", Some(row(30, value)));
            rows.replace(b"2", None);
            rows.commit();
        }
        assert_eq!(rows.keys_by_pane.values().map(HashSet::len).collect::<Vec<_>>(), [1]);
    }
}
