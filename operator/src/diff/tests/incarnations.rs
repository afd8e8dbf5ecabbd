//! An edit of what an aggregation means: the incarnation before goes, but only after its processes.

use acequia_crds::names::{AggregationNames, StageId, StageKind};

use crate::diff::diff;
use crate::fake_world::*;
use crate::model::desired::{DeletionPolicy, Desired, DesiredTopic, Reads};
use crate::model::observed::{GroupLag, Observed, ReplicaState};
use crate::model::ownership::{ClaimKind, ClaimState};
use crate::model::plan::{Change, Plan};

const OLD: &str = "0000000000";
const NEW: &str = "1111111111";

fn names(incarnation: &str) -> AggregationNames {
    empty_desired().identity.aggregation("sales", incarnation)
}

fn sales() -> StageId {
    StageId::new(StageKind::Aggregation, "sales")
}

/// An aggregation that means something else with each incarnation.
fn shop(incarnation: &str) -> Desired {
    let mut desired = empty_desired();
    desired.topics.insert("orders".into(), topic(1));
    let names = names(incarnation);
    let (id, mut stage) = stage(StageKind::Aggregation, "sales");
    let own = DesiredTopic {
        stage: Some(id.clone()),
        deletion_policy: DeletionPolicy::Delete,
        field: "spec.aggregations[0] (state topic)".into(),
        ..topic(4)
    };
    let groups = [names.combine_group.clone(), names.merge_group.clone()].into();
    desired.topics.insert(names.partials_topic.clone(), DesiredTopic { groups, ..own.clone() });
    desired.topics.insert(names.state_topic, own.clone());
    desired.topics.insert(names.late_topic, DesiredTopic { partitions: Some(1), ..own });
    stage.hash = incarnation.into();
    stage.reads = vec![
        Reads { group: names.combine_group, topics: ["orders".to_owned()].into() },
        Reads { group: names.merge_group, topics: [names.partials_topic].into() },
    ];
    desired.stages.insert(id, stage);
    desired
}

fn running(incarnation: &str) -> Observed {
    let mut world = empty_world();
    assert!(converge(&shop(incarnation), &mut world).is_empty());
    world
}

/// The Pipeline goes.
fn deletion(retains_state: bool) -> Desired {
    Desired { retains_state, ..empty_desired() }
}

fn is_deletion(change: &Change) -> bool {
    matches!(change, Change::DeleteTopic { .. } | Change::DeleteGroup { .. })
}

fn deletes(plan: &Plan, name: &str) -> bool {
    plan.changes.iter().any(|change| {
        matches!(change, Change::DeleteTopic { name: one, .. } | Change::DeleteGroup { name: one } if one == name)
    })
}

/// Everything there is of an incarnation: topics, groups and claims.
fn left_of(incarnation: &str, world: &Observed) -> Vec<String> {
    let names = names(incarnation);
    let topics = world.topics.as_ref().unwrap().keys();
    let ownership = world.ownership.as_ref().unwrap();
    let claims = ownership.of_owner(ClaimKind::Topic, OWNER).map(|(name, _)| name);
    let all = topics.chain(world.lag.keys()).map(String::as_str).chain(claims).filter(|name| {
        [&names.partials_topic, &names.state_topic, &names.combine_group, &names.merge_group]
            .iter()
            .any(|own| own == name)
    });
    all.map(str::to_owned).collect()
}

/// What is there once the new stage was started and the old process is still as given.
fn with_old_process(state: ReplicaState, pid: Option<u32>) -> Observed {
    let mut world = running(OLD);
    for change in diff(&shop(NEW), &world).changes {
        carry_out(&change, &shop(NEW), &mut world);
    }
    let replica = &mut world.stages.get_mut(&sales()).unwrap().replicas[0];
    (replica.state, replica.pid, replica.config_hash) = (state, pid, OLD.into());
    world
}

#[test]
fn a_new_meaning_is_said_before_and_what_was_kept_before_waits_for_the_old_processes() {
    let world = running(OLD);
    let plan = diff(&shop(NEW), &world);
    let notes: Vec<String> = plan.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("aggregation-sales: rebuild from the log's start"), "{notes:?}");
    assert!(plan.changes.contains(&Change::ReplaceStage { id: sales() }), "{plan:?}");
    let creates = |name: &String| {
        plan.changes
            .iter()
            .any(|change| matches!(change, Change::CreateTopic { name: one, .. } if one == name))
    };
    assert!(creates(&names(NEW).partials_topic) && creates(&names(NEW).state_topic));
    assert!(!creates(&names(NEW).late_topic), "it has no incarnation");
    assert!(!plan.changes.iter().any(is_deletion), "{plan:?}");
    assert!(plan.waiting.iter().any(|waiting| waiting.what.contains(&names(OLD).partials_topic)), "{plan:?}");
}

#[test]
fn in_the_end_only_the_new_incarnation_is_there() {
    let mut world = running(OLD);
    assert_eq!(left_of(OLD, &world).len(), 6);
    let plan = converge(&shop(NEW), &mut world);
    assert!(plan.is_empty() && plan.notes.is_empty(), "{plan:?}");
    assert_eq!(left_of(OLD, &world), Vec::<String>::new());
    assert_eq!(left_of(NEW, &world).len(), 6);
    assert!(world.topics.unwrap().contains_key(&names(NEW).late_topic));
}

#[test]
fn what_an_old_process_may_still_write_stays_and_the_new_stage_does_not_wait_for_it() {
    for state in [ReplicaState::Running, ReplicaState::Stopping] {
        let world = with_old_process(state, Some(7));
        let plan = diff(&shop(NEW), &world);
        assert!(plan.changes.is_empty() && plan.run.contains(&sales()), "{state:?}: {plan:?}");
        assert!(plan.waiting[0].what.starts_with("stop of aggregation-sales"), "{plan:?}");
    }
    let world = with_old_process(ReplicaState::BackingOff { until_ms: 1 }, None);
    assert!(diff(&shop(NEW), &world).changes.iter().any(is_deletion), "there is no process any more");
}

#[test]
fn a_new_stage_that_keeps_failing_does_not_keep_the_old_state() {
    let mut world = with_old_process(ReplicaState::BackingOff { until_ms: 1 }, None);
    world.stages.get_mut(&sales()).unwrap().replicas[0].config_hash = NEW.into();
    assert!(converge(&shop(NEW), &mut world).is_empty());
    assert_eq!(left_of(OLD, &world), Vec::<String>::new());
}

#[test]
fn groups_go_before_the_topic_that_remembers_them() {
    let mut world = with_old_process(ReplicaState::BackingOff { until_ms: 1 }, None);
    let (old, new) = (names(OLD), shop(NEW));
    let plan = diff(&new, &world);
    for gone in [&old.combine_group, &old.merge_group, &old.state_topic] {
        assert!(deletes(&plan, gone), "{gone}: {plan:?}");
    }
    assert!(!deletes(&plan, &old.partials_topic), "{plan:?}");
    // One of them has a member, or can't be seen.
    for seen in
        [Ok(GroupLag { records: 0, members: 1, is_shared: false }), Err(unreachable("Kafka at kafka:9092"))]
    {
        world.lag.insert(old.merge_group.clone(), seen);
        let plan = diff(&new, &world);
        assert!(!deletes(&plan, &old.merge_group) && !deletes(&plan, &old.partials_topic), "{plan:?}");
        assert!(plan.waiting.iter().any(|waiting| waiting.what.contains(&old.merge_group)), "{plan:?}");
    }
    world.lag.remove(&old.merge_group);
    world.lag.remove(&old.combine_group);
    assert!(deletes(&diff(&new, &world), &old.partials_topic));
}

#[test]
fn groups_go_although_somebody_deleted_their_topic() {
    let mut world = running(OLD);
    world.topics.as_mut().unwrap().remove(&names(OLD).partials_topic);
    assert!(converge(&shop(NEW), &mut world).is_empty());
    assert_eq!(left_of(OLD, &world), Vec::<String>::new());
}

#[test]
fn an_aggregation_that_leaves_the_manifest_takes_its_state_along() {
    let mut world = running(OLD);
    let mut desired = empty_desired();
    desired.topics.insert("orders".into(), topic(1));
    let plan = diff(&desired, &world);
    assert!(!plan.changes.iter().any(is_deletion) && plan.notes.is_empty(), "its process is there: {plan:?}");
    assert!(converge(&desired, &mut world).is_empty());
    assert_eq!(left_of(OLD, &world), Vec::<String>::new());
    assert_eq!(world.topics.unwrap().into_keys().collect::<Vec<_>>(), ["orders"]);
}

#[test]
fn a_pipeline_that_is_deleted_with_retain_goes_on_where_it_was() {
    let mut world = running(OLD);
    let before = world.topics.clone();
    assert!(converge(&deletion(true), &mut world).is_empty());
    assert_eq!(world.topics, before);
    assert_eq!(left_of(OLD, &world).len(), 6, "groups too");
    let ownership = world.ownership.clone().unwrap();
    assert!(
        ownership.of_owner(ClaimKind::Topic, OWNER).all(|(_, claim)| claim.state == ClaimState::Released)
    );
    assert!(converge(&deletion(true), &mut world).is_empty(), "and again");
    let plan = diff(&shop(OLD), &world);
    assert!(plan.notes.is_empty() && !plan.changes.iter().any(is_deletion), "{plan:?}");
    assert!(converge(&shop(OLD), &mut world).is_empty());
    assert_eq!(world.topics, before);
}

#[test]
fn what_was_retained_goes_once_the_aggregation_is_back_with_another_meaning() {
    let mut world = running(OLD);
    converge(&deletion(true), &mut world);
    assert_eq!(diff(&shop(NEW), &world).notes.len(), 1);
    assert!(converge(&shop(NEW), &mut world).is_empty());
    assert_eq!(left_of(OLD, &world), Vec::<String>::new());
}

#[test]
fn a_pipeline_that_is_deleted_with_delete_leaves_no_state() {
    let mut world = running(OLD);
    assert!(converge(&deletion(false), &mut world).is_empty());
    assert_eq!(left_of(OLD, &world), Vec::<String>::new());
    assert!(!world.topics.unwrap().contains_key(&names(OLD).late_topic));
}
