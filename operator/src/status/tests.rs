use std::collections::BTreeMap;

use acequia_crds::names::StageKind;
use acequia_crds::pipeline::status::{Condition, ConditionStatus, ConditionType, PipelineStatus, Reason};
use acequia_crds::stage_report::StageState;

use super::{View, is_ready, status};
use crate::diff::diff;
use crate::fake_world::*;
use crate::model::desired::{ConnectorTarget, Desired, DesiredTopic, RunPolicy};
use crate::model::observed::{ConnectorFault, ConnectorState, Observed, ReplicaState};
use crate::model::plan::Lane;

const NOW: &str = "2026-01-01T00:00:00Z";

fn shop() -> (Desired, Observed) {
    let mut desired = empty_desired();
    desired.topics.insert("orders".into(), topic(1));
    desired.connectors.insert(connector_name("crm"), connector(&["orders"], &[]));
    desired.stages.extend([stage(StageKind::Generator, "shop"), stage(StageKind::Sink, "dwh")]);
    let mut world = empty_world();
    converge(&desired, &mut world);
    (desired, world)
}

fn say(desired: &Desired, observed: &Observed, failures: &BTreeMap<Lane, String>) -> PipelineStatus {
    let plan = diff(desired, observed);
    let view =
        View { desired, observed, plan: &plan, failures, generation: 7, invalid: None, deleting: false };
    status(&view, None, NOW)
}

fn condition(status: &PipelineStatus, kind: ConditionType) -> &Condition {
    status.conditions.iter().find(|condition| condition.kind == kind).unwrap()
}

/// Not Ready, for this reason, which the message names.
fn assert_not_ready(desired: &Desired, observed: &Observed, reason: Reason, part: &str) {
    let status = say(desired, observed, &BTreeMap::new());
    let ready = condition(&status, ConditionType::Ready);
    assert_ne!(ready.status, ConditionStatus::True);
    assert_eq!(ready.reason, reason, "{ready:?}");
    assert!(ready.message.contains(part), "{ready:?}");
}

#[test]
fn a_stages_own_topics_are_not_listed() {
    let (mut desired, mut observed) = shop();
    let own = DesiredTopic { stage: desired.stages.keys().next().cloned(), ..topic(4) };
    desired.topics.insert("acequia.state.default.shop.x".into(), own);
    converge(&desired, &mut observed);
    let status = say(&desired, &observed, &BTreeMap::new());
    assert_eq!(status.topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["orders"]);
}

#[test]
fn what_is_as_it_shall_be_is_ready_at_this_generation() {
    let (desired, observed) = shop();
    let status = say(&desired, &observed, &BTreeMap::new());
    assert!(is_ready(&status), "{status:#?}");
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(7)));
    assert_eq!(status.stages_ready.as_deref(), Some("3/3"));
    assert_eq!(status.topics.len(), 1);
    assert_eq!(condition(&status, ConditionType::Degraded).status, ConditionStatus::False);
}

#[test]
fn a_running_connector_with_a_failed_task_is_not_ready_and_says_why() {
    let (desired, mut observed) = shop();
    let Some(Ok(Some(one))) = observed.connectors.get_mut(&connector_name("crm")) else { panic!() };
    one.tasks[0].state = ConnectorState::Failed;
    one.fault = Some(ConnectorFault {
        reason: "WrongPassword".into(),
        sentence: "crm_db refuses the password".into(),
        heals_outside: true,
    });
    assert_not_ready(&desired, &observed, Reason::ConnectorNotReady, "crm_db refuses the password");
    let status = say(&desired, &observed, &BTreeMap::new());
    assert_eq!(condition(&status, ConditionType::Degraded).status, ConditionStatus::True);
}

#[test]
fn a_connector_without_tasks_is_not_ready() {
    let (desired, mut observed) = shop();
    let Some(Ok(Some(one))) = observed.connectors.get_mut(&connector_name("crm")) else { panic!() };
    one.tasks.clear();
    assert_not_ready(&desired, &observed, Reason::ConnectorNotReady, "source-crm");
}

#[test]
fn a_worker_that_runs_with_another_configuration_is_not_ready() {
    let (desired, mut observed) = shop();
    observed.stages.values_mut().next().unwrap().replicas[0].report.as_mut().unwrap().config_hash =
        "old".into();
    assert_not_ready(&desired, &observed, Reason::WorkerNotReady, "another configuration");
}

#[test]
fn a_worker_that_crashes_waits_or_needs_a_person_says_so() {
    let (desired, observed) = shop();
    let mut crashed = observed.clone();
    let replica = &mut crashed.stages.values_mut().next().unwrap().replicas[0];
    replica.state = ReplicaState::BackingOff { until_ms: 1 };
    replica.last_exit = Some("exit code 2: bad configuration".into());
    assert_not_ready(&desired, &crashed, Reason::WorkerNotReady, "bad configuration");
    let mut lost = observed;
    let report = lost.stages.values_mut().next().unwrap().replicas[0].report.as_mut().unwrap();
    report.state = StageState::Stopped;
    report.error = Some("records were deleted before they were read".into());
    assert_not_ready(&desired, &lost, Reason::DataLoss, "deleted before they were read");
}

#[test]
fn servers_that_do_not_answer_are_unknown_with_their_address() {
    let (desired, observed) = shop();
    let mut no_kafka = observed.clone();
    no_kafka.topics = Err(unreachable("Kafka at kafka:9092"));
    assert_not_ready(&desired, &no_kafka, Reason::KafkaUnreachable, "kafka:9092");
    let mut no_connect = observed;
    no_connect
        .connectors
        .insert(connector_name("crm"), Err(unreachable("Kafka Connect at http://connect:8083")));
    assert_not_ready(&desired, &no_connect, Reason::ConnectUnreachable, "http://connect:8083");
}

#[test]
fn a_refusal_is_in_the_message_with_its_fix() {
    let (mut desired, mut observed) = shop();
    observed.topics.as_mut().unwrap().get_mut("orders").unwrap().partitions = 9;
    assert_not_ready(&desired, &observed, Reason::Refused, "write `partitions: 9`");
    desired.topics.get_mut("orders").unwrap().partitions = None;
    assert!(is_ready(&say(&desired, &observed, &BTreeMap::new())));
}

#[test]
fn changes_and_failed_tries_are_not_ready() {
    let (mut desired, observed) = shop();
    desired.topics.insert("more".into(), topic(1));
    assert_not_ready(&desired, &observed, Reason::TopicNotReady, "more");
    let failures = BTreeMap::from([(Lane::Topics, "create topic `more` failed: policy".to_owned())]);
    let ready = say(&desired, &observed, &failures);
    assert_eq!(condition(&ready, ConditionType::Ready).reason, Reason::Retrying);
}

#[test]
fn an_invalid_edit_is_not_ready_while_the_valid_manifest_runs() {
    let (desired, observed) = shop();
    let (plan, failures) = (diff(&desired, &observed), BTreeMap::new());
    let view = View {
        desired: &desired,
        observed: &observed,
        plan: &plan,
        failures: &failures,
        generation: 7,
        invalid: Some("shop.yaml:3:1: spec.kafka: is missing"),
        deleting: false,
    };
    let status = status(&view, None, NOW);
    assert_eq!(condition(&status, ConditionType::Ready).reason, Reason::InvalidSpec);
    assert_eq!(condition(&status, ConditionType::WorkersReady).status, ConditionStatus::True);
}

#[test]
fn what_is_suspended_is_ready_and_says_that_it_is_suspended() {
    let (mut desired, mut observed) = shop();
    for stage in desired.stages.values_mut() {
        stage.run = RunPolicy::Never;
    }
    for connector in desired.connectors.values_mut() {
        connector.target = ConnectorTarget::Stopped;
    }
    converge(&desired, &mut observed);
    let status = say(&desired, &observed, &BTreeMap::new());
    assert!(is_ready(&status));
    assert_eq!(condition(&status, ConditionType::Ready).reason, Reason::Suspended);
    assert_eq!(condition(&status, ConditionType::ConnectorsReady).message, "all connectors are stopped");
    assert_eq!(condition(&status, ConditionType::WorkersReady).message, "all workers are stopped");
}

#[test]
fn a_transition_has_a_time_only_when_the_answer_changes() {
    let (desired, mut observed) = shop();
    let before = say(&desired, &observed, &BTreeMap::new());
    observed.topics = Err(unreachable("Kafka at kafka:9092"));
    let (plan, failures) = (diff(&desired, &observed), BTreeMap::new());
    let view = View {
        desired: &desired,
        observed: &observed,
        plan: &plan,
        failures: &failures,
        generation: 8,
        invalid: None,
        deleting: false,
    };
    let after = status(&view, Some(&before), "2026-01-02T00:00:00Z");
    let time = |kind| condition(&after, kind).last_transition_time.clone();
    assert_eq!(time(ConditionType::TopicsReady), "2026-01-02T00:00:00Z");
    assert_eq!(time(ConditionType::WorkersReady), NOW);
}

#[test]
fn the_status_of_a_hundred_stages_stays_under_32_kib() {
    let mut desired = empty_desired();
    for index in 0..100 {
        let (id, one) = stage(StageKind::Sink, &format!("a-long-name-of-a-stage-{index:03}"));
        desired.stages.insert(id, one);
        desired.topics.insert(format!("a-long-name-of-a-topic-{index:03}"), topic(1));
    }
    let mut world = empty_world();
    converge(&desired, &mut world);
    let status = say(&desired, &world, &BTreeMap::new());
    let size = serde_json::to_string(&status).unwrap().len();
    assert!(size < 32 * 1024, "{size}");
}
