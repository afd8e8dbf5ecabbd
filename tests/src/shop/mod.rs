//! InstaShop CDC, as `examples/instashop-cdc` has it, with databases and topics of its own, a second sink that keeps
//! every change event, and a journal in each source; and what must be true of it when all is quiet.

pub mod figures;
mod manifest;
mod redis;
pub mod work;

use std::time::Duration;

use acequia_kafka::log::{OwnedRecord, read_range};
use serde_json::Value;

use crate::acequia::Acequia;
use crate::census::{self, Census};
use crate::check::{Fault, Row, each_once, same_rows};
use crate::cluster::Cluster;
use crate::database::Database;
use crate::journal::{Change, each_change_once};
use crate::stack::{KAFKA_DEADLINE, Stack, root, unique};
use crate::wait::until;
use manifest::{own_pipeline, with_journals};

/// Namespace of every Pipeline that tests make; part of each derived name.
const NAMESPACE: &str = "acequia-test";
/// How long the last change may take to the warehouse.
const DRAIN_DEADLINE: Duration = Duration::from_secs(60);

/// A table of the example: its store in the manifest, its database, its name, its primary key.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    store: &'static str,
    database: &'static str,
    /// Its name, in the source and in the warehouse; also that of its topic.
    pub name: &'static str,
    key: &'static str,
}

const fn table(store: &'static str, database: &'static str, name: &'static str, key: &'static str) -> Table {
    Table { store, database, name, key }
}

/// All eight.
pub const TABLES: [Table; 8] = [
    table("shop", "instashop", "transaction", "id"),
    table("shop", "instashop", "transactiondetail", "id"),
    table("shop", "instashop", "customer", "id"),
    table("shop", "instashop", "product", "id"),
    table("crm", "crm_db", "interaction", "id"),
    table("erp", "erp_db", "stock", "product_id"),
    table("ecommerce", "ecommerce_db", "carrier", "id"),
    table("ecommerce", "ecommerce_db", "shipment", "id"),
];

/// The source databases.
pub const SOURCES: [&str; 4] = ["instashop", "crm_db", "erp_db", "ecommerce_db"];
const WAREHOUSE: &str = "dwh_db";

/// The example on databases of its own.
#[derive(Debug)]
pub struct Shop {
    stack: Stack,
    name: String,
    before: Census,
    /// Its manifest and its run.
    pub acequia: Acequia,
}

impl Shop {
    /// Creates the databases and writes the manifest; nothing is started yet.
    ///
    /// # Panics
    /// When a server refuses.
    pub fn new(stack: &Stack) -> Self {
        Self::with(stack, |manifests| Acequia::new(stack, manifests))
    }

    /// The same, kept by the operator in a cluster.
    ///
    /// # Panics
    /// When a server refuses.
    pub fn in_cluster(cluster: &Cluster, stack: &Stack) -> Self {
        Self::with(stack, |manifests| Acequia::in_cluster(cluster, stack, manifests))
    }

    fn with(stack: &Stack, keep: impl FnOnce(&[(&str, String)]) -> Acequia) -> Self {
        let name = unique("shop");
        let mut superuser = Database::open_as_superuser(stack);
        for database in SOURCES {
            superuser.run(&format!("CREATE DATABASE {name}_{database} OWNER instashop"));
        }
        superuser.run(&format!("CREATE DATABASE {name}_{WAREHOUSE} OWNER dwh"));
        let read = |file: &str| {
            let path = root().join("examples/instashop-cdc").join(file);
            let text = std::fs::read_to_string(path).expect("the example");
            serde_yaml::from_str::<Value>(&text).expect("the example is YAML")
        };
        let text = |value: &Value| serde_yaml::to_string(value).expect("YAML");
        let pipeline = text(&own_pipeline(read("pipeline.yaml"), &name));
        let schema = text(&with_journals(read("schema.yaml")));
        let acequia = keep(&[("pipeline.yaml", pipeline), ("schema.yaml", schema)]);
        let mut shop = Self { stack: stack.clone(), name, before: Census::new(), acequia };
        shop.before = shop.census();
        shop
    }

    /// A connection to one of its databases, by the example's name for it.
    pub fn database(&self, database: &str) -> Database {
        Database::open(&self.stack, &format!("{}_{database}", self.name))
    }

    /// A connection to its warehouse.
    pub fn warehouse(&self) -> Database {
        self.database(WAREHOUSE)
    }

    /// Name of the topic of a table.
    pub fn topic(&self, table: &str) -> String {
        format!("{}_{table}", self.name)
    }

    /// Takes the generator out of the manifest and waits until it has made its last change.
    pub fn close(&mut self) {
        let stage = "generator-shop";
        let processes = until(
            "the generator runs",
            DRAIN_DEADLINE,
            || self.acequia.processes(stage),
            |processes| !processes.is_empty(),
        );
        self.acequia.edit(|pipeline| {
            pipeline["spec"].as_object_mut().expect("a spec").remove("generators");
        });
        self.acequia.wait("the generator is out", DRAIN_DEADLINE, |status| status.stage(stage).is_none());
        until(
            "the generator's process has ended",
            DRAIN_DEADLINE,
            || self.acequia.is_any_alive(&processes),
            |alive| !alive,
        );
    }

    /// Waits until what was changed before this call is in the topics, and what is in the topics is in the warehouse,
    /// and the status says so of sinks and aggregations; returns all change events.
    pub fn drain(&mut self) -> Vec<(String, OwnedRecord)> {
        let mut superuser = Database::open_as_superuser(&self.stack);
        let end = superuser.number("SELECT (pg_current_wal_lsn() - '0/0')::bigint");
        let reached = format!(
            "SELECT count(*) FROM pg_replication_slots WHERE database LIKE '{}\\_%' \
             AND confirmed_flush_lsn - '0/0' >= {end}",
            self.name
        );
        until(
            "Debezium has read all four databases to their end",
            DRAIN_DEADLINE,
            || superuser.number(&reached),
            |slots| *slots == 4,
        );
        let mut records = Vec::new();
        for table in TABLES {
            let topic = self.topic(table.name);
            let log = read_range(&self.stack.kafka(), &topic, KAFKA_DEADLINE).expect("the topic can be read");
            records.extend(log.into_iter().map(|record| (topic.clone(), record)));
        }
        let mut warehouse = self.warehouse();
        for stage in ["sink-dwh", "sink-events"] {
            let short = || places_not_reached(&mut warehouse, stage, &records);
            until(&format!("{stage} has written everything"), DRAIN_DEADLINE, short, Vec::is_empty);
        }
        self.acequia.wait("the status says that nothing waits", DRAIN_DEADLINE, |status| {
            status.ready && status.has_no_lag()
        });
        records
    }

    /// What is wrong when the warehouse should equal the sources, the table of events the topics, and the topics what
    /// the sources did. `minimum` says how many rows of each table (`change_events` too) and how many streamed changes
    /// of each source make the comparison mean something. Prints what was compared.
    pub fn faults(&self, records: &[(String, OwnedRecord)], minimum: &[(&str, usize)]) -> Vec<String> {
        let minimum = |of: &str| minimum.iter().find(|(name, _)| *name == of).expect(of).1;
        let mut warehouse = self.warehouse();
        let mut faults = Vec::new();
        let mut add = |place: &str, found: Vec<Fault>| {
            faults.extend(found.into_iter().map(|fault| format!("{place}: {fault:?}")));
        };
        for table in TABLES {
            let all = format!("SELECT * FROM \"{}\"", table.name);
            let source = self.database(table.database).rows(&all);
            let mirror = warehouse.rows(&all);
            println!("mirror {:<18} {:>7} rows", table.name, source.len());
            add(table.name, same_rows(&source, &mirror, minimum(table.name)));
        }
        let expected: Vec<Row> =
            records.iter().filter_map(|(topic, record)| event_row(topic, record)).collect();
        let columns = "topic, key, op, lsn, transaction, ts_ms, payload::text AS payload";
        let found = warehouse.rows(&format!("SELECT {columns} FROM change_events"));
        let found: Vec<Row> = found.iter().map(table_row).collect();
        println!("change_events {:>19} rows", found.len());
        add("change_events", each_once(&expected, &found, minimum("change_events")));
        for database in SOURCES {
            let journal = changes_of_journal(&mut self.database(database));
            let tables = TABLES.iter().filter(|table| table.database == database);
            let topics: Vec<String> = tables.map(|table| self.topic(table.name)).collect();
            let events = records.iter().filter(|(topic, _)| topics.contains(topic));
            let events: Vec<Change> = events.filter_map(|(_, record)| change_of_event(record)).collect();
            println!("journal {database:<17} {:>7} changes, {} events", journal.len(), events.len());
            add(database, each_change_once(&journal, &events, minimum(database)));
        }
        let letters = warehouse.rows("SELECT topic, partition, \"offset\", cause FROM acequia_dead_letters");
        add("dead letters", letters.into_iter().map(Fault::Phantom).collect());
        faults
    }

    /// Stops the run, deletes the Pipeline, checks that nothing of it is left outside, and drops the databases.
    ///
    /// # Panics
    /// When something is left.
    pub fn delete(mut self) {
        self.acequia.stop();
        self.acequia.delete();
        let left = census::left_behind(&self.before, &self.census());
        assert_eq!(left, Vec::<String>::new(), "left behind by acequia delete");
        let mut superuser = Database::open_as_superuser(&self.stack);
        for database in SOURCES.iter().chain([&WAREHOUSE]) {
            superuser.run(&format!("DROP DATABASE {}_{database} WITH (FORCE)", self.name));
        }
        self.drop_figures();
        std::fs::remove_dir_all(self.acequia.folder()).expect("the folder can be removed");
    }

    fn census(&self) -> Census {
        let databases: Vec<String> =
            SOURCES.iter().map(|database| format!("{}_{database}", self.name)).collect();
        census::take(&self.stack, &databases)
    }
}

/// Partitions whose last record a sink hasn't written yet.
fn places_not_reached(
    warehouse: &mut Database,
    stage: &str,
    records: &[(String, OwnedRecord)],
) -> Vec<String> {
    let mut ends = std::collections::BTreeMap::new();
    for (topic, record) in records {
        let end = ends.entry((topic.as_str(), record.partition)).or_insert(0);
        *end = record.offset.max(*end);
    }
    let short = ends.into_iter().filter(|((topic, partition), last)| {
        let place = format!("stage = '{stage}' AND topic = '{topic}' AND partition = {partition}");
        warehouse
            .number(&format!("SELECT count(*) FROM acequia_offsets WHERE {place} AND next_offset > {last}"))
            == 0
    });
    short.map(|((topic, partition), last)| format!("{topic}[{partition}] at {last}")).collect()
}

/// The row of `change_events` that a record becomes; none for a tombstone.
fn event_row(topic: &str, record: &OwnedRecord) -> Option<Row> {
    let payload = text(record.value.as_deref()?);
    let event: serde_json::Value = serde_json::from_str(&payload).expect("a change event");
    let source = &event["source"];
    let key = record.key.as_deref().map(text);
    Some(vec![
        Some(topic.to_owned()),
        key,
        field(&event["op"]),
        field(&source["lsn"]),
        field(&source["txId"]),
        field(&source["ts_ms"]),
        Some(payload),
    ])
}

/// A row of `change_events` in the same form.
fn table_row(row: &Row) -> Row {
    let row: serde_json::Value = serde_json::from_str(row[0].as_deref().expect("a row")).expect("a row");
    ["topic", "key", "op", "lsn", "transaction", "ts_ms", "payload"]
        .iter()
        .map(|name| field(&row[*name]))
        .collect()
}

fn change_of_event(record: &OwnedRecord) -> Option<Change> {
    let event: serde_json::Value = serde_json::from_slice(record.value.as_ref()?).expect("a change event");
    let key: serde_json::Value = serde_json::from_slice(record.key.as_ref()?).expect("a key");
    Some(Change {
        table: field(&event["source"]["table"])?,
        op: field(&event["op"])?,
        key: field(key.as_object()?.values().next()?)?,
        transaction: event["source"]["txId"].as_i64().unwrap_or_default(),
    })
}

fn changes_of_journal(database: &mut Database) -> Vec<Change> {
    let rows = database.rows("SELECT * FROM journal");
    let rows = rows.iter().map(|row| serde_json::from_str(row[0].as_deref().expect("a row")).expect("a row"));
    rows.map(|row: serde_json::Value| Change {
        table: field(&row["table_name"]).expect("a table"),
        op: field(&row["op"]).expect("an operation"),
        key: field(&row["key"]).expect("a key"),
        transaction: row["transaction"].as_i64().expect("a transaction"),
    })
    .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A JSON value as text, a string without its quotes.
fn field(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
