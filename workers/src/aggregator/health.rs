//! What the parts of an aggregator say of themselves, as one state of the stage: the worst of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use acequia_crds::stage_report::AggregationReport;

use crate::service::Progress;

/// How a part is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// At work.
    Running,
    /// Not yet at work.
    Starting,
    /// Something outside is missing: a sentence.
    Waiting(String),
    /// A person has to decide: a sentence.
    Stopped(String),
}

/// Shared by the threads and tasks of one aggregator.
#[derive(Clone, Debug)]
pub struct Health {
    progress: Progress,
    parts: Arc<Mutex<Parts>>,
}

#[derive(Debug, Default)]
struct Parts {
    conditions: BTreeMap<String, Condition>,
    lags: BTreeMap<&'static str, Option<u64>>,
    state_bytes: BTreeMap<&'static str, u64>,
    report: AggregationReport,
    stopping: bool,
}

impl Health {
    /// Of a stage with these parts, none of them at work yet.
    pub fn new(progress: Progress, parts: impl IntoIterator<Item = String>) -> Self {
        let conditions = parts.into_iter().map(|part| (part, Condition::Starting)).collect();
        let lags = BTreeMap::from([("combine", None), ("merge", None)]);
        let parts = Parts { conditions, lags, ..Parts::default() };
        Self { progress, parts: Arc::new(Mutex::new(parts)) }
    }

    /// A part says how it is.
    pub fn set(&self, part: &str, condition: Condition) {
        let mut parts = self.parts();
        if parts.conditions.get(part) != Some(&condition) {
            parts.conditions.insert(part.to_owned(), condition);
        }
        if parts.stopping {
            return;
        }
        match parts.conditions.values().max() {
            Some(Condition::Stopped(error)) => self.progress.stopped(error.clone()),
            Some(Condition::Waiting(error)) => self.progress.waiting(error.clone()),
            Some(Condition::Running) => self.progress.running(),
            Some(Condition::Starting) | None => {}
        }
    }

    /// A step says how many records wait for it; the stage's lag is their sum.
    pub fn set_lag(&self, step: &'static str, lag: Option<u64>) {
        let mut parts = self.parts();
        parts.lags.insert(step, lag);
        self.progress.set_lag(parts.lags.values().copied().sum());
    }

    /// A step says how much state it holds; returns how much both do, in bytes.
    pub fn set_state_bytes(&self, step: &'static str, bytes: u64) -> u64 {
        let mut parts = self.parts();
        parts.state_bytes.insert(step, bytes);
        let sum = parts.state_bytes.values().sum();
        parts.report.state_bytes = sum;
        self.progress.set_aggregation(parts.report.clone());
        sum
    }

    /// Changes what is reported of the aggregation.
    pub fn report(&self, change: impl FnOnce(&mut AggregationReport)) {
        let mut parts = self.parts();
        change(&mut parts.report);
        self.progress.set_aggregation(parts.report.clone());
    }

    /// Counts records that step one has taken.
    pub fn add_records(&self, count: u64) {
        self.progress.add_records(count);
    }

    /// Counts dead letters.
    pub fn add_dead_letters(&self, count: u64) {
        self.progress.add_dead_letters(count);
    }

    /// The worker finishes what it holds; nothing is said of parts from here on.
    pub fn stopping(&self) {
        self.parts().stopping = true;
        self.progress.stopping();
    }

    // A thread that panicked while holding the lock leaves plain values behind: they are still good.
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use acequia_crds::stage_report::StageState;

    use super::*;

    fn health() -> (Health, Progress) {
        let progress = Progress::new("h".into());
        (Health::new(progress.clone(), ["combine", "merge"].map(str::to_owned)), progress)
    }

    #[test]
    fn the_stage_is_as_its_worst_part() {
        let (health, progress) = health();
        health.set("combine", Condition::Running);
        assert_eq!(progress.report().state, StageState::Starting);
        health.set("merge", Condition::Running);
        assert_eq!(progress.report().state, StageState::Running);
        health.set("redis", Condition::Waiting("no Redis".into()));
        assert_eq!(progress.report().error.as_deref(), Some("no Redis"));
        health.set("merge", Condition::Stopped("data loss".into()));
        assert_eq!(progress.report().error.as_deref(), Some("data loss"));
        health.set("merge", Condition::Running);
        health.set("redis", Condition::Running);
        assert_eq!(progress.report().error, None);
    }

    #[test]
    fn the_lag_is_known_once_both_steps_know_theirs() {
        let (health, progress) = health();
        health.set_lag("combine", Some(3));
        assert_eq!(progress.report().lag, None);
        health.set_lag("merge", Some(4));
        assert_eq!(progress.report().lag, Some(7));
    }
}
