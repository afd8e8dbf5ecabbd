//! `acequia-worker aggregator`, run by a test itself, with topics of its own.

use std::collections::BTreeMap;

use acequia_crds::pipeline::aggregation::Aggregation as Spec;
use acequia_crds::pipeline::store::{Redis, Store};
use acequia_crds::stage::{AggregationWork, Work};

use crate::stack::Stack;
use crate::worker::{Stage, Worker};

/// An aggregation that a test starts, kills and starts again. Its outputs may name the stores `metrics` (Redis) and
/// `dwh` (PostgreSQL).
#[derive(Clone, Debug)]
pub struct Aggregation {
    stage: Stage,
    /// What it is told.
    pub work: AggregationWork,
}

impl Aggregation {
    /// An aggregation as a manifest would have it, in YAML, and its topics.
    ///
    /// # Panics
    /// When the YAML is none, or a topic can't be created.
    pub fn new(stack: &Stack, name: &str, yaml: &str) -> Self {
        let aggregation: Spec = serde_yaml::from_str(yaml).expect("an aggregation");
        let is_table = aggregation.latest_by.is_some()
            || aggregation.format == acequia_crds::pipeline::transform::Format::Debezium;
        let partials = if aggregation.group_by.is_empty() { 1 } else { 4 };
        let topic = |kind: &str| format!("{name}.{kind}");
        let work = AggregationWork {
            aggregation,
            incarnation: "0123456789".to_owned(),
            combine_group: format!("acequia.test.{name}.combine"),
            merge_group: format!("acequia.test.{name}.merge"),
            partials_topic: topic("partials"),
            state_topic: topic("state"),
            rows_topic: is_table.then(|| topic("rows")),
            late_topic: Some(topic("late")),
            dead_letter_topic: topic("dead-letters"),
            stores: stores(stack),
            state_limit_bytes: 1 << 30,
        };
        let compacted = [("cleanup.policy", "compact"), ("segment.ms", "600000")];
        stack.create_topic_with(
            &work.partials_topic,
            partials,
            &[("message.timestamp.type", "LogAppendTime")],
        );
        stack.create_topic_with(&work.state_topic, partials, &compacted);
        work.rows_topic.iter().for_each(|topic| stack.create_topic_with(topic, 3, &compacted));
        work.late_topic.iter().for_each(|topic| stack.create_topic(topic, 1));
        stack.create_topic(&work.dead_letter_topic, 1);
        Self::of_work(stack, name, work)
    }

    /// With topics that are there already.
    pub fn of_work(stack: &Stack, name: &str, work: AggregationWork) -> Self {
        let stage =
            Stage::new(stack, name, "aggregator", "aggregation-test", Work::Aggregation(work.clone()));
        Self { stage, work }
    }

    /// Starts a worker; see [`Stage::start`].
    pub fn start(&self, instance: &str, environment: &[(&str, &str)]) -> Worker {
        self.stage.start(instance, environment)
    }
}

fn stores(stack: &Stack) -> BTreeMap<String, Store> {
    let address = stack.address("redis:6379").to_owned();
    let redis = Redis { address, credentials_secret: None, tls: None };
    let none = Store { name: String::new(), postgres: None, redis: None, cassandra: None };
    BTreeMap::from([
        ("metrics".to_owned(), Store { name: "metrics".into(), redis: Some(redis), ..none.clone() }),
        ("dwh".to_owned(), Store { name: "dwh".into(), postgres: Some(stack.store("dwh_db")), ..none }),
    ])
}
