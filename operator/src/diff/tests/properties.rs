use std::collections::BTreeMap;

use acequia_crds::names::{StageId, StageKind};
use proptest::prelude::*;

use crate::fake_world::*;
use crate::model::desired::{ConnectorTarget, DeletionPolicy, Desired, DesiredTopic, Hold};
use crate::model::observed::{GroupLag, ObservedTopic};

const TOPICS: [&str; 4] = ["a", "b", "c", "foreign"];

fn any_topic() -> impl Strategy<Value = DesiredTopic> {
    let hold = prop_oneof![Just(Hold::Own), Just(Hold::Adopt), Just(Hold::External)];
    let config = prop::collection::btree_map("[kl]", "[12]", 0..3);
    let replication = prop::option::of(1_u32..3);
    let of_stage = prop::option::of("[st]");
    (1_u32..5, replication, config, any::<bool>(), hold, any::<bool>(), any::<bool>(), of_stage).prop_map(
        |(partitions, replication_factor, config, delete, hold, keyed, allow_rekey, of_stage)| DesiredTopic {
            replication_factor,
            config,
            deletion_policy: if delete { DeletionPolicy::Delete } else { DeletionPolicy::Retain },
            hold,
            keyed,
            allow_rekey,
            groups: of_stage.iter().cloned().collect(),
            stage: of_stage.map(|name| StageId::new(StageKind::Sink, &name)),
            ..topic(partitions)
        },
    )
}

fn any_desired() -> impl Strategy<Value = Desired> {
    let topics = prop::collection::btree_map(prop::sample::select(&TOPICS[..]), any_topic(), 0..4);
    let connectors = prop::collection::btree_map("[xy]", (any::<bool>(), "[12]", "[abc]"), 0..3);
    let stages = prop::collection::btree_map("[st]", (any::<bool>(), 1_u32..4, "[12]"), 0..3);
    (topics, connectors, stages, any::<bool>()).prop_map(|(topics, connectors, stages, retains_state)| {
        let mut desired = Desired { retains_state, ..empty_desired() };
        for (index, (name, mut topic)) in topics.into_iter().enumerate() {
            topic.field = format!("spec.topics[{index}]");
            desired.topics.insert(name.to_owned(), topic);
        }
        for (name, (stopped, value, needs)) in connectors {
            let mut connector = connector(&[&needs], &[]);
            connector.config.insert("setting".into(), value);
            if stopped {
                connector.target = ConnectorTarget::Stopped;
            }
            desired.connectors.insert(connector_name(&name), connector);
        }
        for (name, (sink, replicas, hash)) in stages {
            let kind = if sink { StageKind::Sink } else { StageKind::Generator };
            let (id, mut stage) = stage(kind, &name);
            (stage.replicas, stage.hash) = (replicas, hash);
            desired.stages.insert(id, stage);
        }
        desired
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// `converge` fails when the plan doesn't become empty, or when one observation gives two plans.
    #[test]
    fn whatever_the_edits_the_plan_ends_empty_and_strangers_keep_their_topics(
        edits in prop::collection::vec(any_desired(), 1..5),
    ) {
        let mut world = empty_world();
        let strangers: BTreeMap<String, ObservedTopic> =
            BTreeMap::from([("foreign".to_owned(), existing("theirs", 2, &[("k", "9")]))]);
        world.topics = Ok(strangers.clone());
        world.lag = ["s", "t"].map(|group| (group.to_owned(), Ok(GroupLag::default()))).into();
        let mut may_change = false;
        for desired in &edits {
            may_change |= desired.topics.get("foreign").is_some_and(|topic| topic.hold == Hold::Adopt);
            let plan = converge(desired, &mut world);
            prop_assert!(plan.changes.is_empty());
            if !may_change {
                prop_assert_eq!(&world.topics.as_ref().unwrap()["foreign"], &strangers["foreign"]);
            }
            for (name, topic) in &desired.topics {
                prop_assert!(
                    topic.hold == Hold::External || world.topics.as_ref().unwrap().contains_key(name)
                );
            }
        }
        let last = converge(&empty_desired(), &mut world);
        prop_assert!(last.is_empty(), "{last:?}");
        prop_assert!(world.stages.is_empty() && world.connectors.values().all(|one| *one == Ok(None)));
    }
}
