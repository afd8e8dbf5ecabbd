mod tables;

use std::collections::BTreeMap;

use acequia_crds::pipeline::aggregation::Aggregation;
use proptest::prelude::*;

use super::*;
use crate::aggregator::measure::{Input, MeasureKind};
use crate::record::RecordView;

/// A plan from the fields that matter here.
fn planned(fields: &str) -> Result<RecordPlan, crate::command::InvalidConfig> {
    let defaults = [
        ("name:", "name: sales"),
        ("from:", "from: [orders]"),
        ("window:", "window: {global: {}}"),
        ("measures:", "measures: [{name: orders, count: {}}]"),
        ("to:", "to: [{topic: out}]"),
    ];
    let is_given = |field: &str| fields.lines().any(|line| line.trim_start().starts_with(field));
    let missing = defaults.iter().filter(|(field, _)| !is_given(field)).map(|(_, line)| *line);
    let given = fields.lines().map(str::trim).filter(|line| !line.is_empty());
    let yaml = given.chain(missing).collect::<Vec<_>>().join("\n");
    let aggregation: Aggregation =
        serde_yaml::from_str(&yaml).unwrap_or_else(|error| panic!("{yaml}\n{error}"));
    RecordPlan::new(&aggregation)
}

fn plan(fields: &str) -> RecordPlan {
    planned(fields).unwrap_or_else(|error| panic!("{fields}: {error}"))
}

fn record<'r>(key: Option<&'r str>, value: &'r str) -> RecordView<'r> {
    RecordView {
        topic: "orders",
        partition: 0,
        offset: 0,
        timestamp_ms: 1_000,
        now_ms: 0,
        key: key.map(str::as_bytes),
        value: value.as_bytes(),
    }
}

/// Rows by lookup and key; a key that isn't here is known not to be there, one without a row is yet to come.
#[derive(Default)]
struct Rows(BTreeMap<(usize, &'static str), Option<&'static str>>);

impl Lookups for Rows {
    fn row(&self, lookup: usize, key: &str) -> Found<'_> {
        match self.0.get(&(lookup, key)) {
            Some(Some(row)) => Found::Row(row.as_bytes()),
            Some(None) => Found::Missing,
            None => Found::Absent,
        }
    }
}

/// A contribution as a text: the group and each input, `-` where there is none, `5@20779` for a day.
fn spelled(found: Contribution<'_>) -> String {
    let inputs = found.inputs.iter().map(|input| match input {
        None => " -".to_owned(),
        Some(Input { value, day: 0 }) => format!(" {value}"),
        Some(Input { value, day }) => format!(" {value}@{day}"),
    });
    str::from_utf8(found.group).unwrap().to_owned() + &inputs.collect::<String>()
}

/// Time and contributions of a record.
fn read_with(plan: &RecordPlan, value: &str, rows: &Rows) -> Result<(i64, Vec<String>), Unread> {
    let mut reading = Reading::default();
    let mut scratch = plan.scratch();
    // Read twice, so that what is left from the first time shows.
    let _ = plan.read(&record(Some("k"), value), rows, &mut reading, &mut scratch);
    let result = plan.read(&record(Some("k"), value), rows, &mut reading, &mut scratch);
    let contributions: Vec<_> = reading.contributions().map(spelled).collect();
    if result.is_err() {
        assert_eq!(contributions, NONE, "what can't be read contributes nothing");
    }
    result.map(|()| (reading.event_ms, contributions))
}

fn read(plan: &RecordPlan, value: &str) -> Result<(i64, Vec<String>), Unread> {
    read_with(plan, value, &Rows::default())
}

fn contributed(plan: &RecordPlan, value: &str) -> Vec<String> {
    read(plan, value).unwrap_or_else(|error| panic!("{value}: {error:?}")).1
}

/// Why a record is rejected.
fn cause(result: Result<(i64, Vec<String>), Unread>) -> String {
    match result {
        Err(Unread::Rejected(rejected)) => rejected.cause,
        other => panic!("{other:?}"),
    }
}

const NONE: [&str; 0] = [];

#[test]
fn a_record_gives_its_time_its_group_and_a_number_to_each_measure() {
    let plan = plan(
        "window: {tumbling: 30s}
         eventTime: event.at
         groupBy: [{name: category, value: event.category}, {name: size, value: event.size}]
         measures: [{name: orders, count: {}}, {name: revenue, sum: event.total}, {name: best, max: event.total}]",
    );
    let value = r#"{"at": "2026-11-22T10:00:00.5Z", "category": "Toys", "size": 1.0, "total": 19.90}"#;
    let (event_ms, contributions) = read(&plan, value).unwrap();
    assert_eq!(event_ms, 1_795_341_600_500);
    assert_eq!(contributions, [r#"["Toys",1] 1 19.90 19.90"#]);
    let kinds: Vec<_> = plan.measures().iter().map(|measure| (measure.name.as_str(), measure.kind)).collect();
    assert_eq!(
        kinds,
        [("orders", MeasureKind::Count), ("revenue", MeasureKind::Sum), ("best", MeasureKind::Max)]
    );
    assert!(!plan.is_table());
}

#[test]
fn without_an_event_time_a_window_takes_the_records_own_time_and_a_global_one_none() {
    assert_eq!(read(&plan("window: {tumbling: 30s}"), "{}").unwrap().0, 1_000);
    assert_eq!(read(&plan(""), "{}").unwrap().0, 0);
    assert_eq!(read(&plan("eventTime: event.at"), r#"{"at": 5}"#).unwrap().0, 5);
}

#[test]
fn an_event_time_may_lie_before_1970() {
    let plan = plan("eventTime: event.at");
    assert_eq!(read(&plan, r#"{"at": -1500}"#).unwrap().0, -1500);
    assert_eq!(read(&plan, r#"{"at": "1969-12-31T23:59:58.5"}"#).unwrap().0, -1500);
}

#[test]
fn a_record_without_a_time_is_rejected_with_the_reason() {
    let plan = plan("eventTime: event.at");
    assert_eq!(
        cause(read(&plan, "{}")),
        "eventTime: `event.at` is null or isn't there, where a time is needed"
    );
    assert_eq!(
        cause(read(&plan, r#"{"at": "soon"}"#)),
        "eventTime: `event.at` is `soon`, which is no time: write RFC 3339 (`2026-11-22T10:00:00Z`) or whole \
         milliseconds since 1970"
    );
}

#[test]
fn without_groups_there_is_one_group() {
    assert_eq!(contributed(&plan(""), "{}"), ["[] 1"]);
}

#[test]
fn what_isnt_json_is_rejected_even_where_no_field_is_read() {
    for value in ["", "{", "{} {}", "nul"] {
        assert!(matches!(read(&plan(""), value), Err(Unread::Rejected(_))), "{value}");
    }
}

#[test]
fn a_group_is_canonical_whatever_escapes_the_record_has() {
    let plan = plan("groupBy: [{name: name, value: event.name}]");
    for (value, group) in [
        (r#"{"name": "a\u0062c"}"#, r#"["abc"]"#),
        (r#"{"name": "abc"}"#, r#"["abc"]"#),
        (r#"{"name": "\u00e9"}"#, r#"["é"]"#),
        (r#"{"name": "a\"\\\/\n"}"#, r#"["a\"\\/\n"]"#),
        (r#"{"name": 1e0}"#, "[1]"),
        (r#"{"name": "1"}"#, r#"["1"]"#),
        (r#"{"name": null}"#, "[null]"),
        ("{}", "[null]"),
        (r#"{"name": true}"#, "[true]"),
    ] {
        assert_eq!(contributed(&plan, value), [format!("{group} 1")], "{value}");
    }
    for value in [r#"{"name": {}}"#, r#"{"name": [1]}"#, r#"{"name": "\ud800"}"#] {
        assert!(cause(read(&plan, value)).starts_with("groupBy[0].value: "), "{value}");
    }
}

#[test]
fn a_key_in_a_group_is_escaped_as_any_text() {
    let plan = plan("groupBy: [{name: key, value: key}, {name: topic, value: topic}]");
    let mut reading = Reading::default();
    let view = record(Some("{\"id\":5}"), "{}");
    plan.read(&view, &Rows::default(), &mut reading, &mut plan.scratch()).unwrap();
    let found: Vec<_> = reading.contributions().map(spelled).collect();
    assert_eq!(found, [r#"["{\"id\":5}","orders"] 1"#]);
}

#[test]
fn only_records_where_the_condition_is_true_contribute() {
    let plan = plan("where: event.status != \"failed\"");
    assert_eq!(contributed(&plan, r#"{"status": "failed"}"#), NONE);
    assert_eq!(contributed(&plan, r#"{"status": "paid"}"#).len(), 1);
    assert!(cause(read(&plan, "{}")).starts_with("where: "));
    let path = self::plan("where: event.flag");
    assert!(cause(read(&path, r#"{"flag": 1}"#)).starts_with("where: "));
}

#[test]
fn a_measures_own_condition_and_null_give_nothing_to_it_alone() {
    let plan = plan(
        "measures: [{name: all, count: {}}, {name: failed, count: {}, where: event.status == \"failed\"},
                    {name: lost, sum: event.total, where: event.status == \"failed\"}, {name: total, sum: event.total}]",
    );
    let inputs = |value| contributed(&plan, value).remove(0);
    assert_eq!(inputs(r#"{"status": "failed", "total": 5}"#), "[] 1 1 5 5");
    assert_eq!(inputs(r#"{"status": "paid", "total": 5}"#), "[] 1 - - 5");
    assert_eq!(inputs(r#"{"status": "failed", "total": null}"#), "[] 1 1 - -");
    assert_eq!(inputs(r#"{"status": "paid"}"#), "[] 1 - - -");
}

#[test]
fn an_expression_is_evaluated_only_where_its_condition_is_true() {
    let plan = plan(
        "measures: [{name: revenue, sum: decimal(event.price) * event.quantity, where: topic == \"details\"}]",
    );
    assert_eq!(contributed(&plan, "{}"), ["[] -"]);
}

#[test]
fn decimals_are_exact_as_numbers_as_texts_and_computed() {
    let plan = plan(
        "measures: [{name: plain, sum: event.price}, {name: computed, sum: decimal(event.price) * event.quantity},
                    {name: doubled, sum: event.rate * 2.0}]",
    );
    let inputs = |value| contributed(&plan, value).remove(0);
    assert_eq!(inputs(r#"{"price": "12.34", "quantity": 3, "rate": 0.1}"#), "[] 12.34 37.02 0.2");
    assert_eq!(inputs(r#"{"price": 12.34, "quantity": 3, "rate": 1e-3}"#), "[] 12.34 37.02 0.002");
    let wrong = r#"{"price": "12,34", "quantity": 3, "rate": 0.1}"#;
    assert_eq!(
        cause(read(&plan, wrong)),
        "measures[0].sum: `event.price` is no number: `12,34` isn't a decimal number"
    );
}

#[test]
fn today_is_the_day_in_the_time_zone() {
    let plan = plan(
        "timeZone: Europe/Madrid
         measures: [{name: today, sum: event.total, today: event.at}, {name: all, sum: event.total}]",
    );
    assert!(plan.measures()[0].daily && !plan.measures()[1].daily);
    let day = |at: &str| contributed(&plan, &format!(r#"{{"total": 5, "at": {at}}}"#)).remove(0);
    // 2026-11-22 is day 20779; clocks go back on 2026-10-25, day 20751.
    assert_eq!(day("\"2026-11-22T22:59:59Z\""), "[] 5@20779 5");
    assert_eq!(day("\"2026-11-22T23:00:00Z\""), "[] 5@20780 5");
    assert_eq!(day("\"2026-10-24T22:00:00Z\""), "[] 5@20751 5");
    assert_eq!(day("\"2026-10-25T22:59:59Z\""), "[] 5@20751 5");
    assert_eq!(day("\"2026-10-25T23:00:00Z\""), "[] 5@20752 5");
    assert_eq!(day("null"), "[] - 5");
    assert!(cause(read(&plan, r#"{"total": 5, "at": "soon"}"#)).starts_with("measures[0].today: "));
}

const EXPLODED: &str = "explode: {as: item, value: event.items}
     lookups: [{name: product, topic: product, match: item.product_id},
               {name: maker, topic: maker, match: product.maker_id}]
     groupBy: [{name: category, value: product.category}, {name: maker, value: maker.name}]
     measures: [{name: items, sum: item.quantity}, {name: revenue, sum: decimal(product.price) * item.quantity,
                where: product != null}, {name: orders, count: {}}]";

fn products() -> Rows {
    Rows(BTreeMap::from([
        ((0, "5"), Some(r#"{"category": "Toys", "price": "0.10", "maker_id": "x"}"#)),
        ((0, "6"), Some(r#"{"category": "Books", "price": 2, "maker_id": null}"#)),
        ((0, "8"), None),
        ((1, "x"), Some(r#"{"name": "Acme"}"#)),
    ]))
}

#[test]
fn each_element_of_a_list_contributes_with_the_rows_it_names() {
    let value = r#"{"items": [{"product_id": 5, "quantity": 2}, {"product_id": "6", "quantity": 1},
        {"product_id": 7, "quantity": 4}, {"quantity": 8}]}"#;
    let (_, contributions) = read_with(&plan(EXPLODED), value, &products()).unwrap();
    assert_eq!(
        contributions,
        [r#"["Toys","Acme"] 2 0.20 1"#, r#"["Books",null] 1 2 1"#, "[null,null] 4 - 1", "[null,null] 8 - 1",]
    );
}

#[test]
fn a_record_waits_as_a_whole_for_a_row_that_is_yet_to_come() {
    let value = r#"{"items": [{"product_id": 5, "quantity": 2}, {"product_id": 8.0, "quantity": 1}]}"#;
    let result = read_with(&plan(EXPLODED), value, &products());
    assert_eq!(result, Err(Unread::Missing { lookup: 0, key: "8".to_owned() }));
}

#[test]
fn a_record_that_does_not_count_waits_for_nothing() {
    let fields = "lookups: [{name: product, topic: product, match: event.product_id}]\nwhere: ";
    let early = plan(&format!("{fields} event.status == \"paid\""));
    let late = plan(&format!("{fields} event.status == \"paid\" && product.category == \"Toys\""));
    let value = r#"{"product_id": 8, "status": "failed"}"#;
    assert_eq!(read_with(&early, value, &products()), Ok((0, vec![])));
    assert!(matches!(read_with(&late, value, &products()), Err(Unread::Missing { .. })));
    let value = r#"{"product_id": 6, "status": "paid"}"#;
    assert_eq!(read_with(&early, value, &products()).unwrap().1.len(), 1);
    assert_eq!(read_with(&late, value, &products()).unwrap().1.len(), 0);
}

#[test]
fn a_list_that_is_empty_or_not_there_contributes_nothing() {
    let plan = plan("explode: {as: item, value: event.items}");
    for value in [r#"{"items": []}"#, r#"{"items": null}"#, "{}"] {
        assert_eq!(contributed(&plan, value), NONE, "{value}");
    }
    assert_eq!(contributed(&plan, r#"{"items": [1, [2], {}]}"#).len(), 3);
    assert_eq!(
        cause(read(&plan, r#"{"items": {}}"#)),
        "explode.value: `event.items` is an object or array, where a list is needed"
    );
}

#[test]
fn a_list_may_be_computed() {
    let plan = plan(
        "explode: {as: item, value: \"event.items.filter(i, i.quantity > 1)\"}
         measures: [{name: items, sum: item.quantity}]",
    );
    let value = r#"{"items": [{"quantity": 1}, {"quantity": 2}, {"quantity": 3}]}"#;
    assert_eq!(contributed(&plan, value), ["[] 2", "[] 3"]);
}

#[test]
fn an_aggregation_that_cannot_be_evaluated_names_the_field() {
    for (fields, message) in [
        (
            "groupBy: [{name: category, value: product.category}]",
            "groupBy[0].value (`product.category`) can't be evaluated: there is no variable `product` here",
        ),
        ("where: event.", "where (`event.`) is no expression: "),
        (
            "explode: {as: item, value: event.items}\neventTime: item.at",
            "eventTime (`item.at`) can't be evaluated: there is no variable `item` here",
        ),
        (
            "measures: [{name: customers, countDistinct: event.id}]",
            "measures[0].countDistinct is not available in this version",
        ),
        ("measures: [{name: nothing}]", "measures[0] needs exactly one of"),
        ("timeZone: Europe/Madird", "timeZone can't be used: `Europe/Madird` is no time zone"),
        ("format: debezium\nlatestBy: event.id", "latestBy is for `format: json`"),
        ("where: event.at < now", "where refers to `now`"),
    ] {
        let error = planned(fields).unwrap_err().to_string();
        assert!(error.starts_with(message), "{fields}: {error}");
    }
}

proptest! {
    #[test]
    fn equal_values_are_in_equal_groups_whatever_the_record_looks_like(
        name in any::<String>(), number in any::<i64>(), scale in 0_u32..10,
    ) {
        let plan = plan("groupBy: [{name: name, value: event.name}, {name: number, value: event.number}]");
        let plain = serde_json::to_string(&name).unwrap();
        let escaped = name.encode_utf16().fold(String::new(), |text, unit| text + &format!("\\u{unit:04x}"));
        let written = rust_decimal::Decimal::new(number, scale);
        let one = format!(r#"{{"name": {plain}, "number": {written}}}"#);
        let two = format!(r#"{{"number": {number}E-{scale}, "name": "{escaped}"}}"#);
        let found = contributed(&plan, &one);
        prop_assert_eq!(&found, &contributed(&plan, &two));
        let group = found[0].strip_suffix(" 1").unwrap();
        let group: serde_json::Value = serde_json::from_str(group).unwrap();
        prop_assert_eq!(group[0].as_str(), Some(name.as_str()));
    }
}
