//! Stages: which have processes now, and which are replaced, scaled or stopped.

use acequia_crds::names::StageId;

use crate::model::desired::{Desired, DesiredStage, RunPolicy};
use crate::model::observed::{Observed, ObservedReplica, ReplicaState};
use crate::model::plan::{Change, Plan};

/// How a stop that waits begins.
pub(super) const STOP: &str = "stop of";

/// All stages, those of the manifest and those that left it.
pub(super) fn all(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    for (id, stage) in &desired.stages {
        if runs(id, stage, desired, observed) {
            plan.run.insert(id.clone());
            plan.changes.extend(started(id, stage, observed));
            wait_for_the_processes_before(id, stage, observed, plan);
            wait_for_drain(id, stage, observed, plan);
        } else {
            stopped(id, observed, plan);
            if stage.run == RunPolicy::UntilDrained && drained(stage, desired, observed).is_none() {
                plan.wait(id.to_string(), "an answer on whether it has drained".to_owned());
            }
        }
    }
    for id in observed.stages.keys().filter(|id| !desired.stages.contains_key(*id)) {
        if desired.namespace_goes {
            ended(id, observed, plan);
        } else {
            stopped(id, observed, plan);
        }
    }
}

fn stopped(id: &StageId, observed: &Observed, plan: &mut Plan) {
    let Some(existing) = observed.stages.get(id) else { return };
    if existing.wanted > 0 {
        plan.changes.push(Change::StopStage { id: id.clone() });
    } else {
        ended(id, observed, plan);
    }
}

/// Nothing is to be done, only that its processes are still there.
fn ended(id: &StageId, observed: &Observed, plan: &mut Plan) {
    if has_processes(id, observed) {
        plan.wait(format!("{STOP} {id}"), "its processes to end".to_owned());
    }
}

fn runs(id: &StageId, stage: &DesiredStage, desired: &Desired, observed: &Observed) -> bool {
    match stage.run {
        RunPolicy::Always => true,
        RunPolicy::Never => false,
        RunPolicy::UntilDrained => match drained(stage, desired, observed) {
            Some(drained) => !drained,
            // Not knowing neither stops what runs nor starts what is stopped.
            None => observed.stages.get(id).is_some_and(|stage| stage.wanted > 0),
        },
    }
}

fn started(id: &StageId, stage: &DesiredStage, observed: &Observed) -> Option<Change> {
    let existing = observed.stages.get(id).filter(|existing| existing.wanted > 0);
    let Some(existing) = existing else {
        return Some(Change::StartStage { id: id.clone(), replicas: stage.replicas });
    };
    if existing.hash != stage.hash {
        return Some(Change::ReplaceStage { id: id.clone() });
    }
    let (from, to) = (existing.wanted, stage.replicas);
    (from != to).then(|| Change::ScaleStage { id: id.clone(), from, to })
}

/// A process with another configuration may still read and write what the manifest no longer knows.
fn wait_for_the_processes_before(id: &StageId, stage: &DesiredStage, observed: &Observed, plan: &mut Plan) {
    let replicas = observed.stages.get(id).map(|stage| stage.replicas.as_slice()).unwrap_or_default();
    let is_old = |one: &ObservedReplica| {
        one.is_there() && (one.state == ReplicaState::Stopping || one.config_hash != stage.hash)
    };
    if replicas.iter().any(is_old) {
        plan.wait(format!("{STOP} {id} as it was before"), "its processes to end".to_owned());
    }
}

/// A stage that runs only until it is drained is not at its goal yet.
fn wait_for_drain(id: &StageId, stage: &DesiredStage, observed: &Observed, plan: &mut Plan) {
    if stage.run != RunPolicy::UntilDrained {
        return;
    }
    for reads in &stage.reads {
        let until = match observed.lag.get(&reads.group) {
            Some(Ok(_)) => continue,
            Some(Err(unreachable)) => unreachable.to_string(),
            None => format!("its consumer group {} to appear", reads.group),
        };
        return plan.wait(format!("{STOP} {id}"), until);
    }
    plan.wait(format!("{STOP} {id}"), "the sources to stop and its lag to go to 0".to_owned());
}

fn has_processes(id: &StageId, observed: &Observed) -> bool {
    observed.stages.get(id).is_some_and(|stage| !stage.replicas.is_empty())
}

/// Nothing writes any more, and what was written is read. None: it can't be known just now.
fn drained(stage: &DesiredStage, desired: &Desired, observed: &Observed) -> Option<bool> {
    if stage.reads.is_empty() {
        return Some(true);
    }
    let mut writers = desired.stages.iter().filter(|(_, writer)| writer.run == RunPolicy::Never);
    let writers_stopped = Some(writers.all(|(id, _)| !has_processes(id, observed)));
    let connectors = desired.connectors.keys().map(|name| match observed.connectors.get(name) {
        Some(Ok(Some(connector))) => Some(connector.is_at_rest()),
        Some(Ok(None)) => Some(true),
        Some(Err(_)) | None => None,
    });
    let all_read = stage.reads.iter().map(|reads| match observed.lag.get(&reads.group) {
        Some(Ok(lag)) => Some(lag.records == 0),
        Some(Err(_)) => None,
        None => observed.topics.is_ok().then_some(false),
    });
    let facts: Vec<Option<bool>> = connectors.chain([writers_stopped]).chain(all_read).collect();
    if facts.contains(&Some(false)) {
        return Some(false);
    }
    (!facts.contains(&None)).then_some(true)
}
