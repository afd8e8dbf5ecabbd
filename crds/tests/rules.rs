//! The rules of the CRD, evaluated in this process as the API server does: each accepts what is right and rejects one mistake.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeSet;

use acequia_crds::{crd, manifest};
use serde_json::Value;

/// What everything below stands in.
const BASE: &str = "
spec:
  kafka: {bootstrapServers: 'kafka:9092'}
  connect: {url: 'http://connect:8083'}
  stores:
    - {name: shop, postgres: {host: db, database: shop, credentialsSecret: db}}
    - {name: metrics, redis: {address: 'redis:6379'}}
  topics: [{name: orders}, {name: items}]
";

/// Part of the message, a spec that is right, and the same with the mistake.
const CASES: &[(&str, &str, &str)] = &[
    (
        "spec.connect is missing",
        "  sources: [{name: a, http: {}, topic: orders}]",
        "  connect: null\n  sources: [{name: a, connector: {class: x}}]",
    ),
    (
        "spec.generators: `store`",
        "  generators: [{templates: [{rows: [{store: shop, values: {}}]}]}]",
        "  generators: [{templates: [{rows: [{store: metrics, values: {}}]}]}]",
    ),
    (
        "`debezium.store` is no postgres",
        "  sources: [{debezium: {store: shop, tables: [{topic: orders}]}}]",
        "  sources: [{debezium: {store: metrics, tables: [{topic: orders}]}}]",
    ),
    (
        "`topic` of a table",
        "  sources: [{debezium: {store: shop, tables: [{topic: orders}, {topic: items}]}}]",
        "  sources: [{debezium: {store: shop, tables: [{topic: orders}, {topic: item}]}}]",
    ),
    (
        "`sql.store` is no postgres",
        "  sources: [{sql: {store: shop}, topic: orders}]",
        "  sources: [{sql: {store: other}, topic: orders}]",
    ),
    (
        "spec.sources: `topic` is not",
        "  sources: [{sql: {store: shop}, topic: orders}]",
        "  sources: [{sql: {store: shop}, topic: order}]",
    ),
    (
        "`from` or `to`",
        "  transforms: [{from: [orders], to: items}]",
        "  transforms: [{from: [orders], to: item}]",
    ),
    (
        "spec.sinks: `store`",
        "  sinks: [{from: [orders], store: shop, cassandra: {}}]",
        "  sinks: [{from: [orders], store: dwh, cassandra: {}}]",
    ),
    (
        "spec.sinks: `from`",
        "  sinks: [{from: [orders, items], store: shop, cassandra: {}}]",
        "  sinks: [{from: [orders, item], store: shop, cassandra: {}}]",
    ),
    (
        "spec.aggregations: `from`",
        "  aggregations: [{from: [orders], measures: [], to: []}]",
        "  aggregations: [{from: [order], measures: [], to: []}]",
    ),
    (
        "`to[].store`",
        "  aggregations: [{from: [orders], measures: [], to: [{store: metrics, redis: {}}]}]",
        "  aggregations: [{from: [orders], measures: [], to: [{store: metric, redis: {}}]}]",
    ),
    (
        "spec.gateway.endpoints: `store`",
        "  gateway: {endpoints: [{path: /api/a, store: shop, query: x}]}",
        "  gateway: {endpoints: [{path: /api/a, store: dwh, query: x}]}",
    ),
    (
        "`sasl.mechanism: PLAIN`",
        "  kafka: {tls: {}, sasl: {mechanism: PLAIN}}",
        "  kafka: {sasl: {mechanism: PLAIN}}",
    ),
    (
        "`external` and `adopt`",
        "  topics: [{name: a, external: true}]",
        "  topics: [{name: a, external: true, adopt: true}]",
    ),
    (
        "`min` is above `max`",
        "  workers: {replicas: {min: 1, max: 3}}",
        "  workers: {replicas: {min: 3, max: 1}}",
    ),
    (
        "`from` is above `to`",
        "  sources: [{http: {iterate: {from: 1, to: 9}}, topic: orders}]",
        "  sources: [{http: {iterate: {from: 9, to: 1}}, topic: orders}]",
    ),
    (
        "`default` is above `max`",
        "  gateway: {endpoints: [{path: /api/a, store: shop, query: x, limit: {default: 1, max: 2}}]}",
        "  gateway: {endpoints: [{path: /api/a, store: shop, query: x, limit: {default: 3, max: 2}}]}",
    ),
    (
        "either `rows` or an `event`",
        "  generators: [{templates: [{event: {}}]}]",
        "  generators: [{templates: [{event: {}, rows: []}]}]",
    ),
    (
        "exactly one of `values`",
        "  generators: [{templates: [{rows: [{store: shop, update: {}, where: {}}]}]}]",
        "  generators: [{templates: [{rows: [{store: shop, update: {}, delete: {}, where: {}}]}]}]",
    ),
    (
        "`where` belongs to",
        "  generators: [{templates: [{rows: [{store: shop, delete: {}, where: {}}]}]}]",
        "  generators: [{templates: [{rows: [{store: shop, delete: {}}]}]}]",
    ),
    (
        "`children` belong to",
        "  generators: [{templates: [{rows: [{store: shop, values: {}, children: []}]}]}]",
        "  generators: [{templates: [{rows: [{store: shop, delete: {}, where: {}, children: []}]}]}]",
    ),
    (
        "a source needs exactly one",
        "  sources: [{csv: {url: x, columns: []}, topic: orders}]",
        "  sources: [{csv: {url: x, columns: []}, http: {}, topic: orders}]",
    ),
    ("`topic` is needed for", "  sources: [{http: {}, topic: orders}]", "  sources: [{http: {}}]"),
    (
        "`key` and `select`",
        "  sources: [{http: {}, key: id, topic: orders}]",
        "  sources: [{connector: {}, key: id}]",
    ),
    (
        "a csv source needs",
        "  sources: [{csv: {url: x, columns: []}, topic: orders}]",
        "  sources: [{csv: {columns: []}, topic: orders}]",
    ),
    (
        "a sink needs exactly one",
        "  sinks: [{from: [orders], store: shop, postgres: {mode: mirror}}]",
        "  sinks: [{from: [orders], store: shop, postgres: {mode: mirror}, cassandra: {}}]",
    ),
    (
        "`append` and `upsert` need",
        "  sinks: [{from: [orders], store: shop, postgres: {mode: append, table: a, columns: []}}]",
        "  sinks: [{from: [orders], store: shop, postgres: {mode: append, table: a}}]",
    ),
    (
        "`upsert` needs `key`",
        "  sinks: [{from: [orders], store: shop, postgres: {mode: upsert, table: a, columns: [], key: []}}]",
        "  sinks: [{from: [orders], store: shop, postgres: {mode: upsert, table: a, columns: []}}]",
    ),
    (
        "`append` adds every record",
        "  sinks: [{from: [orders], store: shop, postgres: {mode: append, table: a, columns: []}}]",
        "  sinks: [{from: [orders], store: shop, postgres: {mode: append, table: a, columns: [], key: []}}]",
    ),
    (
        "`latestBy` is for",
        "  aggregations: [{from: [orders], latestBy: x, measures: [], to: []}]",
        "  aggregations: [{from: [orders], latestBy: x, format: debezium, measures: [], to: []}]",
    ),
    (
        "a measure needs exactly one",
        "  aggregations: [{from: [orders], measures: [{name: a, count: {}}], to: []}]",
        "  aggregations: [{from: [orders], measures: [{name: a, count: {}, sum: x}], to: []}]",
    ),
    (
        "an output needs exactly one",
        "  aggregations: [{from: [orders], measures: [], to: [{topic: items}]}]",
        "  aggregations: [{from: [orders], measures: [], to: [{store: shop, redis: {}, postgres: {}}]}]",
    ),
    (
        "an output into a store",
        "  aggregations: [{from: [orders], measures: [], to: [{store: metrics, redis: {}}]}]",
        "  aggregations: [{from: [orders], measures: [], to: [{redis: {}}]}]",
    ),
    (
        "`dashboard.panels`",
        "  gateway: {endpoints: [{path: /api/a, store: shop, query: x}], dashboard: {panels: [{endpoint: /api/a}]}}",
        "  gateway: {endpoints: [{path: /api/a, store: shop, query: x}], dashboard: {panels: [{endpoint: /api/b}]}}",
    ),
    (
        "an endpoint needs exactly one",
        "  gateway: {endpoints: [{path: /api/a, store: shop, query: x}]}",
        "  gateway: {endpoints: [{path: /api/a, store: shop, query: x, redis: {}}]}",
    ),
];

/// The base with some sections replaced; a null takes a section out.
fn object(sections: &str) -> Value {
    let mut base = manifest::read(BASE).unwrap().remove(0).value;
    let other = manifest::read(&format!("spec:\n{sections}\n")).unwrap().remove(0).value;
    for (section, value) in other["spec"].as_object().unwrap() {
        let spec = base["spec"].as_object_mut().unwrap();
        if value.is_null() {
            spec.remove(section);
        } else {
            spec.insert(section.clone(), value.clone());
        }
    }
    base
}

fn messages(object: &Value) -> Vec<String> {
    match kube_cel::Validator::new().validate(crd::schema(), object, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.as_slice().iter().map(|error| error.message.clone()).collect(),
    }
}

#[test]
fn each_rule_accepts_what_is_right_and_rejects_one_mistake() {
    for (message, right, wrong) in CASES {
        assert_eq!(messages(&object(right)), Vec::<String>::new(), "{message}: {right}");
        let said = messages(&object(wrong));
        assert!(said.len() == 1 && said[0].contains(message), "{message}: {wrong}: {said:?}");
    }
}

#[test]
fn no_rule_is_without_a_case() {
    let mut rules = BTreeSet::new();
    collect(crd::schema(), &mut rules);
    assert!(rules.len() >= 30, "{}", rules.len());
    for rule in rules {
        assert!(CASES.iter().any(|(message, ..)| rule.contains(message)), "{rule}");
    }
}

fn collect(schema: &Value, rules: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            for rule in map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                rules.insert(rule["message"].as_str().unwrap().to_owned());
            }
            map.values().for_each(|child| collect(child, rules));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, rules)),
        _ => {}
    }
}

#[test]
fn the_target_manifests_break_no_rule() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manifests")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let document = manifest::read(&text).unwrap().remove(0);
            assert_eq!(messages(&document.value), Vec::<String>::new(), "{}", path.display());
        }
    }
}

/// Names are unique by the type of the list, which the API server checks itself.
#[test]
fn lists_of_named_things_are_maps() {
    let spec = &crd::schema()["properties"]["spec"]["properties"];
    for list in ["stores", "topics", "generators", "sources", "transforms", "sinks", "aggregations"] {
        assert_eq!(spec[list]["x-kubernetes-list-type"], "map", "{list}");
        assert_eq!(spec[list]["x-kubernetes-list-map-keys"][0], "name", "{list}");
    }
}
