use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use acequia_crds::debezium_keys::{KEYS, ROUTING, Rule};
use acequia_crds::names::{HEARTBEAT_PREFIX, PipelineId};
use acequia_crds::pipeline::source::Debezium;
use acequia_crds::pipeline::store::Postgres;
use acequia_crds::stage::SlotRelease;
use proptest::prelude::*;

use super::routing::escape_regex;
use super::*;

fn pipeline() -> PipelineId {
    PipelineId { cluster: "local".into(), namespace: "default".into(), name: "instashop".into() }
}

fn spec(json: serde_json::Value) -> Debezium {
    serde_json::from_value(json).unwrap()
}

fn store(json: serde_json::Value) -> Postgres {
    serde_json::from_value(json).unwrap()
}

fn shop() -> Debezium {
    spec(serde_json::json!({"store": "shop", "tables": [
        {"table": "public.transaction", "topic": "transaction"},
        {"table": "public.transactiondetail", "topic": "transactiondetail"},
    ]}))
}

fn plain_store() -> Postgres {
    store(
        serde_json::json!({"host": "127.0.0.1", "database": "instashop", "credentialsSecret": "instashop-db"}),
    )
}

fn make(spec: &Debezium, store: &Postgres) -> Result<BTreeMap<String, String>, Refused> {
    let secrets = SecretReferences::in_folder(Path::new("/secrets"));
    config(&Input { pipeline: &pipeline(), source: "shop", spec, store, secrets: &secrets })
}

#[test]
fn a_source_of_two_tables() {
    insta::assert_yaml_snapshot!(make(&shop(), &plain_store()).unwrap());
}

#[test]
fn every_setting_of_the_table_is_written_and_no_other() {
    let with_ca = store(serde_json::json!({
        "host": "db", "database": "d", "credentialsSecret": "s", "sslMode": "verify-full",
        "caSecret": {"name": "ca", "key": "ca.crt"},
    }));
    let written = make(&shop(), &with_ca).unwrap();
    let known: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
    for key in &known {
        assert!(written.contains_key(*key), "{key}");
        assert!(!written[*key].contains('<'), "{key}: {}", written[*key]);
    }
    for key in written.keys() {
        assert!(known.contains(key.as_str()) || key.starts_with("transforms"), "{key}");
    }
    assert_eq!(written["database.sslrootcert"], "/secrets/ca/ca.crt");
}

#[test]
fn the_documentation_has_the_same_table_as_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/connectors.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let table = documented();
    let (before, rest) = text.split_once("<!-- settings -->\n").expect("the mark <!-- settings -->");
    let (shown, after) = rest.split_once("<!-- /settings -->").expect("the mark <!-- /settings -->");
    if shown != table && std::env::var_os("UPDATE_DOCS").is_some() {
        let new = format!("{before}<!-- settings -->\n{table}<!-- /settings -->{after}");
        std::fs::write(&path, new).unwrap();
        return;
    }
    assert_eq!(shown, table, "docs/connectors.md differs; run the test with UPDATE_DOCS=1");
}

fn documented() -> String {
    let mut table = String::from("| setting | value | may be set in `config` | why |\n|---|---|---|---|\n");
    for key in KEYS.iter().chain(ROUTING) {
        let may = if key.rule == Rule::Default { "yes" } else { "no" };
        writeln!(table, "| `{}` | `{}` | {may} | {} |", key.name, key.value, key.why).unwrap();
    }
    table
}

#[test]
fn the_heartbeat_goes_where_its_topic_is_made() {
    let written = make(&shop(), &plain_store()).unwrap();
    assert_eq!(written["topic.heartbeat.prefix"], HEARTBEAT_PREFIX);
    let topic = format!("{HEARTBEAT_PREFIX}.{}", written["topic.prefix"]);
    assert_eq!(topic, pipeline().heartbeat_topic("shop"));
}

#[test]
fn what_the_manifest_may_set_replaces_the_default() {
    let mut spec = shop();
    spec.config = serde_json::from_str(r#"{"poll.interval.ms": 100, "snapshot.fetch.size": "500"}"#).unwrap();
    let written = make(&spec, &plain_store()).unwrap();
    assert_eq!(written["poll.interval.ms"], "100");
    assert_eq!(written["snapshot.fetch.size"], "500");
}

#[test]
fn what_must_not_become_part_of_a_connector_is_refused() {
    let with_config = |text: &str| {
        let mut spec = shop();
        spec.config = serde_json::from_str(text).unwrap();
        make(&spec, &plain_store()).unwrap_err().to_string()
    };
    assert!(with_config(r#"{"slot.name": "mine"}"#).starts_with("config.slot.name: is set by Acequia"));
    assert!(with_config(r#"{"transforms": "x"}"#).contains("routed by `tables`"));
    assert!(
        with_config(r#"{"snapshot.fetch.size": "${file:/etc/passwd:x}"}"#).contains("Connect would resolve")
    );

    let with_store = |json| make(&shop(), &store(json)).unwrap_err().to_string();
    let host = serde_json::json!({"host": "${env:HOME}", "database": "d", "credentialsSecret": "s"});
    assert!(with_store(host).starts_with("store.host"));
    let secret = serde_json::json!({"host": "h", "database": "d", "credentialsSecret": "../other"});
    assert!(with_store(secret).starts_with("store.credentialsSecret"));

    let with_tables =
        |json| make(&spec(serde_json::json!({"store": "shop", "tables": json})), &plain_store());
    let shared =
        serde_json::json!([{"table": "public.a", "topic": "t"}, {"table": "public.b", "topic": "t"}]);
    assert!(matches!(with_tables(shared), Err(Refused::SharedTopic { .. })));
    let own =
        serde_json::json!([{"table": "public.a", "topic": "acequia.default.instashop.source-shop.public.b"}]);
    assert!(matches!(with_tables(own), Err(Refused::OwnTopic { .. })));
    let name = serde_json::json!([{"table": "public.a'; DROP TABLE x; --", "topic": "t"}]);
    assert!(matches!(with_tables(name), Err(Refused::TableName { .. })));
}

#[test]
fn a_certificate_needs_a_file_that_connect_can_read() {
    let with_ca = store(serde_json::json!({
        "host": "db", "database": "d", "credentialsSecret": "s", "caSecret": {"name": "ca", "key": "ca.crt"},
    }));
    let secrets = SecretReferences::in_namespace("shop");
    let input =
        Input { pipeline: &pipeline(), source: "s", spec: &shop(), store: &with_ca, secrets: &secrets };
    assert_eq!(config(&input), Err(Refused::NoCaFile));
    let plain = config(&Input { store: &plain_store(), ..input }).unwrap();
    assert_eq!(plain["database.password"], "${secrets:shop/instashop-db:password}");
}

#[test]
fn what_connect_echoes_compares_equal() {
    let written = make(&shop(), &plain_store()).unwrap();
    let mut echoed = written.clone();
    echoed.insert("name".to_owned(), "acequia.default.instashop.source-shop".to_owned());
    assert_eq!(normalise(&echoed), written);
    echoed.insert("slot.name".to_owned(), "other".to_owned());
    assert_ne!(normalise(&echoed), written);
}

/// Java's `matches` for the patterns that are made here: escaped characters and nothing else.
fn matches(regex: &str, text: &str) -> bool {
    let mut literal = String::new();
    let mut chars = regex.chars();
    while let Some(c) = chars.next() {
        literal.push(if c == '\\' { chars.next().unwrap() } else { c });
    }
    literal == text
}

proptest! {
    #[test]
    fn each_table_reaches_its_topic_and_nothing_else_does(
        names in proptest::collection::btree_set("[a-c_]{1,3}\\.[a-c_]{1,3}", 1..8),
        other in "[a-c_]{1,3}\\.[a-c_]{1,3}",
    ) {
        let tables: Vec<_> = names
            .iter()
            .enumerate()
            // A topic may be called like another table.
            .map(|(index, name)| serde_json::json!({"table": name, "topic": format!("{name}{index}")}))
            .collect();
        let source = spec(serde_json::json!({"store": "shop", "tables": tables}));
        let written = make(&source, &plain_store()).unwrap();
        let prefix = &written["topic.prefix"];
        let route = |from: String| {
            written["transforms"].split(',').fold(from, |topic, router| {
                let hit = matches(&written[&format!("transforms.{router}.regex")], &topic);
                if hit { written[&format!("transforms.{router}.replacement")].clone() } else { topic }
            })
        };
        for table in &source.tables {
            prop_assert_eq!(&route(format!("{prefix}.{}", table.table)), &table.topic);
        }
        let unknown = format!("{prefix}.{other}");
        if !names.contains(&other) {
            prop_assert_eq!(route(unknown.clone()), unknown);
        }
        let heartbeat = pipeline().heartbeat_topic("shop");
        prop_assert_eq!(route(heartbeat.clone()), heartbeat);
    }

    #[test]
    fn an_escaped_text_matches_itself_only(text in "[a-z.$^*+?(){}|\\[\\]-]{0,12}", other in "[a-z.-]{0,12}") {
        prop_assert!(matches(&escape_regex(&text), &text));
        prop_assert_eq!(matches(&escape_regex(&text), &other), text == other);
    }
}

#[test]
fn a_connector_that_releases_runs_one_statement_and_makes_nothing() {
    let mut release = SlotRelease {
        store: plain_store(),
        slot: "acequia_local_default_instashop_shop".to_owned(),
        publication: "acequia_pub".to_owned(),
    };
    let secrets = SecretReferences::in_namespace("shop");
    let config = release_config(&release, &secrets).unwrap();
    assert_eq!(config["database.password"], "${secrets:shop/instashop-db:password}");
    assert_eq!(config["publication.autocreate.mode"], "disabled");
    let statement = &config["database.initial.statements"];
    // Debezium takes it apart at each single `;`.
    assert!(!statement.replace(";;", "").contains(';'), "{statement}");
    assert!(statement.contains("slot_name = 'acequia_local_default_instashop_shop'"), "{statement}");
    assert!(statement.contains("DROP PUBLICATION IF EXISTS \"acequia_pub\""), "{statement}");
    release.publication = "x\"; DROP TABLE orders".to_owned();
    assert!(matches!(release_config(&release, &secrets), Err(Refused::SlotName { .. })));
    release = SlotRelease { publication: "p".to_owned(), slot: "'s".to_owned(), ..release };
    assert!(matches!(release_config(&release, &secrets), Err(Refused::SlotName { .. })));
}
