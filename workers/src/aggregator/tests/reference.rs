//! What must come out: plain, slow, and not by any of the code that is tried.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::case::{Case, Format, SIZE_MS, WATERMARK_MS};
use super::log::{Log, Order, Record, Said};
use crate::aggregator::partial::SourcePartition;

/// Window's start (none: global) and group.
pub type Key = (Option<i64>, String);
/// Where a record is.
pub type At = (SourcePartition, i64);

/// The values of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    pub measures: Vec<Option<Decimal>>,
    pub is_final: bool,
}

/// Everything that is there when all input has been read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub figures: BTreeMap<Key, Figures>,
    pub late: Vec<At>,
    pub dead_letters: Vec<At>,
}

/// How the input ended.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// Nothing came for longer than a window waits.
    pub is_silent: bool,
    pub today: i32,
}

/// What one partition says, from its start to its end.
#[derive(Default)]
struct Partition {
    max_event_ms: Option<i64>,
    /// Orders of a table that can still change.
    rows: BTreeMap<u8, Order>,
    /// Orders that count, whatever comes.
    settled: Vec<Order>,
    late: Vec<i64>,
    dead_letters: Vec<i64>,
}

/// Reads all logs from the start.
pub fn answer(case: &Case, logs: &[Log], ending: Ending) -> Answer {
    let mut answer = Answer::default();
    let mut orders = Vec::new();
    let mut watermarks = Vec::new();
    for log in logs {
        let mut partition = Partition::default();
        for (offset, record) in log.records.iter().enumerate() {
            partition.take(case, offset as i64, record);
        }
        orders.extend(partition.settled);
        orders.extend(partition.rows.into_values());
        watermarks.push(partition.max_event_ms.map(|max| max - WATERMARK_MS));
        answer.late.extend(partition.late.into_iter().map(|offset| (log.source.clone(), offset)));
        let dead = partition.dead_letters.into_iter().map(|offset| (log.source.clone(), offset));
        answer.dead_letters.extend(dead);
    }
    let mut lines: BTreeMap<Key, Vec<(Order, Option<i64>)>> = BTreeMap::new();
    for order in orders {
        for (group, cents) in contributions(case, &order) {
            let window = (!case.is_global).then(|| window(order.at_ms));
            lines.entry((window, group)).or_default().push((order.clone(), cents));
        }
    }
    // One partition without a watermark, and nothing is final.
    let low = watermarks.into_iter().min().flatten();
    for (key, lines) in lines {
        let is_final = key.0.is_some_and(|start_ms| {
            let closes_ms = start_ms + SIZE_MS + case.allowed_ms;
            ending.is_silent || low.is_some_and(|low| low >= closes_ms)
        });
        answer.figures.insert(key, Figures { measures: measures(&lines, ending.today), is_final });
    }
    if case.is_global && !case.is_grouped {
        // As a SELECT without GROUP BY has a row.
        let nothing = Figures { measures: measures(&[], ending.today), is_final: false };
        answer.figures.entry((None, "[]".to_owned())).or_insert(nothing);
    }
    answer
}

fn window(at_ms: i64) -> i64 {
    at_ms.div_euclid(SIZE_MS) * SIZE_MS
}

impl Partition {
    fn take(&mut self, case: &Case, offset: i64, record: &Record) {
        match &record.said {
            Said::Tombstone { .. } => {}
            Said::Garbage => self.dead_letters.push(offset),
            Said::Put { order, .. } if !case.is_global && order.at_ms > record.timestamp_ms + 3_600_000 => {
                self.dead_letters.push(offset);
            }
            Said::Put { op, order, .. } => {
                let is_late = self.is_closed(case, order);
                if case.is_table() {
                    self.settle(case, order.id);
                    self.rows.remove(&order.id);
                }
                if is_late {
                    self.late.push(offset);
                    return;
                }
                if !case.is_table() {
                    self.settled.push(order.clone());
                } else if !contributions(case, order).is_empty() {
                    self.rows.insert(order.id, order.clone());
                }
                if !(case.format == Format::Debezium && *op == 'r') {
                    self.max_event_ms = self.max_event_ms.max(Some(order.at_ms));
                }
            }
            Said::Delete { id } => {
                self.settle(case, *id);
                if self.rows.remove(id).is_none() && !case.is_global {
                    self.late.push(offset);
                }
            }
            Said::Truncate => {
                let ids: BTreeSet<u8> = self.rows.keys().copied().collect();
                for id in ids {
                    self.settle(case, id);
                }
                self.rows.clear();
            }
        }
    }

    /// An order in a window that has closed stays as it is.
    fn settle(&mut self, case: &Case, id: u8) {
        if self.rows.get(&id).is_some_and(|order| self.is_closed(case, order)) {
            self.settled.extend(self.rows.remove(&id));
        }
    }

    fn is_closed(&self, case: &Case, order: &Order) -> bool {
        let closes_ms = window(order.at_ms) + SIZE_MS + case.allowed_ms;
        !case.is_global && self.max_event_ms.is_some_and(|max| max - WATERMARK_MS >= closes_ms)
    }
}

/// Groups and amounts of an order.
fn contributions(case: &Case, order: &Order) -> Vec<(String, Option<i64>)> {
    if case.is_filtered && order.is_failed {
        return Vec::new();
    }
    let group = |category: Option<&str>| match category {
        _ if !case.is_grouped => "[]".to_owned(),
        category => serde_json::to_string(&[category]).unwrap(),
    };
    let lines = order.lines.iter().map(|line| (group(Some(line.category())), line.cents));
    if case.is_exploded { lines.collect() } else { vec![lines.take(1).next().unwrap_or((group(None), None))] }
}

fn measures(lines: &[(Order, Option<i64>)], today: i32) -> Vec<Option<Decimal>> {
    let amounts: Vec<Decimal> =
        lines.iter().filter_map(|(_, cents)| Some(Decimal::new((*cents)?, 2))).collect();
    let sum: Decimal = amounts.iter().sum();
    let average = (!amounts.is_empty()).then(|| (sum / Decimal::from(amounts.len())).round_dp(9));
    let todays = lines.iter().filter(|(order, _)| order.day == today);
    let revenue_today: Decimal = todays.filter_map(|(_, cents)| Some(Decimal::new((*cents)?, 2))).sum();
    let failed = lines.iter().filter(|(order, _)| order.is_failed).count();
    vec![
        Some(lines.len().into()),
        Some(sum),
        average,
        amounts.iter().min().copied(),
        amounts.iter().max().copied(),
        Some(failed.into()),
        Some(revenue_today),
    ]
}
