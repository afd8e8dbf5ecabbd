use acequia_crds::names::{StageId, StageKind};

use crate::diff::diff;
use crate::fake_world::*;
use crate::model::desired::{ConnectorTarget, Desired, Reads, RunPolicy};
use crate::model::observed::GroupLag;
use crate::model::plan::{Change, Plan};

const GROUP: &str = "acequia.default.shop.sink-dwh";

fn shop() -> Desired {
    let mut desired = empty_desired();
    desired.topics.insert("orders".into(), topic(1));
    desired.connectors.insert(connector_name("crm"), connector(&["orders"], &[]));
    desired.stages.extend([stage(StageKind::Generator, "shop"), stage(StageKind::Sink, "dwh")]);
    desired
}

fn suspended() -> Desired {
    let mut desired = shop();
    for stage in desired.stages.values_mut() {
        stage.run =
            if stage.kind == StageKind::Generator { RunPolicy::Never } else { RunPolicy::UntilDrained };
    }
    for connector in desired.connectors.values_mut() {
        connector.target = ConnectorTarget::Stopped;
    }
    desired
}

fn sink() -> StageId {
    StageId::new(StageKind::Sink, "dwh")
}

#[test]
fn a_sink_does_not_wait_for_anything() {
    let plan = diff(&shop(), &empty_world());
    assert!(plan.changes.contains(&Change::StartStage { id: sink(), replicas: 1 }), "{plan:?}");
}

#[test]
fn another_configuration_replaces_and_another_number_scales() {
    let (mut desired, mut world) = (shop(), empty_world());
    converge(&desired, &mut world);
    desired.stages.get_mut(&sink()).unwrap().replicas = 3;
    assert_eq!(diff(&desired, &world).changes, [Change::ScaleStage { id: sink(), from: 1, to: 3 }]);
    desired.stages.get_mut(&sink()).unwrap().hash = "v2".into();
    assert_eq!(diff(&desired, &world).changes, [Change::ReplaceStage { id: sink() }]);
}

#[test]
fn a_stage_that_left_the_manifest_is_stopped() {
    let (mut desired, mut world) = (shop(), empty_world());
    converge(&desired, &mut world);
    desired.stages.remove(&sink());
    assert_eq!(diff(&desired, &world).changes, [Change::StopStage { id: sink() }]);
}

#[test]
fn suspending_stops_sources_first_and_the_rest_once_it_has_drained() {
    let mut world = empty_world();
    converge(&shop(), &mut world);
    let desired = suspended();
    let plan = diff(&desired, &world);
    assert_eq!(plan.changes.len(), 2, "the generator and the connector: {:?}", plan.changes);
    assert!(plan.run.contains(&sink()));
    world.lag.insert(GROUP.into(), Ok(GroupLag { records: 12, members: 1, is_shared: false }));
    let plan = converge(&desired, &mut world);
    assert!(plan.run.contains(&sink()), "12 records are not read yet");
    // Without the number: a sentence that changes all the time would be written all the time.
    assert!(plan.waiting[0].until.ends_with("its lag to go to 0"), "{plan:?}");
    world.lag.insert(GROUP.into(), Ok(GroupLag { records: 0, members: 1, is_shared: false }));
    let plan = converge(&desired, &mut world);
    assert!(plan.is_empty() && plan.run.is_empty(), "{plan:?}");
    assert!(world.stages.is_empty());
}

#[test]
fn a_lag_that_is_not_known_is_not_0() {
    let mut world = empty_world();
    converge(&shop(), &mut world);
    world.lag.insert(GROUP.into(), Err(unreachable("Kafka at kafka:9092")));
    assert!(converge(&suspended(), &mut world).run.contains(&sink()));
    world.lag.remove(GROUP);
    assert!(converge(&suspended(), &mut world).run.contains(&sink()));
}

#[test]
fn a_stage_with_two_groups_has_drained_once_both_have() {
    let (mut world, mut desired) = (empty_world(), suspended());
    let second = Reads { group: "second".into(), topics: ["partials".to_owned()].into() };
    desired.stages.get_mut(&sink()).unwrap().reads.push(second);
    converge(&shop(), &mut world);
    assert!(converge(&desired, &mut world).run.contains(&sink()), "the second group isn't there yet");
    world.lag.insert("second".into(), Ok(GroupLag { records: 5, members: 1, is_shared: false }));
    let plan = converge(&desired, &mut world);
    assert!(plan.run.contains(&sink()) && plan.waiting[0].until.contains("its lag to go to 0"), "{plan:?}");
    world.lag.insert("second".into(), Ok(GroupLag { records: 0, members: 1, is_shared: false }));
    assert!(converge(&desired, &mut world).run.is_empty());
}

#[test]
fn resuming_starts_everything_again() {
    let mut world = empty_world();
    converge(&shop(), &mut world);
    converge(&suspended(), &mut world);
    let plan = converge(&shop(), &mut world);
    assert!(plan.is_empty(), "{plan:?}");
    assert_eq!(plan.run.len(), 2);
}

#[test]
fn what_is_stopped_stays_so_while_nobody_knows_whether_it_has_drained() {
    let mut drained = empty_world();
    converge(&shop(), &mut drained);
    converge(&suspended(), &mut drained);
    assert!(drained.stages.is_empty());
    let mut world = drained.clone();
    world.topics = Err(unreachable("Kafka at kafka:9092"));
    world.lag.clear();
    let plan = diff(&suspended(), &world);
    assert!(plan.run.is_empty());
    assert!(plan.waiting.iter().any(|waiting| waiting.what == "sink-dwh"), "it isn't at its goal: {plan:?}");
    let mut world = drained.clone();
    world.connectors.insert(connector_name("crm"), Err(unreachable("Connect at http://connect:8083")));
    assert!(diff(&suspended(), &world).run.is_empty());
    drained.lag.insert(GROUP.into(), Ok(GroupLag { records: 3, members: 0, is_shared: false }));
    assert!(diff(&suspended(), &drained).run.contains(&sink()), "it is known not to have drained");
}

#[test]
fn in_a_namespace_that_goes_stages_end_by_themselves_and_connectors_do_not_wait_for_them() {
    let (desired, mut world) = (shop(), empty_world());
    converge(&desired, &mut world);
    let connector = connector_name("crm");
    let mut gone = Desired { namespace_goes: true, ..empty_desired() };
    gone.connect_urls.clone_from(&desired.connect_urls);
    let plan = diff(&gone, &world);
    assert!(
        matches!(&plan.changes[..], [Change::RemoveConnector { name, .. }] if *name == connector),
        "{plan:?}"
    );
    let waits = |plan: &Plan, what: &str| plan.waiting.iter().any(|waiting| waiting.what.starts_with(what));
    assert!(waits(&plan, "stop of sink-dwh") && waits(&plan, "release of topic orders"), "{plan:?}");
    // Its Deployments are there until the namespace's last pod has ended.
    for stage in world.stages.values_mut() {
        stage.replicas.clear();
    }
    world.connectors.insert(connector.clone(), Ok(None));
    let plan = diff(&gone, &world);
    assert!(
        matches!(&plan.changes[..], [Change::RemoveConnector { .. }]) && !waits(&plan, "stop of"),
        "{plan:?}"
    );
}
