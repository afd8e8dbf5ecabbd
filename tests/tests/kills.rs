//! Each part of InstaShop CDC is killed in mid-flow, three times; it goes on each time, and in the end everything that
//! was changed is in the warehouse once, and counted once.

use std::time::{Duration, Instant};

use acequia_tests::check::assert_none;
use acequia_tests::database::Database;
use acequia_tests::process::signal;
use acequia_tests::shop::Shop;
use acequia_tests::shop::figures::{AGGREGATIONS, WINDOW_S};
use acequia_tests::stack::Stack;
use acequia_tests::wait::until;

const READY_DEADLINE: Duration = Duration::from_secs(120);
const RECOVERY_DEADLINE: Duration = Duration::from_secs(60);
const ROUNDS: usize = 3;
/// How long Connect is away once: longer than two windows of the aggregations.
const AWAY: Duration = Duration::from_secs(60);
const STAGES: [&str; 3] = ["generator-shop", "sink-dwh", "sink-events"];

/// What there must be at least when after each of 24 kills something had to move: rows of each table, streamed changes
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
/// in their mirrors, and each aggregation has counted more than it had.
fn wait_for_work(shop: &Shop, warehouse: &mut Database, what: &str) {
    let since_ms = now_ms(warehouse);
    let counted = shop.counted(warehouse);
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
        let mut resting: Vec<&str> =
            moved.iter().filter(|(_, sql)| warehouse.number(sql) == 0).map(|(table, _)| *table).collect();
        let now = shop.counted(warehouse);
        resting.extend(counted.iter().filter(|(name, before)| now[*name] <= **before).map(|(name, _)| *name));
        resting
    };
    until(&format!("{what}: new changes arrive"), RECOVERY_DEADLINE, resting, Vec::is_empty);
    println!("{what}: new changes arrived after {:.1} s", started.elapsed().as_secs_f64());
}

/// Kills the workers of stages at once, and waits until others have taken their places.
fn kill_workers(shop: &mut Shop, stages: &[String]) {
    let pids = |status: &acequia_tests::acequia::Status| -> Vec<Vec<u32>> {
        stages.iter().map(|id| status.stage(id).map(|stage| stage.pids.clone()).unwrap_or_default()).collect()
    };
    let what = stages.join(", ");
    let status = shop.acequia.wait(&format!("{what} run"), RECOVERY_DEADLINE, |status| {
        pids(status)
            .iter()
            .all(|of_stage| of_stage.len() == 1 && acequia_tests::acequia::is_alive(of_stage[0]))
    });
    let before = pids(&status);
    before.iter().flatten().for_each(|pid| signal(*pid, "KILL"));
    shop.acequia.wait(&format!("{what} run again"), RECOVERY_DEADLINE, |status| {
        pids(status).iter().zip(&before).all(|(now, before)| !now.is_empty() && now != before)
    });
}

/// Kills Connect and brings it back when windows that were open before could have closed, if time closed them.
fn connect_is_away(stack: &Stack, warehouse: &mut Database) {
    stack.kill("connect");
    let since_ms = now_ms(warehouse);
    until("Connect is away", 2 * AWAY, || now_ms(warehouse) - since_ms, |ms| *ms >= AWAY.as_millis() as i64);
    stack.bring_back("connect");
}

#[test]
fn whatever_is_killed_mirrors_and_live_figures_equal_the_sources_and_each_change_event_is_kept_once() {
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
            kill_workers(&mut shop, &[stage.to_owned()]);
            wait_for_work(&shop, &mut warehouse, &format!("round {round}, {stage} killed"));
        }
        kill_workers(&mut shop, &AGGREGATIONS.map(|name| format!("aggregation-{name}")));
        wait_for_work(&shop, &mut warehouse, &format!("round {round}, all aggregations killed"));
        for server in ["connect", "kafka", "redis"] {
            match (server, round) {
                ("connect", 1) => connect_is_away(&stack, &mut warehouse),
                // It isn't killed but loses all it has of the shop.
                ("redis", 2) => shop.drop_figures(),
                _ => {
                    stack.kill(server);
                    stack.bring_back(server);
                }
            }
            wait_for_work(&shop, &mut warehouse, &format!("round {round}, {server} killed or emptied"));
        }
        shop.correct();
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
    let showing = Instant::now();
    shop.wait_for_figures(&records, WINDOW_S);
    println!("the figures are right: {:.1} s", showing.elapsed().as_secs_f64());
    shop.delete();
    println!("all of it took {:.1} s", started.elapsed().as_secs_f64());
}
