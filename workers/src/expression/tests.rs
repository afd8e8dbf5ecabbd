use std::collections::BTreeMap;

use acequia_crds::expression::{Expression, Form};

use super::*;

const EVENT: &str = r#"{"id": 7, "price": 19.99, "quantity": 3, "name": "caf\u00e9 \"x\"", "status": "paid", "flag": true,
    "nothing": null, "text_price": "0.10", "big": 12345678901234567890.123456789, "customer": {"id": 42, "tags": ["a", "b"]},
    "items": [{"price": 1.10, "quantity": 2}, {"price": 0.05, "quantity": 1}]}"#;

pub(super) fn record(value: &str) -> RecordView<'_> {
    RecordView {
        topic: "transactions",
        partition: 1,
        offset: 10,
        timestamp_ms: 0,
        now_ms: 1_763_805_600_000,
        key: Some(b"{\"id\": 5}"),
        value: value.as_bytes(),
    }
}

pub(super) fn parsed(text: &str) -> Expression {
    Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(super) fn evaluate(text: &str, value: &str) -> Result<Value<'static>, EvaluationError> {
    let compiled =
        Compiled::new(&parsed(text), Format::Json).unwrap_or_else(|error| panic!("{text}: {error}"));
    compiled.evaluate(&record(value)).map(Value::into_owned)
}

/// The same, whatever the form, by the interpreter.
pub(super) fn interpreted(text: &str, value: &str) -> Result<Value<'static>, EvaluationError> {
    let expression = parsed(text);
    let interpreted = Interpreted::new(&expression).unwrap();
    let mut paths = FieldPaths::default();
    let mut compiling = Compiling { format: Format::Json, paths: &mut paths, documents: &mut [] };
    let sources: Vec<_> =
        interpreted.reads().iter().map(|read| compiling.source(&read.path).unwrap()).collect();
    let program = Program { text: text.to_owned(), work: Work::Interpret(Box::new(interpreted), sources) };
    let mut spans = FieldSpans::default();
    program.evaluate(&record(value), &paths.read(value.as_bytes(), &mut spans)?).map(Value::into_owned)
}

fn decimal(text: &str) -> Value<'static> {
    Value::Decimal(text.parse().unwrap())
}

fn text(text: &str) -> Value<'static> {
    Value::Text(text.to_owned().into())
}

#[test]
fn a_path_reads_what_stands_there() {
    for (expression, expected) in [
        ("event.price", Value::Number("19.99".into())),
        ("event.big", Value::Number("12345678901234567890.123456789".into())),
        ("event.name", text("café \"x\"")),
        ("event.flag", Value::Bool(true)),
        ("event.nothing", Value::Null),
        ("event.missing", Value::Absent),
        ("event.price.deeper", Value::Absent),
        ("event.customer.id", Value::Number("42".into())),
        ("event.customer.tags", Value::Json("[\"a\", \"b\"]".into())),
        ("event.customer", Value::Json("{\"id\": 42, \"tags\": [\"a\", \"b\"]}".into())),
        ("event", Value::Json(EVENT.into())),
        ("topic", text("transactions")),
        ("key", text("{\"id\": 5}")),
        ("key.id", Value::Number("5".into())),
        ("now", Value::Timestamp(1_763_805_600_000_000)),
        ("-1.50", Value::Number("-1.5".into())),
    ] {
        assert_eq!(evaluate(expression, EVENT), Ok(expected), "{expression}");
    }
}

#[test]
fn of_equal_names_the_last_counts_with_all_that_is_below_it() {
    assert_eq!(evaluate("event.a", r#"{"a": 1, "a": 2}"#), Ok(Value::Number("2".into())));
    assert_eq!(evaluate("event.a.b", r#"{"a": {"b": 1}, "a": {"c": 2}}"#), Ok(Value::Absent));
    assert_eq!(evaluate("event.a.b", r#"{"a": {"b": 1}, "a": 2}"#), Ok(Value::Absent));
    assert_eq!(evaluate("event.\u{61}", r#"{"\u0061": 1}"#), Ok(Value::Number("1".into())));
}

#[test]
fn what_is_not_json_to_its_end_has_no_value() {
    for value in [
        "",
        " ",
        "{",
        "{\"id\": 7",
        "{\"id\": 7}}",
        "{\"id\": 7} x",
        "{\"id\": 07}",
        "{\"id\": 7,}",
        "{id: 7}",
        "{\"id\": 'x'}",
        "{\"id\": 7, \"x\": tru}",
        "{\"id\": 7, \"x\": \"\\x\"}",
        "{\"id\": 7, \"x\": \"a\nb\"}",
        "{\"id\": 7, \"x\": \"twelve bytes\u{1f}and more than eight\"}",
        "{\"id\": 1.}",
        "{\"id\": 1e}",
        "{\"id\": 7, \"x\": \"\\u12g4\"}",
        "{\"id\" 7}",
        "[1, 2",
        "{\"id\": 7, \"x\": [1 2]}",
        "NaN",
        "{\"id\": +1}",
    ] {
        let result = evaluate("event.id", value);
        assert!(matches!(result, Err(EvaluationError::Undecodable(_))), "{value}: {result:?}");
        assert!(serde_json::from_str::<serde_json::Value>(value).is_err(), "{value}");
    }
    let mut broken = record("");
    broken.value = b"{\"id\": \"\xff\"}";
    let compiled = Compiled::new(&parsed("event.id"), Format::Json).unwrap();
    assert_eq!(compiled.evaluate(&broken), Err(EvaluationError::Undecodable(Undecodable::NotUtf8 { at: 8 })));
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert_eq!(evaluate("event", &deep), Err(EvaluationError::Undecodable(Undecodable::TooDeep { at: 128 })));
}

#[test]
fn decimals_are_exact() {
    for (expression, expected) in [
        ("decimal(event.price) * event.quantity", decimal("59.97")),
        ("event.quantity * decimal(event.price)", decimal("59.97")),
        ("2 * decimal(event.price) + 0.01", decimal("39.99")),
        ("decimal(event.text_price) + decimal(\"0.20\")", decimal("0.30")),
        ("decimal(event.price) - 20", decimal("-0.01")),
        ("-decimal(event.price)", decimal("-19.99")),
        ("decimal(event.price) / 2", decimal("9.995")),
        ("decimal(event.big)", decimal("12345678901234567890.123456789")),
        ("event.items.map(i, decimal(i.price) * i.quantity)", Value::Json("[2.20,0.05]".into())),
        ("decimal(event.price) > 19.98", Value::Bool(true)),
        ("19.99 == decimal(event.price)", Value::Bool(true)),
        ("decimal(event.text_price) * 3 == decimal(\"0.3\")", Value::Bool(true)),
        ("decimal(event.price) < event.quantity", Value::Bool(false)),
        ("decimal(event.price) in [1, 19.99]", Value::Bool(true)),
        ("event.flag ? decimal(event.price) : decimal(0)", decimal("19.99")),
        ("string(decimal(event.text_price))", text("0.10")),
        ("int(decimal(event.price))", Value::Int(19)),
        ("{\"total\": decimal(event.price)}", Value::Json("{\"total\":19.99}".into())),
    ] {
        assert_eq!(evaluate(expression, EVENT), Ok(expected), "{expression}");
    }
}

#[test]
fn what_no_decimal_holds_is_an_error_and_never_a_double() {
    for (expression, message) in [
        ("decimal(event.big) * decimal(event.big)", "needs more than 28 digits"),
        (
            "decimal(\"0.00000000000000000001\") * decimal(\"0.00000000000000000001\")",
            "needs more than 28 digits",
        ),
        ("decimal(\"79228162514264337593543950335\") + decimal(\"0.5\")", "needs more than 28 digits"),
        ("decimal(\"79228162514264337593543950335\") + 1", "needs more than 28 digits"),
        ("decimal(\"1e40\")", "needs more than 28 digits"),
        ("decimal(\"abc\")", "`abc` isn't a decimal number"),
        ("decimal(event.price) / 0", "division of 19.99 by zero"),
        ("decimal(event.price / 3.0)", "isn't exact"),
        ("decimal(event.price) + event.price / 3.0", "isn't exact"),
        ("decimal(event.flag)", "a bool isn't a number"),
        ("decimal(event.nothing)", "isn't a number"),
        ("decimal(event.missing)", "`event.missing` is missing"),
        ("decimal(event.price) + event.name", "`+` doesn't go with decimal and string"),
    ] {
        let error = evaluate(expression, EVENT).unwrap_err().to_string();
        assert!(error.contains(message), "{expression}: {error}");
    }
}

#[test]
fn a_decimal_reads_every_way_to_write_a_number() {
    for (written, expected) in [
        ("1.5e3", "1500"),
        ("15E-1", "1.5"),
        ("-0.0", "0.0"),
        ("1e28", "10000000000000000000000000000"),
        ("0e99", "0"),
    ] {
        assert_eq!(parse_decimal(written), Ok(expected.parse().unwrap()), "{written}");
    }
    for wrong in ["", "-", ".5", "1.2.3", "1_000", "0x1", "1e", "1e1.5", "--1", "+1", " 1", "١"] {
        assert!(parse_decimal(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn whole_and_fractional_numbers_of_json_mix() {
    assert_eq!(evaluate("event.price * event.quantity", EVENT), Ok(Value::Double(19.99 * 3.0)));
    assert_eq!(evaluate("event.quantity + 0.5", EVENT), Ok(Value::Double(3.5)));
    assert_eq!(evaluate("event.quantity / 2", EVENT), Ok(Value::Int(1)));
}

#[test]
fn conditions_are_decided_natively_as_the_interpreter_would() {
    let conditions = [
        "event.status == \"paid\"",
        "event.status != \"paid\"",
        "event.price > 10",
        "event.price <= 19.99",
        "10 < event.price",
        "event.id == 7.0",
        "event.id in [1, 7]",
        "event.status in [\"x\"]",
        "event.nothing == null",
        "event.flag == null",
        "!event.flag",
        "event.flag && event.id == 7",
        "event.flag || event.missing",
        "event.missing || event.flag",
        "event.missing == 1",
        "event.missing && event.flag",
        "event.flag && event.missing > 1",
        "!event.flag && event.missing",
        "event.missing && !event.flag",
        "event.status > 1",
        "event.status == 1",
        "event.status && event.flag",
        "event.flag || event.status",
        "topic == \"transactions\"",
        "event.customer.id >= 42",
        "event.name == 'café \"x\"'",
        "event.nothing > 1",
        "event.items == 1",
        "event.big > 1.0",
    ];
    for condition in conditions {
        assert!(matches!(parsed(condition).form(), Form::Predicate(_)), "{condition}");
        let (native, slow) = (evaluate(condition, EVENT), interpreted(condition, EVENT));
        assert_eq!(native.as_ref().ok(), slow.as_ref().ok(), "{condition}: {native:?} {slow:?}");
    }
    assert_eq!(evaluate("event.missing || event.flag", EVENT), Ok(Value::Bool(true)));
    assert!(matches!(evaluate("event.missing == 1", EVENT), Err(EvaluationError::Absent { .. })));
}

#[test]
fn the_interpreter_does_the_rest() {
    for (expression, expected) in [
        ("has(event.price)", Value::Bool(true)),
        ("has(event.customer.missing)", Value::Bool(false)),
        ("has(event.missing.deeper)", Value::Bool(false)),
        ("event.items[0].price", Value::Double(1.10)),
        ("event.items.filter(i, i.quantity > 1).size()", Value::Int(1)),
        ("event.items.map(event, event.quantity)", Value::Json("[2,1]".into())),
        ("event.items.exists(i, i.price > 1.0)", Value::Bool(true)),
        ("event.name.startsWith(\"caf\") && !has(event.x)", Value::Bool(true)),
        ("event.status + \"-\" + string(event.id)", text("paid-7")),
        ("event.customer.tags[1] + topic", text("btransactions")),
        ("size(event) > 3 && event.id == 7", Value::Bool(true)),
        ("event[\"id\"]", Value::Int(7)),
        ("\"id\" in event", Value::Bool(true)),
        ("{\"b\": [1, null], \"a\": event.customer.id}", Value::Json("{\"a\":42,\"b\":[1,null]}".into())),
        ("timestamp(\"2026-11-22T10:00:00Z\")", Value::Timestamp(1_795_341_600_000_000)),
        ("now - duration(\"1h\")", Value::Timestamp(1_763_802_000_000_000)),
        ("timestamp(\"2026-11-22T10:00:00Z\").getFullYear()", Value::Int(2026)),
        ("event.name.matches(\"^caf\")", Value::Bool(true)),
        ("type(event.id) == int", Value::Bool(true)),
        ("event.id % 4", Value::Int(3)),
    ] {
        assert_eq!(evaluate(expression, EVENT), Ok(expected), "{expression}");
    }
}

#[test]
fn what_goes_wrong_is_told_in_words() {
    for (expression, message) in [
        ("event.missing + 1", "`event.missing + 1` has no value: `event.missing` is missing"),
        ("event.status * 2", "`event.status * 2` has no value: `*` doesn't go with string and int"),
        ("event.id / 0", "has no value: division by zero"),
        ("duration(\"1h\")", "can't leave an expression"),
        ("event.id > \"x\"", "`event.id` is a number, which has no order with a text"),
        ("9223372036854775807 + event.id", "out of the range of a whole number"),
    ] {
        let error = evaluate(expression, EVENT).unwrap_err().to_string();
        assert!(error.contains(message), "{expression}: {error}");
    }
}

#[test]
fn a_change_event_is_read_as_its_row() {
    let change = r#"{"before": {"id": 1, "status": "old"}, "after": {"id": 1, "status": "new"}, "source": {"lsn": 5}, "op": "u"}"#;
    let value = |text: &str| {
        let compiled = Compiled::new(&parsed(text), Format::Debezium).unwrap();
        compiled.evaluate(&record(change)).map(Value::into_owned)
    };
    assert_eq!(value("event.status"), Ok(text("new")));
    assert_eq!(value("op"), Ok(text("u")));
    assert_eq!(value("source.lsn"), Ok(Value::Number("5".into())));
    assert_eq!(value("op == \"u\" && event.id == 1"), Ok(Value::Bool(true)));
    assert_eq!(value("decimal(event.id) + source.lsn"), Ok(decimal("6")));
}

#[test]
fn what_records_do_not_have_is_refused() {
    let error = |text: &str| Compiled::new(&parsed(text), Format::Json).unwrap_err().to_string();
    assert_eq!(error("product.price"), "there is no variable `product` here");
    assert_eq!(error("op == \"u\""), "there is no variable `op` here");
    assert_eq!(error("headers.x"), "`headers` is not available in this version (in `headers.x`)");
    assert_eq!(
        error("event.stats.toMap(s, s.a, s.b)"),
        "`toMap` is not available in this version (in `event.stats.toMap(s, s.a, s.b)`)"
    );
}

#[test]
fn expressions_over_the_fields_of_a_row_being_made() {
    let values = BTreeMap::from([
        ("price".to_owned(), serde_json::json!("19.99")),
        ("rate".to_owned(), serde_json::json!(0.1)),
        ("quantity".to_owned(), serde_json::json!(3)),
        ("customer".to_owned(), serde_json::json!({"name": "Ada"})),
    ]);
    let value = |text: &str| FieldExpression::new(&parsed(text)).unwrap().evaluate(&values);
    assert_eq!(value("decimal(price) * quantity"), Ok(decimal("59.97")));
    assert_eq!(value("decimal(rate) * 3"), Ok(decimal("0.3")));
    assert_eq!(value("customer.name + \"!\""), Ok(text("Ada!")));
    assert_eq!(value("quantity"), Ok(Value::Int(3)));
    assert!(matches!(value("missing"), Err(EvaluationError::Absent { .. })));
}
