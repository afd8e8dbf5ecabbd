//! The state of a partition as entries of a compacted topic.

use super::{Entry, GroupKey, Rules, State};
use crate::aggregator::codec::{Reader, Unreadable, Write};
use crate::aggregator::merge::header::Header;

const ENTRY: u8 = 1;
const HEADER: u8 = 2;

impl State {
    /// What the open transaction writes to the changelog.
    pub fn writes(&self, rules: &Rules) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let entry = |key: &GroupKey| (key_bytes(key), self.entry(key).map(|entry| write_entry(rules, entry)));
        let mut writes: Vec<_> = self.before.keys().map(entry).collect();
        if self.header_before.as_ref().is_some_and(|before| *before != self.header) {
            writes.push((vec![HEADER], Some(self.header.write())));
        }
        writes
    }

    /// Loads an entry of the changelog.
    ///
    /// # Errors
    /// It is of another version.
    pub fn restore(&mut self, rules: &Rules, key: &[u8], value: Option<&[u8]>) -> Result<(), Unreadable> {
        let mut reader = Reader::new(key);
        if reader.byte()? == HEADER {
            if let Some(value) = value {
                self.header = Header::read(value)?;
            }
            return Ok(());
        }
        let pane_ms = reader.signed64()?;
        let group = reader.bytes()?.into();
        let entry = value.map(|value| read_entry(rules, value)).transpose()?;
        self.set(&(pane_ms, group), entry);
        Ok(())
    }
}

fn key_bytes((pane_ms, group): &GroupKey) -> Vec<u8> {
    let mut bytes = vec![ENTRY];
    bytes.signed((*pane_ms).into());
    bytes.bytes(group);
    bytes
}

fn write_entry(rules: &Rules, entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.signed(entry.offset.into());
    bytes.signed(entry.changed_ms.into());
    bytes.unsigned(entry.revision.into());
    rules.shape.write(&entry.group, &mut bytes);
    bytes
}

fn read_entry(rules: &Rules, bytes: &[u8]) -> Result<Entry, Unreadable> {
    let mut reader = Reader::new(bytes);
    let (offset, changed_ms) = (reader.signed64()?, reader.signed64()?);
    let revision = u64::try_from(reader.unsigned()?).or_else(|_| reader.wrong("a revision"))?;
    Ok(Entry { offset, changed_ms, revision, group: rules.shape.read(&mut reader)? })
}
