//! Values on their way to the outputs.

use std::time::{Duration, Instant};

use acequia_crds::pipeline::aggregation::EmitKind;

use super::{Loop, Partition, Way};
use crate::aggregator::health::Condition;
use crate::aggregator::merge::state::GroupKey;
use crate::aggregator::output::{Batch, OutputEvent, Row};
use crate::clock::now_ms;

/// Rows of a batch.
const BATCH_ROWS: usize = 5_000;

impl Loop {
    pub(super) fn hear_outputs(&mut self) {
        for index in 0..self.it.outputs.len() {
            let Way::Store(handle) = &self.it.outputs[index].way else { continue };
            let events: Vec<OutputEvent> = handle.events.try_iter().collect();
            let name = self.it.outputs[index].name.clone();
            for event in events {
                match event {
                    OutputEvent::Written { number } => self.written(index, number),
                    OutputEvent::Emptied => {
                        // A store that is new to a stage that is new has lost nothing.
                        if self.partitions.values().any(|partition| partition.state.group_count() > 0) {
                            tracing::warn!(
                                output = name,
                                "the store lost its values: they are written again"
                            );
                        }
                        for partition in self.partitions.values_mut() {
                            let Partition { state, dirty, .. } = partition;
                            state.all().for_each(|(key, offset)| dirty[index].add(key, offset));
                        }
                    }
                    OutputEvent::Failing { error } => {
                        self.it.health.set(&name, Condition::Waiting(format!("{name}: {error}")));
                    }
                    OutputEvent::Working => self.it.health.set(&name, Condition::Running),
                }
            }
        }
    }

    pub(super) fn written(&mut self, index: usize, number: u64) {
        let Some((expected, closed_ms)) = self.in_flight[index] else { return };
        if expected != number {
            return;
        }
        self.in_flight[index] = None;
        self.partitions.values_mut().for_each(|partition| partition.dirty[index].written());
        if let Some(closed_ms) = closed_ms {
            let delay_ms = u64::try_from(now_ms() - closed_ms).unwrap_or(0);
            self.it.health.report(|report| report.visible_after_ms = Some(delay_ms));
        }
    }

    /// At midnight what counts only today changes everywhere.
    pub(super) fn turn_the_day(&mut self) {
        let today = self.it.plan.day(now_ms());
        if today == self.today || !self.it.rules.shape.is_daily() {
            return;
        }
        self.today = today;
        for Partition { state, dirty, .. } in self.partitions.values_mut() {
            state.forget_days(&self.it.rules, today);
            for dirty in dirty.iter_mut() {
                state.all().for_each(|(key, offset)| dirty.add(key, offset));
            }
        }
    }

    /// Whether a group's values may be written now. `is_time`: the interval of `emit` has passed.
    pub(super) fn is_due_to_be_shown(&self, partition: &Partition, key: &GroupKey, is_time: bool) -> bool {
        partition.state.is_closed(key.0)
            || match self.it.emit {
                EmitKind::Every(_) => is_time,
                // Silence may publish what no record has closed.
                EmitKind::OnClose => partition.state.header().is_silent(&self.expected),
            }
    }

    pub(super) fn row(&self, partition: &Partition, key: &GroupKey) -> Option<Row> {
        partition.state.row(&self.it.rules, &self.expected, key, self.today)
    }

    /// Hands values to the stores that have nothing on their way.
    pub(super) fn emit(&mut self, is_time: bool) {
        // The time isn't over for what can be shown only after the next commit.
        let mut waits = false;
        let mut partitions = std::mem::take(&mut self.partitions);
        for index in 0..self.it.outputs.len() {
            // What is for a topic goes with a commit.
            let is_topic = matches!(self.it.outputs[index].way, Way::Topic(_));
            if is_topic || self.in_flight[index].is_some() {
                continue;
            }
            let mut rows = Vec::new();
            for partition in partitions.values_mut() {
                // What isn't committed yet must not be shown.
                if partition.state.has_changes() {
                    waits = true;
                    continue;
                }
                let mut dirty = std::mem::take(&mut partition.dirty[index]);
                let most = BATCH_ROWS.saturating_sub(rows.len());
                let due = dirty.take(most, |key| self.is_due_to_be_shown(partition, key, is_time));
                rows.extend(due.iter().filter_map(|key| self.row(partition, key)));
                if rows.is_empty() {
                    // Groups that are gone leave nothing to write.
                    dirty.written();
                }
                partition.dirty[index] = dirty;
            }
            if !rows.is_empty() {
                self.send(index, rows);
            }
        }
        self.partitions = partitions;
        if is_time && !waits {
            let every = match self.it.emit {
                EmitKind::Every(every) => Duration::from_millis(every.as_ms()),
                EmitKind::OnClose => Duration::ZERO,
            };
            self.emit_at = Instant::now() + every;
        }
    }

    pub(super) fn send(&mut self, index: usize, rows: Vec<Row>) {
        let Way::Store(handle) = &self.it.outputs[index].way else { return };
        let number = self.next_batch;
        self.next_batch += 1;
        let closed_ms = rows.iter().filter(|row| row.is_final).map(|row| row.changed_ms).max();
        // There is room, since nothing is on its way; an ended task belongs to a process that is ending.
        if handle.batches.try_send(Batch { number, rows }).is_ok() {
            self.in_flight[index] = Some((number, closed_ms));
        }
    }
}
