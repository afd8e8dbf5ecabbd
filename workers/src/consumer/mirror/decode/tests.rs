use super::super::MirrorColumn;
use super::*;

fn table(partitions: usize) -> MirrorTable {
    let column = |name: &str, kind| MirrorColumn { name: name.into(), type_sql: "text".into(), kind };
    MirrorTable::new(
        "orders".into(),
        vec![
            column("id", ColumnKind::Scalar),
            column("note", ColumnKind::Scalar),
            column("photo", ColumnKind::Bytes),
            column("tags", ColumnKind::Array),
        ],
        &["id".to_owned()],
        partitions,
    )
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

fn change(value: &str) -> Result<Change, Undecodable> {
    decode(&table(3), Some(br#"{"id":7}"#), value.as_bytes())
}

#[test]
fn create_read_and_update_put_the_row() {
    for op in ["c", "r", "u"] {
        let value = format!(
            r#"{{"before":null,"after":{{"id":7,"note":"a\"b","photo":"AP8=","tags":["x","y z"]}},"source":{{"lsn":1}},"op":"{op}","ts_ms":1}}"#
        );
        let Ok(Change::Put { key, cells }) = change(&value) else { panic!("{op}") };
        assert_eq!(key, ["7"]);
        assert_eq!(cells[..3], [text("7"), text("a\"b"), text("\\x00ff")]);
        assert!(matches!(&cells[3], Cell::Text(array) if array.starts_with('{')));
    }
}

#[test]
fn a_delete_takes_the_key_of_the_record() {
    let expected = Change::Delete { key: vec!["7".into()] };
    assert_eq!(change(r#"{"op":"d","before":{"id":7,"note":null},"after":null}"#), Ok(expected.clone()));
    assert_eq!(change(r#"{"op":"d","before":null,"after":null}"#), Ok(expected.clone()));
    assert_eq!(decode(&table(3), None, br#"{"op":"d","before":{"id":7}}"#), Ok(expected));
}

#[test]
fn a_value_left_out_by_the_source_is_unchanged_and_never_text() {
    let value = format!(
        r#"{{"op":"u","after":{{"id":7,"note":"{UNAVAILABLE}","photo":"{UNAVAILABLE_BASE64}","tags":["{UNAVAILABLE}"]}}}}"#
    );
    let Ok(Change::Put { cells, .. }) = change(&value) else { panic!("not a put") };
    assert_eq!(cells[1..], [Cell::Unchanged, Cell::Unchanged, Cell::Unchanged]);
}

#[test]
fn an_array_left_out_by_the_source_is_unchanged_whatever_its_type() {
    let bytes = UNAVAILABLE.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(",");
    for tags in
        [format!("[{bytes}]"), format!("[\"{UNAVAILABLE_UUID}\"]"), format!("[\"{UNAVAILABLE_BASE64}\"]")]
    {
        let value = format!(r#"{{"op":"u","after":{{"id":7,"note":{tags},"tags":{tags}}}}}"#);
        let Ok(Change::Put { cells, .. }) = change(&value) else { panic!("{value}") };
        assert_eq!((&cells[1], &cells[3]), (&Cell::Unchanged, &Cell::Unchanged), "{value}");
    }
    let hstore = serde_json::to_string(UNAVAILABLE_HSTORE).unwrap();
    let Ok(Change::Put { cells, .. }) =
        change(&format!(r#"{{"op":"u","after":{{"id":7,"note":{hstore}}}}}"#))
    else {
        panic!("not a put")
    };
    assert_eq!(cells[1], Cell::Unchanged);
}

#[test]
fn a_new_key_without_the_large_values_is_refused_rather_than_stored_as_null() {
    let value = format!(r#"{{"op":"c","after":{{"id":7,"note":"{UNAVAILABLE}"}}}}"#);
    assert!(matches!(change(&value), Err(Undecodable::Refused(_))));
}

#[test]
fn a_delete_that_names_no_row_stops_the_mirror() {
    for (key, value) in [
        (None, r#"{"op":"d","before":null}"#),
        (Some(br#"{"other":1}"#.as_slice()), r#"{"op":"d","before":null}"#),
        (None, r#"{"op":"d","before":{"id":null}}"#),
    ] {
        let decoded = decode(&table(3), key, value.as_bytes());
        assert!(!matches!(decoded, Ok(_) | Err(Undecodable::Malformed(_))), "{decoded:?}");
    }
    let scalar_key = decode(&table(3), Some(b"7"), br#"{"op":"d","before":{"id":7}}"#);
    assert_eq!(scalar_key, Ok(Change::Delete { key: vec!["7".into()] }));
}

#[test]
fn a_null_is_not_unchanged_and_a_missing_field_is() {
    let Ok(Change::Put { cells, .. }) = change(r#"{"op":"c","after":{"id":7,"note":null}}"#) else {
        panic!("not a put")
    };
    assert_eq!(cells[1..], [Cell::Null, Cell::Unchanged, Cell::Unchanged]);
}

#[test]
fn what_is_no_change_event_is_malformed() {
    for value in
        ["", "{", "[]", "1", r#"{"op":"c"}"#, r#"{"op":"x","after":{}}"#, r#"{"op":"c","after":{"id":null}}"#]
    {
        assert!(matches!(change(value), Err(Undecodable::Malformed(_))), "{value}");
    }
    assert!(matches!(decode(&table(1), None, b"\xff"), Err(Undecodable::Malformed(_))));
}

#[test]
fn a_new_column_asks_for_the_catalogue() {
    let value = r#"{"op":"c","after":{"id":7,"colour":"red"}}"#;
    assert_eq!(change(value), Err(Undecodable::UnknownFields(["colour".to_owned()].into())));
    let mut known = table(3);
    known.ignored.insert("colour".into());
    assert!(decode(&known, None, value.as_bytes()).is_ok());
}

#[test]
fn a_truncate_is_refused_above_one_partition() {
    let value = br#"{"op":"t","before":null,"after":null}"#;
    assert!(matches!(decode(&table(3), None, value), Err(Undecodable::Refused(_))));
    assert_eq!(decode(&table(1), None, value), Ok(Change::Truncate));
}
