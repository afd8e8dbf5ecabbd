use acequia_crds::names::StageKind;
use acequia_crds::stage::SlotRelease;

use crate::diff::{diff, restart_backoff_ms};
use crate::fake_world::*;
use crate::model::desired::{ConnectorTarget, DeletionPolicy, Desired};
use crate::model::observed::{ConnectorFault, ConnectorState, Observed, ObservedConnector, Restarts};
use crate::model::ownership::{Claim, ClaimKind, ClaimState, Claimed};
use crate::model::plan::{Change, Plan};

/// One topic, a generator with setup, and a connector that needs both.
fn shop() -> Desired {
    let mut desired = empty_desired();
    desired.topics.insert("orders".into(), topic(1));
    let (id, generator) = stage(StageKind::Generator, "shop");
    desired.connectors.insert(connector_name("crm"), connector(&["orders"], std::slice::from_ref(&id)));
    desired.stages.insert(id, generator);
    desired
}

fn converged() -> (Desired, Observed) {
    let (desired, mut world) = (shop(), empty_world());
    assert!(converge(&desired, &mut world).is_empty());
    (desired, world)
}

fn puts(plan: &Plan) -> usize {
    plan.changes.iter().filter(|change| matches!(change, Change::PutConnector { .. })).count()
}

fn fail(world: &mut Observed, restarts: Restarts) {
    let Some(Ok(Some(connector))) = world.connectors.get_mut(&connector_name("crm")) else { panic!() };
    connector.tasks[0].state = ConnectorState::Failed;
    connector.fault = Some(ConnectorFault {
        reason: "ConnectorFailed".into(),
        sentence: "it failed".into(),
        heals_outside: false,
    });
    connector.restarts = restarts;
}

#[test]
fn a_connector_waits_for_its_topics_and_then_for_the_setup() {
    let desired = shop();
    let mut world = empty_world();
    look_for_connectors(&desired, &mut world);
    let plan = diff(&desired, &world);
    assert_eq!(puts(&plan), 0);
    assert!(plan.waiting[0].until.contains("topic orders"), "{plan:?}");
    for change in &plan.changes {
        carry_out(change, &desired, &mut world);
    }
    let generator = world.stages.values_mut().next().unwrap();
    generator.replicas[0].report.as_mut().unwrap().setup_done = false;
    let plan = diff(&desired, &world);
    assert_eq!(puts(&plan), 0);
    assert!(plan.waiting[0].until.contains("generator-shop to run its setup"), "{plan:?}");
    world.stages.values_mut().next().unwrap().replicas[0].report.as_mut().unwrap().setup_done = true;
    assert_eq!(puts(&diff(&desired, &world)), 1);
}

#[test]
fn a_connector_that_runs_needs_its_generator_no_more() {
    let (mut desired, mut world) = converged();
    desired.stages.clear();
    assert!(converge(&desired, &mut world).is_empty());
}

#[test]
fn what_connect_echoes_is_not_a_difference() {
    let (desired, world) = converged();
    assert!(diff(&desired, &world).is_empty());
}

#[test]
fn only_a_real_difference_reconfigures_and_it_is_named() {
    let (mut desired, world) = converged();
    let config = &mut desired.connectors.values_mut().next().unwrap().config;
    config.insert("poll.interval.ms".into(), "20".into());
    let plan = diff(&desired, &world);
    let [Change::PutConnector { changed, .. }] = plan.changes.as_slice() else { panic!("{plan:?}") };
    assert_eq!(changed.iter().collect::<Vec<_>>(), ["poll.interval.ms"]);
}

#[test]
fn a_connector_that_is_not_ours_is_refused() {
    let (desired, mut world) = (shop(), empty_world());
    world.connectors.insert(connector_name("crm"), Ok(Some(running(ConnectorState::Running))));
    let plan = diff(&desired, &world);
    assert_eq!(plan.refused[0].field, "spec.sources[0]");
    assert_eq!(puts(&plan), 0);
}

#[test]
fn a_failed_task_is_restarted_at_once_and_then_with_backoff() {
    let (desired, mut world) = converged();
    fail(&mut world, Restarts::default());
    let plan = diff(&desired, &world);
    let [Change::RestartConnector { attempt: 1, preconditions, .. }] = plan.changes.as_slice() else {
        panic!("{plan:?}")
    };
    let done =
        Restarts { count: 1, last_ms: world.at_ms, preconditions: preconditions.clone(), stopped: false };
    fail(&mut world, done);
    let plan = diff(&desired, &world);
    assert!(plan.changes.is_empty() && plan.waiting[0].until.contains("restart 2"), "{plan:?}");
    world.at_ms += restart_backoff_ms(1);
    assert_eq!(diff(&desired, &world).changes.len(), 1);
}

#[test]
fn what_heals_outside_is_tried_again_every_few_seconds() {
    let (desired, mut world) = converged();
    fail(&mut world, Restarts::default());
    let plan = diff(&desired, &world);
    let Change::RestartConnector { preconditions, .. } = &plan.changes[0] else { panic!("{plan:?}") };
    let last_ms = world.at_ms;
    fail(&mut world, Restarts { count: 40, last_ms, preconditions: preconditions.clone(), stopped: false });
    let Some(Ok(Some(connector))) = world.connectors.get_mut(&connector_name("crm")) else { panic!() };
    connector.fault.as_mut().unwrap().heals_outside = true;
    assert!(diff(&desired, &world).changes.is_empty());
    world.at_ms += 15_000;
    assert_eq!(diff(&desired, &world).changes.len(), 1);
}

#[test]
fn a_changed_precondition_makes_the_next_restart_due_at_once() {
    let (desired, mut world) = converged();
    fail(
        &mut world,
        Restarts {
            count: 5,
            last_ms: 999_999,
            preconditions: "before the topic was there".into(),
            stopped: false,
        },
    );
    assert!(matches!(diff(&desired, &world).changes[0], Change::RestartConnector { attempt: 6, .. }));
}

#[test]
fn the_backoff_is_0_2_6_12_minutes_and_never_more_than_60() {
    let minutes: Vec<u64> = [0, 1, 2, 3, 7, 8, 50, u32::MAX].map(|n| restart_backoff_ms(n) / 60_000).into();
    assert_eq!(minutes, [0, 2, 6, 12, 56, 60, 60, 60]);
}

#[test]
fn one_connect_that_does_not_answer_delays_only_its_connectors() {
    let mut desired = shop();
    let away = connector_name("away");
    desired.connectors.insert(away.clone(), connector(&[], &[]));
    let mut world = empty_world();
    world.connectors.insert(away.clone(), Err(unreachable("Connect at http://away:8083")));
    let plan = converge(&desired, &mut world);
    assert_eq!(plan.waiting.len(), 1);
    assert!(plan.waiting[0].until.contains("http://away:8083"), "{plan:?}");
    assert!(matches!(world.connectors[&connector_name("crm")], Ok(Some(_))));
}

#[test]
fn a_connector_that_left_the_manifest_is_removed_before_its_topics() {
    let (mut desired, mut world) = converged();
    desired.connectors.clear();
    desired.topics.clear();
    let plan = diff(&desired, &world);
    assert!(matches!(plan.changes.as_slice(), [Change::RemoveConnector { .. }]), "{plan:?}");
    assert!(plan.waiting[0].what.contains("topic orders"), "{plan:?}");
    assert!(converge(&desired, &mut world).is_empty());
    assert_eq!(world.connectors[&connector_name("crm")], Ok(None));
}

#[test]
fn a_removal_that_was_begun_is_seen_through_before_the_connector_is_made_anew() {
    for is_there in [true, false] {
        let (desired, mut world) = converged();
        let deleting = Claim { state: ClaimState::Deleting, ..connector_claim() };
        world.add_claim(connector_key(&connector_name("crm")), deleting);
        if !is_there {
            world.connectors.insert(connector_name("crm"), Ok(None));
        }
        let plan = diff(&desired, &world);
        assert!(matches!(plan.changes.as_slice(), [Change::RemoveConnector { .. }]), "{plan:?}");
        assert!(converge(&desired, &mut world).is_empty());
        assert!(matches!(world.connectors[&connector_name("crm")], Ok(Some(_))), "{is_there}");
    }
}

#[test]
fn a_removal_waits_for_a_connect_that_is_away_and_is_not_forgotten() {
    let (_, mut world) = converged();
    world.connectors.insert(connector_name("crm"), Err(unreachable("Connect at http://connect:8083")));
    let plan = converge(&empty_desired(), &mut world);
    assert!(plan.waiting.iter().any(|waiting| waiting.what.starts_with("removal of connector")), "{plan:?}");
    assert!(world.topics.as_ref().unwrap().contains_key("orders"));
    world.add_claim(connector_key(&connector_name("crm")), connector_claim());
    world.connectors.insert(connector_name("crm"), Ok(Some(running(ConnectorState::Running))));
    assert!(converge(&empty_desired(), &mut world).is_empty());
}

#[test]
fn of_a_pipeline_that_is_gone_only_removals_that_were_begun_are_seen_through() {
    let (_, mut world) = converged();
    let gone = Desired { only_begun: true, retains_state: true, ..empty_desired() };
    assert!(diff(&gone, &world).is_empty(), "nobody began to remove it");
    world.connectors.insert(connector_name("crm"), Err(unreachable("Connect at http://connect:8083")));
    converge(&empty_desired(), &mut world);
    let held =
        world.ownership.as_ref().unwrap().claim(ClaimKind::Connector, connector_name("crm").as_str(), OWNER);
    assert_eq!(held.unwrap().state, ClaimState::Deleting, "it is on record while Connect is away");
    assert_eq!(diff(&gone, &world).waiting.len(), 1);
    let unseen = Observed { ownership: Err(unreachable("Kafka at kafka:9092")), ..world.clone() };
    assert_eq!(diff(&gone, &unseen).waiting.len(), 1, "nobody knows yet");
    world.connectors.insert(connector_name("crm"), Ok(Some(running(ConnectorState::Running))));
    assert!(converge(&gone, &mut world).is_empty());
    assert_eq!(world.connectors[&connector_name("crm")], Ok(None));
    assert!(world.topics.as_ref().unwrap().contains_key("orders"));
}

#[test]
fn a_removal_that_was_begun_leaves_the_slot_once_the_manifest_says_so() {
    let (mut desired, mut world) = converged();
    let mut begun = Claim { state: ClaimState::Deleting, ..connector_claim() };
    let Claimed::Connector(connector) = &mut begun.of else { panic!("{begun:?}") };
    connector.release = Some(release("db", 5432, "shop"));
    world.add_claim(connector_key(&connector_name("crm")), begun);
    let removal = |desired: &Desired| match diff(desired, &world).changes.as_slice() {
        [Change::RemoveConnector { claim, .. }] => (claim.deletion_policy, claim.release.is_some()),
        other => panic!("{other:?}"),
    };
    assert_eq!(removal(&desired), (DeletionPolicy::Delete, true));
    desired.connectors.values_mut().next().unwrap().deletion_policy = DeletionPolicy::Retain;
    // Its offsets go: the new one would go on from them, perhaps without the slot.
    assert_eq!(removal(&desired), (DeletionPolicy::Delete, false));
}

#[test]
fn a_suspended_connector_is_stopped_and_later_resumed() {
    let (mut desired, mut world) = converged();
    desired.connectors.values_mut().next().unwrap().target = ConnectorTarget::Stopped;
    assert!(matches!(diff(&desired, &world).changes.as_slice(), [Change::StopConnector { .. }]));
    converge(&desired, &mut world);
    desired.connectors.values_mut().next().unwrap().target = ConnectorTarget::Running;
    assert!(matches!(diff(&desired, &world).changes.as_slice(), [Change::ResumeConnector { .. }]));
}

#[test]
fn a_suspended_connector_that_never_started_is_told_to_stop_once_and_is_at_rest_then() {
    let (mut desired, mut world) = converged();
    desired.connectors.values_mut().next().unwrap().target = ConnectorTarget::Stopped;
    let mut is_told = |has_task: bool, stopped: bool| {
        let failed = running(ConnectorState::Failed);
        let failed = ObservedConnector {
            config: desired.connectors[&connector_name("crm")].config.clone(),
            tasks: failed.tasks.iter().filter(|_| has_task).cloned().collect(),
            restarts: Restarts { stopped, ..Restarts::default() },
            ..failed
        };
        world.connectors.insert(connector_name("crm"), Ok(Some(failed)));
        matches!(diff(&desired, &world).changes.as_slice(), [Change::StopConnector { .. }])
    };
    assert!(is_told(true, false) && is_told(true, true) && is_told(false, false));
    assert!(!is_told(false, true), "Connect would never call it stopped");
}

fn release(host: &str, port: u16, database: &str) -> SlotRelease {
    let text = format!("{{host: {host}, port: {port}, database: {database}, credentialsSecret: s}}");
    let store = serde_yaml::from_str(&text).unwrap();
    SlotRelease { store, slot: "s".into(), publication: "p".into() }
}

fn moved(from: SlotRelease, to: SlotRelease) -> Plan {
    let (mut desired, mut world) = (shop(), empty_world());
    desired.connectors.values_mut().next().unwrap().release = Some(from);
    converge(&desired, &mut world);
    let wanted = desired.connectors.values_mut().next().unwrap();
    wanted.release = Some(to);
    wanted.config.insert("database.dbname".into(), "another".into());
    diff(&desired, &world)
}

#[test]
fn a_source_is_not_pointed_at_another_database() {
    for to in [release("crm", 5432, "erp"), release("erp", 5432, "crm"), release("crm", 5433, "crm")] {
        let plan = moved(release("crm", 5432, "crm"), to);
        assert_eq!(plan.refused[0].field, "spec.sources[0].debezium.store");
        assert!(plan.changes.is_empty(), "{plan:?}");
    }
    let plan = moved(release("127.0.0.1", 5432, "crm"), release("127.0.0.1", 5555, "crm"));
    assert_eq!((plan.refused.len(), puts(&plan)), (0, 1), "a local port that moved: {plan:?}");
}

#[test]
fn a_connector_is_reconfigured_only_once_its_topics_are_there_and_not_refused() {
    let (mut desired, mut world) = converged();
    desired.topics.insert("foreign".into(), topic(1));
    let wanted = desired.connectors.values_mut().next().unwrap();
    wanted.after.topics.insert("foreign".into());
    wanted.config.insert("tables".into(), "2".into());
    let plan = diff(&desired, &world);
    assert!(puts(&plan) == 0 && plan.waiting[0].until.contains("topic foreign"), "{plan:?}");
    desired.topics.get_mut("foreign").unwrap().field = "spec.topics[1]".into();
    world.add_topic("foreign", existing("theirs", 1, &[]));
    let plan = diff(&desired, &world);
    assert!(puts(&plan) == 0 && plan.waiting[0].until.contains("which is refused"), "{plan:?}");
}

#[test]
fn a_topic_stays_until_the_connector_that_wrote_it_is_reconfigured() {
    let (mut desired, mut world) = converged();
    desired.topics.clear();
    let wanted = desired.connectors.values_mut().next().unwrap();
    wanted.after.topics.clear();
    wanted.config.insert("tables".into(), "none".into());
    let plan = diff(&desired, &world);
    assert!(matches!(plan.changes.as_slice(), [Change::PutConnector { .. }, ..]), "{plan:?}");
    assert!(plan.waiting.iter().any(|waiting| waiting.what.contains("topic orders")), "{plan:?}");
    let away = Err(unreachable("Connect at http://connect:8083"));
    let there = world.connectors.insert(connector_name("crm"), away).unwrap();
    let plan = diff(&desired, &world);
    assert!(plan.waiting.iter().any(|waiting| waiting.what.contains("topic orders")), "{plan:?}");
    world.connectors.insert(connector_name("crm"), there);
    assert!(converge(&desired, &mut world).is_empty());
}

#[test]
fn a_connector_recorded_in_another_connect_is_not_created_a_second_time() {
    let (mut desired, mut world) = converged();
    desired.connectors.values_mut().next().unwrap().url = "http://other:8083".into();
    let there = world.connectors.insert(connector_name("crm"), Ok(None)).unwrap();
    let plan = diff(&desired, &world);
    assert!(puts(&plan) == 0 && plan.refused[0].why.contains("http://connect:8083"), "{plan:?}");
    // The same cluster under another address has it.
    world.connectors.insert(connector_name("crm"), there);
    assert!(converge(&desired, &mut world).is_empty());
}
