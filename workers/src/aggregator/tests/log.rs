//! The input: partitions of topics with orders in them, as events or as changes of a table.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::case::{Case, Format};
use crate::aggregator::combine::step::MAX_AHEAD_MS;
use crate::aggregator::partial::SourcePartition;

/// The time at which inputs begin: the start of a window, in the middle of [`TODAY`].
pub const BEGIN_MS: i64 = TODAY as i64 * DAY_MS + DAY_MS / 2;
/// The day of most orders.
pub const TODAY: i32 = 20_779;
pub const DAY_MS: i64 = 86_400_000;

const CATEGORIES: [&str; 4] = ["Toys", "Books", "a \"quoted\" one", "Über"];

/// A line of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub category: usize,
    pub cents: Option<i64>,
}

impl Line {
    pub fn category(&self) -> &'static str {
        CATEGORIES[self.category % CATEGORIES.len()]
    }
}

/// An order: a row of the table, or what an event says.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub id: u8,
    pub at_ms: i64,
    pub is_failed: bool,
    pub day: i32,
    /// Without `explode` the first counts.
    pub lines: Vec<Line>,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The order is there, or is this now. `before` is what a change event claims was there before: it may be wrong.
    Put { op: char, order: Order, before: Option<Order> },
    /// The order is gone.
    Delete { id: u8 },
    /// All orders are gone.
    Truncate,
    /// Nothing, after a delete.
    Tombstone { id: u8 },
    /// What nobody can read.
    Garbage,
}

/// A record of the input.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub timestamp_ms: i64,
    pub said: Said,
}

/// A partition of an input topic.
#[derive(Clone, Debug)]
pub struct Log {
    pub source: SourcePartition,
    pub is_only_partition: bool,
    pub records: Vec<Record>,
}

impl Record {
    pub fn key(&self) -> Option<Vec<u8>> {
        let id = match &self.said {
            Said::Put { order, .. } => order.id,
            Said::Delete { id } | Said::Tombstone { id } => *id,
            Said::Truncate | Said::Garbage => return None,
        };
        Some(format!("{{\"id\":{id}}}").into_bytes())
    }

    pub fn value(&self, format: Format) -> Option<String> {
        Some(match &self.said {
            Said::Put { op, order, before } if format == Format::Debezium => {
                let before = before.as_ref().map_or("null".to_owned(), Order::json);
                format!(r#"{{"op":"{op}","before":{before},"after":{}}}"#, order.json())
            }
            Said::Put { order, .. } => order.json(),
            Said::Delete { id } => format!(r#"{{"op":"d","before":{{"id":{id}}},"after":null}}"#),
            Said::Truncate => r#"{"op":"t"}"#.to_owned(),
            Said::Tombstone { .. } => return None,
            Said::Garbage => "{".to_owned(),
        })
    }
}

impl Order {
    fn json(&self) -> String {
        let mut json = format!(
            r#"{{"id":{},"at":{},"status":"{}","day":{}"#,
            self.id,
            self.at_ms,
            if self.is_failed { "failed" } else { "paid" },
            i64::from(self.day) * DAY_MS + 5,
        );
        let fields = |line: &Line| {
            let category = serde_json::to_string(line.category()).unwrap();
            let amount = line.cents.map_or("null".to_owned(), decimal);
            format!(r#""category":{category},"amount":{amount}"#)
        };
        if let Some(line) = self.lines.first() {
            write!(json, ",{}", fields(line)).unwrap();
        }
        let items: Vec<_> = self.lines.iter().map(|line| format!("{{{}}}", fields(line))).collect();
        write!(json, r#","items":[{}]}}"#, items.join(",")).unwrap();
        json
    }
}

fn decimal(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

/// A step of a source, before it is known what the format makes of it.
#[derive(Clone, Debug)]
enum Move {
    Put { op: char, order: Order, before: Option<Order>, behind_ms: i64 },
    Again { back: usize },
    Snapshot,
    Delete { id: u8 },
    Truncate,
    Garbage,
}

/// Logs of two partitions of one topic and of the only one of another.
pub fn logs(case: &Case) -> impl Strategy<Value = Vec<Log>> + use<> {
    let format = case.format;
    let one = || prop::collection::vec((moves(), 0_i64..4_000), 0..28);
    (one(), one(), one()).prop_map(move |(one, two, three)| {
        let log = |(topic, partition, moves)| Log {
            source: SourcePartition { topic: String::from(topic), partition },
            is_only_partition: topic == "returns",
            records: written(format, topic == "returns", moves),
        };
        [("orders", 0, one), ("orders", 1, two), ("returns", 0, three)].map(log).to_vec()
    })
}

fn written(format: Format, can_truncate: bool, moves: Vec<(Move, i64)>) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut now_ms = BEGIN_MS;
    for (step, after_ms) in moves {
        now_ms += after_ms;
        let is_table = format == Format::Debezium;
        let said = match step {
            Move::Put { op, mut order, before, behind_ms } => {
                order.at_ms = now_ms - behind_ms;
                vec![Said::Put { op, order, before }]
            }
            Move::Again { back } => {
                let again = records.len().checked_sub(1 + back).map(|index| records[index].said.clone());
                again.into_iter().collect()
            }
            Move::Snapshot if is_table => snapshot(&records),
            Move::Delete { id } if is_table => vec![Said::Delete { id }, Said::Tombstone { id }],
            Move::Truncate if is_table && can_truncate => vec![Said::Truncate],
            Move::Garbage => vec![Said::Garbage],
            _ => vec![],
        };
        records.extend(said.into_iter().map(|said| Record { timestamp_ms: now_ms, said }));
    }
    records
}

/// Every row that there is, read once more.
fn snapshot(records: &[Record]) -> Vec<Said> {
    let mut rows = std::collections::BTreeMap::new();
    for record in records {
        match &record.said {
            Said::Put { order, .. } => _ = rows.insert(order.id, order.clone()),
            Said::Delete { id } => _ = rows.remove(id),
            Said::Truncate => rows.clear(),
            Said::Tombstone { .. } | Said::Garbage => {}
        }
    }
    rows.into_values().map(|order| Said::Put { op: 'r', order, before: None }).collect()
}

fn moves() -> impl Strategy<Value = Move> {
    let op = prop_oneof![Just('c'), Just('u'), Just('u'), Just('r')];
    // Mostly in order, some late, one in a while from a clock that is far ahead.
    let behind_ms = prop_oneof![
        10 => 0_i64..3_000,
        4 => 0_i64..25_000,
        1 => Just(-2 * MAX_AHEAD_MS),
    ];
    let put = (op, orders(), prop::option::of(orders()), behind_ms)
        .prop_map(|(op, order, before, behind_ms)| Move::Put { op, order, before, behind_ms });
    prop_oneof![
        20 => put,
        3 => (0_usize..6).prop_map(|back| Move::Again { back }),
        1 => Just(Move::Snapshot),
        4 => (0_u8..6).prop_map(|id| Move::Delete { id }),
        1 => Just(Move::Truncate),
        1 => Just(Move::Garbage),
    ]
}

fn orders() -> impl Strategy<Value = Order> {
    let line = (0_usize..4, prop::option::weighted(0.9, -500_i64..5_000))
        .prop_map(|(category, cents)| Line { category, cents });
    let day = prop_oneof![4 => Just(TODAY), 1 => Just(TODAY - 1), 1 => Just(TODAY + 1)];
    (0_u8..6, prop::bool::weighted(0.2), day, prop::collection::vec(line, 0..4))
        .prop_map(|(id, is_failed, day, lines)| Order { id, at_ms: BEGIN_MS, is_failed, day, lines })
}
