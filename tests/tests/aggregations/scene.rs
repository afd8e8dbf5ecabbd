//! An aggregation with every kind of output, and what is in each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use acequia_kafka::admin::Admin;
use acequia_kafka::log::{OwnedRecord, read_range};
use acequia_tests::aggregation::Aggregation;
use acequia_tests::database::Database;
use acequia_tests::stack::{KAFKA_DEADLINE, Record, Stack};
use acequia_tests::wait::until;
use redis::Commands as _;
use serde_json::Value;

use super::ledger::{self, Expected, Figures, Ledger, WATERMARK_MS, WINDOW_MS, cents};

/// Tells a thread beside the test that the test is over, also when it fails: it would be waited for.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What an aggregation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A plain log of orders, counted by windows.
    Orders,
    /// A table of orders, counted over all time.
    Table,
}

/// An aggregation under test, reading `input`, with outputs of its own.
pub struct Scene {
    pub stack: Stack,
    pub name: String,
    pub input: String,
    pub kind: Input,
    pub aggregation: Aggregation,
    partitions: i32,
}

impl Scene {
    /// Creates the topics of an aggregation called `name`; `input` exists and has so many partitions.
    pub fn new(stack: &Stack, kind: Input, name: &str, (input, partitions): (&str, i32), emit: &str) -> Self {
        let (format, window, start) = match kind {
            Input::Orders => {
                let seconds = |ms: i64| format!("{}s", ms / 1000);
                let (window, watermark) = (seconds(WINDOW_MS), seconds(WATERMARK_MS));
                let time = format!("eventTime: event.at\nwatermark: {watermark}");
                (time, format!("tumbling: {window}"), "{window.start}")
            }
            Input::Table => ("format: debezium".to_owned(), "global: {}".to_owned(), "all"),
        };
        let yaml = format!(
            r#"
name: test
from: ["{input}"]
{format}
window: {{{window}}}
groupBy: [{{name: category, value: event.category}}]
measures:
  - {{name: orders, count: {{}}}}
  - {{name: revenue, sum: event.price}}
  - {{name: cheapest, min: event.price}}
  - {{name: dearest, max: event.price}}
emit: {{every: {emit}}}
to:
  - {{store: metrics, redis: {{key: "{name}:hash:{start}", as: hash, ttl: 1h}}}}
  - {{store: metrics, redis: {{key: "{name}:json:{{category}}:{start}", as: json, ttl: 1h}}}}
  - {{store: dwh, postgres: {{table: {name}}}}}
  - {{topic: "{name}.out"}}
"#
        );
        stack.create_topic(&format!("{name}.out"), 2);
        Self {
            aggregation: Aggregation::new(stack, name, &yaml),
            stack: stack.clone(),
            name: name.to_owned(),
            input: input.to_owned(),
            kind,
            partitions,
        }
    }

    /// As [`Self::new`], with an input of its own.
    pub fn with_input(stack: &Stack, kind: Input, name: &str, partitions: i32, emit: &str) -> Self {
        stack.create_topic(name, partitions);
        Self::new(stack, kind, name, (name, partitions), emit)
    }

    /// Deletes all topics: a broker that is started again has to open what tests leave.
    pub fn delete(self) {
        let work = self.aggregation.work;
        let own =
            [work.partials_topic, work.state_topic, work.dead_letter_topic, format!("{}.out", self.name)];
        let optional = [work.rows_topic, work.late_topic, Some(self.input)];
        let names: Vec<String> = own.into_iter().chain(optional.into_iter().flatten()).collect();
        let admin = Admin::connect(&self.stack.kafka(), "acequia tests").unwrap();
        for (name, answer) in admin.delete_topics(&names, KAFKA_DEADLINE).unwrap() {
            answer.unwrap_or_else(|error| panic!("topic {name}: {error}"));
        }
    }

    pub fn produce(&self, records: &[Record]) {
        self.stack.produce(&self.input, records);
    }

    fn read(&self, topic: &str) -> Vec<OwnedRecord> {
        read_range(&self.stack.kafka(), topic, KAFKA_DEADLINE).unwrap()
    }

    /// What must come of the input as it is now.
    pub fn expected(&self) -> Expected {
        let log = self.read(&self.input);
        match self.kind {
            Input::Orders => ledger::of_events(&log, self.partitions),
            Input::Table => ledger::of_changes(&log),
        }
    }

    /// Waits until every output has what must come of the input as it is now, and returns that.
    pub fn wait_for_the_end(&self, deadline: Duration) -> Expected {
        let expected = self.expected();
        self.wait_for(&expected, deadline);
        expected
    }

    /// Waits until every output has this.
    pub fn wait_for(&self, expected: &Expected, deadline: Duration) {
        let mut database = Database::open(&self.stack, "dwh_db");
        let mut redis = self.stack.redis();
        let what = |output: &str| format!("{}: {output} equals the recomputation", self.name);
        let is_right = |(ledger, finals): &(Ledger, BTreeSet<String>)| {
            *ledger == expected.ledger && *finals == expected.finals
        };
        until(&what("the table"), deadline, || self.table(&mut database), is_right);
        let is_right = |ledger: &Ledger| *ledger == expected.ledger;
        until(&what("the hash"), deadline, || self.hashes(&mut redis), is_right);
        until(&what("the document"), deadline, || self.documents(&mut redis), is_right);
        until(&what("the topic"), deadline, || self.topic(), is_right);
        let late = |topic: &str| {
            let mut late: Vec<String> = self.read(topic).into_iter().filter_map(value).collect();
            late.sort();
            late
        };
        let topic = self.aggregation.work.late_topic.clone().unwrap();
        until(&what("the late topic"), deadline, || late(&topic), |late| *late == expected.late);
        until(&what("the dead letters"), deadline, || self.dead_letters(), |l| *l == expected.unreadable);
    }

    fn dead_letters(&self) -> Vec<(i64, i64)> {
        let origin = |record: OwnedRecord| {
            let letter: Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
            (letter["partition"].as_i64().unwrap(), letter["offset"].as_i64().unwrap())
        };
        let letters = self.read(&self.aggregation.work.dead_letter_topic);
        let mut letters: Vec<_> = letters.into_iter().map(origin).collect();
        letters.sort_unstable();
        letters
    }

    /// The rows of the table, and which windows are final.
    pub fn table(&self, database: &mut Database) -> (Ledger, BTreeSet<String>) {
        if !database.has_table(&self.name) {
            return <_>::default();
        }
        let window = match self.kind {
            Input::Orders => r#"to_char(window_start, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"#,
            Input::Table => "''",
        };
        let columns = "orders::text, revenue::text, cheapest::text, dearest::text, acequia_final AS final";
        let rows =
            database.rows(&format!("SELECT {window} AS start, category, {columns} FROM \"{}\"", self.name));
        let (mut ledger, mut finals) = (Ledger::new(), BTreeSet::new());
        for row in rows {
            let row: Value = serde_json::from_str(row[0].as_ref().unwrap()).unwrap();
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            ledger.insert((text("start"), text("category")), figures(text));
            if row["final"] == true {
                finals.insert(text("start"));
            }
        }
        (ledger, finals)
    }

    /// What the hashes in Redis say.
    pub fn hashes(&self, redis: &mut redis::Connection) -> Ledger {
        let prefix = format!("{}:hash:", self.name);
        let keys: Vec<String> = redis.keys(format!("{prefix}*")).unwrap();
        let mut ledger = Ledger::new();
        for key in keys {
            let hash: BTreeMap<String, String> = redis.hgetall(&key).unwrap();
            let start = self.start(key.strip_prefix(&prefix).unwrap());
            for field in hash.keys() {
                let (category, _) = field.rsplit_once(':').unwrap();
                // A call that writes a hash writes all of its fields.
                let text = |name: &str| hash[&format!("{category}:{name}")].clone();
                ledger.insert((start.clone(), category.to_owned()), figures(text));
            }
        }
        ledger
    }

    /// What the documents in Redis say.
    pub fn documents(&self, redis: &mut redis::Connection) -> Ledger {
        let keys: Vec<String> = redis.keys(format!("{}:json:*", self.name)).unwrap();
        let texts = keys.into_iter().filter_map(|key| redis.get::<_, Option<String>>(key).unwrap());
        texts.map(|text| document(&text).1).collect()
    }

    /// What the last document of each key in the topic says. Fails when one comes twice or goes back.
    pub fn topic(&self) -> Ledger {
        let mut last: BTreeMap<Vec<u8>, (i64, bool)> = BTreeMap::new();
        let mut ledger: BTreeMap<Vec<u8>, ((String, String), Figures)> = BTreeMap::new();
        for record in self.read(&format!("{}.out", self.name)) {
            let key = record.key.clone().unwrap();
            let Some(text) = value(record) else {
                ledger.remove(&key);
                last.remove(&key);
                continue;
            };
            let (step, row) = document(&text);
            let before = last.insert(key.clone(), step);
            assert!(before < Some(step), "after {before:?} comes {text}");
            ledger.insert(key, row);
        }
        ledger.into_values().collect()
    }

    fn start(&self, text: &str) -> String {
        if self.kind == Input::Table { String::new() } else { text.to_owned() }
    }
}

fn value(record: OwnedRecord) -> Option<String> {
    record.value.map(|value| String::from_utf8(value).unwrap())
}

fn figures(text: impl Fn(&str) -> String) -> Figures {
    Figures {
        orders: text("orders").parse().unwrap(),
        revenue: cents(&text("revenue")),
        cheapest: cents(&text("cheapest")),
        dearest: cents(&text("dearest")),
    }
}

/// Revision and whether it is final; and what it says.
fn document(text: &str) -> ((i64, bool), ((String, String), Figures)) {
    let document: Value = serde_json::from_str(text).unwrap();
    let start = document["window"]["start"].as_str().unwrap_or_default().to_owned();
    let category = document["groups"]["category"].as_str().unwrap().to_owned();
    let step = (document["revision"].as_i64().unwrap(), document["final"] == true);
    // A number of these keeps its decimals through a double.
    let figures = figures(|name| document["measures"][name].to_string());
    (step, ((start, category), figures))
}
