//! Rows into documents, keys, calls and arrays: everything before a server is asked.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::pipeline::aggregation::Aggregation;
use acequia_crds::pipeline::store::Store;
use proptest::prelude::*;

use super::document::{Layout, document, topic_key};
use super::key::{KeyTemplate, companion};
use super::*;

const STORES: [&str; 2] = [
    "{name: metrics, redis: {address: \"redis:6379\"}}",
    "{name: dwh, postgres: {host: h, database: d, credentialsSecret: s}}",
];

fn aggregation(lines: &str) -> Aggregation {
    serde_yaml::from_str(&format!("name: sales\nfrom: [t]\n{lines}")).unwrap()
}

fn target(lines: &str) -> Result<Target, String> {
    let aggregation = aggregation(lines);
    let stores: BTreeMap<String, Store> = STORES
        .iter()
        .map(|store| serde_yaml::from_str::<Store>(store).unwrap())
        .map(|store| (store.name.clone(), store))
        .collect();
    let output = aggregation.to.last().unwrap();
    Target::new(output, &aggregation, &stores, "i").map_err(|error| error.to_string())
}

fn row(group: &str, measures: &[Option<&str>]) -> Row {
    let number = |text: Option<&str>| text.map(|text| text.parse::<Decimal>().unwrap());
    Row {
        window: Some(Span { start_ms: 1_795_365_090_000, end_ms: 1_795_365_120_000 }),
        group: group.as_bytes().to_vec(),
        measures: Some(measures.iter().copied().map(number).collect()),
        is_final: true,
        revision: 3,
        watermark_ms: Some(1_795_365_120_500),
        version: Version { birth_ms: 1, offset: 2, sequence: 3 },
        changed_ms: 1_795_365_099_000,
    }
}

fn layout(groups: &[&str], measures: &[&str]) -> Layout {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Layout { groups: owned(groups), measures: owned(measures) }
}

#[test]
fn a_document_has_everything_exactly() {
    let layout = layout(&["category", "n"], &["items", "revenue", "mean", "zero"]);
    let mut row = row(
        r#"["it's \"a\"",1.5]"#,
        &[Some("3.00"), Some("79228162514264337593543950.335"), None, Some("-0.0")],
    );
    assert_eq!(
        String::from_utf8(document(&layout, &row).unwrap()).unwrap(),
        r#"{"window":{"start":"2026-11-22T16:31:30Z","end":"2026-11-22T16:32:00Z"},"groups":{"category":"it's \"a\"","n":1.5},"measures":{"items":3,"revenue":79228162514264337593543950.335,"mean":null,"zero":0},"final":true,"revision":3,"watermark":"2026-11-22T16:32:00.5Z"}"#
    );
    (row.window, row.watermark_ms) = (None, None);
    let global: serde_json::Value = serde_json::from_slice(&document(&layout, &row).unwrap()).unwrap();
    assert_eq!((global.get("window"), &global["watermark"]), (None, &serde_json::Value::Null));
    row.measures = None;
    assert_eq!(document(&layout, &row), None, "a removed group has no document");
}

#[test]
fn a_topic_key_is_that_of_the_window_and_the_group() {
    let mut row = row(r#"["Toys",null]"#, &[]);
    let key = |row: &Row| String::from_utf8(topic_key(row)).unwrap();
    assert_eq!(
        key(&row),
        r#"{"window":{"start":"2026-11-22T16:31:30Z","end":"2026-11-22T16:32:00Z"},"group":["Toys",null]}"#
    );
    row.window = None;
    assert_eq!(key(&row), r#"{"group":["Toys",null]}"#);
}

#[test]
fn templates_take_the_window_and_the_group_as_they_are() {
    let layout = layout(&["category", "n"], &[]);
    let key = |template: &str, group: &str| {
        KeyTemplate::new(template, &layout, false).unwrap().key(&row(group, &[]))
    };
    let group = r#"["it's \"a\":{b}",1.5]"#;
    assert_eq!(key("m:{window.start}:{window.end}", group), "m:2026-11-22T16:31:30Z:2026-11-22T16:32:00Z");
    assert_eq!(key("{category}/{n}!", group), "it's \"a\":{b}/1.5!");
    assert_eq!(key("{category}/{n}!", "[null,true]"), "null/true!");
    assert_eq!(key("{category + \"-\" + window.start}", r#"["a",1]"#), "a-2026-11-22T16:31:30Z");
    assert_eq!(key("{category + \"-\"}", "[null,1]"), "null", "what has no value is null");
    assert_eq!(key("plain", group), "plain");
}

#[test]
fn a_template_that_can_t_be_filled_is_refused() {
    let layout = layout(&["category"], &[]);
    let refused = |template: &str, is_global| KeyTemplate::new(template, &layout, is_global).unwrap_err();
    assert!(refused("a:{window.start", false).starts_with("has a `{` without `}`"));
    assert!(refused("a:{catgory}", false).contains("did you mean `category`?"));
    assert!(refused("a:{window.begin}", false).contains("only `window.start` and `window.end`"));
    assert!(refused("a:{window.start}", true).contains("no variable `window`"));
    assert!(refused("a:{}", false).contains("the expression is empty"));
}

#[test]
fn a_companion_is_in_the_slot_of_its_key() {
    assert_eq!(companion("metrics:a"), "{metrics:a}:acequia");
    assert_eq!(companion("metrics:{a}:b"), "metrics:{a}:b:acequia");
    assert_eq!(companion("metrics:{}a"), "{metrics:{}a}:acequia");
}

fn calls(lines: &str, rows: &[Row]) -> Vec<(String, Vec<String>)> {
    let Target::Redis(target) = target(lines).unwrap() else { panic!("not Redis") };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let call = |call: keys::Call| (call.key, call.arguments.into_iter().map(text).collect());
    target.plan.calls(rows).into_iter().map(call).collect()
}

#[test]
fn one_call_writes_all_fields_of_one_key() {
    let lines = "window: {tumbling: 30s}\ngroupBy: [{name: a, value: event.a}, {name: b, value: event.b}]
measures: [{name: items, count: {}}, {name: mean, avg: event.price}]
to: [{store: metrics, redis: {key: \"k:{window.start}\", as: hash, ttl: 1h}}]";
    let mut removed = row(r#"["x:y","z\\"]"#, &[]);
    (removed.measures, removed.changed_ms) = (None, 1_795_365_130_000);
    removed.version.birth_ms = 7;
    let calls = calls(lines, &[row(r#"["x","y:z"]"#, &[Some("1.0"), None]), removed]);
    let [(key, arguments)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(key, "k:2026-11-22T16:31:30Z");
    let head = ["hash", "i", "7", "1795365130000", "3600000"];
    let first = [r#"["x","y:z"]"#, "1", "2", "3", "2", r"x:y\:z:items", "1", r"x:y\:z:mean", ""];
    let second = [r#"["x:y","z\\"]"#, "7", "2", "3", "2", r"x\:y:z\\:items", "", r"x\:y:z\\:mean", ""];
    assert_eq!(*arguments, [&head[..], &first, &second].concat());
}

#[test]
fn without_groups_a_field_is_the_measure() {
    let lines = "window: {global: {}}\nmeasures: [{name: items, count: {}}]
to: [{store: metrics, redis: {key: k, as: hash}}]";
    let calls = calls(lines, &[row("[]", &[Some("4")])]);
    assert_eq!(calls[0].1[4..], ["", "[]", "1", "2", "3", "1", "items", "4"]);
}

#[test]
fn what_this_version_lacks_is_refused_with_its_path() {
    let refused = |to: &str| {
        let lines = "window: {global: {}}\ngroupBy: [{name: acequia_x, value: event.a}]\nmeasures: [{name: m, count: {}}]";
        target(&format!("{lines}\nto: [{{topic: t}}, {to}]")).unwrap_err()
    };
    for (to, expected) in [
        (
            "{store: metrics, redis: {key: k, as: sortedSet}}",
            "aggregations[sales].to[1].redis.as `sortedSet`",
        ),
        ("{store: metrics, redis: {key: \"{x}\"}}", "aggregations[sales].to[1].redis.key has `{x}` in it"),
        ("{store: dwh, redis: {key: k}}", "aggregations[sales].to[1].store names no redis store"),
        ("{store: dwh, cassandra: {table: t}}", "aggregations[sales].to[1].cassandra is not available"),
        (
            "{store: dwh, postgres: {table: t, columns: [{name: c, type: text}]}}",
            "aggregations[sales].to[1].postgres.columns are not available",
        ),
        ("{store: dwh, postgres: {table: t}}", "postgres can't have a column `acequia_x`"),
        ("{topic: u}", "aggregations[sales].to[1] is a topic"),
    ] {
        let error = refused(to);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_address_without_a_port_is_refused() {
    let aggregation = aggregation(
        "window: {global: {}}\nmeasures: [{name: m, count: {}}]\nto: [{store: m, redis: {key: k}}]",
    );
    let store = serde_yaml::from_str("{name: m, redis: {address: redis}}").unwrap();
    let stores = BTreeMap::from([("m".to_owned(), store)]);
    let error = Target::new(&aggregation.to[0], &aggregation, &stores, "i").unwrap_err().to_string();
    assert!(error.contains("stores[m].redis.address `redis` is no `host:port`"), "{error}");
}

fn version() -> impl Strategy<Value = Version> {
    let edge = prop_oneof![Just(i64::MIN), Just(-10), Just(-9), Just(0), Just(9), Just(10), Just(i64::MAX)];
    (edge.clone(), edge.clone(), edge).prop_map(|(birth_ms, offset, sequence)| Version {
        birth_ms,
        offset,
        sequence,
    })
}

proptest! {
    /// A batch may hold a group several times.
    #[test]
    fn of_each_group_the_newest_goes_into_a_table(versions in proptest::collection::vec((0..3_u8, version()), 1..20)) {
        let lines = "window: {global: {}}\ngroupBy: [{name: a, value: event.a}]\nmeasures: [{name: m, count: {}}]
to: [{store: dwh, postgres: {table: t}}]";
        let Target::Postgres(target) = target(lines).unwrap() else { panic!("not PostgreSQL") };
        let rows: Vec<Row> = versions.iter().map(|(group, version)| {
            let mut row = row(&format!("[{group}]"), &[Some("1")]);
            (row.window, row.version) = (None, *version);
            row
        }).collect();
        let arrays = target.plan.arrays(&rows);
        let groups: BTreeSet<u8> = versions.iter().map(|(group, _)| *group).collect();
        let newest = |group: &u8| versions.iter().filter(|(other, _)| other == group).map(|(_, version)| *version).max();
        let list = |texts: Vec<String>| format!("{{{}}}", texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(","));
        prop_assert_eq!(&arrays.upsert[0], &list(groups.iter().map(ToString::to_string).collect()));
        let offsets = groups.iter().map(|group| newest(group).unwrap().offset.to_string());
        prop_assert_eq!(&arrays.upsert[6], &list(offsets.collect()));
    }
}
