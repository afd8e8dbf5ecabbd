//! The sink is killed before and after each of its effects; each time the end is the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use acequia_crds::pipeline::sink::{PostgresSink, WriteMode};
use acequia_tests::check::{Row, assert_none, same_rows};
use acequia_tests::database::Database;
use acequia_tests::stack::{Stack, unique};
use acequia_tests::worker::{Sink, column};

const DEADLINE: Duration = Duration::from_secs(60);
/// A run has at least these: two claims, and the transaction's places for one chunk.
const FEWEST_POINTS: u64 = 9;
const PARTITIONS: i32 = 2;

/// A record as [`Stack::produce`] takes it.
type Record = (i32, Option<Vec<u8>>, Option<Vec<u8>>);

/// What a sink leaves behind.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    rows: Vec<Row>,
    offsets: Vec<Row>,
    dead_letters: Vec<Row>,
}

/// Runs the sink to the end of its log, killed at the `n`-th point; returns what is left, and whether it was killed.
fn run(stack: &Stack, topic: &str, name: &str, sink: PostgresSink, crash_at: u64) -> (Left, bool) {
    let table = sink.table.clone().unwrap();
    let sink = Sink::new(stack, name, &[topic], sink);
    let mut killed = false;
    if crash_at > 0 {
        let crash_at = crash_at.to_string();
        let mut first = sink.start("0", &[("ACEQUIA_CRASH_AT", &crash_at)]);
        killed = acequia_tests::wait::until(
            "the sink has read everything or was killed",
            DEADLINE,
            || (first.process.ended(), first.report().and_then(|report| report.lag)),
            |(ended, lag)| ended.is_some() || *lag == Some(0),
        )
        .0
        .is_some();
        if !killed {
            // The points of the way out count too.
            killed = !first.process.stop().success();
        }
    }
    let mut second = sink.start("0", &[]);
    second.wait_for_no_lag(DEADLINE);
    assert!(second.process.stop().success());
    let mut dwh = Database::open(stack, "dwh_db");
    let mine = format!("WHERE pipeline = '{}'", sink.pipeline());
    let left = Left {
        rows: dwh.rows(&format!("SELECT * FROM \"{table}\"")),
        offsets: dwh.rows(&format!(
            "SELECT topic, partition, next_offset FROM acequia_offsets {mine} ORDER BY partition"
        )),
        dead_letters: dwh.rows(&format!(
            "SELECT topic, partition, \"offset\", cause FROM acequia_dead_letters {mine} ORDER BY partition, \"offset\""
        )),
    };
    dwh.run(&format!("DROP TABLE \"{table}\""));
    (left, killed)
}

/// Tries every crash point and compares each end with that of an undisturbed run.
fn every_crash_point_ends_alike(records: &[Record], sink: &PostgresSink, fewest_rows: usize) {
    let stack = Stack::up();
    let topic = unique("crash");
    stack.create_topic(&topic, PARTITIONS);
    stack.produce(&topic, records);
    let undisturbed_table = format!("{topic}_0");
    let with_table = |table: &str| PostgresSink { table: Some(table.to_owned()), ..sink.clone() };
    let (undisturbed, _) = run(&stack, &topic, &undisturbed_table, with_table(&undisturbed_table), 0);
    assert!(undisturbed.rows.len() >= fewest_rows, "{} rows", undisturbed.rows.len());
    let mut point = 1;
    loop {
        let name = format!("{topic}_{point}");
        let (left, killed) = run(&stack, &topic, &name, with_table(&name), point);
        assert_none(&same_rows(&undisturbed.rows, &left.rows, fewest_rows), &format!("crash point {point}"));
        assert_eq!(left.offsets, undisturbed.offsets, "crash point {point}");
        assert_eq!(left.dead_letters, undisturbed.dead_letters, "crash point {point}");
        if !killed {
            break;
        }
        point += 1;
    }
    assert!(point > FEWEST_POINTS, "only {point} crash points were reached");
    println!("crash points: {}", point - 1);
}

#[test]
fn append_ends_alike_wherever_it_is_killed() {
    let sink = PostgresSink {
        table: None,
        mode: WriteMode::Append,
        key: Vec::new(),
        columns: vec![column("id", "bigint"), column("name", "text")],
    };
    let mut records: Vec<Record> = (0..200)
        .map(|id| (id % PARTITIONS, None, Some(format!(r#"{{"id":{id},"name":"n{id}"}}"#).into_bytes())))
        .collect();
    // What can't be decoded, what has the wrong type, and what there is nothing of.
    records.insert(50, (0, None, Some(b"{\"id\":".to_vec())));
    records.insert(100, (1, Some(b"k".to_vec()), Some(br#"{"id":"x","name":"y"}"#.to_vec())));
    records.insert(150, (1, Some(b"k".to_vec()), None));
    every_crash_point_ends_alike(&records, &sink, 200);
}

#[test]
fn mirror_ends_alike_wherever_it_is_killed() {
    let sink = PostgresSink {
        table: None,
        mode: WriteMode::Mirror,
        key: vec!["id".to_owned()],
        columns: vec![column("id", "bigint"), column("note", "text"), column("price", "numeric(12,2)")],
    };
    let mut records: Vec<Record> = Vec::new();
    let mut expected: BTreeMap<i32, i32> = BTreeMap::new();
    for step in 0..300 {
        let id = step * 7 % 60;
        let key = Some(format!(r#"{{"id":{id}}}"#).into_bytes());
        if step % 5 == 4 {
            let value = format!(r#"{{"before":{{"id":{id}}},"after":null,"op":"d"}}"#);
            records.push((id % PARTITIONS, key.clone(), Some(value.into_bytes())));
            records.push((id % PARTITIONS, key, None));
            expected.remove(&id);
        } else {
            let value = format!(
                r#"{{"before":null,"after":{{"id":{id},"note":"s{step}","price":"{step}.50"}},"op":"u"}}"#
            );
            records.push((id % PARTITIONS, key, Some(value.into_bytes())));
            expected.insert(id, step);
        }
    }
    records.insert(10, (0, None, Some(b"no event".to_vec())));
    every_crash_point_ends_alike(&records, &sink, expected.len());
}
