//! Each table's records go to the topic of the manifest, by a chain of Kafka Connect's `RegexRouter`s.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::debezium_keys::ROUTER_CLASS;

use super::config::{Refused, Table};

/// The settings of the chain.
///
/// A router matches whole names, each exactly one table's; no topic of the manifest is one of Debezium's own names,
/// so no record is routed twice. Keys, tombstones and truncates have the topic of their table and go with it;
/// heartbeats have another topic and stay.
pub(super) fn routing(prefix: &str, tables: &[Table<'_>]) -> Result<BTreeMap<String, String>, Refused> {
    let mut topics = BTreeSet::new();
    let mut config = BTreeMap::new();
    let mut routers = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let topic = table.topic;
        if !topics.insert(topic) {
            return Err(Refused::SharedTopic { field: table.field.clone(), topic: topic.to_owned() });
        }
        if topic.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')) {
            return Err(Refused::OwnTopic { field: table.field.clone(), topic: topic.to_owned() });
        }
        let router = format!("route{index}");
        let own_name = format!("{prefix}.{}.{}", table.schema, table.name);
        config.insert(format!("transforms.{router}.type"), ROUTER_CLASS.to_owned());
        config.insert(format!("transforms.{router}.regex"), escape_regex(&own_name));
        config.insert(format!("transforms.{router}.replacement"), topic.to_owned());
        routers.push(router);
    }
    config.insert("transforms".to_owned(), routers.join(","));
    Ok(config)
}

/// Java's regular expressions take a backslash before any character that is no letter and no digit.
pub(super) fn escape_regex(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() && c != '_' {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
