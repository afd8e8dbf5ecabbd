use std::collections::BTreeMap;
use std::path::Path;

use super::explain::{Fault, explain};
use super::redact::redact;
use super::trace;

/// `<reason>.<where it was seen>.txt` → its text: what Connect and Debezium 3.7 really said when the fault was made.
fn collected() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect()
}

fn config() -> BTreeMap<String, String> {
    let pairs = [
        ("connector.class", "com.example.Missing"),
        ("database.hostname", "postgres"),
        ("database.port", "5432"),
        ("database.dbname", "instashop"),
        ("database.password", "${dir:/secrets/shop-db:password}"),
        ("database.sslmode", "require"),
        ("publication.name", "acequia_local_default_shop_f"),
        ("slot.name", "acequia_local_default_shop_f"),
        ("table.include.list", r"public\.transaction,public\.nosuch"),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn every_collected_trace_is_recognised() {
    let collected = collected();
    assert!(collected.len() >= 20, "only {} traces", collected.len());
    for (name, text) in collected {
        let reason = name.split('.').next().unwrap();
        let explanation = explain(&redact(&trace::causes(&text)), &config());
        assert_eq!(explanation.fault.as_str(), reason, "{name}: {}", explanation.sentence);
    }
}

#[test]
fn the_sentences_name_the_place_and_the_fix() {
    let sentences: BTreeMap<String, String> = collected()
        .into_iter()
        .map(|(name, text)| (name, explain(&redact(&trace::causes(&text)), &config()).sentence))
        .collect();
    insta::assert_yaml_snapshot!(sentences);
}

#[test]
fn what_is_unknown_keeps_its_own_words() {
    let explanation = explain("something new", &config());
    assert_eq!(explanation.fault, Fault::Other);
    assert_eq!(explanation.sentence, "the connector failed: something new");
}
