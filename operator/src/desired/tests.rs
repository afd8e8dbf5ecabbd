use std::path::{Path, PathBuf};

use acequia_crds::lint::Place;
use acequia_crds::names::{StageId, StageKind};
use acequia_crds::stage::Work;

use super::{Addresses, Settings, deletion_of};
use crate::debezium::SecretReferences;
use crate::manifest::{self, Error, Manifest, Texts};
use crate::model::desired::{ConnectorTarget, DeletionPolicy, Desired, RunPolicy};

const SHOP: &str = include_str!("../../tests/manifests/shop.yaml");

fn settings(addresses: &str) -> Settings {
    Settings {
        cluster: "local".into(),
        namespace: "default".into(),
        addresses: Addresses::from_yaml(addresses).unwrap(),
        secrets: SecretReferences::in_folder(Path::new("/secrets")),
        place: Place::Machine,
    }
}

fn load(text: &str, addresses: &str) -> Result<Manifest, Error> {
    manifest::load(&Texts::new(vec![(PathBuf::from("shop.yaml"), text.to_owned())]), &settings(addresses))
}

fn desired(text: &str) -> Desired {
    load(text, "").unwrap_or_else(|error| panic!("{error}")).desired
}

fn refusal(text: &str) -> String {
    load(text, "").err().map(|error| error.to_string()).expect("it is refused")
}

#[test]
fn the_shop_is_as_it_was_last_looked_at() {
    insta::assert_yaml_snapshot!("shop", desired(SHOP));
}

/// Every example is one: a folder with `pipeline.yaml` and the `ConfigMaps` beside it.
#[test]
fn every_example_is_as_it_was_last_looked_at() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("pipeline.yaml").is_file() {
            continue;
        }
        let texts = manifest::read(std::slice::from_ref(&folder)).unwrap();
        let loaded = manifest::load(&texts, &settings("")).unwrap_or_else(|error| panic!("{error}"));
        insta::assert_yaml_snapshot!(folder.file_name().unwrap().to_string_lossy().as_ref(), loaded.desired);
        count += 1;
    }
    assert!(count > 0, "there is no example");
}

#[test]
fn local_addresses_reach_kafka_connect_connectors_and_workers() {
    let addresses = "kafka:9092: 127.0.0.1:1\nconnect:8083: 127.0.0.1:2\npostgres:5432: 127.0.0.2:3\n";
    let desired = load(SHOP, addresses).unwrap().desired;
    assert_eq!(desired.kafka.bootstrap_servers, "127.0.0.1:1");
    for connector in desired.connectors.values() {
        assert_eq!(connector.url, "http://127.0.0.1:2");
        assert_eq!(connector.config["database.hostname"], "127.0.0.2");
        assert_eq!(connector.config["database.port"], "3");
        assert_eq!(connector.release.as_ref().unwrap().store.port, 3);
    }
    for stage in desired.stages.values() {
        assert!(
            !stage.text.contains("kafka:9092") && !stage.text.contains("host: postgres"),
            "{}",
            stage.text
        );
    }
}

#[test]
fn a_sink_knows_the_captured_table_of_each_of_its_topics() {
    let desired = desired(SHOP);
    let sink = &desired.stages[&StageId::new(StageKind::Sink, "dwh")];
    let Work::Sink(work) = &sink.config.work else { panic!("{:?}", sink.config.work) };
    let captured = work.topics[1].captured.as_ref().unwrap();
    assert_eq!((captured.store.database.as_str(), captured.table.as_str()), ("erp_db", "stock"));
    assert_eq!(work.group, "acequia.default.shop.sink-dwh");
    let secrets: Vec<&str> = sink.secrets.iter().map(String::as_str).collect();
    assert_eq!(secrets, ["crm-db", "dwh-db", "erp-db"], "a mirror asks the sources for their columns");
}

#[test]
fn a_connector_waits_for_its_topics_and_only_for_a_setup_of_its_own_database() {
    let desired = desired(SHOP);
    let after = |source: &str| &desired.connectors[&desired.identity.connector(source)].after;
    assert!(after("crm").topics.contains("customer"));
    assert!(after("crm").topics.contains(&desired.identity.heartbeat_topic("crm")));
    assert_eq!(
        after("crm").setup.iter().collect::<Vec<_>>(),
        [&StageId::new(StageKind::Generator, "people")]
    );
    assert!(after("erp").setup.is_empty(), "nobody sets up erp_db");
}

#[test]
fn the_text_of_a_stage_is_read_back_as_its_configuration() {
    for stage in desired(SHOP).stages.values() {
        let read: acequia_crds::stage::StageConfig = serde_yaml::from_str(&stage.text).unwrap();
        assert_eq!(read, stage.config);
    }
}

#[test]
fn suspend_stops_generators_and_connectors_and_drains_the_rest() {
    let desired = desired(&SHOP.replace("spec:\n", "spec:\n  suspend: true\n"));
    assert!(desired.connectors.values().all(|one| one.target == ConnectorTarget::Stopped));
    for stage in desired.stages.values() {
        let expected =
            if stage.kind == StageKind::Generator { RunPolicy::Never } else { RunPolicy::UntilDrained };
        assert_eq!(stage.run, expected);
    }
}

#[test]
fn groups_go_with_the_pipeline_only_when_its_topics_do() {
    let retained = load(SHOP, "").unwrap();
    assert!(deletion_of(&retained.desired, &retained.pipeline.spec).retired_groups.is_empty());
    let deleted = load(&SHOP.replace("spec:\n", "spec:\n  deletionPolicy: Delete\n"), "").unwrap();
    assert_eq!(deletion_of(&deleted.desired, &deleted.pipeline.spec).retired_groups.len(), 1);
    assert_eq!(deleted.desired.topics["stock"].deletion_policy, DeletionPolicy::Delete);
}

#[test]
fn a_missing_configmap_and_a_key_that_is_no_store_are_named_with_their_place() {
    let text = refusal(&SHOP.replace("configMap: schema", "configMap: schemata"));
    assert!(text.contains("shop.yaml:16:") && text.contains("no ConfigMap `schemata`"), "{text}");
    let text = refusal(&SHOP.replace("crm.sql", "crn.sql"));
    assert!(text.contains("`crn.sql`") && text.contains("<store>.sql"), "{text}");
}

#[test]
fn what_connect_would_resolve_is_refused_wherever_a_user_can_write_it() {
    for (from, to) in [
        ("host: postgres, database: crm_db", "host: \"${dir:/etc:x}\", database: crm_db"),
        ("database: crm_db", "database: \"${dir:/etc:x}\""),
        ("{store: crm, tables", "{store: crm, config: {snapshot.fetch.size: \"${dir:/etc:x}\"}, tables"),
        ("credentialsSecret: crm-db", "credentialsSecret: \"../crm-db\""),
    ] {
        let text = refusal(&SHOP.replace(from, to));
        assert!(text.contains("shop.yaml:"), "{to}: {text}");
    }
}

#[test]
fn names_of_our_own_topics_and_names_that_could_not_be_derived_from_are_refused() {
    assert!(refusal(&SHOP.replace("name: stock}", "name: acequia.ownership}")).contains("acequia."));
    assert!(refusal(&SHOP.replace("{name: shop}", "{name: Shop.1}")).contains("metadata.name"));
}

#[test]
fn what_this_version_can_not_do_is_refused_with_its_path() {
    let text = refusal(&SHOP.replace(
        "  sinks:\n",
        "  aggregations: [{name: total, from: [stock], window: {session: {gap: 1m}}, measures: [{name: records, count: {}}], to: [{store: dwh, postgres: {table: totals}}]}]\n  sinks:\n",
    ));
    assert!(
        text.contains("not available in this version")
            && text.contains("spec.aggregations[0].window.session"),
        "{text}"
    );
}

#[test]
fn one_run_keeps_one_pipeline() {
    let two = SHOP.replace("---\n", &format!("---\n{}---\n", SHOP.split("---\n").next().unwrap()));
    assert!(refusal(&two).contains("one run keeps one Pipeline"), "{}", refusal(&two));
    assert!(refusal("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n").contains("no Pipeline in"));
}
