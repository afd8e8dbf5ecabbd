//! What the outputs of an aggregation must come to, recomputed from its input by the plainest of means.
//!
//! Money is in cents here; in records it has two decimals.

use std::collections::{BTreeMap, BTreeSet};

use acequia_kafka::log::OwnedRecord;
use acequia_tests::stack::Record;
use serde_json::Value;

/// Length of a window, and how far out of order events may be, in milliseconds.
pub const WINDOW_MS: i64 = 30_000;
pub const WATERMARK_MS: i64 = 10_000;
/// 2026-01-01T00:00:00Z: events are of the first hours of that year.
pub const NEW_YEAR_MS: i64 = 1_767_225_600_000;

/// The measures of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    pub orders: i64,
    pub revenue: i64,
    pub cheapest: i64,
    pub dearest: i64,
}

/// Start of the window (empty: the global one) and category → what it comes to.
pub type Ledger = BTreeMap<(String, String), Figures>;

/// Everything that an aggregation leaves behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub ledger: Ledger,
    /// Starts of the windows that are final.
    pub finals: BTreeSet<String>,
    /// Values of the records that came too late, sorted.
    pub late: Vec<String>,
    /// Partition and offset of what can't be read, sorted.
    pub unreadable: Vec<(i64, i64)>,
}

impl Figures {
    pub fn of(prices: impl IntoIterator<Item = i64>) -> Option<Self> {
        let add = |sum: Option<Self>, price: i64| {
            let Self { orders, revenue, cheapest, dearest } =
                sum.unwrap_or(Self { orders: 0, revenue: 0, cheapest: price, dearest: price });
            Some(Self {
                orders: orders + 1,
                revenue: revenue + price,
                cheapest: cheapest.min(price),
                dearest: dearest.max(price),
            })
        };
        prices.into_iter().fold(None, add)
    }
}

/// Cents of a number with up to two decimals; a digit more is a fault of whoever wrote it.
pub fn cents(text: &str) -> i64 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    assert!(part.len() <= 2, "{text} has more than two decimals");
    let (sign, whole) = whole.strip_prefix('-').map_or((1, whole), |whole| (-1, whole));
    let number = |text: &str| text.parse::<i64>().unwrap_or_else(|_| panic!("{text} is no number"));
    sign * (number(whole) * 100 + number(&format!("{part:0<2}")))
}

fn price(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// A record of a plain log: an order at a time after New Year.
pub fn order(partition: i32, after_ms: i64, category: &str, cents: i64) -> Record {
    let (at, price) = (NEW_YEAR_MS + after_ms, price(cents));
    let value = format!(r#"{{"at":{at},"category":"{category}","price":{price}}}"#);
    (partition, None, Some(value.into_bytes()))
}

/// A change event as Debezium writes it. Its `before` is wrong on purpose: nobody may trust it.
pub fn put(partition: i32, op: &str, id: u64, category: &str, cents: i64) -> Record {
    let key = format!(r#"{{"id":{id}}}"#);
    let row = format!(r#"{{"id":{id},"category":"{category}","price":"{}"}}"#, price(cents));
    let before = r#"{"id":0,"category":"Wrong","price":"1000000.00"}"#;
    let value = format!(r#"{{"before":{before},"after":{row},"op":"{op}"}}"#);
    (partition, Some(key.into_bytes()), Some(value.into_bytes()))
}

/// The two records of a deleted row.
pub fn delete(partition: i32, id: u64) -> [Record; 2] {
    let key = format!(r#"{{"id":{id}}}"#).into_bytes();
    let value = br#"{"before":null,"after":null,"op":"d"}"#.to_vec();
    [(partition, Some(key.clone()), Some(value)), (partition, Some(key), None)]
}

/// Start of the window of an event, as outputs write it.
pub fn window_of(at_ms: i64) -> String {
    iso(at_ms - at_ms.rem_euclid(WINDOW_MS))
}

fn iso(ms: i64) -> String {
    let second = (ms - NEW_YEAR_MS) / 1000;
    assert!((0..86_400).contains(&second), "an event of another day");
    format!("2026-01-01T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Recomputes windows of events. Lateness is judged record by record against the record's own partition.
pub fn of_events(log: &[OwnedRecord], partitions: i32) -> Expected {
    let mut expected = Expected::default();
    let mut prices: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
    let mut highest: BTreeMap<i32, i64> = BTreeMap::new();
    for record in log {
        let Some(value) = record.value.as_deref() else { continue };
        let Ok(event) = serde_json::from_slice::<Value>(value) else {
            expected.unreadable.push((record.partition.into(), record.offset));
            continue;
        };
        let at_ms = event["at"].as_i64().unwrap();
        let end_ms = at_ms - at_ms.rem_euclid(WINDOW_MS) + WINDOW_MS;
        if highest.get(&record.partition).is_some_and(|highest| highest - WATERMARK_MS >= end_ms) {
            expected.late.push(String::from_utf8(value.to_vec()).unwrap());
            continue;
        }
        let group = (window_of(at_ms), event["category"].as_str().unwrap().to_owned());
        prices.entry(group).or_default().push(cents(&format!("{:.2}", event["price"].as_f64().unwrap())));
        let highest = highest.entry(record.partition).or_insert(at_ms);
        *highest = (*highest).max(at_ms);
    }
    if highest.len() == partitions as usize {
        let low_ms = highest.values().min().unwrap() - WATERMARK_MS;
        let low_ms = low_ms.max(NEW_YEAR_MS);
        // Those that end where this one starts, or before.
        let first_open = window_of(low_ms);
        let starts = prices.keys().map(|(window, _)| window.clone());
        expected.finals = starts.filter(|start| *start < first_open).collect();
    }
    expected.ledger =
        prices.into_iter().filter_map(|(group, prices)| Some((group, Figures::of(prices)?))).collect();
    expected.late.sort();
    expected.unreadable.sort_unstable();
    expected
}

/// Recomputes a table from its changes: of each key the last one counts.
pub fn of_changes(log: &[OwnedRecord]) -> Expected {
    let mut expected = Expected::default();
    let mut rows: BTreeMap<(i32, Vec<u8>), (String, i64)> = BTreeMap::new();
    for record in log {
        let Some(value) = record.value.as_deref() else { continue };
        let (Some(key), Ok(event)) = (&record.key, serde_json::from_slice::<Value>(value)) else {
            expected.unreadable.push((record.partition.into(), record.offset));
            continue;
        };
        let key = (record.partition, key.clone());
        let after = &event["after"];
        if event["op"] == "d" {
            rows.remove(&key);
        } else {
            let text = |name: &str| after[name].as_str().unwrap().to_owned();
            rows.insert(key, (text("category"), cents(&text("price"))));
        }
    }
    let mut prices: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (category, price) in rows.into_values() {
        prices.entry(category).or_default().push(price);
    }
    let figures =
        |(category, prices): (String, Vec<i64>)| Some(((String::new(), category), Figures::of(prices)?));
    expected.ledger = prices.into_iter().filter_map(figures).collect();
    expected.unreadable.sort_unstable();
    expected
}
