//! Rows of a table: each change replaces what its row contributed before.

use super::checks::{Refused, too_late};
use super::{Combine, Held, Source, fold, pane};
use crate::aggregator::combine::rows::{self, Rows};
use crate::aggregator::partial::SourcePartition;
use crate::aggregator::record::{Change, Lookups};
use crate::aggregator::window::Window;
use crate::record::RecordView;

impl Combine {
    pub(super) fn take_change(
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
        let event_ms = self.read(record, lookups)?;
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
        self.take_back_rows(source)
    }

    /// Takes back what all rows of a source contributed: its topic was deleted and created again.
    ///
    /// # Errors
    /// A sentence for the status: a row can't be read.
    pub fn take_back_all(&mut self, id: &SourcePartition) -> Result<(), String> {
        let Some(source) = self.source(&id.topic, id.partition) else { return Ok(()) };
        match self.take_back_rows(source) {
            Ok(()) => Ok(()),
            Err(Refused::Held(Held::Stopped(sentence))) => Err(sentence),
            // Only records are rejected, or wait.
            Err(_) => Err(format!("{id}: what its rows contributed can't be taken back")),
        }
    }

    fn take_back_rows(&mut self, source: usize) -> Result<(), Refused> {
        let rows = self.sources.get(source).and_then(|source| source.known.rows.as_ref());
        for key in rows.map(Rows::keys).unwrap_or_default() {
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
}
