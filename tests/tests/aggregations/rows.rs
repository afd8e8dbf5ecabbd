//! What each row of a table contributed outlives the worker: nothing counts twice, and what is taken back is what was
//! added.

use std::time::Duration;

use acequia_tests::stack::{Record, Stack, unique};
use acequia_tests::wait::until;

use super::ledger::{delete, put};
use super::scene::{Input, Scene};

const DEADLINE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 2;
const ROWS: u64 = 400;
const CATEGORIES: [&str; 3] = ["Toys", "Books", "Games"];

fn partition(id: u64) -> i32 {
    (id % PARTITIONS as u64) as i32
}

/// Every row with the price and category that it has in a round.
fn all(op: &str, round: u64) -> impl Iterator<Item = Record> {
    (0..ROWS).map(move |id| {
        let category = CATEGORIES[((id + round) % 3) as usize];
        put(partition(id), op, id, category, (1_000 + id * 37 % 5_000 + round * 11) as i64)
    })
}

#[test]
fn a_worker_killed_between_updates_of_the_same_rows_counts_none_twice() {
    let stack = Stack::up();
    let scene = Scene::with_input(&stack, Input::Table, &unique("rows"), PARTITIONS, "100ms");
    let mut worker = scene.aggregation.start("a", &[]);
    scene.produce(&all("c", 0).collect::<Vec<_>>());
    assert_eq!(scene.wait_for_the_end(DEADLINE).ledger.len(), 3);
    for round in 1..=4 {
        scene.produce(&all("u", round).collect::<Vec<_>>());
        let started = worker.report().map_or(0, |report| report.records);
        // In the middle of the round or after it, as it comes.
        until(
            "it is at work on the round",
            DEADLINE,
            || worker.report(),
            |report| report.as_ref().is_some_and(|report| report.records > started || report.lag == Some(0)),
        );
        worker.process.kill();
        // A snapshot that is read again says nothing new.
        scene.produce(&all("r", round).collect::<Vec<_>>());
        worker = scene.aggregation.start("a", &[]);
        let expected = scene.wait_for_the_end(DEADLINE);
        let orders: i64 = expected.ledger.values().map(|figures| figures.orders).sum();
        assert_eq!(orders, ROWS as i64);
        assert_eq!(worker.wait_for_no_lag(DEADLINE).aggregation.unwrap().rows, ROWS);
    }
    assert!(worker.process.stop().success());
    scene.delete();
}

#[test]
fn least_and_greatest_are_right_after_deletes_and_an_empty_group_disappears() {
    let stack = Stack::up();
    let scene = Scene::with_input(&stack, Input::Table, &unique("extremes"), 1, "100ms");
    let mut worker = scene.aggregation.start("a", &[]);
    // Two rows have the greatest price of their category.
    let rows = [(1, "Toys", 100), (2, "Toys", 900), (3, "Toys", 900), (4, "Toys", 500), (5, "Books", 700)];
    scene.produce(&rows.map(|(id, category, cents)| put(0, "c", id, category, cents)));
    scene.wait_for_the_end(DEADLINE);
    for id in [2, 3, 1] {
        scene.produce(&delete(0, id));
        scene.wait_for_the_end(DEADLINE);
        worker.process.kill();
        worker = scene.aggregation.start("a", &[]);
        // Deleted again, as a repeated delivery would.
        scene.produce(&delete(0, id));
    }
    let figures = scene.wait_for_the_end(DEADLINE).ledger[&(String::new(), "Toys".to_owned())];
    assert_eq!((figures.orders, figures.cheapest, figures.dearest), (1, 500, 500));
    scene.produce(&[put(0, "u", 5, "Toys", 200)]);
    assert_eq!(scene.wait_for_the_end(DEADLINE).ledger.len(), 1, "no book is left");
    scene.produce(&[put(0, "c", 6, "Books", 300)]);
    assert_eq!(scene.wait_for_the_end(DEADLINE).ledger.len(), 2, "a group comes back");
    assert!(worker.process.stop().success());
    scene.delete();
}
