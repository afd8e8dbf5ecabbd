//! The `CustomResourceDefinition`, generated from the types: `crds/pipelines.acequia.dev.yaml` is this text, and a test fails
//! when it is not.

mod emit;

use std::sync::LazyLock;

use kube::CustomResourceExt;
use serde_json::Value;

use crate::pipeline::Pipeline;

static DEFINITION: LazyLock<Value> = LazyLock::new(|| {
    // The definition is plain structs and maps with text keys, which always serialise.
    let mut definition = serde_json::to_value(Pipeline::crd()).unwrap_or_default();
    tidy(&mut definition);
    definition
});

/// The definition as YAML: always the same text for the same types.
pub fn crd_yaml() -> String {
    let mut text = String::from("# Generated from crds/src/pipeline by `acequia crd`. Do not edit.\n");
    emit::write(&DEFINITION, &mut text);
    text
}

/// The `OpenAPI` schema of the whole object, as the API server gets it.
pub fn schema() -> &'static Value {
    &DEFINITION["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// Takes out what the API server refuses (`additionalProperties: false`) and what says nothing to it: nulls are pruned where
/// `nullable` is absent, formats such as `uint32` are unknown while the bounds are there anyway, and `kubectl explain` shows the
/// field's description, never that of its items.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for inner in ["items", "additionalProperties"] {
                if map.get(inner) == Some(&Value::Bool(false)) {
                    map.remove(inner);
                } else if map.get("type").is_some_and(Value::is_string)
                    && let Some(items) = map.get_mut(inner).and_then(Value::as_object_mut)
                {
                    items.remove("description");
                }
            }
            // Defaults are filled in by this crate, so that a stored object stays as its author wrote it.
            if map.get("type").is_some_and(Value::is_string) {
                map.remove("default");
            }
            if map.get("nullable").is_some_and(Value::is_boolean) {
                map.remove("nullable");
            }
            if map.get("format").is_some_and(Value::is_string) && map.get("type").is_some_and(is_number) {
                map.remove("format");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn is_number(kind: &Value) -> bool {
    kind == "integer" || kind == "number"
}
