//! Everything a person or a script may want to know of a run: what `acequia status` prints and the live table shows.

use acequia_crds::names::{ConnectorName, StageId};
use acequia_crds::pipeline::status::{PipelineStatus, StageStatus};
use serde::Serialize;

use super::{View, is_ready, stage_fault, stage_state, status};
use crate::model::observed::{ConnectorState, ObservedConnector};
use crate::model::plan::{Refusal, Waiting};

/// A whole report.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Identity of the Pipeline.
    pub pipeline: String,
    /// Process id of the run.
    pub pid: u32,
    /// When this was true; RFC 3339.
    pub updated_at: String,
    /// The condition Ready.
    pub ready: bool,
    /// Stages and what they do.
    pub stages: Vec<StageSummary>,
    /// Connectors and what they do.
    pub connectors: Vec<ConnectorReport>,
    /// What can't be done.
    pub refused: Vec<Refusal>,
    /// What comes later.
    pub waiting: Vec<Waiting>,
    /// What failed and is tried again.
    pub failures: Vec<String>,
    /// What is wrong with the manifest as it is now, while an older one keeps running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid: Option<String>,
    /// The status as the API defines it.
    pub status: PipelineStatus,
}

/// A stage, summed over its processes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageSummary {
    /// Its id. Example: `sink-dwh`.
    pub id: StageId,
    /// Its name in the manifest.
    pub name: String,
    /// What it does.
    pub kind: String,
    /// In one word.
    pub state: String,
    /// It is as it shall be.
    pub ready: bool,
    /// How many processes there are.
    pub replicas: u32,
    /// Their process ids.
    pub pids: Vec<u32>,
    /// Records that wait to be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Records or rows moved since the processes began.
    pub records: u64,
    /// Records or rows per second.
    pub rate: f64,
    /// Records put to the dead letters since the processes began.
    pub dead_letters: u64,
    /// How often processes were started again.
    pub restarts: u32,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A connector.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorReport {
    /// Its name in Connect.
    pub name: ConnectorName,
    /// The stage it is. Example: `source-crm`.
    pub stage: StageId,
    /// In one word.
    pub state: String,
    /// It is as it shall be.
    pub ready: bool,
    /// Tasks at work.
    pub tasks: u32,
    /// Restarts since it was last healthy.
    pub restarts: u32,
    /// What kind of fault it has, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Report {
    /// Puts it together. `now` is RFC 3339.
    pub fn new(view: &View<'_>, previous: Option<&PipelineStatus>, now: &str, pid: u32) -> Self {
        let status = status(view, previous, now);
        Self {
            pipeline: view.desired.identity.to_string(),
            pid,
            updated_at: now.to_owned(),
            ready: is_ready(&status),
            stages: stages(view),
            connectors: connectors(view),
            refused: view.plan.refused.clone(),
            waiting: view.plan.waiting.clone(),
            failures: view.failures.iter().map(|(lane, error)| format!("{lane}: {error}")).collect(),
            invalid: view.invalid.map(str::to_owned),
            status,
        }
    }

    /// Whether it says the same as `other`, apart from when.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let timeless = |report: &Self| {
            let mut report = report.clone();
            report.updated_at.clear();
            report
        };
        timeless(self) == timeless(other)
    }
}

impl StageSummary {
    /// As the API defines it.
    pub fn status(&self) -> StageStatus {
        StageStatus {
            name: self.name.clone(),
            kind: self.kind.clone(),
            state: self.state.clone(),
            replicas: self.replicas,
            lag: self.lag,
            error: self.error.clone(),
        }
    }
}

impl ConnectorReport {
    /// As the API defines it.
    pub fn status(&self) -> StageStatus {
        let id = self.stage.as_str();
        let (kind, name) = id.split_once('-').unwrap_or(("source", id));
        StageStatus {
            name: name.to_owned(),
            kind: kind.to_owned(),
            state: self.state.clone(),
            replicas: self.tasks,
            lag: None,
            error: self.error.clone(),
        }
    }
}

pub(super) fn stages(view: &View<'_>) -> Vec<StageSummary> {
    let summary = |(id, stage): (&StageId, &crate::model::desired::DesiredStage)| {
        let processes = view.observed.stages.get(id);
        let replicas = processes.map(|stage| stage.replicas.as_slice()).unwrap_or_default();
        let reports: Vec<_> = replicas.iter().filter_map(|replica| replica.report.as_ref()).collect();
        let lags: Vec<u64> = reports.iter().filter_map(|report| report.lag).collect();
        let group_lag =
            || view.observed.lag.get(&stage.reads.first()?.group)?.as_ref().ok().map(|lag| lag.records);
        let error = stage_fault(id, stage, view.plan, view.observed);
        StageSummary {
            id: id.clone(),
            name: stage.name.clone(),
            kind: stage.kind.to_string(),
            state: stage_state(id, view.plan, processes).to_owned(),
            ready: error.is_none(),
            replicas: u32::try_from(replicas.len()).unwrap_or(u32::MAX),
            pids: replicas.iter().filter_map(|replica| replica.pid).collect(),
            lag: if lags.is_empty() { group_lag() } else { Some(lags.iter().sum()) },
            records: reports.iter().map(|report| report.records).sum(),
            rate: reports.iter().map(|report| report.rate).sum(),
            dead_letters: reports.iter().map(|report| report.dead_letters).sum(),
            restarts: replicas.iter().map(|replica| replica.restarts).sum(),
            error,
        }
    };
    view.desired.stages.iter().map(summary).collect()
}

pub(super) fn connectors(view: &View<'_>) -> Vec<ConnectorReport> {
    let report = |(name, connector): (&ConnectorName, &crate::model::desired::DesiredConnector)| {
        let existing = match view.observed.connectors.get(name) {
            Some(Ok(Some(existing))) => Some(existing),
            _ => None,
        };
        let error = super::conditions::connector_fault(view, name, connector);
        ConnectorReport {
            name: name.clone(),
            stage: connector.stage.clone(),
            state: existing.map_or("missing", connector_state).to_owned(),
            ready: error.is_none(),
            tasks: existing.map_or(0, running_tasks),
            restarts: existing.map_or(0, |existing| existing.restarts.count),
            reason: existing.and_then(|existing| existing.fault.as_ref()).map(|fault| fault.reason.clone()),
            error,
        }
    };
    view.desired.connectors.iter().map(report).collect()
}

fn running_tasks(connector: &ObservedConnector) -> u32 {
    let running = connector.tasks.iter().filter(|task| task.state == ConnectorState::Running).count();
    u32::try_from(running).unwrap_or(u32::MAX)
}

/// The connector's state, or that of its task that is worst off.
pub(super) fn connector_state(connector: &ObservedConnector) -> &'static str {
    let states = || connector.tasks.iter().map(|task| task.state).chain([connector.state]);
    let has = |state: ConnectorState| states().any(|one| one == state);
    if has(ConnectorState::Failed) {
        return "failed";
    }
    if connector.fault.is_some() {
        return if connector.tasks.is_empty() { "starting" } else { "retrying" };
    }
    match connector.state {
        ConnectorState::Running if connector.tasks.is_empty() => "starting",
        ConnectorState::Running if states().all(|state| state == ConnectorState::Running) => "running",
        ConnectorState::Stopped => "stopped",
        ConnectorState::Paused => "paused",
        ConnectorState::Unknown => "unknown",
        _ => "starting",
    }
}
