//! What is noted beside records: ends, silence, the bound of state; and what is told.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use acequia_kafka::consumer::{Position, TopicPartition};
use acequia_kafka::error::KafkaError;

use super::{Loop, source_of};
use crate::aggregator::health::Condition;

/// A partition without records for this long, after its end was reached, is idle.
const QUIET: Duration = Duration::from_secs(1);
/// How often state and lag are told.
const REPORT_EVERY: Duration = Duration::from_millis(500);

impl Loop {
    pub(super) fn note_ends(&mut self, ends: Vec<Position>) {
        for end in ends {
            let at = TopicPartition { topic: end.topic.clone(), partition: end.partition };
            if let Some(parked) = self.parked.get_mut(&at) {
                parked.end = Some(end);
                continue;
            }
            if !self.it.member.owns(&at) {
                continue;
            }
            self.it.member.advance(&at.topic, at.partition, end.offset);
            self.moved_since.get_or_insert_with(Instant::now);
            self.quiet_since.entry(source_of(&at)).or_insert_with(Instant::now);
        }
    }

    pub(super) fn note_silence(&mut self) {
        // What isn't read any more only seems silent.
        if self.is_full {
            return;
        }
        for (id, since) in &self.quiet_since {
            if since.elapsed() >= QUIET
                && let Some(source) = self.it.combine.source(&id.topic, id.partition)
            {
                self.it.combine.set_idle(source, true);
            }
        }
    }

    /// At the bound of state nothing more is read, so that the process isn't killed.
    pub(super) fn bound_state(&mut self) -> Result<(), KafkaError> {
        let limit = self.it.work.state_limit_bytes;
        let is_full = self.it.state_bytes.load(Ordering::Relaxed) >= limit;
        if is_full == self.is_full {
            return Ok(());
        }
        self.is_full = is_full;
        let all: Vec<TopicPartition> = self.it.member.partitions().cloned().collect();
        if is_full {
            for at in &all {
                let source = self.it.combine.source(&at.topic, at.partition);
                if let Some(source) = source {
                    self.it.combine.set_idle(source, false);
                }
            }
            let mib = limit >> 20;
            let sentence = format!(
                "the state has reached its bound of {mib} MiB, so nothing more is read; raise `resources.memory` of \
                 the aggregation's workers, use more replicas, or keep fewer groups, windows or rows"
            );
            self.it.health.set("state", Condition::Stopped(sentence));
            self.it.member.consumer.pause(&all)
        } else {
            self.it.health.set("state", Condition::Running);
            // Kept, since an end is told once, but it may not be the end any more.
            for since in self.quiet_since.values_mut() {
                *since = Instant::now();
            }
            let waiting: BTreeSet<_> = self.parked.keys().cloned().collect();
            let resumed: Vec<_> = all.into_iter().filter(|at| !waiting.contains(at)).collect();
            self.it.member.consumer.resume(&resumed)
        }
    }

    pub(super) fn report(&mut self) {
        let now = Instant::now();
        if now < self.report_at {
            return;
        }
        self.report_at = now + REPORT_EVERY;
        if self.is_full {
            self.it.member.look_at_ends();
        }
        self.it.member.report();
        let bytes = self.it.combine.size_bytes() + self.it.lookups.size_bytes();
        let all = self.it.health.set_state_bytes("combine", bytes as u64);
        self.it.state_bytes.store(all, Ordering::Relaxed);
        let (late, missed, rows) = (self.late, self.it.lookups.missed(), self.it.combine.row_count() as u64);
        self.it.health.report(|report| {
            report.late = late;
            report.lookups_missed = missed;
            report.rows = rows;
        });
    }
}
