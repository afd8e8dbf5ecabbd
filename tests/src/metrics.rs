//! Checkers of live figures: are windows and counts what the source and the log say?

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use crate::check::Row;

/// The values of one group in one window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// When it begins, in milliseconds since 1970.
    pub start_ms: i64,
    /// The group's value, for example a category.
    pub group: String,
    /// The measures, in their order.
    pub measures: Vec<Decimal>,
}

impl Window {
    /// As a row for [`crate::check::same_rows`]: exact, without needless zeros.
    pub fn to_row(&self) -> Row {
        let numbers = self.measures.iter().map(|value| value.normalize().to_string());
        [self.start_ms.to_string(), self.group.clone()].into_iter().chain(numbers).map(Some).collect()
    }
}

/// Where the totals of a window over its groups differ. Windows without groups in `expected` must have none in `found`,
/// and the other way round.
pub fn same_totals(expected: &[Window], found: &[Window]) -> Vec<String> {
    let (expected, found) = (totals(expected), totals(found));
    let starts: BTreeSet<i64> = expected.keys().chain(found.keys()).copied().collect();
    let differs = starts.into_iter().filter(|start_ms| expected.get(start_ms) != found.get(start_ms));
    let told = |start_ms: i64| {
        let (expected, found) = (expected.get(&start_ms), found.get(&start_ms));
        format!("window {start_ms}: the totals are {found:?}, not {expected:?}")
    };
    differs.map(told).collect()
}

fn totals(windows: &[Window]) -> BTreeMap<i64, Vec<Decimal>> {
    let mut totals: BTreeMap<i64, Vec<Decimal>> = BTreeMap::new();
    for window in windows {
        let sums =
            totals.entry(window.start_ms).or_insert_with(|| vec![Decimal::ZERO; window.measures.len()]);
        sums.iter_mut().zip(&window.measures).for_each(|(sum, value)| *sum += value);
    }
    totals
}

/// Groups of windows that have a negative measure: more was taken back than was ever added.
pub fn negative(found: &[Window]) -> Vec<String> {
    let is_negative = |window: &&Window| window.measures.iter().any(|value| *value < Decimal::ZERO);
    found.iter().filter(is_negative).map(|window| format!("negative: {window:?}")).collect()
}

/// A record of a change topic, as far as windows of counts go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The partition. Records of one are in the order of their offsets.
    pub partition: i32,
    /// `c`, `r`, `u` or `d`.
    pub op: String,
    /// The row's key.
    pub key: String,
    /// The row after the change: its event time in milliseconds since 1970, and its group; none for a delete.
    pub row: Option<(i64, String)>,
}

/// What a log comes to when it is read as the contract has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Start of the window and group → rows.
    pub counts: BTreeMap<(i64, String), i64>,
    /// Operation and key of the records that came too late, in order.
    pub late: Vec<(String, String)>,
}

/// Reads a log of changes, record by record: a window of `size_ms` is closed for a partition once the highest event time
/// that this partition has streamed before is `watermark_ms` beyond its end. What a row contributed to an open window is
/// taken back by the next change of the row; a change of a row whose window is closed is late.
pub fn judge(log: &[Changed], size_ms: i64, watermark_ms: i64) -> Judged {
    let mut judged = Judged::default();
    let mut highest: BTreeMap<i32, i64> = BTreeMap::new();
    let mut rows: BTreeMap<(i32, &str), (i64, &str)> = BTreeMap::new();
    for Changed { partition, op, key, row } in log {
        let until_ms = highest.get(partition).copied().unwrap_or(i64::MIN).saturating_sub(watermark_ms);
        let is_open = |start_ms: i64| start_ms + size_ms > until_ms;
        let counted = rows.remove(&(*partition, key)).filter(|(start_ms, _)| is_open(*start_ms));
        if let Some((start_ms, group)) = counted {
            *judged.counts.entry((start_ms, group.to_owned())).or_default() -= 1;
        }
        match row {
            Some((at_ms, group)) if is_open(at_ms - at_ms.rem_euclid(size_ms)) => {
                let start_ms = at_ms - at_ms.rem_euclid(size_ms);
                *judged.counts.entry((start_ms, group.clone())).or_default() += 1;
                rows.insert((*partition, key), (start_ms, group));
                // A snapshot reads rows in no order of time.
                if op != "r" {
                    let highest = highest.entry(*partition).or_insert(*at_ms);
                    *highest = (*at_ms).max(*highest);
                }
            }
            None if counted.is_some() => {}
            _ => judged.late.push((op.clone(), key.clone())),
        }
    }
    judged.counts.retain(|_, rows| *rows != 0);
    judged
}

/// The rows that a source must still have beside what its windows count: deletes that came too late were not taken
/// back. `inserted` is key → window and group of every row that ever came, `late` the keys of late deletes.
pub fn with_late_deletes(
    source: &BTreeMap<(i64, String), i64>,
    inserted: &BTreeMap<String, (i64, String)>,
    late: &[String],
) -> BTreeMap<(i64, String), i64> {
    let mut counts = source.clone();
    for window in late.iter().filter_map(|key| inserted.get(key)) {
        *counts.entry(window.clone()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start_ms: i64, group: &str, revenue: &str) -> Window {
        Window { start_ms, group: group.to_owned(), measures: vec![revenue.parse().unwrap()] }
    }

    fn changed(op: &str, key: &str, at_s: i64) -> Changed {
        let row = (op != "d").then(|| (at_s * 1000, "click".to_owned()));
        Changed { partition: 0, op: op.to_owned(), key: key.to_owned(), row }
    }

    fn counts(judged: &Judged) -> Vec<(i64, i64)> {
        judged.counts.iter().map(|((start_ms, _), rows)| (start_ms / 1000, *rows)).collect()
    }

    /// 30 s windows and 10 s of watermark.
    fn judged(log: &[Changed]) -> Judged {
        judge(log, 30_000, 10_000)
    }

    #[test]
    fn totals_agree_when_a_value_has_only_moved_to_another_group() {
        let source = [window(0, "Books", "10.50"), window(30, "Books", "1")];
        let moved = [window(0, "Books", "10"), window(0, "Sports", "0.5"), window(30, "Sports", "1.00")];
        assert_eq!(same_totals(&source, &moved), Vec::<String>::new());
    }

    #[test]
    fn a_cent_a_window_too_few_and_a_window_too_many_are_seen() {
        let source = [window(0, "Books", "10.50"), window(30, "Books", "1")];
        let cent = [window(0, "Books", "10.51"), window(30, "Books", "1")];
        assert_eq!(same_totals(&source, &cent).len(), 1);
        assert_eq!(same_totals(&source, &source[..1]).len(), 1);
        assert_eq!(same_totals(&source[..1], &source).len(), 1);
    }

    #[test]
    fn a_group_below_zero_is_seen_even_where_the_total_is_right() {
        let found = [window(0, "Books", "-1"), window(0, "Sports", "11.5")];
        assert_eq!(same_totals(&[window(0, "Books", "10.5")], &found), Vec::<String>::new());
        assert_eq!(negative(&found).len(), 1);
        assert_eq!(negative(&[window(0, "Books", "0")]), Vec::<String>::new());
    }

    #[test]
    fn rows_are_exact_and_without_needless_zeros() {
        assert_eq!(window(0, "a", "24977.40").to_row(), window(0, "a", "24977.4").to_row());
        assert_ne!(window(0, "a", "24977.41").to_row(), window(0, "a", "24977.4").to_row());
    }

    #[test]
    fn a_delete_in_time_is_taken_back_and_a_late_one_is_not() {
        let open = judged(&[changed("c", "1", 5), changed("c", "2", 39), changed("d", "1", 0)]);
        assert_eq!((counts(&open), open.late.len()), (vec![(30, 1)], 0));
        let closed = judged(&[changed("c", "1", 5), changed("c", "2", 40), changed("d", "1", 0)]);
        assert_eq!(counts(&closed), [(0, 1), (30, 1)]);
        assert_eq!(closed.late, [("d".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn each_partition_has_its_own_watermark_and_a_snapshot_has_none() {
        let mut other = changed("c", "2", 100);
        other.partition = 1;
        let log = [changed("r", "0", 200), other, changed("c", "1", 5), changed("c", "3", 5)];
        let judged = judged(&log);
        assert_eq!((counts(&judged), judged.late.len()), (vec![(0, 2), (90, 1), (180, 1)], 0));
    }

    #[test]
    fn a_repeated_record_counts_once_and_a_late_insert_not_at_all() {
        let twice = judged(&[changed("c", "1", 5), changed("r", "1", 5)]);
        assert_eq!(counts(&twice), [(0, 1)]);
        let late = judged(&[changed("c", "1", 90), changed("c", "2", 5)]);
        assert_eq!((counts(&late), late.late.len()), (vec![(90, 1)], 1));
    }

    #[test]
    fn the_source_and_its_late_deletes_come_to_the_same_as_the_log() {
        let log = [changed("c", "1", 5), changed("c", "2", 40), changed("d", "1", 0)];
        let click = |start_ms| (start_ms, "click".to_owned());
        let inserted = BTreeMap::from([("1".to_owned(), click(0)), ("2".to_owned(), click(30_000))]);
        let source = BTreeMap::from([(click(30_000), 1)]);
        let late = ["1".to_owned()];
        assert_eq!(with_late_deletes(&source, &inserted, &late), judged(&log).counts);
        assert_ne!(with_late_deletes(&source, &inserted, &[]), judged(&log).counts);
    }
}
