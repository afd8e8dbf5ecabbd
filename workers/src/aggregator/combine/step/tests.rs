//! Step one over single records.

use acequia_crds::pipeline::aggregation::Aggregation;

use super::*;
use crate::aggregator::measure::Value;
use crate::aggregator::partial::Partial;
use crate::aggregator::record::Found;

struct NoLookups;

impl Lookups for NoLookups {
    fn row(&self, _: usize, _: &str) -> Found<'_> {
        Found::Absent
    }
}

/// The number of rows of a table, and the sum of a column.
fn combine() -> Combine {
    let yaml = "{name: a, from: [t], format: debezium, window: {global: {}}, to: [{topic: out}], \
                measures: [{name: rows, count: {}}, {name: total, sum: event.n}]}";
    let aggregation: Aggregation = serde_yaml::from_str(yaml).unwrap();
    let plan = RecordPlan::new(&aggregation).unwrap();
    let window = Window::new(&aggregation.window).unwrap();
    Combine::new(plan, window, Lateness { watermark_ms: 0, allowed_ms: 0 })
}

fn id() -> SourcePartition {
    SourcePartition { topic: "t".into(), partition: 0 }
}

fn put(combine: &mut Combine, key: &str, n: i64) {
    let value = format!(r#"{{"op":"c","after":{{"n":{n}}}}}"#);
    let record = RecordView {
        topic: "t",
        partition: 0,
        offset: 0,
        timestamp_ms: 0,
        now_ms: 0,
        key: Some(key.as_bytes()),
        value: value.as_bytes(),
    };
    let source = combine.source("t", 0).unwrap();
    combine.take(source, &record, &NoLookups).unwrap();
}

/// What the transaction adds: rows and total.
fn added(combine: &Combine, writes: &Writes) -> (i64, String) {
    let [(_, value)] = writes.partials.as_slice() else { panic!("{writes:?}") };
    let Ok(Partial::Values(panes)) = partial::read(combine.shape(), value) else { panic!("no values") };
    let Value::Whole(total) = &panes[0].1.values[1] else { panic!("{panes:?}") };
    (panes[0].1.rows, format!("{total:?}"))
}

#[test]
fn rows_of_a_topic_that_was_made_anew_are_taken_back_before_it_is_read() {
    let mut combine = combine();
    let known = || Known { rows: Some(Rows::default()), ..Known::default() };
    combine.add_source(id(), known());
    put(&mut combine, "1", 5);
    put(&mut combine, "2", 7);
    let first = combine.writes();
    assert_eq!(added(&combine, &first), (2, "Sum(12)".into()));
    combine.commit();

    // Another worker restores what they contributed.
    let mut rows = Rows::default();
    for (_, key, value) in &first.rows {
        rows.restore(key, value.as_deref());
    }
    combine.add_source(id(), Known { rows: Some(rows), ..known() });
    combine.take_back_all(&id()).unwrap();
    put(&mut combine, "1", 6);
    let second = combine.writes();
    assert_eq!(added(&combine, &second), (-1, "Sum(-6)".into()));
    assert_eq!(second.rows.len(), 2, "{:?}", second.rows);
    assert_eq!(combine.row_count(), 1);
}

#[test]
fn a_row_that_is_delivered_again_changes_nothing() {
    let mut combine = combine();
    combine.add_source(id(), Known { rows: Some(Rows::default()), ..Known::default() });
    put(&mut combine, "1", 5);
    combine.writes();
    combine.commit();
    put(&mut combine, "1", 5);
    assert!(combine.writes().is_empty());
}
