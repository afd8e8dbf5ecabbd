//! A second replica comes and goes every five seconds while input flows; nothing is lost or repeated.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acequia_kafka::producer::{Producer, ProducerSettings};
use acequia_tests::stack::{KAFKA_DEADLINE, Stack, unique};
use acequia_tests::wait::until;

use super::ledger::order;
use super::scene::{Input, Over, Scene};

const DEADLINE: Duration = Duration::from_secs(90);
const PARTITIONS: i32 = 4;
const VISITS: usize = 8;
const STAYS: Duration = Duration::from_secs(5);
/// What must have come in for the test to mean something.
const FEWEST_RECORDS: usize = 5_000;
const FEWEST_LATE: usize = 10;
const FEWEST_FINAL: usize = 5;

/// Writes orders until it is over: event time passes ten times as fast as time, some orders are out of order, and some
/// too late.
fn flow(scene: &Scene, is_over: &AtomicBool) {
    let settings = ProducerSettings::new("acequia tests");
    let producer = Producer::connect(&scene.stack.kafka(), &settings).unwrap();
    let (started, mut index) = (Instant::now(), 0_i64);
    while !is_over.load(Ordering::Relaxed) {
        let passed_ms = started.elapsed().as_millis() as i64 * 10;
        for _ in 0..10 {
            index += 1;
            let behind_ms = if index % 101 == 0 { 90_000 } else { index * 7919 % 9_000 };
            let category = ["Toys", "Books", "Games", "Music", "Garden"][(index * 31 % 5) as usize];
            let at_ms = (passed_ms - behind_ms).max(0);
            let (partition, _, value) =
                order((index * 17 % i64::from(PARTITIONS)) as i32, at_ms, category, index % 10_000);
            producer.send(&scene.input, Some(partition), None, value.as_deref()).unwrap();
        }
        producer.flush(KAFKA_DEADLINE).unwrap();
        // The pace of the input; nothing waits for it.
        thread::sleep(Duration::from_millis(30));
    }
    assert!(producer.take_undelivered().is_empty());
}

/// A second replica comes, gets work, and goes: asked to, or killed.
fn visit(scene: &Scene, index: usize) {
    let came = Instant::now();
    let mut visitor = scene.aggregation.start(["b", "c", "d"][index % 3], &[]);
    let report = until(
        &format!("visitor {index} gets work"),
        DEADLINE,
        || visitor.report(),
        |report| report.as_ref().is_some_and(|report| report.records > 0),
    );
    println!(
        "visitor {index}: {} records after {:.1} s",
        report.unwrap().records,
        came.elapsed().as_secs_f64()
    );
    until("it has stayed long enough", DEADLINE, || came.elapsed(), |stayed| *stayed >= STAYS);
    if index.is_multiple_of(2) {
        assert!(visitor.process.stop().success());
    } else {
        visitor.process.kill();
    }
}

#[test]
fn a_second_replica_that_comes_and_goes_loses_and_repeats_nothing() {
    let stack = Stack::up();
    let scene = Scene::with_input(&stack, Input::Orders, &unique("storm"), PARTITIONS, "200ms");
    let mut first = scene.aggregation.start("a", &[]);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = Over(&is_over);
        let flow = scope.spawn(|| flow(&scene, &is_over));
        for index in 0..VISITS {
            visit(&scene, index);
        }
        drop(over);
        flow.join().unwrap();
    });
    let expected = scene.wait_for_the_end(DEADLINE);
    let records = expected.ledger.values().map(|figures| figures.orders).sum::<i64>() as usize;
    println!("{records} records, {} late, {} windows final", expected.late.len(), expected.finals.len());
    assert!(records >= FEWEST_RECORDS, "only {records} records");
    assert!(expected.late.len() >= FEWEST_LATE && expected.finals.len() >= FEWEST_FINAL);
    assert!(first.process.stop().success());
    scene.delete();
}
