//! The rows that engines are measured with: made up, the same for the same count, and added up while they are made.

use std::fmt::Write as _;
use std::time::Duration;

use acequia_kafka::producer::{Producer, ProducerSettings};
use anyhow::ensure;

use crate::stack::{KAFKA_DEADLINE, Stack};

/// Partitions of a topic that is read.
pub const PARTITIONS: i32 = 3;
/// The day on which everything happens.
pub const DAY: &str = "2026-01-01";
/// Its first millisecond since 1970.
pub const DAY_MS: i64 = 1_767_225_600_000;
/// When the first row of a topic happens: at noon, so that what is late is on the same day.
pub const FIRST_MS: i64 = DAY_MS + 12 * 3_600_000;
/// Event time that all rows of a topic span, unless said otherwise.
pub const SPAN_MS: u64 = 600_000;
/// One of so many rows is late.
const LATE_EVERY: u64 = 16;
/// How late at most.
const LATE_MS: u64 = 5_000;
const CUSTOMERS: u64 = 100_000;
const PRODUCTS: u64 = 10_000;
/// How many categories there are.
pub const CATEGORIES: u64 = 1_000;
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

/// What of a row is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// `total_amount`, in cents.
    pub cents: u64,
    /// Number of the category.
    pub category: u64,
    /// `timestamp`, in milliseconds since 1970.
    pub time_ms: i64,
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
    span_ms: u64,
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
        Self {
            shape,
            count,
            span_ms: SPAN_MS,
            made: 0,
            random: Random(count),
            key: String::new(),
            value: String::new(),
        }
    }

    /// The same over another span of event time; it may last until midnight.
    #[must_use]
    pub fn spanning(self, span_ms: u64) -> Self {
        Self { span_ms, ..self }
    }

    /// Makes the next record; nothing after the last one.
    pub fn make(&mut self) -> Option<Row> {
        if self.made == self.count {
            return None;
        }
        let lsn = 16_000_000 + self.made * 400;
        self.key.clear();
        self.value.clear();
        if self.shape == Shape::Change {
            self.value.push_str(r#"{"before":null,"after":"#);
        }
        let row = self.row();
        if self.shape == Shape::Change {
            // Writing to a String can't fail, here and below.
            let _ = write!(
                self.value,
                r#","source":{{"version":"3.7.0.Final","connector":"postgresql","name":"shop","ts_ms":1767268800000,"snapshot":"false","db":"shop","schema":"public","table":"transaction","txId":{},"lsn":{lsn}}},"op":"c","ts_ms":1767268800123}}"#,
                self.made + 700
            );
        }
        self.made += 1;
        Some(row)
    }

    fn row(&mut self) -> Row {
        let random = &mut self.random;
        let (high, low) = (random.next(), random.next());
        let (customer, product) = (random.below(CUSTOMERS), random.below(PRODUCTS));
        let (price, quantity) = (100 + random.below(50_000), 1 + random.below(5));
        let cents = price * quantity;
        let late = if random.below(LATE_EVERY) == 0 { random.below(LATE_MS) } else { 0 };
        let time_ms = FIRST_MS + (self.made * self.span_ms / self.count) as i64 - late as i64;
        let category = random.below(CATEGORIES);
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
            r#"{{"event_type":"transaction","transaction_id":"{id}","customer_id":{customer},"product_id":{product},"category":"category {}","price":{}.{:02},"quantity":{quantity},"total_amount":{}.{:02},"payment_method":"{}","status":"{}","timestamp":"{}"}}"#,
            category,
            price / 100,
            price % 100,
            cents / 100,
            cents % 100,
            random.one_of(&PAYMENT_METHODS),
            random.one_of(&STATUSES),
            text_of(time_ms),
        );
        Row { cents, category, time_ms }
    }
}

/// A time on [`DAY`] as the rows write it.
pub fn text_of(time_ms: i64) -> String {
    let ms = time_ms - DAY_MS;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{DAY}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// The other way round, with or without milliseconds; nothing for what isn't a time on [`DAY`] in UTC.
pub fn time_of(text: &str) -> Option<i64> {
    let time = text.strip_prefix(DAY)?.strip_prefix('T')?;
    let time = time.strip_suffix('Z').or_else(|| time.strip_suffix("+00:00"))?;
    let (time, ms) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = time.split(':').map(str::parse::<i64>);
    let (hour, minute, second) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    // Milliseconds, of however many digits there are.
    let ms: i64 = format!("{ms:0<3}").get(..3)?.parse().ok()?;
    Some(DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + ms)
}

/// Creates a topic and fills it; `each` is shown every row.
pub fn fill(
    stack: &Stack,
    topic: &str,
    shape: Shape,
    count: u64,
    mut each: impl FnMut(&Row),
) -> anyhow::Result<Filled> {
    stack.create_topic(topic, PARTITIONS);
    let settings = ProducerSettings { linger_ms: 20, ..ProducerSettings::new("acequia bench") };
    let producer = Producer::connect(&stack.kafka(), &settings)?;
    let mut records = Records::new(shape, count);
    let (mut sum, mut bytes) = (Sum::default(), 0);
    while let Some(row) = records.make() {
        each(&row);
        producer.send(topic, None, Some(records.key.as_bytes()), Some(records.value.as_bytes()))?;
        sum = Sum { rows: sum.rows + 1, cents: sum.cents + row.cents };
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
        while let Some(row) = records.make() {
            assert_eq!((again.make(), &again.value), (Some(row), &records.value));
            let json: serde_json::Value = serde_json::from_str(&records.value).expect("JSON");
            assert_eq!((json["total_amount"].as_f64().expect("an amount") * 100.0).round() as u64, row.cents);
            assert_eq!(json["customer_id"].to_string(), records.key);
            assert_eq!(json["category"], format!("category {}", row.category));
            assert_eq!(time_of(json["timestamp"].as_str().expect("a time")), Some(row.time_ms));
            made += 1;
        }
        assert_eq!(made, 1000);
    }

    #[test]
    fn changes_hold_the_same_rows_as_events() {
        let (mut events, mut changes) = (Records::new(Shape::Event, 50), Records::new(Shape::Change, 50));
        while let Some(row) = events.make() {
            assert_eq!(changes.make(), Some(row));
            let change: serde_json::Value = serde_json::from_str(&changes.value).expect("JSON");
            let event: serde_json::Value = serde_json::from_str(&events.value).expect("JSON");
            assert_eq!(change["after"], event);
            let key: serde_json::Value = serde_json::from_str(&changes.key).expect("JSON");
            assert_eq!(key["transaction_id"], event["transaction_id"]);
        }
    }

    #[test]
    fn a_time_is_read_as_it_was_written_and_in_other_spellings() {
        let time = FIRST_MS + 61_007;
        assert_eq!(text_of(time), "2026-01-01T12:01:01.007Z");
        for (text, ms) in [
            ("2026-01-01T12:01:01.007Z", Some(time)),
            ("2026-01-01T12:01:01Z", Some(time - 7)),
            ("2026-01-01T12:01:01.0071+00:00", Some(time)),
            ("2026-01-02T12:01:01Z", None),
            ("2026-01-01T12:01Z", None),
        ] {
            assert_eq!(time_of(text), ms, "{text}");
        }
    }

    #[test]
    fn rows_span_the_event_time_that_was_asked_for() {
        let mut records = Records::new(Shape::Event, 100).spanning(50_000);
        let mut latest = 0;
        while let Some(row) = records.make() {
            latest = latest.max(row.time_ms);
        }
        assert!((FIRST_MS + 45_000..FIRST_MS + 50_000).contains(&latest), "{latest}");
    }
}
