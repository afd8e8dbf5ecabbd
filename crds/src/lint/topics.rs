//! `spec.topics`.

use super::Report;
use crate::manifest::nearest;
use crate::names::INTERNAL_PREFIX;
use crate::pipeline::text::IntOrText;
use crate::pipeline::topic::Topic;

/// The settings of a topic in Apache Kafka 4. Other brokers have more, so only what is near one of these is a mistake.
const SETTINGS: &[&str] = &[
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

pub(super) fn check(report: &mut Report<'_>) {
    let topics = &report.spec.topics;
    report.unique(topics.iter().map(|topic| topic.name.as_str()), "spec.topics", "name");
    for (index, topic) in topics.iter().enumerate() {
        let path = format!("spec.topics[{index}]");
        name(topic, &path, report);
        external(topic, &path, report);
        config(topic, &path, report);
    }
}

fn name(topic: &Topic, path: &str, report: &mut Report<'_>) {
    let name = topic.name.as_str();
    let path = format!("{path}.name");
    if name == "." || name == ".." {
        report.add(path, format!("`{name}` is no name of a topic"), "use letters, digits, `.`, `_` and `-`");
    } else if name.starts_with("__") {
        report.add(
            path,
            format!("`{name}` belongs to Kafka itself"),
            "choose a name that does not begin with `__`",
        );
    } else if name.starts_with(INTERNAL_PREFIX) {
        let fix = format!("choose a name that does not begin with `{INTERNAL_PREFIX}`");
        report.add(path, format!("`{name}` is kept for Acequia's own topics"), fix);
    }
}

fn external(topic: &Topic, path: &str, report: &mut Report<'_>) {
    if !topic.external {
        return;
    }
    let useless = [
        ("adopt", topic.adopt),
        ("allowRekey", topic.allow_rekey),
        ("config", !topic.config.is_empty()),
        ("deletionPolicy", topic.deletion_policy.is_some()),
        ("replicationFactor", topic.replication_factor.is_some()),
    ];
    for (field, _) in useless.iter().filter(|(_, there)| *there) {
        report.add_key(
            format!("{path}.{field}"),
            "has no effect on an `external` topic, which is never changed",
            format!("remove `{field}`, or `external` to let Acequia own the topic"),
        );
    }
}

fn config(topic: &Topic, path: &str, report: &mut Report<'_>) {
    for (setting, value) in &topic.config {
        let path = format!("{path}.config[{setting}]");
        if SETTINGS.contains(&setting.as_str()) {
            let text = value.to_text();
            let number = setting.rsplit('.').next().is_some_and(|unit| unit == "ms" || unit == "bytes");
            if number && text.parse::<i64>().is_err() {
                report.add(
                    path,
                    format!("`{text}` is not a whole number"),
                    "write milliseconds or bytes as a number",
                );
            }
        } else if let Some(near) = nearest(setting, SETTINGS) {
            report.add_key(
                path,
                format!("Kafka has no setting `{setting}`"),
                format!("did you mean `{near}`?"),
            );
        }
    }
    let in_sync = match topic.config.get("min.insync.replicas") {
        Some(IntOrText::Int(number)) => Some(*number),
        Some(IntOrText::Text(text)) => text.parse().ok(),
        None => None,
    };
    if let (Some(in_sync), Some(factor)) = (in_sync, topic.replication_factor)
        && in_sync > i64::from(factor)
    {
        report.add(
            format!("{path}.config[min.insync.replicas]"),
            format!("{in_sync} is more than `replicationFactor` {factor}, so nothing could be written"),
            "lower it or raise `replicationFactor`",
        );
    }
}
