//! What has to hold of any text and any value.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::str::FromStr as _;

use acequia_crds::duration::Duration;
use acequia_crds::manifest;
use proptest::prelude::*;
use serde_json::Value;

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "yes", "on", "n", "~", "012", "1_0", "10s", "0x1", "<<", "- a", "{", "a: b"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{1,6}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

fn manifests() -> Vec<Value> {
    ["instashop-cdc", "instashop-events", "instashop-polling", "pizza", "pokemon"]
        .iter()
        .map(|name| {
            let path = format!("{}/tests/manifests/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
            manifest::read(&std::fs::read_to_string(path).unwrap()).unwrap().remove(0).value
        })
        .collect()
}

/// All places in a value.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => {
            map.iter()
                .for_each(|(key, child)| places(child, &format!("{at}/{}", key.replace('/', "~1")), found));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, child)| places(child, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// JSON is YAML.
    #[test]
    fn a_json_text_is_read_as_what_it_says(value in json()) {
        let text = serde_json::to_string(&serde_json::json!({"a": value})).unwrap();
        let read = manifest::read(&text).unwrap().remove(0).value;
        prop_assert_eq!(&read["a"], &value);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,80}") {
        let _ = manifest::lint(&text);
    }

    #[test]
    fn a_duration_reads_back(ms in 0_u64..1_000_000_000_000) {
        let duration = Duration::from_ms(ms);
        prop_assert_eq!(Duration::from_str(&duration.to_string()).unwrap(), duration);
    }

    /// What the schema lets through has a meaning: the types of this crate take all of it.
    #[test]
    fn a_manifest_with_something_else_in_it_is_refused_by_the_schema_or_not_at_all(
        which in 0_usize..5, place in any::<prop::sample::Index>(), other in json(),
    ) {
        let mut manifest = manifests().remove(which);
        let mut found = Vec::new();
        places(&manifest["spec"], "/spec", &mut found);
        let place = place.get(&found);
        *manifest.pointer_mut(place).unwrap() = other;
        let document = manifest::read(&manifest.to_string()).unwrap().remove(0);
        let (pipeline, problems) = document.pipeline();
        prop_assert!(pipeline.is_some() || problems.iter().any(|problem| problem.fix != "correct it"));
        for problem in &problems {
            prop_assert!(problem.fix != "correct it", "{place}: {problem}");
            prop_assert!(problem.line.is_some(), "{place}: {problem}");
        }
    }
}
