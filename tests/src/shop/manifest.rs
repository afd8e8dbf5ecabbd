//! The example's manifests, with names of their own.

use serde_json::Value;

use super::{NAMESPACE, TABLES};
use crate::journal;

/// The columns of the table that holds every change event. The payload is `json`, not `jsonb`, so that it keeps
/// every byte.
const EVENT_COLUMNS: &str = "
- {name: topic, type: text, value: topic}
- {name: key, type: text, value: key}
- {name: op, type: text, value: event.op}
- {name: lsn, type: bigint, value: event.source.lsn}
- {name: transaction, type: bigint, value: event.source.txId, optional: true}
- {name: ts_ms, type: bigint, value: event.source.ts_ms}
- {name: payload, type: json, value: event}
";

/// The Pipeline's name, of a text that databases are called by.
pub(super) fn pipeline_name(name: &str) -> String {
    name.replace('_', "-")
}

/// The example's Pipeline with names of its own, the sink for all events, and everything deleted with it.
pub(super) fn own_pipeline(mut pipeline: Value, name: &str) -> Value {
    pipeline["metadata"]["name"] = pipeline_name(name).into();
    pipeline["metadata"]["namespace"] = NAMESPACE.into();
    let spec = &mut pipeline["spec"];
    spec["deletionPolicy"] = "Delete".into();
    let own = |value: &mut Value| *value = format!("{name}_{}", value.as_str().expect("a name")).into();
    for store in spec["stores"].as_array_mut().expect("stores") {
        if let Some(postgres) = store.get_mut("postgres") {
            own(&mut postgres["database"]);
        }
    }
    for topic in spec["topics"].as_array_mut().expect("topics") {
        own(&mut topic["name"]);
    }
    for source in spec["sources"].as_array_mut().expect("sources") {
        for table in source["debezium"]["tables"].as_array_mut().expect("tables") {
            own(&mut table["topic"]);
        }
    }
    let sinks = spec["sinks"].as_array_mut().expect("sinks");
    sinks[0]["from"].as_array_mut().expect("topics").iter_mut().for_each(own);
    let mut events = sinks[0].clone();
    events["name"] = "events".into();
    events["postgres"] = serde_yaml::from_str("{table: change_events, mode: append}").expect("YAML");
    events["postgres"]["columns"] = serde_yaml::from_str(EVENT_COLUMNS).expect("YAML");
    sinks.push(events);
    for aggregation in spec["aggregations"].as_array_mut().expect("aggregations") {
        own_aggregation(aggregation, name);
    }
    pipeline
}

/// An aggregation with topics and keys of its own. Its table is in a warehouse of its own anyway.
fn own_aggregation(aggregation: &mut Value, name: &str) {
    let own = |value: &mut Value| *value = format!("{name}_{}", value.as_str().expect("a name")).into();
    aggregation["from"].as_array_mut().expect("topics").iter_mut().for_each(own);
    let lookups = aggregation.get_mut("lookups").and_then(Value::as_array_mut);
    lookups.into_iter().flatten().for_each(|lookup| own(&mut lookup["topic"]));
    for measure in aggregation["measures"].as_array_mut().expect("measures") {
        if let Some(filter) = measure.get_mut("where") {
            let text = filter.as_str().expect("an expression");
            *filter = text.replace("topic == \"", &format!("topic == \"{name}_")).into();
        }
    }
    for output in aggregation["to"].as_array_mut().expect("outputs") {
        if let Some(redis) = output.get_mut("redis") {
            redis["key"] = format!("{name}:{}", redis["key"].as_str().expect("a key")).into();
        }
    }
}

/// The example's schema, with a journal in each database from the moment its first rows are in.
pub(super) fn with_journals(mut schema: Value) -> Value {
    schema["metadata"]["namespace"] = NAMESPACE.into();
    for store in ["shop", "crm", "erp", "ecommerce"] {
        let tables = TABLES.iter().filter(|table| table.store == store);
        let tables: Vec<_> = tables.map(|table| (table.name, table.key)).collect();
        let sql = &mut schema["data"][format!("{store}.sql")];
        *sql = format!("{}{}", sql.as_str().expect("SQL"), journal::setup_sql(&tables)).into();
    }
    schema
}
