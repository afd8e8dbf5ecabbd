//! The committed `CustomResourceDefinition`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use serde_json::Value;

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines.acequia.dev.yaml");
/// A chart can't refer to files outside of it.
const IN_THE_CHART: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../helm/acequia/files/pipelines.acequia.dev.yaml");

#[test]
fn the_committed_definition_is_what_the_types_say() {
    let generated = acequia_crds::crd::crd_yaml();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(COMMITTED, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(committed == generated, "crds/pipelines.acequia.dev.yaml differs from the types: run `make crd`");
    let in_the_chart = std::fs::read_to_string(IN_THE_CHART).unwrap();
    assert!(in_the_chart == generated, "the chart's CRD differs from the types: run `make crd`");
    let line = "\nmetadata: {name: pipelines.acequia.dev}\n";
    assert!(generated.contains(line), "the chart's template adds its annotation to this line");
}

#[test]
fn the_definition_stays_under_64_kilobytes() {
    let size = acequia_crds::crd::crd_yaml().len();
    assert!(size < 65_536, "{size} bytes");
}

#[test]
fn the_text_reads_back_as_the_definition() {
    let text: Value = serde_yaml::from_str(&acequia_crds::crd::crd_yaml()).unwrap();
    let schema = &text["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    assert_eq!(numbers_as_doubles(schema), numbers_as_doubles(acequia_crds::crd::schema()));
}

/// The text writes `1` for the `1.0` of a bound.
fn numbers_as_doubles(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().map(|(key, child)| (key.clone(), numbers_as_doubles(child))).collect()
        }
        Value::Array(items) => items.iter().map(numbers_as_doubles).collect(),
        Value::Number(number) => Value::from(number.as_f64()),
        other => other.clone(),
    }
}

/// A structural schema without bounds would make the API server refuse the rules, or let anybody fill its memory.
#[test]
fn every_list_map_and_text_is_bounded() {
    let mut unbounded = Vec::new();
    find_unbounded(&acequia_crds::crd::schema()["properties"]["spec"], "spec", &mut unbounded);
    assert!(unbounded.is_empty(), "{unbounded:#?}");
}

fn find_unbounded(schema: &Value, path: &str, found: &mut Vec<String>) {
    let bounded = match schema["type"].as_str() {
        Some("array") => schema.get("maxItems").is_some(),
        Some("string") => {
            schema.get("maxLength").is_some()
                || schema.get("pattern").is_some()
                || schema.get("enum").is_some()
        }
        Some("object") if schema.get("additionalProperties").is_some() => {
            schema.get("maxProperties").is_some()
        }
        _ => true,
    };
    if !bounded {
        found.push(path.to_owned());
    }
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        find_unbounded(child, &format!("{path}.{name}"), found);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(child) = schema.get(inner).filter(|child| child.is_object()) {
            find_unbounded(child, &format!("{path}[]"), found);
        }
    }
}

#[test]
fn every_field_is_documented() {
    let mut missing = Vec::new();
    find_undocumented(acequia_crds::crd::schema(), "", &mut missing);
    assert!(missing.is_empty(), "{missing:#?}");
}

fn find_undocumented(schema: &Value, path: &str, missing: &mut Vec<String>) {
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let standard = [".apiVersion", ".kind", ".metadata"].contains(&path.as_str());
        if !standard && child["description"].as_str().is_none_or(str::is_empty) {
            missing.push(path.clone());
        }
        find_undocumented(child, &path, missing);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(child) = schema.get(inner) {
            find_undocumented(child, &format!("{path}[]"), missing);
        }
    }
}

/// kubectl reads YAML 1.1, where these keys are `true` or `false`.
#[test]
fn no_field_is_a_boolean_in_yaml_1_1() {
    let mut keys = Vec::new();
    collect_keys(acequia_crds::crd::schema(), &mut keys);
    for key in keys {
        let lower = key.to_ascii_lowercase();
        assert!(!["y", "n", "yes", "no", "on", "off", "true", "false"].contains(&lower.as_str()), "{key}");
    }
}

fn collect_keys(schema: &Value, keys: &mut Vec<String>) {
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        keys.push(name.clone());
        collect_keys(child, keys);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(child) = schema.get(inner) {
            collect_keys(child, keys);
        }
    }
}
