//! An aggregator stands still past its session, at the moments that matter, and is replaced; what it does once it wakes
//! changes nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use acequia_tests::database::Database;
use acequia_tests::stack::{Record, Stack, unique};
use acequia_tests::wait::until;
use acequia_tests::worker::Worker;

use super::ledger::{Ledger, order};
use super::scene::{Input, Over, Scene};

const DEADLINE: Duration = Duration::from_secs(120);
const PARTITIONS: i32 = 2;
/// Where it freezes, each after it has passed there once: with records in an open transaction, with offsets in it too,
/// with values that are committed and neither in a store nor in the topic, with a batch in hand, and with the lock of a
/// table.
const MOMENTS: [&str; 6] = [
    "combine has sent its records",
    "combine has sent its offsets",
    "merge has sent its offsets",
    "merge has committed",
    "before a batch for Redis",
    "inside a batch for PostgreSQL",
];

/// Orders of a few seconds, so many that most seconds have several.
fn orders(from_second: i64) -> Vec<Record> {
    let one = |index: i64| {
        let category = ["Toys", "Books", "Games"][(index % 3) as usize];
        order((index % 2) as i32, from_second * 1000 + index * 100, category, 100 + index)
    };
    (0..50).map(one).collect()
}

fn is_frozen(worker: &Worker) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", worker.process.id())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

/// Orders are only added, so no count may ever fall. Returns how often it looked.
fn watch(scene: &Scene, is_over: &AtomicBool) -> usize {
    let mut database = Database::open(&scene.stack, "dwh_db");
    let mut redis = scene.stack.redis();
    let (mut table, mut hashes, mut looks) = (Ledger::new(), Ledger::new(), 0);
    while !is_over.load(Ordering::Relaxed) {
        let rises = |before: &mut Ledger, now: Ledger| {
            for (group, figures) in &*before {
                let orders = now.get(group).map(|figures| figures.orders);
                assert!(
                    orders >= Some(figures.orders),
                    "{group:?} went from {} to {orders:?}",
                    figures.orders
                );
            }
            *before = now;
        };
        rises(&mut table, scene.table(&mut database).0);
        rises(&mut hashes, scene.hashes(&mut redis));
        looks += 1;
        thread::sleep(Duration::from_millis(20));
    }
    looks
}

/// A step that has nothing yet has nothing to lose.
fn steps_with_partitions(worker: &Worker) -> Vec<&'static str> {
    let printed = worker.process.printed();
    let holds = |step: &&str| {
        let assigned = format!("{step}: partitions assigned");
        printed.lines().any(|line| line.contains(&assigned) && !line.contains("[]"))
    };
    let held: Vec<&str> = ["combine", "merge"].into_iter().filter(holds).collect();
    assert!(!held.is_empty(), "{printed}");
    held
}

fn freeze_and_wake(stack: &Stack, name: &str, moment: &str) {
    let scene = Scene::with_input(stack, Input::Orders, name, PARTITIONS, "100ms");
    let mut second = 0;
    let mut produce = || {
        scene.produce(&orders(second));
        second += 5;
    };
    let mut frozen = scene.aggregation.start("frozen", &[("ACEQUIA_FREEZE_AT", &format!("2:{moment}"))]);
    let look = || {
        produce();
        is_frozen(&frozen)
    };
    until(&format!("it is frozen: {moment}"), DEADLINE, look, |is_frozen| *is_frozen);
    let held = steps_with_partitions(&frozen);
    let is_over = AtomicBool::new(false);
    let looks = thread::scope(|scope| {
        let over = Over(&is_over);
        let watcher = scope.spawn(|| watch(&scene, &is_over));
        let mut other = scene.aggregation.start("other", &[]);
        scene.wait_for_the_end(DEADLINE);
        produce();
        scene.wait_for_the_end(DEADLINE);
        frozen.process.signal("CONT");
        produce();
        until(
            &format!("the woken worker ends, or knows what it lost: {moment}"),
            DEADLINE,
            || (frozen.process.ended(), frozen.process.printed()),
            |(ended, printed)| {
                // By its session, or by the coordinator, which refuses its offsets: then all of them are revoked.
                let is_gone = |step: &str| {
                    ["lost", "revoked"]
                        .iter()
                        .any(|how| printed.contains(&format!("{step}: partitions {how}")))
                };
                ended.is_some() || held.iter().all(|step| is_gone(step))
            },
        );
        produce();
        scene.wait_for_the_end(DEADLINE);
        other.wait_for_no_lag(DEADLINE);
        // What the woken one left must be good to go on from, too.
        let had_ended = frozen.process.ended().is_some();
        frozen.process.stop_if_running();
        other.process.kill();
        produce();
        let mut last = scene.aggregation.start("other", &[]);
        scene.wait_for_the_end(DEADLINE);
        assert!(last.process.stop().success());
        println!(
            "frozen where `{moment}`; when it woke it {}",
            if had_ended { "ended" } else { "joined again" }
        );
        drop(over);
        watcher.join().unwrap()
    });
    assert!(looks > 20, "the outputs were looked at {looks} times only");
    drop(frozen);
    scene.delete();
}

#[test]
fn an_aggregator_that_was_frozen_is_replaced_and_changes_nothing_when_it_wakes() {
    let stack = Stack::up();
    let prefix = unique("frozen");
    thread::scope(|scope| {
        for (index, moment) in MOMENTS.into_iter().enumerate() {
            let (stack, name) = (&stack, format!("{prefix}_{index}"));
            scope.spawn(move || freeze_and_wake(stack, &name, moment));
        }
    });
}
