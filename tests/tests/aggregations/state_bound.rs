//! At the bound of its state an aggregator says so and reads no further, instead of being killed.

use std::time::Duration;

use acequia_crds::stage_report::StageState;
use acequia_tests::aggregation::Aggregation;
use acequia_tests::stack::{Record, Stack, unique};
use acequia_tests::wait::until;

use super::ledger::put;
use super::scene::{Input, Scene};

const DEADLINE: Duration = Duration::from_secs(60);
const LIMIT_BYTES: u64 = 1 << 20;
/// More than the bound holds, and some more.
const ROWS: u64 = 12_000;
const MORE: u64 = 3_000;

fn rows(ids: std::ops::Range<u64>) -> Vec<Record> {
    ids.map(|id| put(0, "c", id, "Toys", 100 + id as i64 % 500)).collect()
}

#[test]
fn at_the_bound_of_state_the_input_waits_and_a_higher_bound_lets_it_go_on() {
    let stack = Stack::up();
    let name = unique("bound");
    let mut scene = Scene::with_input(&stack, Input::Table, &name, 1, "100ms");
    let mut work = scene.aggregation.work.clone();
    work.state_limit_bytes = LIMIT_BYTES;
    scene.aggregation = Aggregation::of_work(&stack, &name, work.clone());
    let mut worker = scene.aggregation.start("a", &[]);
    scene.produce(&rows(0..ROWS));
    let report = until(
        "it stops at its bound",
        DEADLINE,
        || worker.report(),
        |report| report.as_ref().is_some_and(|report| report.state == StageState::Stopped),
    );
    let error = report.unwrap().error.unwrap();
    assert!(
        error.contains("has reached its bound of 1 MiB") && error.contains("resources.memory"),
        "{error}"
    );
    // What was taken before the bound was noticed is counted; what comes now waits.
    let before = worker.report().unwrap().records;
    scene.produce(&rows(ROWS..ROWS + MORE));
    let left = ROWS + MORE - before;
    let report = until(
        "it knows what waits",
        DEADLINE,
        || worker.report().unwrap(),
        |report| report.lag.is_some_and(|lag| lag >= MORE),
    );
    assert_eq!((report.state, report.records), (StageState::Stopped, before));
    assert_eq!(report.lag, Some(left));
    assert!(report.aggregation.unwrap().state_bytes >= LIMIT_BYTES);
    assert!(worker.process.ended().is_none());
    assert!(worker.process.stop().success());

    work.state_limit_bytes = LIMIT_BYTES * 64;
    scene.aggregation = Aggregation::of_work(&stack, &name, work);
    let mut worker = scene.aggregation.start("a", &[]);
    scene.wait_for_the_end(DEADLINE);
    assert!(worker.process.stop().success());
    scene.delete();
}
