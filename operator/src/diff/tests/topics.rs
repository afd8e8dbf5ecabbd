use crate::diff::diff;
use crate::fake_world::*;
use crate::model::desired::{DeletionPolicy, Desired, DesiredTopic, Hold};
use crate::model::observed::GroupLag;
use crate::model::ownership::{Claim, ClaimKey, ClaimKind, ClaimState};
use crate::model::plan::{Change, Refusal};

fn with(topic: DesiredTopic) -> Desired {
    let mut desired = empty_desired();
    desired.topics.insert("orders".into(), topic);
    desired
}

fn only_refusal(desired: &Desired, world: &crate::model::observed::Observed) -> Refusal {
    let plan = diff(desired, world);
    assert!(plan.changes.is_empty(), "{:?}", plan.changes);
    assert_eq!(plan.refused.len(), 1, "{:?}", plan.refused);
    plan.refused[0].clone()
}

#[test]
fn a_missing_topic_is_claimed_and_created() {
    let plan = diff(&with(topic(3)), &empty_world());
    let [Change::CreateTopic { name, partitions, claim, .. }] = plan.changes.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!((name.as_str(), *partitions, claim.since_ms), ("orders", Some(3), 1_000_000));
}

#[test]
fn somebody_elses_topic_is_refused_with_the_ways_out() {
    let mut world = empty_world();
    world.add_topic("orders", existing("x", 3, &[]));
    let refusal = only_refusal(&with(topic(3)), &world);
    assert_eq!(refusal.field, "spec.topics[0].name");
    assert!(refusal.fix.contains("adopt: true") && refusal.fix.contains("external: true"), "{refusal}");
}

#[test]
fn a_topic_that_somebody_created_again_is_refused() {
    let mut world = empty_world();
    world.add_topic("orders", existing("second", 3, &[]));
    world.add_claim(topic_key("orders"), topic_claim(Some("first"), 1));
    assert!(only_refusal(&with(topic(3)), &world).why.contains("deleted and created again"));
}

#[test]
fn adopting_takes_a_topic_over_and_brings_it_up() {
    let mut world = empty_world();
    world.add_topic("orders", existing("x", 1, &[("retention.ms", "1"), ("segment.ms", "2")]));
    let config = settings(&[("retention.ms", "5")]);
    let desired = with(DesiredTopic { hold: Hold::Adopt, config, ..topic(2) });
    let plan = converge(&desired, &mut world);
    assert!(plan.is_empty(), "{plan:?}");
    let expected = existing("x", 2, &[("retention.ms", "5"), ("segment.ms", "2")]);
    assert_eq!(world.topics.unwrap()["orders"], expected);
}

#[test]
fn an_external_topic_is_never_changed() {
    let mut world = empty_world();
    let config = settings(&[("retention.ms", "5")]);
    let desired = with(DesiredTopic { hold: Hold::External, config, ..topic(9) });
    let plan = diff(&desired, &world);
    assert!(plan.changes.is_empty() && plan.waiting[0].until.contains("external: true"), "{plan:?}");
    world.add_topic("orders", existing("x", 1, &[]));
    assert!(diff(&desired, &world).is_empty());
}

#[test]
fn kafkas_own_topics_are_never_touched() {
    let mut desired = empty_desired();
    desired.topics.insert("__consumer_offsets".into(), DesiredTopic { hold: Hold::Adopt, ..topic(1) });
    assert!(only_refusal(&desired, &empty_world()).why.contains("Kafka itself"));
}

#[test]
fn a_crash_between_claim_and_creation_or_between_creation_and_record_heals() {
    let mut world = empty_world();
    world.add_claim(topic_key("orders"), topic_claim(None, 7));
    assert!(matches!(diff(&with(topic(1)), &world).changes[0], Change::CreateTopic { .. }));
    world.add_topic("orders", existing("x", 1, &[]));
    let plan = diff(&with(topic(1)), &world);
    let expected = Change::Record { key: topic_key("orders"), claim: Some(topic_claim(Some("x"), 7)) };
    assert_eq!(plan.changes, [expected]);
}

#[test]
fn a_setting_that_leaves_the_manifest_goes_back_and_others_stay() {
    let mut world = empty_world();
    let first = with(DesiredTopic { config: settings(&[("a", "1"), ("b", "2")]), ..topic(1) });
    converge(&first, &mut world);
    // Somebody sets one more by hand; it is not managed.
    world.topics.as_mut().unwrap().get_mut("orders").unwrap().config.insert("c".into(), "3".into());
    let second = with(DesiredTopic { config: settings(&[("b", "5")]), ..topic(1) });
    converge(&second, &mut world);
    assert_eq!(world.topics.unwrap()["orders"].config, settings(&[("b", "5"), ("c", "3")]));
}

#[test]
fn fewer_partitions_and_another_replication_factor_are_refused_with_the_field() {
    let mut world = empty_world();
    converge(&with(topic(3)), &mut world);
    let refusal = only_refusal(&with(topic(2)), &world);
    assert_eq!(refusal.field, "spec.topics[0].partitions");
    assert!(refusal.fix.contains("partitions: 3"), "{refusal}");
    let refusal = only_refusal(&with(DesiredTopic { replication_factor: Some(3), ..topic(3) }), &world);
    assert_eq!(refusal.field, "spec.topics[0].replicationFactor");
}

#[test]
fn a_topic_with_keys_grows_only_when_the_user_accepts_it() {
    let mut world = empty_world();
    converge(&with(topic(3)), &mut world);
    let grown = DesiredTopic { keyed: true, ..topic(6) };
    assert!(only_refusal(&with(grown.clone()), &world).fix.contains("allowRekey: true"));
    let plan = diff(&with(DesiredTopic { allow_rekey: true, ..grown }), &world);
    assert_eq!(plan.changes, [Change::AddPartitions { name: "orders".into(), from: 3, to: 6 }]);
}

#[test]
fn a_topic_that_leaves_the_manifest_goes_by_the_policy_it_was_given() {
    for policy in [DeletionPolicy::Delete, DeletionPolicy::Retain] {
        let mut world = empty_world();
        converge(&with(DesiredTopic { deletion_policy: policy, ..topic(1) }), &mut world);
        assert!(converge(&empty_desired(), &mut world).is_empty());
        let (topics, ownership) = (world.topics.unwrap(), world.ownership.unwrap());
        let state = ownership.claim(ClaimKind::Topic, "orders", OWNER).map(|claim| claim.state);
        match policy {
            DeletionPolicy::Delete => assert!(topics.is_empty() && state.is_none()),
            DeletionPolicy::Retain => {
                assert!(topics.contains_key("orders"));
                assert_eq!(state, Some(ClaimState::Released));
            }
        }
    }
}

#[test]
fn a_topic_that_was_let_go_is_taken_again_by_the_same_name_only() {
    let mut world = empty_world();
    converge(&with(topic(1)), &mut world);
    converge(&empty_desired(), &mut world);
    let mut stranger = with(topic(1));
    stranger.identity.name = "other".into();
    assert_eq!(diff(&stranger, &world).refused.len(), 1);
    assert!(converge(&with(topic(1)), &mut world).is_empty());
}

#[test]
fn a_topic_that_was_replaced_meanwhile_is_not_deleted() {
    let mut world = empty_world();
    converge(&with(DesiredTopic { deletion_policy: DeletionPolicy::Delete, ..topic(1) }), &mut world);
    world.add_topic("orders", existing("another", 1, &[]));
    assert!(converge(&empty_desired(), &mut world).is_empty());
    assert_eq!(world.topics.unwrap()["orders"].id, "another");
}

#[test]
fn of_two_claims_the_older_wins() {
    let rival = |since_ms| {
        let mut world = empty_world();
        let owner = "local/default/other".to_owned();
        world.add_claim(
            ClaimKey { kind: ClaimKind::Topic, name: "orders".into(), owner },
            Claim { since_ms, ..topic_claim(Some("x"), 0) },
        );
        world.add_claim(topic_key("orders"), topic_claim(Some("x"), 50));
        world.add_topic("orders", existing("x", 1, &[]));
        diff(&with(topic(1)), &world).refused.len()
    };
    assert_eq!((rival(10), rival(90)), (1, 0));
}

#[test]
fn while_kafka_is_away_only_topics_and_connectors_wait() {
    let mut world = empty_world();
    world.topics = Err(unreachable("Kafka at kafka:9092"));
    let mut desired = with(topic(1));
    let (id, sink) = stage(acequia_crds::names::StageKind::Sink, "dwh");
    desired.stages.insert(id.clone(), sink);
    let plan = diff(&desired, &world);
    assert_eq!(plan.changes, [Change::StartStage { id, replicas: 1 }]);
    assert!(plan.waiting[0].until.contains("kafka:9092"), "{plan:?}");
}

#[test]
fn groups_go_only_with_the_pipeline_and_only_if_they_are_there() {
    let mut world = empty_world();
    let mut desired = empty_desired();
    desired.retired_groups.insert("acequia.default.shop.sink-dwh".into());
    assert!(diff(&desired, &world).is_empty());
    world.lag.insert("acequia.default.shop.sink-dwh".into(), Ok(GroupLag::default()));
    assert!(converge(&desired, &mut world).is_empty());
    assert!(world.lag.is_empty());
}

#[test]
fn a_group_that_the_manifest_names_goes_unless_somebody_else_uses_it_too() {
    let (mut world, mut desired) = (empty_world(), empty_desired());
    for (name, is_shared) in [("ours", false), ("shared", true)] {
        desired.retired_groups.insert(name.into());
        world.lag.insert(name.into(), Ok(GroupLag { records: 0, members: 0, is_shared }));
    }
    assert!(converge(&desired, &mut world).is_empty());
    assert_eq!(world.lag.keys().collect::<Vec<_>>(), ["shared"]);
    world.lag.insert("ours".into(), Err(unreachable("Kafka at kafka:9092")));
    assert!(diff(&desired, &world).changes.is_empty(), "nobody knows whose it is");
}

#[test]
fn a_setting_that_kafka_says_in_its_own_way_is_no_difference() {
    let echoed = |wanted: &str, there: &str| {
        let mut world = empty_world();
        let desired = with(DesiredTopic { config: settings(&[("s", wanted)]), ..topic(1) });
        converge(&desired, &mut world);
        world.topics.as_mut().unwrap().get_mut("orders").unwrap().config = settings(&[("s", there)]);
        diff(&desired, &world).is_empty()
    };
    for (wanted, there) in [("0.50", "0.5"), ("compact, delete", "compact,delete"), (" 1 ", "1")] {
        assert!(echoed(wanted, there), "{wanted}");
    }
    for (wanted, there) in
        [("0.5", "0.6"), ("compact", "compact,delete"), ("9007199254740993", "9007199254740992")]
    {
        assert!(!echoed(wanted, there), "{wanted}");
    }
}

#[test]
fn a_setting_is_forgotten_only_once_it_is_seen_to_be_gone() {
    let mut world = empty_world();
    converge(&with(DesiredTopic { config: settings(&[("a", "1")]), ..topic(1) }), &mut world);
    let desired = with(topic(1));
    let plan = diff(&desired, &world);
    assert!(matches!(plan.changes.as_slice(), [Change::ConfigureTopic { .. }]), "{plan:?}");
    carry_out(&plan.changes[0], &desired, &mut world);
    let plan = diff(&desired, &world);
    assert!(matches!(plan.changes.as_slice(), [Change::Record { .. }]), "{plan:?}");
}
