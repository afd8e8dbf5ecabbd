use std::collections::BTreeMap;

use acequia_crds::pipeline::sink::Column;
use proptest::prelude::*;

use super::*;
use crate::postgres::copy::{HEADER, TRAILER};

pub(super) fn column(name: &str, type_name: &str) -> Column {
    Column { name: name.to_owned(), type_name: type_name.to_owned(), value: None, optional: false }
}

pub(super) fn record(value: &[u8]) -> RecordView<'_> {
    RecordView {
        topic: "transactions",
        partition: 0,
        offset: 0,
        timestamp_ms: 0,
        now_ms: 0,
        key: Some(b"k"),
        value,
    }
}

fn encoded(type_name: &str, json: &str) -> Result<Vec<u8>, String> {
    let plan = RowPlan::new(&[column("x", type_name)]).map_err(|error| error.to_string())?;
    let mut out = CopyBuffer::default();
    let value = format!("{{\"x\": {json}}}");
    plan.encode(&record(value.as_bytes()), &mut out).map_err(|error| error.to_string())?;
    let mut rows = decode_copy(&[HEADER, out.rows(0, 1), TRAILER].concat());
    assert_eq!(rows.len(), 1);
    Ok(rows.remove(0).remove(0).expect("not null"))
}

/// Rows of a whole COPY stream, by the format's documentation alone.
fn decode_copy(stream: &[u8]) -> Vec<Vec<Option<Vec<u8>>>> {
    let (signature, mut rest) = stream.split_at(11);
    assert_eq!(signature, b"PGCOPY\n\xff\r\n\0");
    let mut take = |count: usize| {
        let (taken, after) = rest.split_at(count);
        rest = after;
        taken.to_vec()
    };
    assert_eq!(take(8), [0; 8], "no flags, no extension");
    let mut rows = Vec::new();
    loop {
        let fields = i16::from_be_bytes(take(2).try_into().unwrap());
        if fields == -1 {
            assert!(take(0).is_empty() && rest.is_empty());
            return rows;
        }
        let field = |_| {
            let length = i32::from_be_bytes(take(4).try_into().unwrap());
            (length >= 0).then(|| take(length as usize))
        };
        rows.push((0..fields).map(field).collect());
    }
}

/// A numeric's text, from its binary form, digit by digit.
fn numeric_text(bytes: &[u8]) -> String {
    let words: Vec<i16> = bytes.chunks(2).map(|pair| i16::from_be_bytes(pair.try_into().unwrap())).collect();
    let (count, weight, sign, scale) = (words[0] as usize, i32::from(words[1]), words[2], words[3] as usize);
    let groups = &words[4..];
    assert_eq!(groups.len(), count);
    assert!(groups.iter().all(|group| (0..10_000).contains(group)));
    assert!(groups.first() != Some(&0) && groups.last() != Some(&0), "no groups of zeros at the ends");
    let group = |at: i32| usize::try_from(at).ok().and_then(|at| groups.get(at)).copied().unwrap_or(0);
    let four = |group: i16| format!("{group:04}");
    let whole = (0..=weight).map(|at| four(group(at))).collect::<Vec<_>>().concat();
    let fraction = (1..=scale as i32 / 4 + 1).map(|at| four(group(weight + at))).collect::<Vec<_>>().concat();
    let whole = whole.trim_start_matches('0');
    assert!(
        fraction[scale..].bytes().all(|digit| digit == b'0'),
        "no digits beyond the scale: {fraction} {scale}"
    );
    let point = if scale > 0 { "." } else { "" };
    let minus = if sign == 0x4000 { "-" } else { "" };
    format!("{minus}{}{point}{}", if whole.is_empty() { "0" } else { whole }, &fraction[..scale])
}

#[test]
fn values_have_the_bytes_that_the_server_reads() {
    for (type_name, json, expected) in [
        ("bool", "true", &[1][..]),
        ("boolean", "\"f\"", &[0]),
        ("smallint", "-2", &[0xff, 0xfe]),
        ("int", "7.0", &[0, 0, 0, 7]),
        ("int", "\"7\"", &[0, 0, 0, 7]),
        ("bigint", "1e3", &[0, 0, 0, 0, 0, 0, 3, 0xe8]),
        ("float4", "1.5", &[0x3f, 0xc0, 0, 0]),
        ("float8", "1.5", &[0x3f, 0xf8, 0, 0, 0, 0, 0, 0]),
        ("text", "\"caf\\u00e9\"", "café".as_bytes()),
        ("text", "12.50", b"12.50"),
        ("text", "{\"a\": 1}", b"{\"a\": 1}"),
        ("varchar(3)", "\"abc  \"", b"abc  "),
        (
            "uuid",
            "\"00112233-4455-6677-8899-aabbccddeeff\"",
            b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff",
        ),
        ("date", "\"2000-01-02\"", &[0, 0, 0, 1]),
        ("time", "\"00:00:01\"", &[0, 0, 0, 0, 0, 0xf, 0x42, 0x40]),
        ("timestamptz", "\"2000-01-01T01:00:00+01:00\"", &[0; 8]),
        ("timestamp", "946684800000", &[0; 8]),
        ("json", "[1, 2]", b"[1, 2]"),
        ("jsonb", "[1, 2]", b"\x01[1, 2]"),
        ("jsonb", "\"a\\nb\"", b"\x01\"a\\nb\""),
        ("bytea", "\"aGk=\"", b"hi"),
        ("bytea", "\"\\\\x6869\"", b"hi"),
    ] {
        assert_eq!(encoded(type_name, json).as_deref(), Ok(expected), "{type_name} {json}");
    }
}

#[test]
fn what_the_server_would_refuse_is_rejected_before_it_sees_it() {
    for (type_name, json, message) in [
        ("bool", "1", "a number doesn't fit into boolean"),
        ("smallint", "40000", "`40000` is out of the range of smallint"),
        ("int", "2147483648", "`2147483648` is out of the range of integer"),
        ("int", "1.5", "`1.5` isn't a value of integer"),
        ("int", "\"x\"", "`x` isn't a value of integer"),
        ("int", "\"\"", "`` isn't a value of integer"),
        ("int", "1e400", "`1e400` is out of the range of integer"),
        ("bigint", "9223372036854775808", "out of the range of bigint"),
        ("float4", "1e39", "`1e39` is out of the range of real"),
        ("float8", "1e400", "`1e400` is out of the range of double precision"),
        ("float8", "\"inf\"", "`inf` isn't a value of double precision"),
        ("numeric(4,2)", "100", "`100` is out of the range of numeric(4,2)"),
        ("numeric(4,2)", "99.995", "`99.995` is out of the range of numeric(4,2)"),
        ("numeric", "\"1.2.3\"", "`1.2.3` isn't a value of numeric"),
        ("numeric", "1e200000", "`1e200000` is out of the range of numeric"),
        ("numeric", "1e-20000", "`1e-20000` is out of the range of numeric"),
        ("text", "\"a\\u0000b\"", "the text holds a NUL character"),
        ("text", "\"a\\ud800b\"", "half a character"),
        ("varchar(3)", "\"abcd\"", "a text of 4 characters doesn't fit into character varying(3)"),
        ("varchar(3)", "\"éééé\"", "a text of 4 characters doesn't fit"),
        ("char(1)", "\"ab\"", "a text of 2 characters doesn't fit into character(1)"),
        ("uuid", "\"00112233-4455-6677-8899-aabbccddeefg\"", "isn't a value of uuid"),
        ("date", "\"2026-02-29\"", "`2026-02-29` isn't a value of date"),
        ("timestamptz", "\"yesterday\"", "`yesterday` isn't a value of timestamp with time zone"),
        ("timestamptz", "9e18", "out of the range of timestamp with time zone"),
        ("timestamptz", "true", "a boolean doesn't fit into timestamp with time zone"),
        ("jsonb", "{\"a\": \"\\u0000\"}", "the JSON holds a NUL character"),
        ("jsonb", "[\"\\udc00\"]", "the JSON holds half a character"),
        ("jsonb", "[1e99999]", "the JSON holds a number of more digits"),
        ("bytea", "\"a*\"", "`a*` isn't a value of bytea"),
        ("int", "null", "column `x`: the value is null, and the column isn't `optional`"),
        ("jsonb", "null", "column `x`: the value is null, and the column isn't `optional`"),
        ("int", "1, \"y\": ", "the value isn't JSON"),
    ] {
        let error = encoded(type_name, json).unwrap_err();
        assert!(error.contains(message), "{type_name} {json}: {error}");
    }
}

#[test]
fn a_rejected_record_leaves_the_rows_before_it_as_they_were() {
    let plan = RowPlan::new(&[column("a", "int"), column("b", "int")]).unwrap();
    let mut out = CopyBuffer::default();
    plan.encode(&record(br#"{"a": 1, "b": 2}"#), &mut out).unwrap();
    let before = (out.rows(0, 1).to_vec(), out.len());
    for value in [&br#"{"a": 1}"#[..], br#"{"a": 1, "b": "x"}"#, b"", b"{\"a\": 1", b"[1]", b"\xff"] {
        assert!(plan.encode(&record(value), &mut out).is_err());
        assert_eq!((out.rows(0, out.row_count()).to_vec(), out.len()), before);
    }
    plan.encode(&record(br#"{"b": 3, "a": 4}"#), &mut out).unwrap();
    assert_eq!(out.row_count(), 2);
}

#[test]
fn absent_and_null_are_null_where_the_column_is_optional() {
    let columns = [
        Column { optional: true, ..column("a", "int") },
        Column { optional: true, ..column("b", "jsonb") },
        Column { optional: true, value: Some("event.c.d".to_owned()), ..column("c", "text") },
    ];
    let plan = RowPlan::new(&columns).unwrap();
    let mut out = CopyBuffer::default();
    for value in ["{}", "{\"a\": null, \"b\": null, \"c\": null}", "{\"c\": {\"d\": null}}"] {
        plan.encode(&record(value.as_bytes()), &mut out).unwrap();
    }
    let rows = decode_copy(&[HEADER, out.rows(0, 3), TRAILER].concat());
    assert_eq!(rows, vec![vec![None, None, None]; 3]);
}

#[test]
fn a_wrong_column_is_told_before_any_record() {
    let error = |column: Column| RowPlan::new(&[column]).unwrap_err().to_string();
    assert_eq!(
        error(column("a", "strnig")),
        "column `a`: there is no column type `strnig`; the types are boolean, smallint, integer, bigint, real, double precision, numeric(12,2), text, varchar(80), char(2), uuid, date, time, timestamp, timestamptz, json, jsonb, bytea"
    );
    assert!(
        error(Column { value: Some("event.a =".to_owned()), ..column("a", "int") })
            .starts_with("column `a`: ")
    );
    assert_eq!(
        error(Column { value: Some("product.name".to_owned()), ..column("a", "int") }),
        "column `a`: there is no variable `product` here"
    );
}

#[test]
fn columns_are_filled_by_expressions_too() {
    let computed = |name: &str, type_name: &str, value: &str| Column {
        value: Some(value.to_owned()),
        ..column(name, type_name)
    };
    let columns = [
        computed("total", "numeric(12,2)", "decimal(event.price) * event.quantity"),
        computed("big", "boolean", "event.quantity > 2 && event.status != \"failed\""),
        computed("topic", "text", "topic"),
        computed("key", "text", "key"),
        computed("payload", "jsonb", "event"),
        computed("constant", "numeric(5,2)", "0.1"),
        computed("list", "jsonb", "event.tags.map(t, t + \"!\")"),
    ];
    let plan = RowPlan::new(&columns).unwrap();
    let mut out = CopyBuffer::default();
    let event = br#" {"price": 19.99, "quantity": 3, "status": "paid", "tags": ["a"]} "#;
    plan.encode(&record(event), &mut out).unwrap();
    let row: Vec<_> =
        decode_copy(&[HEADER, out.rows(0, 1), TRAILER].concat()).remove(0).into_iter().flatten().collect();
    assert_eq!(numeric_text(&row[0]), "59.97");
    assert_eq!(row[1], [1]);
    assert_eq!(row[2], b"transactions");
    assert_eq!(row[3], b"k");
    assert_eq!(row[4], [b"\x01", event.trim_ascii()].concat());
    assert_eq!(numeric_text(&row[5]), "0.10");
    assert_eq!(row[6], b"\x01[\"a!\"]");
}

proptest! {
    #[test]
    fn a_numeric_says_what_its_text_says(negative: bool, whole in "0|[1-9][0-9]{0,30}", fraction in "[0-9]{0,30}") {
        let point = if fraction.is_empty() { "" } else { "." };
        let text = format!("{}{whole}{point}{fraction}", if negative { "-" } else { "" });
        let zero = !text.contains(|digit| matches!(digit, '1'..='9'));
        let expected = if zero { text.trim_start_matches('-').to_owned() } else { text.clone() };
        prop_assert_eq!(numeric_text(&encoded("numeric", &text).unwrap()), expected);
    }

    #[test]
    fn an_exponent_moves_the_point(mantissa in 1..1_000_000_i64, exponent in -30..30_i32) {
        let text = format!("{mantissa}e{exponent}");
        let expected = if exponent >= 0 {
            format!("{mantissa}{}", "0".repeat(exponent as usize))
        } else {
                    let width = 1 + exponent.unsigned_abs() as usize;
            let digits = format!("{mantissa:0>width$}");
            let at = digits.len() - exponent.unsigned_abs() as usize;
            format!("{}.{}", &digits[..at], &digits[at..])
        };
        prop_assert_eq!(numeric_text(&encoded("numeric", &text).unwrap()), expected);
    }

    #[test]
    fn a_scale_rounds_half_away_from_zero(millis in -10_000_000..10_000_000_i64) {
        let text = format!("{}{}.{:03}", if millis < 0 { "-" } else { "" }, millis.abs() / 1000, millis.abs() % 1000);
        let cents = (millis.abs() + 5) / 10;
        let sign = if millis < 0 && cents > 0 { "-" } else { "" };
        let expected = format!("{sign}{}.{:02}", cents / 100, cents % 100);
        prop_assert_eq!(numeric_text(&encoded("numeric(12,2)", &text).unwrap()), expected);
    }

    #[test]
    fn texts_and_numbers_come_out_as_they_went_in(text in "[^\0]*", whole: i64, double: f64, flag: bool) {
        prop_assume!(double.is_finite());
        let columns = [column("t", "text"), column("i", "bigint"), column("d", "double precision"), column("b", "bool")];
        let value = BTreeMap::from([
            ("t", serde_json::json!(text)), ("i", whole.into()), ("d", double.into()), ("b", flag.into()),
        ]);
        let value = serde_json::to_string(&value).unwrap();
        let mut out = CopyBuffer::default();
        RowPlan::new(&columns).unwrap().encode(&record(value.as_bytes()), &mut out).unwrap();
        let row = decode_copy(&[HEADER, out.rows(0, 1), TRAILER].concat()).remove(0);
        prop_assert_eq!(row[0].as_deref(), Some(text.as_bytes()));
        prop_assert_eq!(row[1].as_deref(), Some(&whole.to_be_bytes()[..]));
        prop_assert_eq!(row[2].as_deref(), Some(&double.to_be_bytes()[..]));
        prop_assert_eq!(row[3].as_deref(), Some(&[u8::from(flag)][..]));
    }

    #[test]
    fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..60), text in "\\{\"x\": [\"\\\\ud80-9.eE+-]{0,12}\\}") {
        let types = ["numeric(6,2)", "int", "timestamptz", "date", "jsonb", "uuid", "bytea", "varchar(2)", "float4"];
        for type_name in types {
            let plan = RowPlan::new(&[column("x", type_name)]).unwrap();
            let mut out = CopyBuffer::default();
            let _ = plan.encode(&record(&value), &mut out);
            let _ = plan.encode(&record(text.as_bytes()), &mut out);
        }
    }
}
