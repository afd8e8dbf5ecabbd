//! Step 5: what to say about it all.
//!
//! Pure. Ready only when the plan is empty and everything that is owned reports healthy with this configuration.

mod conditions;
mod report;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use acequia_crds::names::StageId;
use acequia_crds::pipeline::status::{ConditionStatus, ConditionType, PipelineStatus, TopicStatus};
use acequia_crds::stage_report::StageState;

pub use report::{ConnectorReport, Report, StageSummary};

use crate::model::desired::{Desired, DesiredStage, RunPolicy};
use crate::model::observed::{Observed, ObservedReplica, ObservedStage, ReplicaState};
use crate::model::plan::{Lane, Plan};

/// Everything that a status is about.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What shall be.
    pub desired: &'a Desired,
    /// What is.
    pub observed: &'a Observed,
    /// What follows.
    pub plan: &'a Plan,
    /// Lanes whose last try failed, and why.
    pub failures: &'a BTreeMap<Lane, String>,
    /// Counts the valid manifests that were taken up.
    pub generation: i64,
    /// What is wrong with the manifest as it is now, while an older one keeps running.
    pub invalid: Option<&'a str>,
    /// The Pipeline is being deleted; it is never Ready again.
    pub deleting: bool,
}

/// The status, as the API defines it. `now` is RFC 3339; times of transition are taken from `previous` where nothing
/// changed.
pub fn status(view: &View<'_>, previous: Option<&PipelineStatus>, now: &str) -> PipelineStatus {
    let stages = report::stages(view);
    let sources = report::connectors(view);
    let lags: Vec<u64> = stages.iter().filter_map(|stage| stage.lag).collect();
    let are_ready = stages.iter().map(|stage| stage.ready).chain(sources.iter().map(|source| source.ready));
    let ready = are_ready.filter(|is_ready| *is_ready).count();
    PipelineStatus {
        observed_generation: Some(view.generation),
        conditions: conditions::conditions(view, previous, now),
        stages_ready: Some(format!("{ready}/{}", stages.len() + sources.len())),
        lag: (!lags.is_empty()).then(|| lags.iter().sum()),
        stages: stages
            .iter()
            .map(StageSummary::status)
            .chain(sources.iter().map(ConnectorReport::status))
            .collect(),
        topics: topics(view),
    }
}

/// The status of a Pipeline of which no generation could ever be carried out.
pub fn never_valid(
    problems: &str,
    generation: i64,
    previous: Option<&PipelineStatus>,
    now: &str,
) -> PipelineStatus {
    let ready = conditions::never_valid(problems, generation, previous, now);
    PipelineStatus {
        observed_generation: Some(generation),
        conditions: vec![ready],
        ..PipelineStatus::default()
    }
}

/// What is still there of a Pipeline that is being deleted, in one sentence.
pub fn left_behind(report: &Report) -> String {
    let waiting = report.waiting.iter().map(ToString::to_string);
    let connectors = report.connectors.iter().map(|one| format!("connector {}", one.name));
    let left: Vec<String> = report.failures.iter().cloned().chain(waiting).chain(connectors).collect();
    if left.is_empty() { "what was being taken away just now".to_owned() } else { left.join("; ") }
}

/// Whether `status` says Ready.
pub fn is_ready(status: &PipelineStatus) -> bool {
    let ready = status.conditions.iter().find(|condition| condition.kind == ConditionType::Ready);
    ready.is_some_and(|condition| condition.status == ConditionStatus::True)
}

/// A stage's own topics are left out: there are several a stage, and a status stays small.
fn topics(view: &View<'_>) -> Vec<TopicStatus> {
    let Ok(existing) = &view.observed.topics else { return Vec::new() };
    let shown = view.desired.topics.iter().filter(|(_, topic)| topic.stage.is_none());
    shown
        .filter_map(|(name, _)| {
            let topic = existing.get(name)?;
            let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
            Some(TopicStatus { name: name.clone(), id: Some(topic.id.clone()), partitions })
        })
        .collect()
}

/// What is wrong with a stage; None: it is as it shall be.
fn stage_fault(id: &StageId, stage: &DesiredStage, plan: &Plan, observed: &Observed) -> Option<String> {
    let processes = observed.stages.get(id);
    if !plan.run.contains(id) {
        let stopped = processes.is_none_or(|stage| stage.replicas.is_empty());
        return (!stopped && stage.run != RunPolicy::Always).then(|| "it is stopping".to_owned());
    }
    let Some(processes) = processes else { return Some("it has not been started yet".to_owned()) };
    let of_one = processes.replicas.iter().find_map(|replica| replica_fault(replica, &stage.hash));
    let alive = processes.replicas.iter().filter(|replica| replica.state == ReplicaState::Running).count();
    let fault = processes.fault.clone().filter(|_| (alive as u64) < u64::from(stage.replicas));
    of_one.or(fault).or_else(|| {
        ((alive as u64) < u64::from(stage.replicas))
            .then(|| format!("{alive} of {} processes are there", stage.replicas))
    })
}

fn replica_fault(replica: &ObservedReplica, hash: &str) -> Option<String> {
    let last = || replica.last_exit.clone().unwrap_or_else(|| "no reason is known".to_owned());
    match (&replica.state, &replica.report) {
        (ReplicaState::BackingOff { .. }, _) => Some(format!("it ended and is started again: {}", last())),
        (ReplicaState::CannotStart, _) => Some(format!("it can't be started: {}", last())),
        (ReplicaState::Stopping, _) => Some("the process before it is stopping".to_owned()),
        (ReplicaState::Running, None) => Some("it doesn't report yet".to_owned()),
        (ReplicaState::Running, Some(report)) => match (report.state, &report.error) {
            (_, Some(error)) => Some(error.clone()),
            (StageState::Running, None) if report.config_hash == hash => None,
            (StageState::Running, None) => Some("it still runs with another configuration".to_owned()),
            (state, None) => Some(format!("it is {}", state_word(state))),
        },
    }
}

/// The state of a stage, in one word: that of the replica that is worst off.
fn stage_state(id: &StageId, plan: &Plan, processes: Option<&ObservedStage>) -> &'static str {
    let replicas = processes.map(|stage| stage.replicas.as_slice()).unwrap_or_default();
    if replicas.is_empty() {
        return if plan.run.contains(id) { "starting" } else { "stopped" };
    }
    let rank = |word: &&str| {
        ["crashed", "stopped", "waiting", "starting", "stopping", "running"]
            .iter()
            .position(|one| one == word)
    };
    replicas.iter().map(replica_state).min_by_key(rank).unwrap_or("starting")
}

fn replica_state(replica: &ObservedReplica) -> &'static str {
    match (&replica.state, &replica.report) {
        (ReplicaState::BackingOff { .. } | ReplicaState::CannotStart, _) => "crashed",
        (ReplicaState::Stopping, _) => "stopping",
        (ReplicaState::Running, None) => "starting",
        (ReplicaState::Running, Some(report)) => state_word(report.state),
    }
}

const fn state_word(state: StageState) -> &'static str {
    match state {
        StageState::Starting => "starting",
        StageState::Running => "running",
        StageState::Waiting => "waiting",
        StageState::Stopped => "stopped",
        StageState::Stopping => "stopping",
    }
}
