//! The aggregator is killed before and after each of its effects, in both steps and in the outputs; each time the end
//! is the same.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use acequia_kafka::admin::{Admin, OffsetOf};
use acequia_kafka::log::extent;
use acequia_tests::database::Database;
use acequia_tests::stack::{KAFKA_DEADLINE, Record, Stack, unique};
use acequia_tests::wait::until;

use super::ledger::{delete, order, put};
use super::scene::{Input, Scene};

const DEADLINE: Duration = Duration::from_secs(90);
const PARTITIONS: i32 = 2;
/// A run has at least these points: two transactions of each step, and a batch to each store.
const FEWEST_POINTS: usize = 16;
/// Of the thirteen names there are, those that must have been crashed at: two threads race, so one may be missed.
const FEWEST_NAMES: usize = 10;
/// Runs side by side: most of a run is waiting for servers.
const AT_ONCE: u64 = 6;

/// Runs an aggregation that is killed at the `n`-th point while it reads the first half of its input; returns where
/// that was, `None` when it wasn't reached. A second worker reads the rest; the end must be right.
fn run(stack: &Stack, kind: Input, name: &str, halves: [&[Record]; 2], n: u64) -> Option<String> {
    let scene = Scene::with_input(stack, kind, name, PARTITIONS, "100ms");
    scene.produce(halves[0]);
    let expected = scene.expected();
    let mut database = Database::open(stack, "dwh_db");
    let mut first = scene.aggregation.start("0", &[("ACEQUIA_CRASH_AT", &n.to_string())]);
    until(
        &format!("crash point {n}, or the end"),
        DEADLINE,
        || (first.process.ended(), scene.table(&mut database)),
        |(ended, (ledger, finals))| {
            ended.is_some() || (*ledger == expected.ledger && *finals == expected.finals)
        },
    );
    // The points of the way out count too.
    let killed = !first.process.stop_if_running().success();
    let printed = first.process.printed();
    let point = printed.lines().find(|line| line.contains("crash point")).map(str::to_owned);
    assert_eq!(killed, point.is_some(), "{printed}");
    scene.produce(halves[1]);
    let mut second = scene.aggregation.start("0", &[]);
    scene.wait_for_the_end(DEADLINE);
    second.wait_for_no_lag(DEADLINE);
    assert!(second.process.stop().success());
    assert_everything_is_committed(&scene);
    scene.delete();
    point.map(|line| line.split(['(', ')']).nth(1).unwrap().to_owned())
}

fn assert_everything_is_committed(scene: &Scene) {
    let admin = Admin::connect(&scene.stack.kafka(), "acequia tests").unwrap();
    let committed = admin.group_offsets(&scene.aggregation.work.combine_group, KAFKA_DEADLINE).unwrap();
    let ends = extent(&scene.stack.kafka(), &scene.input, OffsetOf::LatestCommitted, KAFKA_DEADLINE).unwrap();
    for end in ends.ends {
        let at = (end.topic.to_string(), end.partition);
        assert_eq!(committed.get(&at), Some(&end.offset), "{at:?} of {}", scene.name);
    }
}

fn every_crash_point_ends_alike(kind: Input, prefix: &str, halves: [&[Record]; 2]) {
    let stack = Stack::up();
    let prefix = unique(prefix);
    let mut points = Vec::new();
    loop {
        let first = points.len() as u64 + 1;
        let found: Vec<Option<String>> = thread::scope(|scope| {
            let runs: Vec<_> = (first..first + AT_ONCE)
                .map(|n| {
                    let (stack, name) = (&stack, format!("{prefix}_{n}"));
                    scope.spawn(move || run(stack, kind, &name, halves, n))
                })
                .collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        let reached = found.iter().flatten().count() as u64;
        points.extend(found.into_iter().flatten());
        if reached < AT_ONCE {
            break;
        }
    }
    println!("crash points: {points:#?}");
    let names: BTreeSet<&String> = points.iter().collect();
    assert!(points.len() >= FEWEST_POINTS, "only {} crash points were reached", points.len());
    assert!(names.len() >= FEWEST_NAMES, "only these were crashed at: {names:?}");
}

#[test]
fn windows_end_alike_wherever_the_aggregator_is_killed() {
    let part = |seconds: std::ops::Range<i64>| {
        let categories = ["Toys", "Books", "Games"];
        let one = |second: i64| {
            order((second % 2) as i32, second * 1000, categories[(second % 3) as usize], 100 + second * 7)
        };
        seconds.map(one).collect::<Vec<Record>>()
    };
    let mut first = part(0..70);
    first.push(order(0, 1_000, "Toys", 77_700));
    first.push((1, None, Some(b"no JSON".to_vec())));
    let mut second = part(70..140);
    second.push(order(1, 2_000, "Books", 88_800));
    second.push((0, None, Some(b"{".to_vec())));
    every_crash_point_ends_alike(Input::Orders, "crash_windows", [&first, &second]);
}

#[test]
fn a_table_ends_alike_wherever_the_aggregator_is_killed() {
    let partition = |id: u64| (id % 2) as i32;
    let categories = ["Toys", "Books", "Games"];
    let step = |op: &str, id: u64, shift: u64| {
        put(partition(id), op, id, categories[((id + shift) % 3) as usize], (100 + id * 13 + shift) as i64)
    };
    let mut first: Vec<Record> = (1..60).map(|id| step("c", id, 0)).collect();
    first.extend((1..60).step_by(4).map(|id| step("u", id, 1)));
    first.extend((1..60).step_by(7).flat_map(|id| delete(partition(id), id)));
    first.push((0, None, Some(b"no event".to_vec())));
    // A snapshot that is read again, changes of rows that are there, gone, and back again; the dearest goes.
    let mut second: Vec<Record> = (2..60).step_by(5).map(|id| step("r", id, 0)).collect();
    second.extend((1..60).step_by(3).map(|id| step("u", id, 2)));
    second.extend((50..60).flat_map(|id| delete(partition(id), id)));
    every_crash_point_ends_alike(Input::Table, "crash_table", [&first, &second]);
}
