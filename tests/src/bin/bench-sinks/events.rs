//! The rows that both engines move: made up, the same for the same count, and added up while they are made.

use std::fmt::Write as _;
use std::time::Duration;

use acequia_kafka::producer::{Producer, ProducerSettings};
use acequia_tests::stack::{KAFKA_DEADLINE, Stack};
use anyhow::ensure;

/// Partitions of both topics.
pub const PARTITIONS: i32 = 3;
/// Event time that all rows of a topic span.
const SPAN_MS: u64 = 600_000;
/// One of so many rows is late.
const LATE_EVERY: u64 = 16;
/// How late at most.
const LATE_MS: u64 = 5_000;
const CUSTOMERS: u64 = 100_000;
const PRODUCTS: u64 = 10_000;
const CATEGORIES: u64 = 1_000;
const PAYMENT_METHODS: [&str; 4] = ["credit_card", "debit_card", "paypal", "bank_transfer"];
const STATUSES: [&str; 4] = ["completed", "completed", "pending", "failed"];
const FLUSH_DEADLINE: Duration = Duration::from_secs(120);

/// What a topic's records look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The row itself, keyed by customer.
    Event,
    /// A Debezium change event that creates the row, keyed by its id.
    Change,
}

/// What must be in a table once a topic has been moved into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many rows.
    pub rows: u64,
    /// Sum of `total_amount`, in cents.
    pub cents: u64,
}

/// Bytes and count of what was put into a topic.
#[derive(Clone, Copy, Debug)]
pub struct Filled {
    /// What a table must hold of it.
    pub sum: Sum,
    /// Average size of a value.
    pub value_bytes: u64,
}

/// Random numbers by splitmix64: good enough for data, and the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_of(&mut self, words: &[&'static str; 4]) -> &'static str {
        words[(self.next() % 4) as usize]
    }
}

/// Makes the records of one topic, one after another, in buffers that are used again.
#[derive(Debug)]
pub struct Records {
    shape: Shape,
    count: u64,
    made: u64,
    random: Random,
    /// Key of the record at hand.
    pub key: String,
    /// Value of the record at hand.
    pub value: String,
}

impl Records {
    /// The records of a topic with so many.
    pub fn new(shape: Shape, count: u64) -> Self {
        Self { shape, count, made: 0, random: Random(count), key: String::new(), value: String::new() }
    }

    /// Makes the next record; its `total_amount` in cents, or nothing after the last one.
    pub fn next(&mut self) -> Option<u64> {
        if self.made == self.count {
            return None;
        }
        let lsn = 16_000_000 + self.made * 400;
        self.key.clear();
        self.value.clear();
        if self.shape == Shape::Change {
            self.value.push_str(r#"{"before":null,"after":"#);
        }
        let cents = self.row();
        if self.shape == Shape::Change {
            // Writing to a String can't fail, here and below.
            let _ = write!(
                self.value,
                r#","source":{{"version":"3.7.0.Final","connector":"postgresql","name":"shop","ts_ms":1767268800000,"snapshot":"false","db":"shop","schema":"public","table":"transaction","txId":{},"lsn":{lsn}}},"op":"c","ts_ms":1767268800123}}"#,
                self.made + 700
            );
        }
        self.made += 1;
        Some(cents)
    }

    fn row(&mut self) -> u64 {
        let random = &mut self.random;
        let (high, low) = (random.next(), random.next());
        let (customer, product) = (random.below(CUSTOMERS), random.below(PRODUCTS));
        let (price, quantity) = (100 + random.below(50_000), 1 + random.below(5));
        let cents = price * quantity;
        let late = if random.below(LATE_EVERY) == 0 { random.below(LATE_MS) } else { 0 };
        // From noon, so that what is late is on the same day.
        let time_ms = 12 * 3_600_000 + self.made * SPAN_MS / self.count - late;
        let (hour, minute) = (time_ms / 3_600_000, time_ms / 60_000 % 60);
        let (second, ms) = (time_ms / 1000 % 60, time_ms % 1000);
        let id = format_args!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0xfff,
            low & 0xffff_ffff_ffff
        )
        .to_string();
        let _ = match self.shape {
            Shape::Event => write!(self.key, "{customer}"),
            Shape::Change => write!(self.key, r#"{{"transaction_id":"{id}"}}"#),
        };
        let _ = write!(
            self.value,
            r#"{{"event_type":"transaction","transaction_id":"{id}","customer_id":{customer},"product_id":{product},"category":"category {}","price":{}.{:02},"quantity":{quantity},"total_amount":{}.{:02},"payment_method":"{}","status":"{}","timestamp":"2026-01-01T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"}}"#,
            random.below(CATEGORIES),
            price / 100,
            price % 100,
            cents / 100,
            cents % 100,
            random.one_of(&PAYMENT_METHODS),
            random.one_of(&STATUSES),
        );
        cents
    }
}

/// Creates a topic and fills it.
pub fn fill(stack: &Stack, topic: &str, shape: Shape, count: u64) -> anyhow::Result<Filled> {
    stack.create_topic(topic, PARTITIONS);
    let settings = ProducerSettings { linger_ms: 20, ..ProducerSettings::new("acequia bench") };
    let producer = Producer::connect(&stack.kafka(), &settings)?;
    let mut records = Records::new(shape, count);
    let (mut sum, mut bytes) = (Sum::default(), 0);
    while let Some(cents) = records.next() {
        producer.send(topic, None, Some(records.key.as_bytes()), Some(records.value.as_bytes()))?;
        sum = Sum { rows: sum.rows + 1, cents: sum.cents + cents };
        bytes += records.value.len() as u64;
        if sum.rows.is_multiple_of(1000) {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(FLUSH_DEADLINE.max(KAFKA_DEADLINE))?;
    ensure!(producer.take_undelivered().is_empty(), "not every record of {topic} was delivered");
    Ok(Filled { sum, value_bytes: bytes / count.max(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_json_that_adds_up_and_the_same_each_time() {
        let mut records = Records::new(Shape::Event, 1000);
        let mut again = Records::new(Shape::Event, 1000);
        let mut made = 0;
        while let Some(cents) = records.next() {
            assert_eq!((again.next(), &again.value), (Some(cents), &records.value));
            let row: serde_json::Value = serde_json::from_str(&records.value).unwrap();
            assert_eq!((row["total_amount"].as_f64().unwrap() * 100.0).round() as u64, cents);
            assert_eq!(row["customer_id"].to_string(), records.key);
            assert!(row["timestamp"].as_str().unwrap().starts_with("2026-01-01T1"));
            made += 1;
        }
        assert_eq!(made, 1000);
    }

    #[test]
    fn changes_hold_the_same_rows_as_events() {
        let (mut events, mut changes) = (Records::new(Shape::Event, 50), Records::new(Shape::Change, 50));
        while let Some(cents) = events.next() {
            assert_eq!(changes.next(), Some(cents));
            let change: serde_json::Value = serde_json::from_str(&changes.value).unwrap();
            let event: serde_json::Value = serde_json::from_str(&events.value).unwrap();
            assert_eq!(change["after"], event);
            let key: serde_json::Value = serde_json::from_str(&changes.key).unwrap();
            assert_eq!(key["transaction_id"], event["transaction_id"]);
        }
    }
}
