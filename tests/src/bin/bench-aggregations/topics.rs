//! Topics of orders.

use std::collections::BTreeMap;

use acequia_crds::stage::AggregationWork;
use acequia_kafka::admin::{Admin, NewTopic};
use acequia_tests::bench::events::PARTITIONS;
use acequia_tests::stack::KAFKA_DEADLINE;

/// Partitions of partial values and of their state, where there are groups.
const PARTIALS: i32 = 4;
const WEEK_MS: &str = "604800000";

/// A topic with settings of its own.
pub fn topic(name: &str, partitions: i32, config: &[(&str, &str)]) -> NewTopic {
    let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    NewTopic { name: name.to_owned(), partitions, replication_factor: -1, config }
}

/// The topics that the operator makes for an aggregation, as it makes them.
pub fn of_stage(work: &AggregationWork) -> Vec<NewTopic> {
    let kept = [("cleanup.policy", "delete"), ("retention.ms", WEEK_MS)];
    let partials = [&kept[..], &[("message.timestamp.type", "LogAppendTime")]].concat();
    let compacted = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "600000"),
        ("segment.bytes", "16777216"),
        ("max.compaction.lag.ms", "600000"),
        ("min.cleanable.dirty.ratio", "0.1"),
    ];
    let mut topics = vec![
        topic(&work.partials_topic, PARTIALS, &partials),
        topic(&work.state_topic, PARTIALS, &compacted),
        topic(&work.dead_letter_topic, 1, &kept),
    ];
    topics.extend(work.late_topic.iter().map(|name| topic(name, 1, &kept)));
    topics
}

/// A topic for results. Kafka Streams gives them the time of the events, which lies months back: by the broker's own
/// retention they would be deleted within minutes, in the middle of a run.
pub fn of_results(name: &str) -> NewTopic {
    topic(name, PARTITIONS, &[("retention.ms", "-1")])
}

/// A topic whose records bear the broker's time.
pub fn on_broker_time(name: &str) -> NewTopic {
    topic(name, PARTITIONS, &[("message.timestamp.type", "LogAppendTime")])
}

/// Creates topics that don't exist yet.
pub fn create(admin: &Admin, topics: &[NewTopic]) -> anyhow::Result<()> {
    for (_, outcome) in admin.create_topics(topics, false, KAFKA_DEADLINE)? {
        outcome?;
    }
    Ok(())
}

/// Deletes every topic whose name begins so, those that an engine made by itself among them.
pub fn delete(admin: &Admin, application: &str) -> anyhow::Result<()> {
    let topics = admin.list_topics(KAFKA_DEADLINE)?;
    let names: Vec<String> = topics.into_iter().filter(|name| name.starts_with(application)).collect();
    for (_, outcome) in admin.delete_topics(&names, KAFKA_DEADLINE)? {
        outcome?;
    }
    Ok(())
}

/// All partitions of a topic that is read or takes results.
pub fn partitions(topic: &str) -> Vec<(String, i32)> {
    (0..PARTITIONS).map(|partition| (topic.to_owned(), partition)).collect()
}

/// The sum of what is known of a topic's partitions.
pub fn sum(offsets: &BTreeMap<(String, i32), i64>, topic: &str) -> i64 {
    offsets.iter().filter(|((name, _), _)| name == topic).map(|(_, offset)| offset).sum()
}
