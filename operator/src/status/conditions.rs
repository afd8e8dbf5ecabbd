//! The conditions, each with a reason from the closed list and one sentence.

use acequia_crds::names::ConnectorName;
use acequia_crds::pipeline::status::{Condition, ConditionStatus, ConditionType, PipelineStatus, Reason};
use acequia_crds::stage_report::StageState;

use super::report::connector_state;
use super::{View, stage_fault};
use crate::model::desired::{ConnectorTarget, Desired, DesiredConnector, RunPolicy};
use crate::model::observed::Observed;
use crate::model::plan::{Change, Lane};

/// Messages of conditions are cut here, so that a status stays small.
const MESSAGE_MAX_CHARS: usize = 1_000;

type Verdict = (ConditionStatus, Reason, String);

pub(super) fn conditions(view: &View<'_>, previous: Option<&PipelineStatus>, now: &str) -> Vec<Condition> {
    let topics = topics(view);
    let connectors = connectors(view);
    let workers = workers(view);
    let degraded = degraded(view);
    let ready = ready(view, [&topics, &connectors, &workers]);
    [
        (ConditionType::Ready, ready),
        (ConditionType::TopicsReady, topics),
        (ConditionType::ConnectorsReady, connectors),
        (ConditionType::WorkersReady, workers),
        (ConditionType::Degraded, degraded),
    ]
    .into_iter()
    .map(|(kind, verdict)| condition(kind, verdict, view.generation, previous, now))
    .collect()
}

/// The condition Ready of a Pipeline of which nothing runs because no generation of it was ever valid.
pub(super) fn never_valid(
    problems: &str,
    generation: i64,
    previous: Option<&PipelineStatus>,
    now: &str,
) -> Condition {
    let verdict = bad(Reason::InvalidSpec, problems);
    condition(ConditionType::Ready, verdict, generation, previous, now)
}

fn condition(
    kind: ConditionType,
    (status, reason, message): Verdict,
    generation: i64,
    previous: Option<&PipelineStatus>,
    now: &str,
) -> Condition {
    let before = previous.and_then(|status| status.conditions.iter().find(|one| one.kind == kind));
    let unchanged = before.filter(|before| before.status == status);
    Condition {
        kind,
        status,
        observed_generation: Some(generation),
        last_transition_time: unchanged
            .map_or_else(|| now.to_owned(), |one| one.last_transition_time.clone()),
        reason,
        message: message.chars().take(MESSAGE_MAX_CHARS).collect(),
    }
}

fn good(message: &str) -> Verdict {
    (ConditionStatus::True, Reason::Healthy, message.to_owned())
}

fn bad(reason: Reason, message: impl Into<String>) -> Verdict {
    (ConditionStatus::False, reason, message.into())
}

fn ready(view: &View<'_>, parts: [&Verdict; 3]) -> Verdict {
    if view.deleting {
        let left = view.plan.changes.len() + view.plan.waiting.len();
        let message = if left == 0 { "nothing is left".to_owned() } else { format!("{left} steps are left") };
        return bad(Reason::Deleting, message);
    }
    if let Some(problems) = view.invalid {
        return bad(Reason::InvalidSpec, format!("the last valid manifest keeps running: {problems}"));
    }
    if let Some(refusal) = view.plan.refused.first() {
        return bad(Reason::Refused, refusal.to_string());
    }
    if let Some((status, reason, message)) = parts.into_iter().find(|part| part.0 != ConditionStatus::True) {
        return (*status, *reason, message.clone());
    }
    if let Some(waiting) = view.plan.waiting.first() {
        return bad(Reason::Progressing, waiting.to_string());
    }
    if !view.plan.changes.is_empty() {
        return bad(Reason::Progressing, format!("{} changes to make", view.plan.changes.len()));
    }
    if is_suspended(view.desired) {
        return (
            ConditionStatus::True,
            Reason::Suspended,
            "everything has stopped; topics and offsets stay".into(),
        );
    }
    good("everything is as the manifest says")
}

/// There is something that would run, and nothing of it is to.
fn is_suspended(desired: &Desired) -> bool {
    let (stages, connectors) = (&desired.stages, &desired.connectors);
    !(stages.is_empty() && connectors.is_empty())
        && stages.values().all(|stage| stage.run != RunPolicy::Always)
        && connectors.values().all(|connector| connector.target == ConnectorTarget::Stopped)
}

fn topics(view: &View<'_>) -> Verdict {
    let unseen = [view.observed.topics.as_ref().err(), view.observed.ownership.as_ref().err()];
    if let Some(unreachable) = unseen.into_iter().flatten().next() {
        return (ConditionStatus::Unknown, Reason::KafkaUnreachable, unreachable.to_string());
    }
    let refused = view.plan.refused.iter().find(|refusal| refusal.field.starts_with("spec.topics"));
    if let Some(refusal) = refused {
        return bad(Reason::Refused, refusal.to_string());
    }
    if let Some(failure) = view.failures.get(&Lane::Topics) {
        return bad(Reason::Retrying, failure);
    }
    let missing =
        |name: &&String| !view.observed.topics.as_ref().is_ok_and(|topics| topics.contains_key(*name));
    if let Some(name) = view.desired.topics.keys().find(missing) {
        return bad(Reason::TopicNotReady, format!("topic {name} is missing"));
    }
    let unsettled =
        |change: &&Change| change.lane() == Lane::Topics && !matches!(change, Change::Record { .. });
    if view.plan.changes.iter().any(|change| unsettled(&change)) {
        return bad(Reason::Progressing, "topics are being changed");
    }
    good("all topics are there")
}

fn connectors(view: &View<'_>) -> Verdict {
    for (name, connector) in &view.desired.connectors {
        if let Some(Err(unreachable)) = view.observed.connectors.get(name) {
            return (ConditionStatus::Unknown, Reason::ConnectUnreachable, unreachable.to_string());
        }
        if let Some(fault) = connector_fault(view, name, connector) {
            return bad(connector_reason(view, name), format!("{}: {fault}", connector.stage));
        }
    }
    let others = view.failures.iter().find(|(lane, _)| matches!(lane, Lane::Connector(_)));
    if let Some((lane, failure)) = others {
        return bad(Reason::Retrying, format!("{lane}: {failure}"));
    }
    good(if is_suspended(view.desired) { "all connectors are stopped" } else { "all connectors run" })
}

fn connector_reason(view: &View<'_>, name: &ConnectorName) -> Reason {
    let fault = match view.observed.connectors.get(name) {
        Some(Ok(Some(existing))) => existing.fault.as_ref(),
        _ => None,
    };
    if fault.is_some_and(|fault| fault.reason == crate::connect::explain::Fault::PositionLost.as_str()) {
        return Reason::DataLoss;
    }
    if view.failures.contains_key(&Lane::Connector(name.clone())) {
        return Reason::Retrying;
    }
    Reason::ConnectorNotReady
}

/// What is wrong with a connector; None: it is as it shall be.
pub(super) fn connector_fault(
    view: &View<'_>,
    name: &ConnectorName,
    wanted: &DesiredConnector,
) -> Option<String> {
    if let Some(failure) = view.failures.get(&Lane::Connector(name.clone())) {
        return Some(failure.clone());
    }
    let of_it = |field: &str| {
        field.strip_prefix(&wanted.field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some(refusal) = view.plan.refused.iter().find(|refusal| of_it(&refusal.field)) {
        return Some(refusal.to_string());
    }
    let waiting = || {
        let what = format!("connector {name}");
        let waiting = view.plan.waiting.iter().find(|waiting| waiting.what == what)?;
        Some(format!("it waits for {}", waiting.until))
    };
    match view.observed.connectors.get(name) {
        None => Some("Kafka Connect has not been asked yet".to_owned()),
        Some(Err(unreachable)) => Some(unreachable.to_string()),
        Some(Ok(None)) => Some(waiting().unwrap_or_else(|| "it is being created".to_owned())),
        Some(Ok(Some(existing))) => {
            let state = connector_state(existing);
            let goal = if wanted.target == ConnectorTarget::Running { "running" } else { "stopped" };
            let fault = existing.fault.as_ref().map(|fault| fault.sentence.clone());
            fault.or_else(|| (state != goal).then(|| format!("it is {state}"))).or_else(waiting)
        }
    }
}

fn workers(view: &View<'_>) -> Verdict {
    if let Some(failure) = view.failures.get(&Lane::Stages) {
        return bad(Reason::Retrying, failure);
    }
    for (id, stage) in &view.desired.stages {
        if let Some(fault) = stage_fault(id, stage, view.plan, view.observed) {
            let reason =
                if needs_a_person(view.observed, id) { Reason::DataLoss } else { Reason::WorkerNotReady };
            return bad(reason, format!("{id}: {fault}"));
        }
    }
    good(if is_suspended(view.desired) { "all workers are stopped" } else { "all workers run" })
}

fn needs_a_person(observed: &Observed, id: &acequia_crds::names::StageId) -> bool {
    let replicas = observed.stages.get(id).map(|stage| stage.replicas.as_slice()).unwrap_or_default();
    replicas
        .iter()
        .filter_map(|replica| replica.report.as_ref())
        .any(|report| report.state == StageState::Stopped)
}

/// Data may flow, but something needs attention.
fn degraded(view: &View<'_>) -> Verdict {
    let yes = |reason, message: String| (ConditionStatus::True, reason, message);
    if let Some((lane, failure)) = view.failures.iter().next() {
        return yes(Reason::Retrying, format!("{lane}: {failure}"));
    }
    if let Some(refusal) = view.plan.refused.first() {
        return yes(Reason::Refused, refusal.to_string());
    }
    for (name, connector) in &view.observed.connectors {
        if let Ok(Some(fault)) = connector.as_ref().map(|one| one.as_ref().and_then(|one| one.fault.as_ref()))
        {
            return yes(connector_reason(view, name), format!("connector {name}: {}", fault.sentence));
        }
    }
    for (id, stage) in &view.observed.stages {
        let mut replicas = stage.replicas.iter();
        let error = replicas.find_map(|replica| replica.report.as_ref()?.error.as_ref());
        if let Some(error) = error {
            let reason =
                if needs_a_person(view.observed, id) { Reason::DataLoss } else { Reason::WorkerNotReady };
            return yes(reason, format!("{id}: {error}"));
        }
    }
    bad(Reason::Healthy, "nothing needs attention")
}
