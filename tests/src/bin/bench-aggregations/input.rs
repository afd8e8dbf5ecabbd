//! The topics that are read, and what must come out of them.

use acequia_kafka::producer::{Producer, ProducerSettings};
use acequia_tests::bench::events::{self, DAY, FIRST_MS, PARTITIONS, SPAN_MS, Shape, text_of};
use acequia_tests::stack::{KAFKA_DEADLINE, Stack, unique};
use anyhow::ensure;

use crate::cells::{self, CLOSING, Cells};

/// How long after the last event those come that end its window: more than window and watermark.
const CLOSING_AFTER_MS: i64 = 60_000;
/// So many in each partition, each of a category of its own: Kafka Streams keeps a time for each partition of its
/// topic by category, and all of them have to move on.
const CLOSING_EACH: i32 = 30;

/// A topic that is full before it is read.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub topic: String,
    /// How many records it has.
    pub records: u64,
    /// What must come out.
    pub expected: Cells,
}

impl Input {
    /// Creates and fills it with so many events, and with those that end their windows.
    pub fn fill(stack: &Stack, count: u64) -> anyhow::Result<Self> {
        let topic = unique("bench_events");
        let mut expected = Cells::new();
        let filled = events::fill(stack, &topic, Shape::Event, count, |row| cells::add(&mut expected, row))?;
        let settings = ProducerSettings::new("acequia bench");
        let producer = Producer::connect(&stack.kafka(), &settings)?;
        let closing = close(&producer, &topic, SPAN_MS)?;
        eprintln!(
            "topic {topic}: {count} events of {} bytes on average on {DAY}, {PARTITIONS} partitions; {} results",
            filled.value_bytes,
            expected.len()
        );
        Ok(Self { topic, records: count + closing, expected })
    }
}

/// Ends all windows of events that span so much time: in every partition, events that happen later. How many.
pub fn close(producer: &Producer, topic: &str, span_ms: u64) -> anyhow::Result<u64> {
    let time = text_of(FIRST_MS + span_ms as i64 + CLOSING_AFTER_MS);
    for partition in 0..PARTITIONS {
        for number in 0..CLOSING_EACH {
            let value = format!(
                r#"{{"event_type":"transaction","category":"{CLOSING} {number}","total_amount":0.00,"timestamp":"{time}"}}"#
            );
            producer.send(topic, Some(partition), None, Some(value.as_bytes()))?;
        }
    }
    producer.flush(KAFKA_DEADLINE)?;
    ensure!(producer.take_undelivered().is_empty(), "not every record of {topic} was delivered");
    Ok((PARTITIONS * CLOSING_EACH).unsigned_abs().into())
}
