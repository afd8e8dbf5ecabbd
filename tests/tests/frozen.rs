//! A worker that stands still past its session, inside a COPY, is replaced; what it does later changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use acequia_crds::pipeline::sink::{PostgresSink, WriteMode};
use acequia_tests::check::{assert_none, each_once};
use acequia_tests::database::Database;
use acequia_tests::stack::{Stack, unique};
use acequia_tests::wait::until;
use acequia_tests::worker::{Sink, Worker, column};

const RECORDS: usize = 400_000;
const BATCH: usize = 50_000;
const DEADLINE: Duration = Duration::from_secs(120);

fn sink(table: &str) -> PostgresSink {
    PostgresSink {
        table: Some(table.to_owned()),
        mode: WriteMode::Append,
        key: Vec::new(),
        columns: vec![column("id", "bigint"), column("filler", "text")],
    }
}

/// Freezes the worker at a moment when its backend waits for more of a COPY.
fn freeze_inside_copy(dwh: &mut Database, worker: &Worker, table: &str) {
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'ClientRead' \
         AND query LIKE 'COPY \"{table}\"%'"
    );
    until(
        "the worker is frozen inside COPY",
        DEADLINE,
        || {
            worker.process.signal("STOP");
            // The backend may still be reading what was sent; once that is eaten it waits.
            let caught = (0..5).any(|_| dwh.number(&waiting) == 1);
            if !caught {
                worker.process.signal("CONT");
            }
            caught
        },
        |caught| *caught,
    );
}

#[test]
fn a_worker_frozen_inside_copy_is_replaced_and_changes_nothing_when_it_wakes() {
    let stack = Stack::up();
    let name = unique("frozen");
    stack.create_topic(&name, 1);
    let filler = "x".repeat(200);
    let mut next = 0;
    while next < RECORDS {
        let records: Vec<_> = (next..next + BATCH)
            .map(|id| (0, None, Some(format!(r#"{{"id":{id},"filler":"{filler}"}}"#).into_bytes())))
            .collect();
        stack.produce(&name, &records);
        next += BATCH;
    }
    let mut dwh = Database::open(&stack, "dwh_db");
    let sink = Sink::new(&stack, &name, &[&name], sink(&name));

    let mut frozen = sink.start("frozen", &[]);
    freeze_inside_copy(&mut dwh, &frozen, &name);
    let before = dwh.number(&format!("SELECT count(*) FROM \"{name}\""));
    assert!((before as usize) < RECORDS, "everything was written before the worker froze: nothing is shown");

    let other = sink.start("other", &[]);
    other.wait_for_no_lag(DEADLINE);
    let offsets =
        format!("SELECT partition, next_offset FROM acequia_offsets WHERE pipeline = '{}'", sink.pipeline());
    let reached = dwh.rows(&offsets);

    frozen.process.signal("CONT");
    // It is at work again, without a partition, once it has heard from the group.
    until(
        "the woken worker knows it lost its partition",
        DEADLINE,
        || frozen.report(),
        |report| report.as_ref().is_some_and(|report| report.lag == Some(0)),
    );
    assert_eq!(dwh.rows(&offsets), reached);
    let more: Vec<_> = (RECORDS..RECORDS + 100)
        .map(|id| (0, None, Some(format!(r#"{{"id":{id},"filler":""}}"#).into_bytes())))
        .collect();
    stack.produce(&name, &more);
    let count = format!("SELECT count(*) FROM \"{name}\"");
    until(
        "what comes after is written",
        DEADLINE,
        || dwh.number(&count),
        |count| *count as usize >= RECORDS + 100,
    );

    let ids = dwh.rows(&format!("SELECT id FROM \"{name}\""));
    let expected: Vec<_> = (0..RECORDS + 100).map(|id| vec![Some(format!(r#"{{"id":{id}}}"#))]).collect();
    assert_none(&each_once(&expected, &ids, RECORDS), "after the frozen worker woke");
    assert!(frozen.process.stop().success());
}
