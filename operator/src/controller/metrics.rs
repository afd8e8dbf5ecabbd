//! What the operator counts, in Prometheus' text format.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::events;
use crate::calls::Calls;
use crate::kubernetes::children::PipelineKey;
use crate::model::plan::Change;
use crate::status::Report;

/// Labels of a stage.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StageLabels {
    namespace: String,
    pipeline: String,
    stage: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReadyLabels {
    ready: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

type Gauges<L> = Family<L, Gauge<u64, AtomicU64>>;

/// The operator's metrics.
pub struct Metrics {
    registry: Registry,
    pipelines: Gauges<ReadyLabels>,
    lag: Gauges<StageLabels>,
    changes: Family<ReasonLabels, Counter>,
    failures: Family<ReasonLabels, Counter>,
    left_behind: Counter,
    turns: Counter,
    turn_seconds: Histogram,
    known: Mutex<BTreeMap<PipelineKey, Known>>,
    is_ready: AtomicBool,
}

/// What was told of a Pipeline last.
#[derive(Default)]
struct Known {
    ready: bool,
    stages: Vec<String>,
    failures: Vec<String>,
}

impl Metrics {
    /// All at 0; with the calls that are counted elsewhere.
    pub fn new(calls: &Calls) -> Self {
        let mut registry = Registry::with_prefix("acequia_operator");
        let (pipelines, lag) = (Gauges::default(), Gauges::default());
        let (changes, failures) = (Family::default(), Family::default());
        let (left_behind, turns) = (Counter::default(), Counter::default());
        let turn_seconds = Histogram::new([0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]);
        registry.register("pipelines", "Pipelines, by whether they are Ready", pipelines.clone());
        registry.register("stage_lag", "Records that wait to be read by a stage", lag.clone());
        registry.register("changes", "Changes that were begun, by kind", changes.clone());
        registry.register("failures", "Changes that failed and are tried again, by where", failures.clone());
        registry.register("left_behind", "Pipelines let go with something left outside", left_behind.clone());
        registry.register("reconciles", "Turns of all Pipelines' loops", turns.clone());
        registry.register("reconcile_seconds", "How long a turn took", turn_seconds.clone());
        calls.register(&mut registry);
        Self {
            registry,
            pipelines,
            lag,
            changes,
            failures,
            left_behind,
            turns,
            turn_seconds,
            known: Mutex::default(),
            is_ready: AtomicBool::new(false),
        }
    }

    /// Everything was seen once.
    pub fn ready(&self) {
        self.is_ready.store(true, Ordering::Relaxed);
    }

    /// Whether everything was seen once.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    /// A turn, and what it began.
    pub fn turn(&self, seconds: f64, started: &[Change]) {
        self.turns.inc();
        self.turn_seconds.observe(seconds);
        for reason in started.iter().filter_map(events::reason) {
            self.changes.get_or_create(&ReasonLabels { reason: reason.word() }).inc();
        }
    }

    /// What a Pipeline is like now.
    pub fn report(&self, pipeline: &PipelineKey, report: &Report) {
        let mut known = self.lock();
        let before = known.entry(pipeline.clone()).or_default();
        for failure in report.failures.iter().filter(|failure| !before.failures.contains(failure)) {
            let lane = failure.split(':').next().unwrap_or_default();
            let kind = lane.split(' ').next().unwrap_or_default().to_owned();
            self.failures.get_or_create(&ReasonLabels { reason: kind }).inc();
        }
        before.failures.clone_from(&report.failures);
        before.ready = report.ready;
        let stages: Vec<String> = report.stages.iter().map(|stage| stage.id.to_string()).collect();
        for gone in before.stages.iter().filter(|stage| !stages.contains(stage)) {
            self.lag.remove(&labels(pipeline, gone));
        }
        for stage in &report.stages {
            let labels = labels(pipeline, stage.id.as_str());
            match stage.lag {
                Some(lag) => {
                    self.lag.get_or_create(&labels).set(lag);
                }
                // The last one would look as if all were well.
                None => {
                    self.lag.remove(&labels);
                }
            }
        }
        before.stages = stages;
        self.count(&known);
    }

    /// No generation of the Pipeline could be carried out yet.
    pub fn never_valid(&self, pipeline: &PipelineKey) {
        let mut known = self.lock();
        known.entry(pipeline.clone()).or_default();
        self.count(&known);
    }

    /// The Pipeline is gone.
    pub fn forget(&self, pipeline: &PipelineKey) {
        let mut known = self.lock();
        if let Some(before) = known.remove(pipeline) {
            before.stages.iter().for_each(|stage| {
                self.lag.remove(&labels(pipeline, stage));
            });
        }
        self.count(&known);
    }

    /// A Pipeline was let go with something left outside.
    pub fn left_behind(&self) {
        self.left_behind.inc();
    }

    /// Everything, in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn count(&self, known: &BTreeMap<PipelineKey, Known>) {
        let ready = known.values().filter(|one| one.ready).count() as u64;
        self.pipelines.get_or_create(&ReadyLabels { ready: "true" }).set(ready);
        self.pipelines.get_or_create(&ReadyLabels { ready: "false" }).set(known.len() as u64 - ready);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<PipelineKey, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn labels(pipeline: &PipelineKey, stage: &str) -> StageLabels {
    StageLabels {
        namespace: pipeline.namespace.clone(),
        pipeline: pipeline.name.clone(),
        stage: stage.to_owned(),
    }
}
