//! Step one without its edge: from records to partial values.
//!
//! A function of the log alone (and of the lookups, which are as of processing): lateness is judged record by record
//! against the record's own partition, so a replay gives the same windows. What an open transaction changed is undone
//! when it is thrown away.

mod checks;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

pub use checks::MAX_AHEAD_MS;
use checks::{Refused, check_numbers, check_time, too_late};
use foldhash::fast::RandomState;

use super::rows::Rows;
use crate::aggregator::measure::{Group, Input, Shape};
use crate::aggregator::partial::{self, Mark, SourcePartition};
use crate::aggregator::record::{Lookups, Reading, RecordPlan, Scratch};
use crate::aggregator::window::Window;
use crate::expression::DecimalError;
use crate::record::RecordView;

/// How late an event may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lateness {
    /// How far out of order events may be.
    pub watermark_ms: i64,
    /// How long a window that has ended takes late events.
    pub allowed_ms: i64,
}

/// A record that is passed on as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Where it came from.
    pub source: SourcePartition,
    /// Its offset there.
    pub offset: i64,
    /// Its time, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Vec<u8>,
    /// Why it is passed on.
    pub cause: String,
}

/// Why a record wasn't taken; the state is as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A row that it looks up isn't there yet.
    Waits {
        /// Which lookup.
        lookup: usize,
        /// The row's key.
        key: String,
    },
    /// A person has to decide: a sentence for the status.
    Stopped(String),
}

/// What a transaction writes.
#[derive(Debug, Default)]
pub struct Writes {
    /// Keys and values of the partials topic.
    pub partials: Vec<(Box<[u8]>, Vec<u8>)>,
    /// Changes of rows: source, key, what it contributes now.
    pub rows: Vec<(SourcePartition, Vec<u8>, Option<Vec<u8>>)>,
    /// Records that came too late.
    pub late: Vec<Passed>,
    /// Records that can't be read.
    pub dead_letters: Vec<Passed>,
    /// How far each source is, in the order of the sources.
    pub marks: Vec<Mark>,
}

impl Writes {
    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        let Self { partials, rows, late, dead_letters, marks } = self;
        partials.is_empty()
            && rows.is_empty()
            && late.is_empty()
            && dead_letters.is_empty()
            && marks.is_empty()
    }
}

/// What is known of a source partition when its reading begins.
#[derive(Debug, Default)]
pub struct Known {
    /// The highest event time so far.
    pub max_event_ms: Option<i64>,
    /// What its rows contributed; none for plain records.
    pub rows: Option<Rows>,
    /// Its topic has no other partition.
    pub is_only_partition: bool,
}

#[derive(Debug)]
struct Source {
    id: SourcePartition,
    known: Known,
    /// The highest event time before the transaction that isn't committed yet, and at its end.
    committed_max_event_ms: Option<i64>,
    written_max_event_ms: Option<i64>,
    is_idle: bool,
}

type Pane = HashMap<Box<[u8]>, Group, RandomState>;

/// Step one of an aggregation.
#[derive(Debug)]
pub struct Combine {
    plan: RecordPlan,
    shape: Shape,
    window: Window,
    lateness: Lateness,
    sources: Vec<Source>,
    panes: Vec<(i64, Pane)>,
    late: Vec<Passed>,
    dead_letters: Vec<Passed>,
    reading: Reading,
    scratch: Scratch,
}

impl Combine {
    /// Without sources.
    pub fn new(plan: RecordPlan, window: Window, lateness: Lateness) -> Self {
        let shape = Shape { measures: plan.measures().to_vec(), is_table: plan.is_table() };
        let scratch = plan.scratch();
        Self {
            plan,
            shape,
            window,
            lateness,
            sources: Vec::new(),
            panes: Vec::new(),
            late: Vec::new(),
            dead_letters: Vec::new(),
            reading: Reading::default(),
            scratch,
        }
    }

    /// How values are put together.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// A source partition is read from now on.
    pub fn add_source(&mut self, id: SourcePartition, known: Known) {
        self.remove_source(&id);
        let max_event_ms = known.max_event_ms;
        self.sources.push(Source {
            id,
            known,
            committed_max_event_ms: max_event_ms,
            written_max_event_ms: max_event_ms,
            is_idle: false,
        });
    }

    /// A source partition is no longer read here. Between transactions only.
    pub fn remove_source(&mut self, id: &SourcePartition) {
        self.sources.retain(|source| source.id != *id);
    }

    /// The place of a source, for [`Self::take`].
    pub fn source(&self, topic: &str, partition: i32) -> Option<usize> {
        self.sources.iter().position(|source| source.id.partition == partition && source.id.topic == topic)
    }

    /// A source has nothing to read, or has again.
    pub fn set_idle(&mut self, source: usize, is_idle: bool) {
        if let Some(source) = self.sources.get_mut(source) {
            source.is_idle = is_idle;
        }
    }

    /// The highest event time of a source, to be committed with its offset.
    pub fn max_event_ms(&self, source: usize) -> Option<i64> {
        self.sources.get(source)?.known.max_event_ms
    }

    /// Bytes of memory, about.
    pub fn size_bytes(&self) -> usize {
        let rows = self.sources.iter().filter_map(|source| source.known.rows.as_ref());
        rows.map(Rows::size_bytes).sum()
    }

    /// Rows of tables that are kept.
    pub fn row_count(&self) -> usize {
        let rows = self.sources.iter().filter_map(|source| source.known.rows.as_ref());
        rows.map(Rows::len).sum()
    }

    /// Takes one record of a source, which is no tombstone.
    ///
    /// # Errors
    /// It wasn't taken; nothing has changed, except after [`Held::Stopped`] by a sum that is too long.
    pub fn take(
        &mut self,
        source: usize,
        record: &RecordView<'_>,
        lookups: &impl Lookups,
    ) -> Result<(), Held> {
        let taken = if self.plan.is_table() {
            self.take_change(source, record, lookups)
        } else {
            self.take_record(source, record, lookups)
        };
        match taken {
            Ok(()) => Ok(()),
            Err(Refused::Held(held)) => Err(held),
            Err(Refused::Rejected(rejected)) => {
                let passed = self.passed(source, record, rejected.cause);
                self.dead_letters.push(passed);
                Ok(())
            }
        }
    }

    fn take_record(
        &mut self,
        source: usize,
        record: &RecordView<'_>,
        lookups: &impl Lookups,
    ) -> Result<(), Refused> {
        let event_ms = self.read(record, lookups)?;
        let pane_ms = self.window.pane_start(event_ms);
        if self.is_closed(source, pane_ms) {
            let passed = self.passed(source, record, too_late(event_ms));
            self.late.push(passed);
            return Ok(());
        }
        let pane = pane(&mut self.panes, pane_ms);
        for contribution in self.reading.contributions() {
            fold(&self.shape, pane, contribution.group, contribution.inputs, 1)?;
        }
        self.advance(source, event_ms);
        Ok(())
    }

    /// Reads what a record contributes, and when it happened; nothing that can't be counted gets through.
    fn read(&mut self, record: &RecordView<'_>, lookups: &impl Lookups) -> Result<i64, Refused> {
        self.plan.read(record, lookups, &mut self.reading, &mut self.scratch)?;
        check_time(&self.window, self.reading.event_ms, record.timestamp_ms)?;
        for contribution in self.reading.contributions() {
            check_numbers(contribution.inputs)?;
        }
        Ok(self.reading.event_ms)
    }

    fn watermark_ms(&self, source: usize) -> Option<i64> {
        let max = self.sources.get(source)?.known.max_event_ms?;
        Some(max.saturating_sub(self.lateness.watermark_ms))
    }

    fn is_closed(&self, source: usize, pane_ms: i64) -> bool {
        let Some(span) = self.window.span(pane_ms) else { return false };
        let closes_ms = span.end_ms.saturating_add(self.lateness.allowed_ms);
        self.watermark_ms(source).is_some_and(|watermark_ms| watermark_ms >= closes_ms)
    }

    fn advance(&mut self, source: usize, event_ms: i64) {
        if self.window != Window::Global
            && let Some(source) = self.sources.get_mut(source)
        {
            source.known.max_event_ms = source.known.max_event_ms.max(Some(event_ms));
        }
    }

    fn passed(&self, source: usize, record: &RecordView<'_>, cause: String) -> Passed {
        let id = self.sources.get(source).map(|source| source.id.clone());
        Passed {
            source: id
                .unwrap_or(SourcePartition { topic: record.topic.to_owned(), partition: record.partition }),
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.to_vec(),
            cause,
        }
    }

    /// Whether nothing may be taken between [`Self::writes`] and what becomes of it: what the rows of a table contributed
    /// is kept for one transaction at a time.
    pub fn waits_for_commits(&self) -> bool {
        self.plan.is_table()
    }

    /// Ends the open transaction: what it writes. Afterwards either [`Self::commit`] or [`Self::roll_back`], and before
    /// that no other one.
    pub fn writes(&mut self) -> Writes {
        let mut groups: HashMap<Box<[u8]>, Vec<(i64, Group)>, RandomState> = HashMap::default();
        for (pane_ms, pane) in self.panes.drain(..) {
            for (group, values) in pane {
                // What was added and taken back in one transaction is no change.
                if values != self.shape.empty() {
                    groups.entry(group).or_default().push((pane_ms, values));
                }
            }
        }
        let value = |panes: &Vec<(i64, Group)>| {
            partial::write_values(&self.shape, panes.iter().map(|(pane_ms, values)| (*pane_ms, values)))
        };
        let partials = groups.into_iter().map(|(group, panes)| (group, value(&panes))).collect();
        self.sources.iter_mut().for_each(|source| source.written_max_event_ms = source.known.max_event_ms);
        self.forget_closed_rows();
        let mut rows = Vec::new();
        for source in &self.sources {
            let changes = source.known.rows.iter().flat_map(Rows::changes);
            rows.extend(changes.map(|(key, now)| (source.id.clone(), key.to_vec(), now.map(<[u8]>::to_vec))));
        }
        Writes {
            partials,
            rows,
            late: std::mem::take(&mut self.late),
            dead_letters: std::mem::take(&mut self.dead_letters),
            marks: self.marks(),
        }
    }

    fn forget_closed_rows(&mut self) {
        for index in 0..self.sources.len() {
            let Some(mut rows) = self.sources[index].known.rows.take() else { continue };
            if self.window != Window::Global {
                rows.close(|pane_ms| self.is_closed(index, pane_ms));
            }
            self.sources[index].known.rows = Some(rows);
        }
    }

    /// How far each source is; nothing for global windows, which never end.
    pub fn marks(&self) -> Vec<Mark> {
        if self.window == Window::Global {
            return Vec::new();
        }
        let mark = |(index, source): (usize, &Source)| Mark {
            source: source.id.clone(),
            watermark_ms: self.watermark_ms(index),
            is_idle: source.is_idle,
        };
        self.sources.iter().enumerate().map(mark).collect()
    }

    /// What was written is committed.
    pub fn commit(&mut self) {
        for source in &mut self.sources {
            source.committed_max_event_ms = source.written_max_event_ms;
            source.known.rows.iter_mut().for_each(Rows::commit);
        }
    }

    /// What was written, and what was taken since, is thrown away: everything is as after the last commit.
    pub fn roll_back(&mut self) {
        self.panes.clear();
        self.late.clear();
        self.dead_letters.clear();
        for source in &mut self.sources {
            source.known.max_event_ms = source.committed_max_event_ms;
            source.known.rows.iter_mut().for_each(Rows::roll_back);
        }
    }
}

fn pane(panes: &mut Vec<(i64, Pane)>, pane_ms: i64) -> &mut Pane {
    let index = panes.iter().rposition(|(start, _)| *start == pane_ms).unwrap_or(panes.len());
    if index == panes.len() {
        panes.push((pane_ms, Pane::default()));
    }
    &mut panes[index].1
}

fn fold(
    shape: &Shape,
    pane: &mut Pane,
    group: &[u8],
    inputs: &[Option<Input>],
    sign: i64,
) -> Result<(), DecimalError> {
    if let Some(values) = pane.get_mut(group) {
        return shape.fold(values, inputs, sign);
    }
    let mut values = shape.empty();
    shape.fold(&mut values, inputs, sign)?;
    pane.insert(group.into(), values);
    Ok(())
}
