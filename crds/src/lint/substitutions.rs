//! `${…}`: Kafka Connect replaces it in every setting it is given, by a Secret or a file of its workers.

use serde_json::Value;

use super::Report;
use crate::manifest::field;

pub(super) fn check(report: &mut Report<'_>) {
    // A spec is plain structs and maps with text keys, which always serialise.
    let spec = serde_json::to_value(report.spec).unwrap_or_default();
    walk(&spec, "spec", report);
}

fn walk(value: &Value, path: &str, report: &mut Report<'_>) {
    match value {
        Value::String(text) if text.contains("${") => {
            let fix = "name a Secret instead: `credentialsSecret`, or `configFrom` of a connector";
            report.add(path, "`${…}` could read Secrets and files of Kafka Connect", fix);
        }
        Value::Object(map) => map.iter().for_each(|(key, child)| walk(child, &field(path, key), report)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, child)| walk(child, &format!("{path}[{index}]"), report));
        }
        _ => {}
    }
}
