//! Step one without its edge: from records to partial values.
//!
//! A function of the log alone (and of the lookups, which are as of processing): lateness is judged record by record
//! against the record's own partition, so a replay gives the same windows. What an open transaction changed is undone
//! when it is thrown away.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::rows::{self, Rows};
use crate::aggregator::codec::Unreadable;
use crate::aggregator::measure::{Group, Input, Shape};
use crate::aggregator::partial::{self, Mark, SourcePartition};
use crate::aggregator::record::{Change, Lookups, Reading, RecordPlan, Rejected, Scratch, Unread};
use crate::aggregator::window::Window;
use crate::expression::DecimalError;
use crate::record::RecordView;

/// An event that claims to be further ahead of its record's own time than this is taken for a fault of its clock.
pub const MAX_AHEAD_MS: i64 = 3_600_000;
/// More decimals than this, or as many digits before them, aren't summed: sums must have room.
const MAX_SCALE: u32 = 12;
const MAX_NUMBER: i128 = 1_000_000_000_000_000;

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
    /// The highest event time before the open transaction.
    committed_max_event_ms: Option<i64>,
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
        let committed_max_event_ms = known.max_event_ms;
        self.sources.push(Source { id, known, committed_max_event_ms, is_idle: false });
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
        self.plan.read(record, lookups, &mut self.reading, &mut self.scratch)?;
        let event_ms = self.reading.event_ms;
        check_time(&self.window, event_ms, record.timestamp_ms)?;
        for contribution in self.reading.contributions() {
            check_numbers(contribution.inputs)?;
        }
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

    fn take_change(
        &mut self,
        source: usize,
        record: &RecordView<'_>,
        lookups: &impl Lookups,
    ) -> Result<(), Refused> {
        match self.plan.change(record, &mut self.scratch)? {
            Change::Put { key, is_snapshot } => self.put(source, record, &key, is_snapshot, lookups),
            Change::Remove { key } => self.remove(source, record, &key),
            Change::Truncate => self.truncate(source),
            Change::Skip => Ok(()),
        }
    }

    fn put(
        &mut self,
        source: usize,
        record: &RecordView<'_>,
        key: &[u8],
        is_snapshot: bool,
        lookups: &impl Lookups,
    ) -> Result<(), Refused> {
        self.plan.read(record, lookups, &mut self.reading, &mut self.scratch)?;
        let event_ms = self.reading.event_ms;
        check_time(&self.window, event_ms, record.timestamp_ms)?;
        for contribution in self.reading.contributions() {
            check_numbers(contribution.inputs)?;
        }
        let pane_ms = self.window.pane_start(event_ms);
        let is_late = self.is_closed(source, pane_ms);
        let new = if is_late { None } else { rows::write(pane_ms, self.reading.contributions()) };
        let old = self.contributed(source, key);
        // The same again: a repeated delivery or snapshot.
        if old != new {
            self.take_back(source, old.as_deref())?;
            if new.is_some() {
                let pane = pane(&mut self.panes, pane_ms);
                for contribution in self.reading.contributions() {
                    fold(&self.shape, pane, contribution.group, contribution.inputs, 1)?;
                }
            }
            self.replace(source, key, new);
        }
        if is_late {
            let passed = self.passed(source, record, too_late(event_ms));
            self.late.push(passed);
        } else if !is_snapshot {
            // A snapshot reads rows in no order of time.
            self.advance(source, event_ms);
        }
        Ok(())
    }

    fn remove(&mut self, source: usize, record: &RecordView<'_>, key: &[u8]) -> Result<(), Refused> {
        match self.contributed(source, key) {
            Some(old) => {
                self.take_back(source, Some(&old))?;
                self.replace(source, key, None);
            }
            // In a global window: a row that never counted, or a delete that came before.
            None if self.window == Window::Global => {}
            None => {
                let cause = "the row is deleted, and its window has closed or it never counted".to_owned();
                let passed = self.passed(source, record, cause);
                self.late.push(passed);
            }
        }
        Ok(())
    }

    fn truncate(&mut self, source: usize) -> Result<(), Refused> {
        let Some(Source { id, known, .. }) = self.sources.get(source) else { return Ok(()) };
        if !known.is_only_partition {
            let sentence = format!(
                "{id}: the table was truncated, and its topic has several partitions, of which each would have to know \
                 the moment: give the topic one partition, or use DELETE instead of TRUNCATE"
            );
            return Err(Refused::Held(Held::Stopped(sentence)));
        }
        let keys = known.rows.as_ref().map(Rows::keys).unwrap_or_default();
        for key in keys {
            let old = self.contributed(source, &key);
            self.take_back(source, old.as_deref())?;
            self.replace(source, &key, None);
        }
        Ok(())
    }

    /// What a row contributed to panes that are still open.
    fn contributed(&self, source: usize, key: &[u8]) -> Option<Vec<u8>> {
        let bytes = self.sources.get(source)?.known.rows.as_ref()?.get(key)?;
        let is_open = rows::pane_of(bytes).is_ok_and(|pane_ms| !self.is_closed(source, pane_ms));
        is_open.then(|| bytes.to_vec())
    }

    fn take_back(&mut self, source: usize, old: Option<&[u8]>) -> Result<(), Refused> {
        let Some(old) = old else { return Ok(()) };
        let contributed = rows::read(old).map_err(|error| {
            let id = self.sources.get(source).map(|source| source.id.to_string()).unwrap_or_default();
            Refused::unreadable(&id, &error)
        })?;
        let pane = pane(&mut self.panes, contributed.pane_ms);
        for (group, inputs) in &contributed.groups {
            fold(&self.shape, pane, group, inputs, -1)?;
        }
        Ok(())
    }

    fn replace(&mut self, source: usize, key: &[u8], new: Option<Vec<u8>>) {
        let rows = self.sources.get_mut(source).and_then(|source| source.known.rows.as_mut());
        if let Some(rows) = rows.filter(|rows| new.is_some() || rows.get(key).is_some()) {
            rows.replace(key, new);
        }
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

    /// Ends the open transaction: what it writes. Afterwards either [`Self::commit`] or [`Self::roll_back`].
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
            source.committed_max_event_ms = source.known.max_event_ms;
            source.known.rows.iter_mut().for_each(Rows::commit);
        }
    }

    /// The open transaction is thrown away: everything is as after the last commit.
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

enum Refused {
    Held(Held),
    Rejected(Rejected),
}

impl Refused {
    fn unreadable(id: &str, error: &Unreadable) -> Self {
        Self::Held(Held::Stopped(format!("{id}: the changelog of its rows holds {error}")))
    }
}

impl From<Rejected> for Refused {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl From<Unread> for Refused {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Rejected(rejected) => Self::Rejected(rejected),
            Unread::Missing { lookup, key } => Self::Held(Held::Waits { lookup, key }),
        }
    }
}

impl From<DecimalError> for Refused {
    fn from(error: DecimalError) -> Self {
        Self::Held(Held::Stopped(format!("a sum has become too long: {error}; count in larger units")))
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

fn check_time(window: &Window, event_ms: i64, timestamp_ms: i64) -> Result<(), Rejected> {
    if *window == Window::Global || event_ms <= timestamp_ms.saturating_add(MAX_AHEAD_MS) {
        return Ok(());
    }
    let ahead_s = event_ms.saturating_sub(timestamp_ms) / 1000;
    let cause = format!(
        "its event time is {ahead_s} s ahead of the record's own time; mend the clock or the time zone"
    );
    Err(Rejected { cause })
}

fn check_numbers(inputs: &[Option<Input>]) -> Result<(), Rejected> {
    for Input { value, .. } in inputs.iter().flatten() {
        let fits = value.scale() <= MAX_SCALE && value.mantissa().abs() < MAX_NUMBER;
        if !fits && !fits_normalized(*value) {
            let cause = format!(
                "{value} has more digits than can be summed exactly: 15 before the point and 12 after"
            );
            return Err(Rejected { cause });
        }
    }
    Ok(())
}

fn fits_normalized(value: rust_decimal::Decimal) -> bool {
    value.normalize().scale() <= MAX_SCALE && value.trunc().mantissa().abs() < MAX_NUMBER
}

fn too_late(event_ms: i64) -> String {
    format!("its window has closed (event time {event_ms} ms)")
}
