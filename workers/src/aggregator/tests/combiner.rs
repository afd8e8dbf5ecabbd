//! A worker of step one, as its edge runs it, on the broker in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::broker::{Broker, Committed, Fault};
use super::case::Case;
use super::log::{Log, Said};
use crate::aggregator::combine::rows::Rows;
use crate::aggregator::combine::step::{Combine, Known, Writes};
use crate::aggregator::partial::{Mark, SourcePartition};
use crate::aggregator::record::{Found, Lookups};
use crate::record::RecordView;

/// There is nothing to look up.
struct NoLookups;

impl Lookups for NoLookups {
    fn row(&self, _: usize, _: &str) -> Found<'_> {
        Found::Absent
    }
}

/// Step one of one worker.
pub struct Combiner {
    combine: Combine,
    /// Sources, by their place among the logs, with the offset of the next record.
    owned: BTreeMap<usize, usize>,
    told: BTreeMap<SourcePartition, Mark>,
    /// The transaction under way: what it writes, and how far was read.
    pending: Option<(Writes, Vec<(usize, Committed)>)>,
    /// What was made of records one by one, where `before` is trusted.
    naive: Writes,
}

impl Combiner {
    pub fn new(case: &Case) -> Self {
        Self {
            combine: case.combine(),
            owned: BTreeMap::new(),
            told: BTreeMap::new(),
            pending: None,
            naive: Writes::default(),
        }
    }

    /// Goes on from what is committed.
    pub fn claim(&mut self, broker: &Broker, source: usize) {
        let Committed { offset, note } = broker.read[source].clone();
        let id = &broker.logs[source].source;
        let mut rows = Rows::default();
        for ((_, key), value) in broker.rows.iter().filter(|((of, _), _)| of == id) {
            rows.restore(key, Some(value));
        }
        let known = Known {
            max_event_ms: note.and_then(|note| note.parse().ok()),
            rows: broker.case.is_table().then_some(rows),
            is_only_partition: broker.logs[source].is_only_partition,
        };
        self.combine.add_source(id.clone(), known);
        self.owned.insert(source, offset);
    }

    /// A partition is taken away: what is open is committed before.
    pub fn revoke(&mut self, broker: &mut Broker, source: usize) {
        if self.owned.contains_key(&source) {
            self.commit(broker);
            self.forget(broker, source);
        }
    }

    /// A partition went to another: what is open can't be committed any more.
    pub fn lose(&mut self, broker: &Broker, source: usize) {
        if self.owned.contains_key(&source) {
            self.drop_open();
            self.forget(broker, source);
            let others: Vec<usize> = self.owned.keys().copied().collect();
            for source in others {
                self.claim(broker, source);
            }
        }
    }

    fn forget(&mut self, broker: &Broker, source: usize) {
        self.owned.remove(&source);
        let id = &broker.logs[source].source;
        self.combine.remove_source(id);
        self.told.remove(id);
    }

    fn drop_open(&mut self) {
        self.pending = None;
        self.combine.roll_back();
        self.naive = Writes::default();
        self.told.clear();
    }

    /// The process is gone, and another has its partitions.
    pub fn kill(&mut self, broker: &Broker) {
        let owned: BTreeSet<usize> = self.owned.keys().copied().collect();
        *self = Self::new(&broker.case);
        for source in owned {
            self.claim(broker, source);
        }
    }

    /// Takes some records of a source.
    pub fn poll(&mut self, broker: &Broker, source: usize, most: usize) {
        let Some(&from) = self.owned.get(&source) else { return };
        let log = &broker.logs[source];
        let Some(place) = self.combine.source(&log.source.topic, log.source.partition) else { return };
        let records = log.records.iter().enumerate().skip(from).take(most);
        let mut next = from;
        for (offset, record) in records {
            next = offset + 1;
            self.combine.set_idle(place, false);
            let (key, Some(value)) = (record.key(), record.value(broker.case.format)) else { continue };
            let view = RecordView {
                topic: &log.source.topic,
                partition: log.source.partition,
                offset: offset as i64,
                timestamp_ms: record.timestamp_ms,
                now_ms: broker.now_ms,
                key: key.as_deref(),
                value: value.as_bytes(),
            };
            if broker.fault == Fault::BeforeTrusted {
                self.trust_before(broker, &record.said, &view);
            } else {
                self.combine.take(place, &view, &NoLookups).unwrap();
            }
        }
        self.owned.insert(source, next);
    }

    /// Does with one record what those do who keep no rows: adds `after`, and takes back `before`.
    fn trust_before(&mut self, broker: &Broker, said: &Said, view: &RecordView<'_>) {
        let mut rows = Rows::default();
        if let Said::Put { before: Some(before), .. } = said {
            let mut alone = alone(broker, Rows::default());
            let put = Said::Put { op: 'r', order: before.clone(), before: None };
            let record = super::log::Record { timestamp_ms: view.timestamp_ms, said: put };
            let value = record.value(broker.case.format).unwrap();
            let read = RecordView { value: value.as_bytes(), ..*view };
            alone.take(0, &read, &NoLookups).unwrap();
            for (_, key, value) in alone.writes().rows {
                rows.restore(&key, value.as_deref());
            }
        }
        let mut alone = alone(broker, rows);
        alone.take(0, view, &NoLookups).unwrap();
        self.naive.partials.extend(alone.writes().partials);
    }

    /// Sources that were read to their end have nothing to read.
    pub fn fall_silent(&mut self, broker: &Broker) {
        for (&source, &next) in &self.owned {
            let Log { source: id, records, .. } = &broker.logs[source];
            if next == records.len()
                && let Some(place) = self.combine.source(&id.topic, id.partition)
            {
                self.combine.set_idle(place, true);
            }
        }
    }

    /// Whether what is in memory is what would be restored.
    ///
    /// # Errors
    /// What differs.
    pub fn compare_with_changelog(&self, broker: &Broker) -> Result<(), String> {
        let mut other = Self::new(&broker.case);
        self.owned.keys().for_each(|source| other.claim(broker, *source));
        let of = |combine: &Combine| (combine.row_count(), combine.size_bytes());
        let (found, restored) = (of(&self.combine), of(&other.combine));
        if found == restored {
            Ok(())
        } else {
            Err(format!("rows and bytes are {found:?}, and restored they are {restored:?}"))
        }
    }

    /// Commits what is open.
    pub fn commit(&mut self, broker: &mut Broker) {
        self.settle(broker);
        self.begin_commit(broker, false);
        self.settle(broker);
    }

    /// The same, and tells claims of silence again.
    pub fn renew(&mut self, broker: &mut Broker) {
        self.settle(broker);
        self.begin_commit(broker, true);
        self.settle(broker);
    }

    /// Begins to commit what is open; meanwhile more is taken, where it may be.
    pub fn commit_meanwhile(&mut self, broker: &mut Broker) {
        self.settle(broker);
        self.begin_commit(broker, false);
        if self.combine.waits_for_commits() {
            self.settle(broker);
        }
    }

    fn begin_commit(&mut self, broker: &Broker, renew: bool) {
        let mut writes = self.combine.writes();
        writes.partials.append(&mut self.naive.partials);
        let told = &self.told;
        writes.marks.retain(|mark| told.get(&mark.source) != Some(mark) || (renew && mark.is_idle));
        self.told.extend(writes.marks.iter().map(|mark| (mark.source.clone(), mark.clone())));
        let read = self.owned.iter().map(|(source, next)| (*source, self.note(broker, *source, *next)));
        let read = read.collect();
        self.pending = Some((writes, read));
    }

    /// The transaction under way is committed.
    fn settle(&mut self, broker: &mut Broker) {
        if let Some((writes, read)) = self.pending.take() {
            broker.commit_step_one(writes, &read);
            self.combine.commit();
        }
    }

    fn note(&self, broker: &Broker, source: usize, offset: usize) -> Committed {
        let id = &broker.logs[source].source;
        let place = self.combine.source(&id.topic, id.partition);
        let max = place.and_then(|place| self.combine.max_event_ms(place));
        Committed { offset, note: Some(max.map_or("-".to_owned(), |max| max.to_string())) }
    }

    /// A transaction is thrown away: the one under way, if there is one, and with it what was taken since. `restores`:
    /// what is in memory isn't trusted any more.
    pub fn abort(&mut self, broker: &mut Broker, restores: bool) {
        if self.pending.is_none() {
            self.begin_commit(broker, false);
        }
        broker.abort_step_one();
        match broker.fault {
            Fault::NotRolledBack => {
                self.pending = None;
                self.combine.commit();
            }
            Fault::KeptMeanwhile => self.pending = None,
            _ => self.drop_open(),
        }
        let owned: Vec<usize> = self.owned.keys().copied().collect();
        for source in owned {
            if restores {
                self.claim(broker, source);
            } else {
                self.owned.insert(source, broker.read[source].offset);
            }
        }
    }
}

/// A step that knows of one source what it is told.
fn alone(broker: &Broker, rows: Rows) -> Combine {
    let mut combine = broker.case.combine();
    let known = Known { max_event_ms: None, rows: Some(rows), is_only_partition: true };
    combine.add_source(SourcePartition { topic: "alone".to_owned(), partition: 0 }, known);
    combine
}
