use std::path::{Path, PathBuf};

use acequia_crds::lint::Place;
use acequia_crds::names::{StageId, StageKind};
use acequia_crds::pipeline::transform::Format;
use acequia_crds::stage::{AggregationWork, Work};

use super::{Addresses, Settings, deletion_of};
use crate::debezium::SecretReferences;
use crate::manifest::{self, Manifest, Texts};
use crate::model::desired::{DeletionPolicy, Desired, DesiredStage, DesiredTopic, Role, RunPolicy};

const SHOP: &str = r#"
apiVersion: acequia.dev/v1alpha1
kind: Pipeline
metadata: {name: shop}
spec:
  kafka:
    bootstrapServers: "kafka:9092"
    tls: {caSecret: {name: kafka-ca, key: ca.crt}}
    sasl: {mechanism: SCRAM-SHA-512, credentialsSecret: kafka-user}
  connect: {url: "http://connect:8083"}
  stores:
    - {name: crm, postgres: {host: postgres, database: crm_db, credentialsSecret: crm-db}}
    - {name: dwh, postgres: {host: postgres, database: dwh_db, credentialsSecret: dwh-db}}
    - {name: metrics, redis: {address: "redis:6379", credentialsSecret: redis-user, tls: {caSecret: {name: redis-ca, key: ca.crt}}}}
  topics:
    - {name: orders, partitions: 3}
    - {name: refunds, partitions: 6}
    - {name: product, config: {cleanup.policy: compact}}
    - {name: price, config: {retention.ms: -1}}
    - {name: foreign, external: true}
    - {name: totals}
  sources:
    - {name: crm, debezium: {store: crm, tables: [{table: public.orders, topic: orders}, {table: public.refunds, topic: refunds}, {table: public.product, topic: product}]}}
  aggregations:
    - name: sales
      from: [orders, refunds]
      format: debezium
      lookups:
        - {name: product, topic: product, match: event.product_id}
        - {name: price, topic: price, match: event.product_id}
        - {name: raw, topic: product, format: json, match: event.product_id}
      window: {tumbling: 30s}
      groupBy: [{name: category, value: product.category}]
      measures: [{name: items, sum: event.quantity}]
      emit: {every: 1s}
      to:
        - {store: metrics, redis: {key: "sales:{window.start}", as: hash}}
        - {store: dwh, postgres: {table: sales}}
    - {name: total, from: [foreign], latestBy: event.id, window: {global: {}}, measures: [{name: records, count: {}}], to: [{topic: totals}]}
    - {name: plain, from: [orders], window: {global: {}}, measures: [{name: records, count: {}}], to: [{store: metrics, redis: {key: plain}}], workers: {replicas: {min: 2, max: 2}}}
"#;

fn load(text: &str) -> Manifest {
    let addresses = "kafka:9092: 127.0.0.1:1\nredis:6379: 127.0.0.1:2\npostgres:5432: 127.0.0.1:3\n";
    let settings = Settings {
        cluster: "local".into(),
        namespace: "default".into(),
        addresses: Addresses::from_yaml(addresses).unwrap(),
        secrets: SecretReferences::in_folder(Path::new("/secrets")),
        place: Place::Machine,
    };
    let texts = Texts::new(vec![(PathBuf::from("shop.yaml"), text.to_owned())]);
    manifest::load(&texts, &settings).unwrap_or_else(|error| panic!("{error}"))
}

fn desired(text: &str) -> Desired {
    load(text).desired
}

fn stage<'a>(desired: &'a Desired, name: &str) -> &'a DesiredStage {
    &desired.stages[&StageId::new(StageKind::Aggregation, name)]
}

fn work<'a>(desired: &'a Desired, name: &str) -> &'a AggregationWork {
    match &stage(desired, name).config.work {
        Work::Aggregation(work) => work,
        other => panic!("{other:?}"),
    }
}

/// What an edit makes of the incarnation of `sales`.
fn incarnation(from: &str, to: &str) -> String {
    assert!(SHOP.contains(from), "{from}");
    work(&desired(&SHOP.replacen(from, to, 1)), "sales").incarnation.clone()
}

#[test]
fn a_worker_is_told_names_formats_and_stores_where_they_are() {
    let desired = desired(SHOP);
    let work = work(&desired, "sales");
    let formats: Vec<_> = work.aggregation.lookups.iter().map(|lookup| lookup.format).collect();
    let expected = [Format::Debezium, Format::Json, Format::Json].map(Some);
    assert_eq!(formats, expected, "a captured topic, another one, and one that says so");
    assert_eq!(work.stores.keys().collect::<Vec<_>>(), ["dwh", "metrics"]);
    assert_eq!(work.stores["metrics"].redis.as_ref().unwrap().address, "127.0.0.1:2");
    assert_eq!(work.stores["dwh"].postgres.as_ref().unwrap().port, 3);
    let names = desired.identity.aggregation("sales", &work.incarnation);
    assert_eq!((&work.combine_group, &work.partials_topic), (&names.combine_group, &names.partials_topic));
    assert_eq!(work.state_limit_bytes, 1 << 30);
    let read: acequia_crds::stage::StageConfig =
        serde_yaml::from_str(&stage(&desired, "sales").text).unwrap();
    assert_eq!(read, stage(&desired, "sales").config);
}

#[test]
fn a_stage_reads_in_two_groups_and_may_read_the_secrets_of_its_connections() {
    let desired = desired(SHOP);
    let sales = stage(&desired, "sales");
    let secrets: Vec<&str> = sales.secrets.iter().map(String::as_str).collect();
    assert_eq!(secrets, ["dwh-db", "kafka-ca", "kafka-user", "redis-ca", "redis-user"]);
    assert_eq!((sales.role, sales.run, sales.replicas), (Role::Aggregator, RunPolicy::Always, 1));
    let work = work(&desired, "sales");
    let groups: Vec<&String> = sales.reads.iter().map(|reads| &reads.group).collect();
    assert_eq!(groups, [&work.combine_group, &work.merge_group]);
    assert_eq!(sales.reads[0].topics.iter().collect::<Vec<_>>(), ["orders", "refunds"]);
    assert_eq!(sales.reads[1].topics.iter().collect::<Vec<_>>(), [&work.partials_topic]);
    assert_eq!(stage(&desired, "plain").replicas, 2);
    assert!(self::work(&desired, "plain").aggregation.workers.is_none());
}

#[test]
fn state_has_topics_of_its_own_with_the_partitions_and_policies_it_needs() {
    let desired = desired(SHOP);
    let sales = work(&desired, "sales");
    let topic = |name: &str| &desired.topics[name];
    let setting = |topic: &DesiredTopic, key: &str| topic.config.get(key).cloned().unwrap_or_default();
    let partials = topic(&sales.partials_topic);
    assert_eq!(partials.partitions, Some(4));
    assert_eq!(setting(partials, "message.timestamp.type"), "LogAppendTime");
    assert_eq!(setting(partials, "cleanup.policy"), "delete");
    let groups: Vec<&String> = partials.groups.iter().collect();
    assert_eq!(groups, [&sales.combine_group, &sales.merge_group]);
    let rows = sales.rows_topic.as_ref().unwrap();
    for (name, partitions) in [(&sales.state_topic, 4), (rows, 6)] {
        assert_eq!(
            (topic(name).partitions, setting(topic(name), "cleanup.policy")),
            (Some(partitions), "compact".into())
        );
        assert_eq!(setting(topic(name), "max.compaction.lag.ms"), "600000");
    }
    for name in [sales.late_topic.as_ref().unwrap(), &sales.dead_letter_topic] {
        assert_eq!(
            (topic(name).partitions, setting(topic(name), "retention.ms")),
            (Some(1), "604800000".into())
        );
    }
    let own = desired.topics.values().filter(|topic| topic.stage.is_some());
    assert!(own.clone().all(|topic| topic.deletion_policy == DeletionPolicy::Delete));
    // Partials, state and dead letters of each; rows of two; late records of one.
    assert_eq!(own.count(), 3 * 3 + 2 + 1);
}

#[test]
fn what_an_aggregation_has_no_use_for_is_not_made() {
    let desired = desired(SHOP);
    let total = work(&desired, "total");
    assert_eq!(total.late_topic, None, "a window that never ends is never missed");
    assert_eq!(desired.topics[&total.partials_topic].partitions, Some(1), "one group");
    assert_eq!(
        desired.topics[total.rows_topic.as_ref().unwrap()].partitions,
        None,
        "nobody knows the foreign topic's"
    );
    assert_eq!(work(&desired, "plain").rows_topic, None, "plain records are not remembered");
}

#[test]
fn an_edit_of_the_meaning_is_another_incarnation_and_one_of_the_outputs_is_not() {
    let before = work(&desired(SHOP), "sales").incarnation.clone();
    assert_eq!(before.len(), 10);
    for (from, to) in [
        ("tumbling: 30s", "tumbling: 60s"),
        ("sum: event.quantity", "sum: event.number"),
        // What is looked up is read in another way.
        (", {table: public.product, topic: product}", ""),
    ] {
        assert_ne!(incarnation(from, to), before, "{from}");
    }
    for (from, to) in [
        ("every: 1s", "every: 5s"),
        ("as: hash}", "as: hash, ttl: 1h}"),
        ("{table: sales}", "{table: takings}"),
    ] {
        assert_eq!(incarnation(from, to), before, "{from}");
    }
}

#[test]
fn a_topic_that_is_read_as_a_table_or_written_with_keys_does_not_grow_unnoticed() {
    let desired = desired(&SHOP.replace("{name: foreign, external: true}", "{name: foreign}"));
    for name in ["foreign", "totals"] {
        assert!(desired.topics[name].keyed, "{name}");
    }
    assert!(!desired.topics["price"].keyed);
}

#[test]
fn groups_that_a_topic_remembers_go_with_it_and_state_stays_under_retain() {
    let manifest = load(SHOP);
    let deletion = deletion_of(&manifest.desired, &manifest.pipeline.spec);
    assert!(deletion.retains_state && deletion.retired_groups.is_empty());
    let manifest = load(&SHOP.replace("spec:\n", "spec:\n  deletionPolicy: Delete\n"));
    let deletion = deletion_of(&manifest.desired, &manifest.pipeline.spec);
    assert!(!deletion.retains_state && deletion.retired_groups.is_empty());
}

#[test]
fn a_suspended_aggregation_drains() {
    let desired = desired(&SHOP.replace("spec:\n", "spec:\n  suspend: true\n"));
    assert_eq!(stage(&desired, "sales").run, RunPolicy::UntilDrained);
}
