//! Each part of InstaShop CDC is killed in mid-flow, three times; it goes on each time, and in the end everything that
//! was changed is in the warehouse once, and counted once. With three brokers each of them is killed once.

use std::time::{Duration, Instant};

use acequia_tests::check::assert_none;
use acequia_tests::database::Database;
use acequia_tests::process::signal;
use acequia_tests::shop::Shop;
use acequia_tests::shop::figures::{AGGREGATIONS, WINDOW_S};
use acequia_tests::shop::work::MINIMUM_AFTER_KILLS;
use acequia_tests::stack::Stack;
use acequia_tests::wait::until;

const READY_DEADLINE: Duration = Duration::from_secs(120);
const RECOVERY_DEADLINE: Duration = Duration::from_secs(60);
const ROUNDS: usize = 3;
/// How long Connect is away once: longer than two windows of the aggregations.
const AWAY: Duration = Duration::from_secs(60);
const STAGES: [&str; 3] = ["generator-shop", "sink-dwh", "sink-events"];

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
    let since_ms = warehouse.now_ms();
    until("Connect is away", 2 * AWAY, || warehouse.now_ms() - since_ms, |ms| *ms >= AWAY.as_millis() as i64);
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
    shop.wait_for_work(&mut warehouse, RECOVERY_DEADLINE, "at the start");
    println!("at work after {:.1} s", started.elapsed().as_secs_f64());

    for round in 1..=ROUNDS {
        for stage in STAGES {
            kill_workers(&mut shop, &[stage.to_owned()]);
            shop.wait_for_work(&mut warehouse, RECOVERY_DEADLINE, &format!("round {round}, {stage} killed"));
        }
        kill_workers(&mut shop, &AGGREGATIONS.map(|name| format!("aggregation-{name}")));
        shop.wait_for_work(
            &mut warehouse,
            RECOVERY_DEADLINE,
            &format!("round {round}, all aggregations killed"),
        );
        for server in ["connect", "kafka", "redis"] {
            match (server, round) {
                ("connect", 1) => connect_is_away(&stack, &mut warehouse),
                // It isn't killed but loses all it has of the shop.
                ("redis", 2) => shop.drop_figures(),
                _ => {
                    // Of three brokers another one leads meanwhile.
                    let one_of_three = format!("kafka-{round}");
                    let killed = match server {
                        "kafka" if stack.brokers() >= ROUNDS => &one_of_three,
                        other => other,
                    };
                    stack.kill(killed);
                    stack.bring_back(killed);
                }
            }
            shop.wait_for_work(
                &mut warehouse,
                RECOVERY_DEADLINE,
                &format!("round {round}, {server} killed or emptied"),
            );
        }
        shop.correct();
        shop.acequia.kill();
        shop.acequia.start();
        shop.acequia.wait("everything is ready again", READY_DEADLINE, |status| status.ready);
        shop.wait_for_work(&mut warehouse, RECOVERY_DEADLINE, &format!("round {round}, acequia run killed"));
    }
    let closing = Instant::now();
    shop.close();
    let records = shop.drain();
    println!("closed, nothing waits any more: {:.1} s", closing.elapsed().as_secs_f64());
    assert_none(&shop.faults(&records, &MINIMUM_AFTER_KILLS), "after all kills");
    let showing = Instant::now();
    shop.wait_for_figures(&records, WINDOW_S);
    println!("the figures are right: {:.1} s", showing.elapsed().as_secs_f64());
    shop.delete();
    println!("all of it took {:.1} s", started.elapsed().as_secs_f64());
}
