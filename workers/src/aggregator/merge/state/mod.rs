//! Step two without its edge: the groups of one partials partition.
//!
//! A function of the partials log alone. What an open transaction changed is undone when it is thrown away.

mod changelog;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::RandomState;

use super::header::{Closed, Header, LowWatermark};
use crate::aggregator::codec::Unreadable;
use crate::aggregator::measure::{Group, Shape};
use crate::aggregator::output::{Row, Version};
use crate::aggregator::partial::{self, Partial, SourcePartition};
use crate::aggregator::window::Window;
use crate::expression::DecimalError;

/// What the state of all partitions goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How values are put together.
    pub shape: Shape,
    /// The windows.
    pub window: Window,
    /// How long a window that has ended takes late events.
    pub allowed_ms: i64,
    /// How long a window waits when a source is silent.
    pub idle_retention_ms: i64,
    /// How long a final window is kept after its end, so that an output that lost it can be filled again.
    pub keep_ms: i64,
    /// There is no `groupBy`: a global window then always has its one group, empty or not.
    pub is_ungrouped: bool,
}

/// Why a partition can't go on: a person has to decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// A record or an entry of another version.
    #[error("offset {offset}: {source}")]
    Unreadable {
        /// Where it is.
        offset: i64,
        /// What is wrong with it.
        source: Unreadable,
    },
    /// A sum that can't be held.
    #[error("offset {offset}: a sum has become too long: {source}; count in larger units")]
    TooLong {
        /// The record that did it.
        offset: i64,
        /// The sum.
        source: DecimalError,
    },
}

/// A group of a pane: the key of everything here.
pub type GroupKey = (i64, Box<[u8]>);

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    group: Group,
    /// Offset and broker's time of the record that changed it last.
    offset: i64,
    changed_ms: i64,
    revision: u64,
}

/// The groups of one partials partition.
#[derive(Debug, Default)]
pub struct State {
    header: Header,
    panes: BTreeMap<i64, HashMap<Box<[u8]>, Entry, RandomState>>,
    /// Groups without records, which go once every output knows.
    empty: BTreeSet<GroupKey>,
    /// What the open transaction changed, as it was before.
    before: HashMap<GroupKey, Option<Entry>, RandomState>,
    header_before: Option<Header>,
    /// Panes that the open transaction closed.
    closing: Vec<i64>,
    size_bytes: usize,
    dropped: u64,
}

const ENTRY_BYTES: usize = 64;
impl State {
    /// Takes one record of the partials topic: its offset, the broker's time, its key and its value.
    ///
    /// # Errors
    /// The partition can't go on; the transaction must be thrown away.
    pub fn apply(
        &mut self,
        rules: &Rules,
        expected: &[SourcePartition],
        (offset, timestamp_ms): (i64, i64),
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Stopped> {
        let read =
            partial::read(&rules.shape, value).map_err(|source| Stopped::Unreadable { offset, source })?;
        self.keep_header();
        self.header.birth_ms.get_or_insert(timestamp_ms);
        self.header.latest_ms = self.header.latest_ms.max(timestamp_ms);
        match read {
            Partial::Marks(marks) => {
                for mark in &marks {
                    self.header.mark(mark, timestamp_ms);
                }
                self.close_windows(rules, expected, Closed { offset, at_ms: timestamp_ms });
            }
            Partial::Values(panes) => {
                for (pane_ms, values) in panes {
                    if self.is_gone(rules, pane_ms) {
                        self.dropped += 1;
                        continue;
                    }
                    self.add(rules, &(pane_ms, key.into()), &values, (offset, timestamp_ms))
                        .map_err(|source| Stopped::TooLong { offset, source })?;
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        rules: &Rules,
        key: &GroupKey,
        values: &Group,
        (offset, timestamp_ms): (i64, i64),
    ) -> Result<(), DecimalError> {
        let existing = self.entry(key).cloned();
        let mut entry = existing.clone().unwrap_or_else(|| Entry {
            group: rules.shape.empty(),
            offset,
            changed_ms: timestamp_ms,
            revision: 0,
        });
        rules.shape.merge(&mut entry.group, values)?;
        entry.offset = offset;
        entry.changed_ms = entry.changed_ms.max(timestamp_ms);
        if !self.before.contains_key(key) {
            entry.revision += 1;
            self.before.insert(key.clone(), existing);
        }
        self.set(key, Some(entry));
        Ok(())
    }

    fn keep_header(&mut self) {
        if self.header_before.is_none() {
            self.header_before = Some(self.header.clone());
        }
    }

    fn entry(&self, (pane_ms, group): &GroupKey) -> Option<&Entry> {
        self.panes.get(pane_ms)?.get(group)
    }

    fn set(&mut self, key: &GroupKey, entry: Option<Entry>) {
        let (pane_ms, group) = key;
        let size = |entry: &Entry| group.len() + entry.group.size_bytes() + ENTRY_BYTES;
        let groups = self.panes.entry(*pane_ms).or_default();
        let before = match entry {
            Some(entry) => {
                self.size_bytes += size(&entry);
                if entry.group.rows == 0 {
                    self.empty.insert(key.clone());
                } else {
                    self.empty.remove(key);
                }
                groups.insert(group.clone(), entry)
            }
            None => {
                self.empty.remove(key);
                groups.remove(group)
            }
        };
        self.size_bytes -= before.as_ref().map_or(0, size);
        if groups.is_empty() {
            self.panes.remove(pane_ms);
        }
    }

    fn is_gone(&self, rules: &Rules, pane_ms: i64) -> bool {
        let Some(span) = rules.window.span(pane_ms) else { return false };
        self.header.gone_until_ms.is_some_and(|until_ms| span.end_ms <= until_ms)
            && !self.panes.contains_key(&pane_ms)
    }

    fn close_windows(&mut self, rules: &Rules, expected: &[SourcePartition], closed: Closed) {
        let low = match self.header.low_watermark(expected, rules.idle_retention_ms) {
            LowWatermark::At(low) => low,
            LowWatermark::End => i64::MAX,
            LowWatermark::Unknown(_) => return,
        };
        let open = self.panes.keys().filter(|pane_ms| !self.header.closed.contains_key(pane_ms));
        let ends = |pane_ms: &i64| {
            rules
                .window
                .span(*pane_ms)
                .is_some_and(|span| span.end_ms.saturating_add(rules.allowed_ms) <= low)
        };
        let closing: Vec<i64> = open.copied().take_while(ends).collect();
        for pane_ms in closing {
            self.header.closed.insert(pane_ms, closed);
            self.closing.push(pane_ms);
        }
    }

    /// Removes closed windows that are kept no longer, and groups without records, once every value up to `flushed`
    /// is in every output. Part of the open transaction.
    pub fn forget(&mut self, rules: &Rules, flushed: i64, now_ms: i64) {
        let due = |(pane_ms, closed): (&i64, &Closed)| {
            let end_ms = rules.window.span(*pane_ms).map_or(i64::MAX, |span| span.end_ms);
            let kept_until_ms = end_ms.max(closed.at_ms).saturating_add(rules.keep_ms);
            (closed.offset < flushed && kept_until_ms <= now_ms).then_some((*pane_ms, end_ms))
        };
        let due: Vec<(i64, i64)> = self.header.closed.iter().filter_map(due).collect();
        for (pane_ms, end_ms) in due {
            let keys: Vec<Box<[u8]>> =
                self.panes.get(&pane_ms).into_iter().flat_map(HashMap::keys).cloned().collect();
            let newer =
                self.panes.get(&pane_ms).is_some_and(|pane| pane.values().any(|e| e.offset >= flushed));
            if newer {
                continue;
            }
            self.keep_header();
            for group in keys {
                self.remove(&(pane_ms, group));
            }
            self.header.closed.remove(&pane_ms);
            self.header.gone_until_ms = self.header.gone_until_ms.max(Some(end_ms));
        }
        if always_there(rules) {
            return;
        }
        // Of a group that was restored, only the last of its changes is known to be missing.
        let is_flushed = |key: &&GroupKey| {
            let closed = self.header.closed.get(&key.0).map_or(i64::MIN, |closed| closed.offset);
            self.entry(key).is_some_and(|entry| entry.offset.max(closed) < flushed)
        };
        let empty: Vec<GroupKey> = self.empty.iter().filter(is_flushed).cloned().collect();
        for key in &empty {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: &GroupKey) {
        if let Some(entry) = self.entry(key).cloned() {
            self.before.entry(key.clone()).or_insert(Some(entry));
            self.set(key, None);
        }
    }

    /// Drops days that no output shows any more from every group; they leave the changelog with the group's next
    /// change. Between transactions.
    pub fn forget_days(&mut self, rules: &Rules, first: i32) {
        for entry in self.panes.values_mut().flat_map(HashMap::values_mut) {
            let before = entry.group.size_bytes();
            rules.shape.forget_days(&mut entry.group, first);
            self.size_bytes -= before - entry.group.size_bytes();
        }
    }

    /// An output has every value below these offsets. Part of the open transaction.
    pub fn set_flushed(&mut self, flushed: &BTreeMap<String, i64>) {
        if self.header.flushed != *flushed {
            self.keep_header();
            self.header.flushed.clone_from(flushed);
        }
    }

    /// Whether the open transaction has anything to write.
    pub fn has_changes(&self) -> bool {
        !self.before.is_empty() || self.header_before.as_ref().is_some_and(|before| *before != self.header)
    }

    /// The groups that the open transaction changes in the outputs, those of windows that it closes among them.
    pub fn changed(&self) -> Vec<(GroupKey, i64)> {
        let of = |key: &GroupKey| Some((key.clone(), self.entry(key)?.offset));
        let mut changed: Vec<_> = self.before.keys().filter_map(of).collect();
        for pane_ms in &self.closing {
            let offset = self.header.closed.get(pane_ms).map_or(0, |closed| closed.offset);
            let groups = self.panes.get(pane_ms).into_iter().flat_map(HashMap::keys);
            changed.extend(groups.map(|group| ((*pane_ms, group.clone()), offset)));
        }
        changed
    }

    /// What was written is committed.
    pub fn commit(&mut self) {
        self.before.clear();
        self.header_before = None;
        self.closing.clear();
    }

    /// The open transaction is thrown away.
    pub fn roll_back(&mut self) {
        let before = std::mem::take(&mut self.before);
        for (key, entry) in before {
            self.set(&key, entry);
        }
        if let Some(header) = self.header_before.take() {
            self.header = header;
        }
        self.closing.clear();
    }

    /// Every group, with the offset at which its values, or its window's end, came last.
    pub fn all(&self) -> impl Iterator<Item = (GroupKey, i64)> {
        self.panes.iter().flat_map(|(pane_ms, groups)| {
            let closed = self.header.closed.get(pane_ms).map_or(i64::MIN, |closed| closed.offset);
            groups.iter().map(move |(group, entry)| ((*pane_ms, group.clone()), entry.offset.max(closed)))
        })
    }

    /// A group as it is to be in an output; none where nothing is known of it.
    pub fn row(
        &self,
        rules: &Rules,
        expected: &[SourcePartition],
        key: &GroupKey,
        today: i32,
    ) -> Option<Row> {
        let entry = self.entry(key)?;
        let closed = self.header.closed.get(&key.0);
        let is_there = entry.group.rows != 0 || always_there(rules);
        let low = self.header.low_watermark(expected, rules.idle_retention_ms);
        let watermark_ms = if let LowWatermark::At(low) = low { Some(low) } else { None };
        Some(Row {
            window: rules.window.span(key.0),
            group: key.1.to_vec(),
            measures: is_there.then(|| rules.shape.results(&entry.group, today)),
            is_final: closed.is_some(),
            revision: entry.revision,
            watermark_ms,
            version: Version {
                birth_ms: self.header.birth_ms.unwrap_or(0),
                offset: entry.offset.max(closed.map_or(i64::MIN, |closed| closed.offset)),
                sequence: if rules.shape.is_daily() { today.into() } else { 0 },
            },
            changed_ms: entry.changed_ms.max(closed.map_or(i64::MIN, |closed| closed.at_ms)),
        })
    }

    /// Whether a pane's window is final.
    pub fn is_closed(&self, pane_ms: i64) -> bool {
        self.header.closed.contains_key(&pane_ms)
    }

    /// What is known beside the groups.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Windows that are open.
    pub fn open_windows(&self) -> usize {
        self.panes.keys().filter(|pane_ms| !self.is_closed(**pane_ms)).count()
    }

    /// Groups of all windows.
    pub fn group_count(&self) -> usize {
        self.panes.values().map(HashMap::len).sum()
    }

    /// Bytes of memory, about.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Values that came for windows that are gone, after `idleRetention` had ended them.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// The one group of a global window exists even without records, as `SELECT count(*)` without GROUP BY has a row.
fn always_there(rules: &Rules) -> bool {
    rules.is_ungrouped && rules.window == Window::Global
}
