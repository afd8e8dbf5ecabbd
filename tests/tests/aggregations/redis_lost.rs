//! Redis is emptied, then away for a while: it is filled again, and PostgreSQL doesn't notice.

use std::time::{Duration, Instant};

use acequia_crds::stage_report::StageState;
use acequia_tests::database::Database;
use acequia_tests::stack::{Record, Stack, unique};
use acequia_tests::wait::until;

use super::ledger::order;
use super::scene::{Input, Scene};

const DEADLINE: Duration = Duration::from_secs(60);
const AWAY: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 2;

fn orders(seconds: std::ops::Range<i64>) -> Vec<Record> {
    let category = |second: i64| ["Toys", "Books"][(second / 2 % 2) as usize];
    seconds.map(|second| order((second % 2) as i32, second * 1000, category(second), 100 + second)).collect()
}

#[test]
fn redis_is_filled_again_when_it_was_emptied_or_away_and_postgres_goes_on_meanwhile() {
    let stack = Stack::up();
    let scene = Scene::with_input(&stack, Input::Orders, &unique("redis_lost"), PARTITIONS, "100ms");
    let mut worker = scene.aggregation.start("a", &[]);
    scene.produce(&orders(0..100));
    let expected = scene.wait_for_the_end(DEADLINE);
    assert!(expected.finals.len() >= 2, "windows that are final must come back, too");

    redis::cmd("FLUSHALL").exec(&mut stack.redis()).unwrap();
    assert!(scene.hashes(&mut stack.redis()).len() < expected.ledger.len(), "it isn't empty");
    // Nothing comes in meanwhile: it is filled by what is known.
    scene.wait_for(&expected, DEADLINE);

    stack.kill("redis");
    let killed = Instant::now();
    let mut database = Database::open(&stack, "dwh_db");
    for seconds in [100..130, 130..160] {
        scene.produce(&orders(seconds));
        let expected = scene.expected();
        let is_right = |table: &(_, _)| *table == (expected.ledger.clone(), expected.finals.clone());
        until("the table goes on without Redis", DEADLINE, || scene.table(&mut database), is_right);
    }
    let report = until(
        "it says that Redis is away",
        DEADLINE,
        || worker.report(),
        |report| report.as_ref().is_some_and(|report| report.state == StageState::Waiting),
    );
    let error = report.unwrap().error.unwrap_or_default();
    let address = stack.address("redis:6379");
    assert!(error.contains("Redis") && error.contains(address), "{error}");

    until("Redis has been away for a minute", 2 * AWAY, || killed.elapsed(), |away| *away >= AWAY);
    stack.bring_back("redis");
    scene.wait_for_the_end(DEADLINE);
    until(
        "it is well again",
        DEADLINE,
        || worker.report(),
        |report| report.as_ref().is_some_and(|report| report.state == StageState::Running),
    );
    // Killed while it is away: whoever comes after doesn't know what was written.
    stack.kill("redis");
    scene.produce(&orders(160..220));
    worker.wait_for_no_lag(DEADLINE);
    worker.process.kill();
    let mut worker = scene.aggregation.start("a", &[]);
    stack.bring_back("redis");
    scene.wait_for_the_end(DEADLINE);
    assert!(worker.process.stop().success());
    scene.delete();
}
