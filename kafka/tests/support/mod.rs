//! A consumer group whose positions live outside Kafka, as the sink's do, stepped by the test's own thread.
#![allow(dead_code, reason = "each test file uses its part")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use acequia_kafka::Connection;
use acequia_kafka::consumer::{BatchConsumer, ConsumerSettings, Fault, Position, Rebalance, TopicPartition};

/// What the group has read, and where it goes on: the stand-in for the sink's database.
#[derive(Clone, Default)]
pub struct Database(Rc<RefCell<Stored>>);

#[derive(Default)]
struct Stored {
    next_offset: BTreeMap<TopicPartition, i64>,
    read: Vec<(TopicPartition, i64)>,
}

impl Database {
    pub fn read_count(&self) -> usize {
        self.0.borrow().read.len()
    }

    /// What was read of a topic, in the order of partition and offset; each partition in the order it was read.
    pub fn read_of(&self, topic: &str) -> Vec<(i32, i64)> {
        let stored = self.0.borrow();
        let of_topic = stored.read.iter().filter(|(partition, _)| &*partition.topic == topic);
        let mut read: Vec<_> = of_topic.map(|(partition, offset)| (partition.partition, *offset)).collect();
        read.sort_by_key(|(partition, _)| *partition);
        read
    }

    /// Panics unless each partition was read from 0, in order, without gap or repetition.
    pub fn assert_each_record_once(&self) {
        let mut expected: BTreeMap<TopicPartition, i64> = BTreeMap::new();
        for (partition, offset) in &self.0.borrow().read {
            let next = expected.entry(partition.clone()).or_default();
            assert_eq!(offset, next, "{partition:?}");
            *next += 1;
        }
    }
}

/// A member of the group.
pub struct Member {
    pub consumer: BatchConsumer,
    pub faults: Vec<Fault>,
    pub rebalances: Vec<Rebalance>,
    pub ends: Vec<Position>,
    database: Database,
}

impl Member {
    pub fn join(connection: &Connection, settings: &ConsumerSettings, database: &Database) -> Self {
        let consumer = BatchConsumer::subscribe(connection, settings).unwrap();
        Self {
            consumer,
            faults: Vec::new(),
            rebalances: Vec::new(),
            ends: Vec::new(),
            database: database.clone(),
        }
    }

    pub fn partitions(&self) -> Vec<(String, i32)> {
        let mut held: Vec<_> =
            self.consumer.assignment().into_iter().map(|p| (p.topic.to_string(), p.partition)).collect();
        held.sort();
        held
    }

    /// Polls once, stores what came, answers a rebalance.
    pub fn step(&mut self) {
        let polled = self.consumer.poll(1_000, Duration::from_millis(20));
        let mut stored = self.database.0.borrow_mut();
        for batch in polled.records.by_partition() {
            let partition = TopicPartition { topic: batch.topic().clone(), partition: batch.partition() };
            stored.read.extend(batch.iter().map(|record| (partition.clone(), record.offset)));
            stored.next_offset.insert(partition, batch.next_offset().unwrap());
        }
        for rebalance in &polled.rebalance {
            match rebalance {
                Rebalance::Assigned(partitions) => {
                    let at = |p: &TopicPartition| Position {
                        topic: p.topic.clone(),
                        partition: p.partition,
                        offset: stored.next_offset.get(p).copied().unwrap_or(0),
                    };
                    self.consumer.assign(&partitions.iter().map(at).collect::<Vec<_>>()).unwrap();
                }
                Rebalance::Revoked(partitions) | Rebalance::Lost(partitions) => {
                    self.consumer.unassign(partitions).unwrap();
                }
            }
        }
        self.rebalances.extend(polled.rebalance);
        self.faults.extend(polled.faults);
        self.ends.extend(polled.ends);
    }
}

/// Steps all members until the condition holds.
pub fn step_until(what: &str, members: &mut [&mut Member], mut holds: impl FnMut(&[&mut Member]) -> bool) {
    let started = Instant::now();
    while !holds(members) {
        if started.elapsed() > Duration::from_secs(40) {
            let seen: Vec<_> =
                members.iter().map(|m| (m.consumer.assignment(), &m.rebalances, &m.faults)).collect();
            panic!("waited in vain for: {what}\n{seen:#?}");
        }
        for member in members.iter_mut() {
            member.step();
        }
    }
}

/// Settings with short timeouts, so that tests needn't wait for a dead member for long.
pub fn settings(group: &str, topics: &[&str]) -> ConsumerSettings {
    let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let mut settings = ConsumerSettings::new("test", group, topics);
    settings.session_timeout_ms = 6_000;
    settings.metadata_refresh_ms = 500;
    settings
}
