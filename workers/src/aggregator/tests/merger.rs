//! A worker of step two, as its edge runs it, on the broker in memory: with two stores and a topic to write to.

use std::collections::BTreeMap;

use super::broker::{Broker, Fault};
use super::store::Store;
use crate::aggregator::merge::dirty::Dirty;
use crate::aggregator::merge::state::State;
use crate::aggregator::output::Row;

/// How many stores there are.
pub const STORES: usize = 2;
const TOPIC: usize = STORES;
const IDS: [&str; STORES + 1] = ["one", "other", "topic"];

struct Partition {
    state: State,
    /// What each output doesn't have yet, the topic last.
    dirty: [Dirty; STORES + 1],
    /// Offset after the last record that was taken.
    next: i64,
    /// The how manieth it is that has the partition.
    claim: u64,
}

/// A row on its way to a store.
pub struct Sent {
    pub row: Row,
    number: usize,
    claim: u64,
}

/// Step two of one worker.
pub struct Merger {
    partitions: BTreeMap<usize, Partition>,
    in_flight: [Option<Vec<Sent>>; STORES],
    today: i32,
}

impl Merger {
    pub fn new(broker: &Broker) -> Self {
        Self { partitions: BTreeMap::new(), in_flight: [None, None], today: broker.today }
    }

    /// Goes on from what is committed.
    pub fn claim(&mut self, broker: &Broker, number: usize) {
        let mut state = State::default();
        if broker.merged[number].is_some() {
            for ((_, key), value) in broker.state.iter().filter(|((of, _), _)| *of == number) {
                state.restore(&broker.rules, key, Some(value)).unwrap();
            }
        }
        let mut dirty: [Dirty; STORES + 1] = Default::default();
        for (output, dirty) in dirty.iter_mut().enumerate() {
            let flushed = state.header().flushed.get(IDS[output]).copied();
            let is_known = output == TOPIC && !broker.rules.shape.is_daily();
            let from = flushed.filter(|_| is_known).unwrap_or(i64::MIN);
            let missing = state.all().filter(|(_, offset)| *offset >= from);
            missing.for_each(|(key, offset)| dirty.add(key, offset));
        }
        let next = broker.merged[number].unwrap_or(0);
        let claim = broker.claims[number].get() + 1;
        broker.claims[number].set(claim);
        self.partitions.insert(number, Partition { state, dirty, next, claim });
    }

    pub fn revoke(&mut self, broker: &mut Broker, number: usize) {
        if self.partitions.contains_key(&number) {
            self.commit(broker);
            self.partitions.remove(&number);
        }
    }

    /// All state is dropped, and what is left is restored.
    pub fn lose(&mut self, broker: &Broker, number: usize) {
        if self.partitions.remove(&number).is_some() {
            self.start_over(broker);
        }
    }

    fn start_over(&mut self, broker: &Broker) {
        let owned: Vec<usize> = self.partitions.keys().copied().collect();
        for number in owned {
            self.claim(broker, number);
        }
    }

    /// The process is gone; what it had sent may still arrive: that is returned.
    pub fn kill(&mut self, broker: &Broker) -> Vec<(usize, Sent)> {
        let sent = std::mem::take(&mut self.in_flight);
        let sent = sent
            .into_iter()
            .enumerate()
            .flat_map(|(store, rows)| rows.into_iter().flatten().map(move |sent| (store, sent)));
        let sent = sent.collect();
        self.today = broker.today;
        self.start_over(broker);
        sent
    }

    /// Takes some records of a partition.
    pub fn poll(&mut self, broker: &Broker, number: usize, most: usize) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        let from = partition.next;
        let records = broker.partials[number].records.iter().filter(|record| record.offset >= from);
        for record in records.take(most) {
            let at = (record.offset, record.timestamp_ms);
            let (rules, expected) = (&broker.rules, &broker.expected);
            partition.state.apply(rules, expected, at, &record.key, &record.value).unwrap();
            partition.next = record.offset + 1;
        }
    }

    pub fn commit(&mut self, broker: &mut Broker) {
        let (mut changelog, mut documents, mut merged) = (Vec::new(), Vec::new(), Vec::new());
        for (&number, partition) in &mut self.partitions {
            for (key, offset) in partition.state.changed() {
                partition.dirty.iter_mut().for_each(|dirty| dirty.add(key.clone(), offset));
            }
            let due = partition.dirty[TOPIC].take(usize::MAX, |_| true);
            let rows = due
                .iter()
                .filter_map(|key| partition.state.row(&broker.rules, &broker.expected, key, self.today));
            documents.extend(rows);
            partition.dirty[TOPIC].written();
            let flushed: BTreeMap<String, i64> = (IDS.iter().zip(&partition.dirty))
                .map(|(id, dirty)| ((*id).to_owned(), dirty.flushed(partition.next)))
                .collect();
            let everywhere = flushed.values().copied().min().unwrap_or(partition.next);
            partition.state.set_flushed(&flushed);
            partition.state.forget(&broker.rules, everywhere, broker.now_ms);
            let writes = partition.state.writes(&broker.rules);
            changelog.extend(writes.into_iter().map(|(key, value)| (number, key, value)));
            merged.push((number, partition.next));
        }
        broker.commit_step_two(changelog, documents, &merged);
        self.partitions.values_mut().for_each(|partition| partition.state.commit());
    }

    /// A transaction is thrown away. `restores`: what is in memory isn't trusted any more.
    pub fn abort(&mut self, broker: &mut Broker, restores: bool) {
        broker.now_ms += 1;
        for (&number, partition) in &mut self.partitions {
            if broker.fault == Fault::NotRolledBack {
                partition.state.commit();
            } else {
                partition.state.roll_back();
            }
            partition.next = broker.merged[number].unwrap_or(0);
        }
        if restores && broker.fault != Fault::NotRolledBack {
            self.start_over(broker);
        }
    }

    /// Sends what a store doesn't have, at most `most` groups of a partition.
    pub fn emit(&mut self, broker: &Broker, store: usize, most: usize) {
        if self.in_flight[store].is_some() {
            return;
        }
        let mut rows = Vec::new();
        for (&number, partition) in &mut self.partitions {
            let shows_all = broker.fault == Fault::ShownUncommitted;
            if shows_all {
                for (key, offset) in partition.state.changed() {
                    partition.dirty[store].add(key, offset);
                }
            } else if partition.state.has_changes() {
                continue;
            }
            let due = partition.dirty[store].take(most, |_| true);
            rows.extend(due.iter().filter_map(|key| {
                let row = partition.state.row(&broker.rules, &broker.expected, key, self.today)?;
                Some(Sent { row, number, claim: partition.claim })
            }));
            if rows.is_empty() {
                partition.dirty[store].written();
            }
        }
        if !rows.is_empty() {
            self.in_flight[store] = Some(rows);
        }
    }

    /// What was sent to a store arrives.
    pub fn arrive(&mut self, broker: &Broker, number: usize, store: &mut Store) {
        let Some(rows) = self.in_flight[number].take() else { return };
        for sent in &rows {
            sent.arrive(broker, store);
        }
        self.partitions.values_mut().for_each(|partition| partition.dirty[number].written());
    }

    /// A store has lost everything, and what was on its way with it.
    pub fn refill(&mut self, number: usize) {
        self.in_flight[number] = None;
        for Partition { state, dirty, .. } in self.partitions.values_mut() {
            dirty[number].written();
            state.all().for_each(|(key, offset)| dirty[number].add(key, offset));
        }
    }

    /// What counts only today changes everywhere.
    pub fn turn_the_day(&mut self, broker: &Broker) {
        if self.today == broker.today {
            return;
        }
        self.today = broker.today;
        for Partition { state, dirty, .. } in self.partitions.values_mut() {
            state.forget_days(&broker.rules, broker.today);
            for dirty in dirty.iter_mut() {
                state.all().for_each(|(key, offset)| dirty.add(key, offset));
            }
        }
    }

    /// Whether every store has everything of this worker.
    pub fn is_flushed(&self) -> bool {
        let is_clean = |partition: &Partition| partition.dirty.iter().all(Dirty::is_empty);
        self.in_flight.iter().all(Option::is_none) && self.partitions.values().all(is_clean)
    }

    /// Whether what is in memory is what would be restored.
    ///
    /// # Errors
    /// What differs.
    pub fn compare_with_changelog(&mut self, broker: &Broker) -> Result<(), String> {
        let mut other = Self::new(broker);
        for (number, Partition { state, .. }) in &mut self.partitions {
            // Days that are over leave memory and changelog at different times.
            state.forget_days(&broker.rules, broker.today);
            other.claim(broker, *number);
            let restored = &mut other.partitions.get_mut(number).unwrap().state;
            restored.forget_days(&broker.rules, broker.today);
            let groups = |state: &State| state.all().collect::<BTreeMap<_, _>>();
            let sizes = (state.size_bytes(), restored.size_bytes());
            if state.header() != restored.header() || groups(state) != groups(restored) || sizes.0 != sizes.1
            {
                return Err(format!("partition {number} is {state:?}, and restored it is {restored:?}"));
            }
        }
        Ok(())
    }

    pub fn partition(&self, number: usize) -> Option<&State> {
        self.partitions.get(&number).map(|partition| &partition.state)
    }
}

impl Sent {
    /// Nothing arrives that isn't committed, and nothing older from whoever still has the partition.
    pub fn arrive(&self, broker: &Broker, store: &mut Store) {
        let Self { row, number, claim } = self;
        if broker.merged[*number].is_none_or(|next| row.version.offset >= next) {
            store.faults.push(format!("shown before it was committed: {row:?}"));
        }
        if broker.fault == Fault::VersionsIgnored {
            store.overwrite(row);
        } else if broker.claims[*number].get() == *claim {
            store.write_newer(row);
        } else {
            store.write(row);
        }
    }
}
