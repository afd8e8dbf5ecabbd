//! Debezium's JDBC sink in Kafka Connect as an engine: a connector for each job, one warm JVM for all.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use acequia_crds::pipeline::sink::WriteMode;
use acequia_tests::stack::{Stack, unique};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::job::{COLUMNS, Engine, Job, KEY};

/// As many as partitions: one would leave the second core idle.
const TASKS: i32 = acequia_tests::bench::events::PARTITIONS;
/// Records of a poll and of a batch.
const BATCH: &str = "5000";
const CALL_DEADLINE: Duration = Duration::from_secs(30);
const REMOVE_DEADLINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often Connect is asked whether a task failed: rarely, for the answer costs it processor time.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Debezium's JDBC sink.
#[derive(Debug)]
pub struct Peer {
    address: String,
    jdbc_url: String,
    password: String,
    pid: u32,
    connector: Option<String>,
    checked: Instant,
}

impl Peer {
    /// The engine on these servers; `pid` is Connect's.
    pub fn new(stack: &Stack, pid: u32) -> Self {
        let jdbc_url = format!(
            // Text is taken for what the column is, so a timestamp needs no conversion in the JVM.
            "jdbc:postgresql://{}/dwh_db?reWriteBatchedInserts=true&stringtype=unspecified&options=-csynchronous_commit%3Doff",
            stack.address("postgres:5432")
        );
        // Connect reads it itself, from the stack's folder of secrets.
        let password = format!("${{dir:{}/dwh-db:password}}", stack.secrets().display());
        let address = stack.address("connect:8083").to_owned();
        Self { address, jdbc_url, password, pid, connector: None, checked: Instant::now() }
    }

    fn config(&self, job: &Job) -> BTreeMap<&'static str, String> {
        let mirror = job.mode == WriteMode::Mirror;
        let mut config: BTreeMap<_, _> = [
            ("connector.class", "io.debezium.connector.jdbc.JdbcSinkConnector"),
            ("connection.url", &self.jdbc_url),
            ("connection.username", "dwh"),
            ("connection.password", &self.password),
            ("topics", &job.topic),
            ("collection.name.format", &job.table),
            ("insert.mode", if mirror { "upsert" } else { "insert" }),
            ("primary.key.mode", if mirror { "record_value" } else { "none" }),
            ("schema.evolution", "none"),
            ("errors.tolerance", "none"),
            ("batch.size", BATCH),
            ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
            ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
            ("value.converter.schemas.enable", "true"),
            ("consumer.override.auto.offset.reset", "earliest"),
            ("consumer.override.max.poll.records", BATCH),
            ("consumer.override.max.partition.fetch.bytes", "8388608"),
            ("consumer.override.fetch.max.bytes", "33554432"),
        ]
        .into_iter()
        .map(|(key, value)| (key, value.to_owned()))
        .collect();
        config.insert("tasks.max", TASKS.to_string());
        // Beside the records, not in each of them: the peer reads the very same bytes and parses no schema with each.
        let schema = if mirror { envelope_schema() } else { row_schema("after") };
        config.insert("value.converter.schema.content", schema.to_string());
        if mirror {
            config.insert("primary.key.fields", KEY.to_owned());
        }
        config
    }

    fn call(&self, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).context("Connect can't be reached")?;
        stream.set_read_timeout(Some(CALL_DEADLINE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("Connect answered no HTTP")?;
        let status = head.split(' ').nth(1).context("Connect answered without a status")?;
        Ok((status.parse()?, body.to_owned()))
    }
}

impl Engine for Peer {
    fn name(&self) -> &'static str {
        "Debezium JDBC sink"
    }

    fn pid(&self) -> Option<u32> {
        Some(self.pid)
    }

    fn start(&mut self, job: &Job) -> anyhow::Result<()> {
        let name = unique("bench");
        let path = format!("/connectors/{name}/config");
        let (status, answer) = self.call("PUT", &path, &serde_json::to_string(&self.config(job))?)?;
        ensure!(status == 201, "Connect refused the connector with {status}: {answer}");
        self.connector = Some(name);
        Ok(())
    }

    fn check(&mut self) -> anyhow::Result<()> {
        if self.checked.elapsed() < CHECK_EVERY {
            return Ok(());
        }
        self.checked = Instant::now();
        let name = self.connector.as_ref().context("no connector")?;
        let (status, answer) = self.call("GET", &format!("/connectors/{name}/status"), "")?;
        if status == 200 && answer.contains("FAILED") {
            bail!("the connector failed: {answer}");
        }
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let name = self.connector.take().context("no connector")?;
        let path = format!("/connectors/{name}");
        self.call("DELETE", &path, "")?;
        let started = Instant::now();
        while self.call("GET", &path, "")?.0 != 404 {
            ensure!(started.elapsed() < REMOVE_DEADLINE, "Connect didn't remove {name}");
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

/// Types that JSON has no room for, as Connect names them.
fn row_schema(field: &str) -> Value {
    let fields: Vec<Value> = COLUMNS
        .iter()
        .map(|(name, type_name)| {
            let kind = match *type_name {
                "bigint" => "int64",
                "integer" => "int32",
                "double precision" | "numeric(12,2)" => "double",
                _ => "string",
            };
            json!({"field": name, "type": kind, "optional": false})
        })
        .collect();
    json!({"type": "struct", "optional": true, "name": "shop.public.transaction.Value", "field": field, "fields": fields})
}

fn envelope_schema() -> Value {
    let text = ["version", "connector", "name", "snapshot", "db", "schema", "table"];
    let numbers = ["ts_ms", "txId", "lsn"];
    let of = |names: &[&str], kind: &str| -> Vec<Value> {
        names.iter().map(|name| json!({"field": name, "type": kind, "optional": false})).collect()
    };
    let source = [of(&text, "string"), of(&numbers, "int64")].concat();
    json!({
        "type": "struct",
        "optional": false,
        // The name tells the sink that this is a change event.
        "name": "shop.public.transaction.Envelope",
        "version": 2,
        "fields": [
            row_schema("before"),
            row_schema("after"),
            {"type": "struct", "optional": false, "name": "io.debezium.connector.postgresql.Source", "field": "source", "fields": source},
            {"field": "op", "type": "string", "optional": false},
            {"field": "ts_ms", "type": "int64", "optional": true},
        ],
    })
}
