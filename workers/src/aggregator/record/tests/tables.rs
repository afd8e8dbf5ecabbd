use super::*;

#[test]
fn a_change_event_puts_removes_or_says_nothing_of_its_row() {
    let plan = plan("format: debezium");
    assert!(plan.is_table());
    let key = Some(r#"{"id":5}"#);
    let change = |key, value| plan.change(&record(key, value), &mut plan.scratch());
    let bytes = || std::borrow::Cow::Borrowed(br#"{"id":5}"#.as_slice());
    for op in ["c", "r", "u"] {
        let value = format!(r#"{{"op": "{op}", "before": null, "after": {{"id": 5}}}}"#);
        let mut scratch = plan.scratch();
        assert_eq!(
            plan.change(&record(key, &value), &mut scratch),
            Ok(Change::Put { key: bytes(), is_snapshot: op == "r" }),
            "{op}"
        );
    }
    assert_eq!(
        change(key, r#"{"op": "d", "before": {"id": 5}, "after": null}"#),
        Ok(Change::Remove { key: bytes() })
    );
    assert_eq!(change(None, r#"{"op": "t"}"#), Ok(Change::Truncate));
    assert_eq!(change(None, r#"{"op": "m", "message": {}}"#), Ok(Change::Skip));
    for (key, value) in [
        (None, r#"{"op": "d"}"#),
        (None, r#"{"op": "c", "after": {}}"#),
        (key, r#"{"op": "u", "after": null}"#),
        (key, r#"{"op": "x"}"#),
        (key, r#"{"id": 5}"#),
        (key, "{"),
    ] {
        assert!(change(key, value).is_err(), "{value}");
    }
}

#[test]
fn a_change_event_is_read_as_the_row_after_it() {
    let plan = plan(
        "format: debezium
         groupBy: [{name: status, value: event.status}, {name: op, value: op}]
         measures: [{name: total, sum: event.total}]",
    );
    let value = r#"{"op": "u", "before": {"status": "new", "total": "1.00"}, "after": {"status": "paid", "total": "2.50"}}"#;
    assert_eq!(contributed(&plan, value), [r#"["paid","u"] 2.50"#]);
    let left_out = r#"{"op": "u", "after": {"status": "__debezium_unavailable_value", "total": "1"}}"#;
    assert!(cause(read(&plan, left_out)).contains("REPLICA IDENTITY FULL"));
}

#[test]
fn of_the_records_with_the_same_value_the_latest_is_the_row() {
    let plan = plan("latestBy: event.id");
    assert!(plan.is_table());
    let key = |value: &str| match plan.change(&record(None, value), &mut plan.scratch()) {
        Ok(Change::Put { key, .. }) => Ok(String::from_utf8(key.into_owned()).unwrap()),
        Ok(other) => panic!("{other:?}"),
        Err(rejected) => Err(rejected.cause),
    };
    assert_eq!(key(r#"{"id": 5}"#), key(r#"{"id": 5.0}"#));
    assert_eq!(key(r#"{"id": "a\u0062"}"#), Ok("\"ab\"".to_owned()));
    assert_ne!(key(r#"{"id": "5"}"#), key(r#"{"id": 5}"#));
    let cause = "latestBy: `event.id` is nothing, so there is no telling which row";
    assert_eq!(key("{}"), Err(cause.to_owned()));
}
