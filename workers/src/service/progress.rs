//! What a worker is doing, shared between the role that knows and the endpoints that tell.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use acequia_crds::stage_report::{AggregationReport, StageReport, StageState};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The span over which the rate is taken.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// The lag is unknown.
const UNKNOWN: u64 = u64::MAX;

/// A handle on what this worker is doing. Clones share it.
#[derive(Clone, Debug)]
pub struct Progress {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config_hash: String,
    state: Mutex<(StageState, Option<String>)>,
    lag: AtomicU64,
    setup_done: AtomicBool,
    records: Counter,
    dead_letters: Counter,
    lag_gauge: Gauge,
    samples: Mutex<VecDeque<(Instant, u64)>>,
    registry: Mutex<Registry>,
    aggregation: Mutex<Option<AggregationReport>>,
}

impl Progress {
    /// Of a worker that starts with the configuration of this hash.
    pub fn new(config_hash: String) -> Self {
        let mut registry = Registry::with_prefix("acequia");
        let (records, dead_letters, lag_gauge) = (Counter::default(), Counter::default(), Gauge::default());
        registry.register("records", "Records or rows moved since the process began", records.clone());
        registry.register("dead_letters", "Records put to the dead letters", dead_letters.clone());
        registry.register("lag_records", "Records that wait to be read; -1 while unknown", lag_gauge.clone());
        lag_gauge.set(-1);
        Self {
            shared: Arc::new(Shared {
                config_hash,
                state: Mutex::new((StageState::Starting, None)),
                lag: AtomicU64::new(UNKNOWN),
                setup_done: AtomicBool::new(false),
                records,
                dead_letters,
                lag_gauge,
                samples: Mutex::new(VecDeque::new()),
                registry: Mutex::new(registry),
                aggregation: Mutex::new(None),
            }),
        }
    }

    /// Everything is as it should be.
    pub fn running(&self) {
        self.set_state(StageState::Running, None);
    }

    /// At work, although a person should know this.
    pub fn running_with(&self, note: Option<&str>) {
        self.set_state(StageState::Running, note.map(str::to_owned));
    }

    /// Something outside is missing; the worker goes on by itself once it is there. `error` says what, where, why
    /// and what to do, in one sentence.
    pub fn waiting(&self, error: impl Into<String>) {
        self.set_state(StageState::Waiting, Some(error.into()));
    }

    /// Nothing moves until a person has decided.
    pub fn stopped(&self, error: impl Into<String>) {
        self.set_state(StageState::Stopped, Some(error.into()));
    }

    /// The worker finishes what it holds.
    pub fn stopping(&self) {
        let error = lock(&self.shared.state).1.clone();
        self.set_state(StageState::Stopping, error);
    }

    /// The current state.
    pub fn state(&self) -> StageState {
        lock(&self.shared.state).0
    }

    /// Counts records or rows moved.
    pub fn add_records(&self, count: u64) {
        self.shared.records.inc_by(count);
    }

    /// Counts records put to the dead letters.
    pub fn add_dead_letters(&self, count: u64) {
        self.shared.dead_letters.inc_by(count);
    }

    /// Says how many records wait; `None` while that is unknown.
    pub fn set_lag(&self, lag: Option<u64>) {
        self.shared.lag.store(lag.unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.shared.lag_gauge.set(lag.map_or(-1, |lag| i64::try_from(lag).unwrap_or(i64::MAX)));
    }

    /// Generators: the setup SQL has been run.
    pub fn set_setup_done(&self) {
        self.shared.setup_done.store(true, Ordering::Relaxed);
    }

    /// How far an aggregation is, as it was last said.
    pub fn aggregation(&self) -> Option<AggregationReport> {
        lock(&self.shared.aggregation).clone()
    }

    /// Aggregations: how far they are.
    pub fn set_aggregation(&self, report: AggregationReport) {
        *lock(&self.shared.aggregation) = Some(report);
    }

    /// Adds a role's own metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut lock(&self.shared.registry));
    }

    /// What `GET /status` answers.
    pub fn report(&self) -> StageReport {
        let (state, error) = lock(&self.shared.state).clone();
        let lag = self.shared.lag.load(Ordering::Relaxed);
        StageReport {
            state,
            error,
            lag: (lag != UNKNOWN).then_some(lag),
            records: self.shared.records.get(),
            rate: self.rate(),
            dead_letters: self.shared.dead_letters.get(),
            config_hash: self.shared.config_hash.clone(),
            setup_done: self.shared.setup_done.load(Ordering::Relaxed),
            aggregation: lock(&self.shared.aggregation).clone(),
        }
    }

    /// Takes a sample for the rate; called about once a second.
    pub(super) fn sample(&self, now: Instant) {
        let mut samples = lock(&self.shared.samples);
        samples.push_back((now, self.shared.records.get()));
        while samples.len() > 2 && samples.get(1).is_some_and(|(at, _)| now - *at >= RATE_WINDOW) {
            samples.pop_front();
        }
    }

    /// The metrics in OpenMetrics text.
    pub fn metrics(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &lock(&self.shared.registry))?;
        Ok(text)
    }

    fn rate(&self) -> f64 {
        let samples = lock(&self.shared.samples);
        match (samples.front(), samples.back()) {
            (Some((from, first)), Some((to, last))) if to > from => {
                (last - first) as f64 / (*to - *from).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    fn set_state(&self, state: StageState, error: Option<String>) {
        let mut current = lock(&self.shared.state);
        if *current != (state, error.clone()) {
            match &error {
                Some(error) => tracing::warn!(state = ?state, error, "state changed"),
                None => tracing::info!(state = ?state, "state changed"),
            }
            *current = (state, error);
        }
    }
}

// A thread that panicked while holding the lock leaves plain values behind: they are still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let progress = Progress::new("h".into());
        let start = Instant::now();
        for second in 0..20 {
            progress.sample(start + Duration::from_secs(second));
            progress.add_records(if second < 10 { 1_000 } else { 100 });
        }
        progress.sample(start + Duration::from_secs(20));
        assert!((progress.report().rate - 100.0).abs() < 1e-9, "{}", progress.report().rate);
    }

    #[test]
    fn a_report_says_what_was_last_said() {
        let progress = Progress::new("h".into());
        assert_eq!(progress.report().state, StageState::Starting);
        assert_eq!(progress.report().lag, None);
        progress.waiting("no database");
        progress.set_lag(Some(7));
        assert_eq!(progress.report().error.as_deref(), Some("no database"));
        assert_eq!(progress.report().lag, Some(7));
        progress.running();
        assert_eq!(progress.report().error, None);
    }
}
