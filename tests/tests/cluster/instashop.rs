//! The example as it is: applied, kept at work while everything is killed, compared, deleted.

use std::time::{Duration, Instant};

use acequia_tests::check::assert_none;
use acequia_tests::cluster::{Cluster, NAMESPACE, condition};
use acequia_tests::database::Database;
use acequia_tests::shop::figures::{AGGREGATIONS, WINDOW_S};
use acequia_tests::shop::work::MINIMUM_AFTER_KILLS;
use acequia_tests::shop::{Shop, TABLES};
use acequia_tests::wait::until;

const READY_DEADLINE: Duration = Duration::from_secs(240);
const RECOVERY_DEADLINE: Duration = Duration::from_secs(180);
const ROUNDS: usize = 3;

#[test]
fn instashop_runs_on_a_cluster_whatever_is_killed_and_leaves_nothing_when_it_goes() {
    let cluster = Cluster::brought_up();
    let stack = cluster.stack();
    let brokers = cluster.brokers();
    // One that is alone has no other to end its transactions while it is away, and may come back with some that never end.
    assert_eq!(
        brokers, 3,
        "tests/cluster/install {NAMESPACE} --brokers 3, in a namespace where it wasn't before"
    );
    let started = Instant::now();
    let mut shop = Shop::in_cluster(&cluster, &stack);
    shop.acequia.start();
    let pipeline = shop.acequia.pipeline();
    let status = shop.acequia.wait("everything is ready", READY_DEADLINE, |status| status.ready);
    println!("ready after {:.1} s", started.elapsed().as_secs_f64());
    assert_eq!(status.connectors.len(), 4);
    assert!(status.connectors.iter().all(|connector| connector.state == "running"), "{status:?}");
    let object = cluster.get("pipelines", &pipeline).expect("the Pipeline");
    let topics = object["status"]["topics"].as_array().cloned().unwrap_or_default();
    let is_there = |name: &str| topics.iter().any(|topic| topic["name"] == shop.topic(name).as_str());
    assert!(TABLES.iter().all(|table| is_there(table.name)), "all eight topics: {topics:?}");
    let mut warehouse = shop.warehouse();
    shop.wait_for_work(&mut warehouse, RECOVERY_DEADLINE, "at the start");

    for round in 1..=ROUNDS {
        // Each of the three in its turn, so also the one that coordinates a group or a transaction.
        let broker = format!("kafka-{}", (round - 1) % brokers);
        kill_everything(&cluster, &mut shop, &mut warehouse, round, &broker);
    }
    shop.acequia.wait("everything is ready again", READY_DEADLINE, |status| status.ready);
    shop.close();
    let records = shop.drain();
    assert_none(&shop.faults(&records, &MINIMUM_AFTER_KILLS), "after all kills");
    shop.wait_for_figures(&records, WINDOW_S);

    let object = cluster.get("pipelines", &pipeline).expect("the Pipeline");
    let ready = condition(&object, "Ready").expect("Ready");
    assert_eq!(ready["observedGeneration"], object["metadata"]["generation"]);
    let deleting = Instant::now();
    shop.delete();
    println!("deleted, nothing left: {:.1} s", deleting.elapsed().as_secs_f64());
    let labels = format!("acequia.dev/pipeline={pipeline}");
    for kind in ["deployments", "configmaps", "jobs", "pods"] {
        until(
            &format!("no {kind} are left"),
            RECOVERY_DEADLINE,
            || cluster.list(kind, &labels),
            Vec::is_empty,
        );
    }
    println!("all of it took {:.1} s", started.elapsed().as_secs_f64());
}

/// Kills all parts one after the other, and waits after each until work goes on.
fn kill_everything(cluster: &Cluster, shop: &mut Shop, warehouse: &mut Database, round: usize, broker: &str) {
    let pipeline = shop.acequia.pipeline();
    for stages in [vec!["generator-shop"], vec!["sink-dwh", "sink-events"]] {
        for stage in &stages {
            kill_stage(cluster, &pipeline, stage);
        }
        shop.wait_for_work(
            warehouse,
            RECOVERY_DEADLINE,
            &format!("round {round}, {} killed", stages.join(", ")),
        );
    }
    for name in AGGREGATIONS {
        kill_stage(cluster, &pipeline, &format!("aggregation-{name}"));
    }
    shop.wait_for_work(warehouse, RECOVERY_DEADLINE, &format!("round {round}, all aggregations killed"));
    cluster.kill_pods("app.kubernetes.io/name=connect");
    shop.wait_for_work(warehouse, RECOVERY_DEADLINE, &format!("round {round}, connect killed"));
    cluster.kill_pods(&format!("statefulset.kubernetes.io/pod-name={broker}"));
    shop.wait_for_work(warehouse, RECOVERY_DEADLINE, &format!("round {round}, {broker} killed"));
    shop.correct();
    shop.acequia.kill();
    // Also without an operator everything runs on.
    shop.wait_for_work(warehouse, RECOVERY_DEADLINE, &format!("round {round}, operator killed"));
}

/// Kills the pod of a stage as `kill -9` does.
fn kill_stage(cluster: &Cluster, pipeline: &str, stage: &str) {
    cluster.kill_pods(&format!("acequia.dev/pipeline={pipeline},acequia.dev/stage={stage}"));
}
