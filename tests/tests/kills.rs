//! Each part of InstaShop CDC is killed in mid-flow, three times; it goes on each time, and in the end everything that
//! was changed is in the warehouse once.

use std::time::{Duration, Instant};

use acequia_tests::check::assert_none;
use acequia_tests::database::Database;
use acequia_tests::process::signal;
use acequia_tests::shop::Shop;
use acequia_tests::stack::Stack;
use acequia_tests::wait::until;

const READY_DEADLINE: Duration = Duration::from_secs(120);
const RECOVERY_DEADLINE: Duration = Duration::from_secs(60);
const ROUNDS: usize = 3;
const STAGES: [&str; 3] = ["generator-shop", "sink-dwh", "sink-events"];

/// What there must be at least when after each of 18 kills something had to move: rows of each table, streamed changes
/// of each database.
const MINIMUM: [(&str, usize); 13] = [
    ("transaction", 100),
    ("transactiondetail", 200),
    ("customer", 50),
    ("product", 200),
    ("interaction", 30),
    ("stock", 200),
    ("carrier", 5),
    ("shipment", 100),
    ("change_events", 800),
    ("instashop", 300),
    ("crm_db", 30),
    ("erp_db", 100),
    ("ecommerce_db", 100),
];

/// Milliseconds since 1970, by the clock of the databases.
fn now_ms(database: &mut Database) -> i64 {
    database.number("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
}

/// Waits until changes that were made after `since_ms` in each of the four databases are in the table of events, and
/// in their mirrors.
fn wait_for_work(shop: &Shop, warehouse: &mut Database, what: &str) {
    let since_ms = now_ms(warehouse);
    let moved = ["transaction", "interaction", "stock", "shipment"].map(|table| {
        let topic = shop.topic(table);
        let is_new = format!("topic = '{topic}' AND op <> 'r' AND ts_ms > {since_ms}");
        // The generator doesn't date what it takes from the stock.
        let mirrored = match table {
            "stock" => "true".to_owned(),
            _ => format!(
                "EXISTS (SELECT FROM \"{table}\" WHERE created_at > to_timestamp({since_ms} / 1000.0))"
            ),
        };
        (
            table,
            format!("SELECT (EXISTS (SELECT FROM change_events WHERE {is_new}) AND {mirrored})::int::bigint"),
        )
    });
    let started = Instant::now();
    let resting = || -> Vec<&str> {
        moved.iter().filter(|(_, sql)| warehouse.number(sql) == 0).map(|(table, _)| *table).collect()
    };
    until(&format!("{what}: new changes arrive"), RECOVERY_DEADLINE, resting, Vec::is_empty);
    println!("{what}: new changes arrived after {:.1} s", started.elapsed().as_secs_f64());
}

/// Kills the worker of a stage, and waits until another has taken its place.
fn kill_worker(shop: &mut Shop, stage: &str) {
    let pids = |status: &acequia_tests::acequia::Status| {
        status.stage(stage).map(|stage| stage.pids.clone()).unwrap_or_default()
    };
    let status = shop.acequia.wait(&format!("{stage} runs"), RECOVERY_DEADLINE, |status| {
        let alive = |pid: &u32| acequia_tests::acequia::is_alive(*pid);
        pids(status).len() == 1 && pids(status).iter().all(alive)
    });
    let before = pids(&status);
    signal(before[0], "KILL");
    shop.acequia.wait(&format!("{stage} runs again"), RECOVERY_DEADLINE, |status| {
        !pids(status).is_empty() && pids(status) != before
    });
}

#[test]
fn whatever_is_killed_the_mirrors_equal_the_sources_and_each_change_event_is_kept_once() {
    let stack = Stack::up();
    let started = Instant::now();
    let mut shop = Shop::new(&stack);
    shop.acequia.start();
    shop.acequia.wait("everything is ready", READY_DEADLINE, |status| status.ready);
    let mut warehouse = shop.warehouse();
    // With changes streamed from all four, no snapshot is being read any more; one that is interrupted starts again.
    wait_for_work(&shop, &mut warehouse, "at the start");
    println!("at work after {:.1} s", started.elapsed().as_secs_f64());

    for round in 1..=ROUNDS {
        for stage in STAGES {
            kill_worker(&mut shop, stage);
            wait_for_work(&shop, &mut warehouse, &format!("round {round}, {stage} killed"));
        }
        for server in ["connect", "kafka"] {
            stack.kill(server);
            stack.bring_back(server);
            wait_for_work(&shop, &mut warehouse, &format!("round {round}, {server} killed"));
        }
        shop.acequia.kill();
        shop.acequia.start();
        shop.acequia.wait("everything is ready again", READY_DEADLINE, |status| status.ready);
        wait_for_work(&shop, &mut warehouse, &format!("round {round}, acequia run killed"));
    }
    let closing = Instant::now();
    shop.close();
    let records = shop.drain();
    println!("closed, nothing waits any more: {:.1} s", closing.elapsed().as_secs_f64());
    assert_none(&shop.faults(&records, &MINIMUM), "after all kills");
    shop.delete();
    println!("all of it took {:.1} s", started.elapsed().as_secs_f64());
}
