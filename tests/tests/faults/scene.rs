//! The Pipeline that lives through the faults, and what is seen of it.

use std::time::Duration;

use acequia_kafka::admin::Admin;
use acequia_kafka::compacted;
use acequia_tests::check::{Row, assert_none, same_rows};
use acequia_tests::small_pipeline::{Run, SmallPipeline};
use acequia_tests::stack::KAFKA_DEADLINE;
use acequia_tests::wait::until;
use acequia_tests::worker::http_get;
use serde_json::Value;

use crate::SAID_WITHIN;

/// How soon a new row of the source must be in the mirror.
const FLOWS_WITHIN: Duration = Duration::from_secs(20);

/// Where a fault is said.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// The connector's state.
    Connector,
    /// The state of the stage `sink-dwh`.
    Sink,
    /// The condition of the topics.
    Topics,
    /// What is refused.
    Refused,
    /// What is wrong with the manifest.
    Manifest,
}

/// The Pipeline, its run, and what was seen of it.
pub struct Scene {
    pub pipeline: SmallPipeline,
    pub run: Run,
    pub orders: i64,
    pub before: Option<Outside>,
}

/// What a command that changes nothing outside must leave as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Outside {
    topics: Vec<(String, String, usize)>,
    connectors: Option<String>,
    ownership: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Outside {
    pub fn of(pipeline: &SmallPipeline) -> Self {
        let kafka = pipeline.stack.kafka();
        let admin = Admin::connect(&kafka, "acequia tests").unwrap();
        let names: Vec<String> = admin.list_topics(KAFKA_DEADLINE).unwrap().into_iter().collect();
        let topics = admin.describe_topics(&names, KAFKA_DEADLINE).unwrap();
        let topics =
            topics.into_iter().map(|(name, topic)| (name, topic.id.to_string(), topic.partitions.len()));
        let ownership = if names.iter().any(|name| name == "acequia.ownership") {
            compacted::read_all(&kafka, "acequia.ownership", KAFKA_DEADLINE).unwrap().into_iter().collect()
        } else {
            Vec::new()
        };
        let connectors = http_get(pipeline.stack.address("connect:8083"), "/connectors?expand=info");
        Self { topics: topics.collect(), connectors, ownership }
    }
}

impl Scene {
    pub fn edit(&self, change: impl Fn(&str) -> String) {
        self.pipeline.write_manifest(&change(&self.pipeline.manifest()));
    }

    /// What is said at a place now.
    pub fn said(&self, place: Place) -> String {
        let status = self.run.status();
        let errors = |list: &Value| -> String {
            let all = list.as_array().into_iter().flatten();
            all.filter_map(|one| one["error"].as_str()).collect::<Vec<_>>().join("\n")
        };
        match place {
            Place::Connector => errors(&status["connectors"]),
            Place::Sink => errors(&status["stages"]),
            Place::Topics => {
                let all = status["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let topics = all.iter().find(|one| one["type"] == "TopicsReady" && one["status"] != "True");
                topics.and_then(|one| one["message"].as_str()).unwrap_or_default().to_owned()
            }
            Place::Refused => status["refused"].to_string(),
            Place::Manifest => status["invalid"].as_str().unwrap_or_default().to_owned(),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.run.status()["ready"] == true
    }

    pub fn workers(&self) -> Value {
        self.run.status()["stages"][0]["pids"].clone()
    }

    /// A new order, and everything that was written so far, arrive in the mirror.
    pub fn rows_arrive(&mut self) {
        self.orders += 1;
        let insert = format!("INSERT INTO orders VALUES ({}, 'order {}', 12.50)", self.orders, self.orders);
        self.pipeline.postgres.open("instashop").run(&insert);
        let rows = |database: &str| -> Vec<Row> {
            self.pipeline.postgres.open(database).rows("SELECT id, note, price FROM orders")
        };
        let expected = rows("instashop");
        let found =
            until("rows arrive", FLOWS_WITHIN, || rows("dwh_db"), |found| found.len() >= expected.len());
        assert_none(&same_rows(&expected, &found, self.orders as usize), "the mirror");
    }

    /// As `rows_arrive`, by the processes that ran before, and nothing outside has changed.
    pub fn runs_on_unchanged(&mut self) {
        let workers = self.workers();
        self.rows_arrive();
        assert_eq!(self.workers(), workers);
        assert_eq!(Some(Outside::of(&self.pipeline)), self.before);
    }

    pub fn remember(&mut self) {
        self.before = Some(Outside::of(&self.pipeline));
    }

    /// The record that can't be decoded is where it should be, with where it came from and why.
    pub fn one_dead_letter(&self) {
        let (identity, topic) = (self.pipeline.identity(), self.pipeline.topic());
        let mut dwh = self.pipeline.postgres.open("dwh_db");
        let letters = dwh.rows(&format!(
            "SELECT stage, topic, partition, \"offset\" >= 0 AS placed, topic_id <> '' AS identified, \
             convert_from(value, 'UTF8') AS value, cause <> '' AS explained \
             FROM acequia_dead_letters WHERE pipeline = '{identity}'"
        ));
        let expected = format!(
            r#"{{"stage":"sink-dwh","topic":"{topic}","partition":1,"placed":true,"identified":true,"value":"no event","explained":true}}"#
        );
        assert_eq!(letters, [[Some(expected)]]);
        let reported = || self.run.status()["stages"][0]["deadLetters"].clone();
        until("the dead letter is counted", SAID_WITHIN, reported, |count| *count == 1);
    }
}
