use serde_json::json;

use super::*;

fn one(text: &str) -> Document {
    read(text).unwrap().remove(0)
}

#[test]
fn words_mean_what_they_mean_to_kubectl() {
    let cases = [
        ("yes", json!(true)),
        ("on", json!(true)),
        ("y", json!(true)),
        ("Off", json!(false)),
        ("N", json!(false)),
        ("\"yes\"", json!("yes")),
        ("'on'", json!("on")),
        ("~", json!(null)),
        ("012", json!(10)),
        ("0o17", json!(15)),
        ("0x1F", json!(31)),
        ("0b101", json!(5)),
        ("1_000", json!(1000)),
        ("-7", json!(-7)),
        ("5.0", json!(5)),
        ("1.5", json!(1.5)),
        ("1e3", json!(1000)),
        ("1.5.2", json!("1.5.2")),
        ("10s", json!("10s")),
        ("2024-01-02", json!("2024-01-02")),
        ("12:30:45", json!("12:30:45")),
        ("09", json!(9)),
        ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ("!!str 10", json!("10")),
        ("1-2", json!("1-2")),
        ("+", json!("+")),
    ];
    for (text, expected) in cases {
        assert_eq!(one(&format!("a: {text}")).value["a"], expected, "{text}");
    }
}

#[test]
fn keys_that_are_no_text_become_text() {
    assert_eq!(one("{y: 1, 2: b, \"on\": 3}").value, json!({"true": 1, "2": "b", "on": 3}));
}

#[test]
fn documents_are_told_apart_and_empty_ones_are_left_out() {
    let text = "---\n# nothing\n---\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: a, namespace: b}\ndata: {x.sql: 'SELECT 1', n: 1}\n---\napiVersion: apps/v1\nkind: Deployment\n";
    let documents = read(text).unwrap();
    assert_eq!(documents.len(), 2);
    assert_eq!(documents[0].subject, Subject::ConfigMap);
    assert_eq!((documents[0].name.as_str(), documents[0].namespace.as_deref()), ("a", Some("b")));
    assert_eq!(documents[0].config_map_data(), [("x.sql".to_owned(), "SELECT 1".to_owned())].into());
    assert_eq!(documents[1].subject, Subject::Other("apps/v1".to_owned(), "Deployment".to_owned()));
}

#[test]
fn a_key_that_is_there_twice_is_refused_with_its_place() {
    let problems = read("a:\n  b: 1\n  c: 2\n  b: 3\n").unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].path.as_str(), problems[0].line, problems[0].column), ("a.b", Some(4), Some(3)));
}

#[test]
fn what_is_not_yaml_is_refused_with_its_place() {
    let problems = read("a: [1, 2\nb: }\n").unwrap_err();
    assert!(problems[0].message.starts_with("this is not YAML: "), "{problems:?}");
    assert_eq!(problems[0].line, Some(2));
}

#[test]
fn aliases_and_merges_work_and_cannot_explode() {
    let document = one("base: &b {x: 1, y: 2}\nmore: {<<: *b, x: 3}\n");
    assert_eq!(document.value["more"], json!({"x": 3, "true": 2}));
    let levels = (1..12).map(|level| {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        format!("a{level}: &a{level} [{below}]")
    });
    let bomb: Vec<String> = std::iter::once("a0: &a0 [x, x, x, x, x]".to_owned()).chain(levels).collect();
    let bomb = bomb.join("\n");
    assert!(read(&bomb).unwrap_err()[0].message.contains("too large"));
}

#[test]
fn every_field_has_its_place() {
    let document = one("spec:\n  list:\n    - {name: a}\n    - name: 'b'\n");
    let at = |path: &str, spot| document.find(path, spot);
    assert_eq!(at("spec.list[0].name", Spot::Value), Some((3, 14)));
    assert_eq!(at("spec.list[0].name", Spot::Key), Some((3, 8)));
    assert_eq!(at("spec.list[1].name", Spot::Character(0)), Some((4, 14)));
    assert_eq!(at("spec.list[1].missing.deeper", Spot::Value), Some((4, 7)));
    assert_eq!(at("nowhere", Spot::Value), Some((1, 1)));
}
