//! The example as it is: applied, kept at work while everything is killed, compared, deleted.

use std::time::{Duration, Instant};

use acequia_tests::check::assert_none;
use acequia_tests::cluster::{Cluster, condition};
use acequia_tests::database::Database;
use acequia_tests::shop::figures::{AGGREGATIONS, WINDOW_S};
use acequia_tests::shop::{Shop, TABLES};
use acequia_tests::wait::until;

const READY_DEADLINE: Duration = Duration::from_secs(240);
const RECOVERY_DEADLINE: Duration = Duration::from_secs(180);
const ROUNDS: usize = 3;

/// What there must be at least when something had to move after each of the kills: rows of each table, streamed changes
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

/// Waits until changes that are made from now on arrive in the warehouse, and every aggregation has counted more.
fn wait_for_work(shop: &Shop, warehouse: &mut Database, what: &str) {
    let since = warehouse.number("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint");
    let counted = shop.counted(warehouse);
    let arrived = ["transaction", "interaction", "stock", "shipment"].map(|table| {
        let is_new = format!("topic = '{}' AND op <> 'r' AND ts_ms > {since}", shop.topic(table));
        (table, format!("SELECT count(*) FROM change_events WHERE {is_new}"))
    });
    let started = Instant::now();
    let resting = || -> Vec<&str> {
        let mut resting: Vec<&str> =
            arrived.iter().filter(|(_, sql)| warehouse.number(sql) == 0).map(|(table, _)| *table).collect();
        let now = shop.counted(warehouse);
        resting.extend(counted.iter().filter(|(name, before)| now[*name] <= **before).map(|(name, _)| *name));
        resting
    };
    until(&format!("{what}: new changes arrive"), RECOVERY_DEADLINE, resting, Vec::is_empty);
    println!("{what}: new changes arrived after {:.1} s", started.elapsed().as_secs_f64());
}

#[test]
fn instashop_runs_on_a_cluster_whatever_is_killed_and_leaves_nothing_when_it_goes() {
    let cluster = Cluster::brought_up();
    let stack = cluster.stack();
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
    wait_for_work(&shop, &mut warehouse, "at the start");

    for round in 1..=ROUNDS {
        for stages in [vec!["generator-shop"], vec!["sink-dwh", "sink-events"]] {
            for stage in &stages {
                kill_stage(&cluster, &pipeline, stage);
            }
            wait_for_work(&shop, &mut warehouse, &format!("round {round}, {} killed", stages.join(", ")));
        }
        for name in AGGREGATIONS {
            kill_stage(&cluster, &pipeline, &format!("aggregation-{name}"));
        }
        wait_for_work(&shop, &mut warehouse, &format!("round {round}, all aggregations killed"));
        cluster.kill_pods("app.kubernetes.io/name=connect");
        wait_for_work(&shop, &mut warehouse, &format!("round {round}, connect killed"));
        // In one round, and asked to go: a broker of 4.3.1 that is alone and killed at a bad moment may come back with
        // transactions that never end. Of a pod that is deleted by force the successor may even come before it has ended.
        if round == 2 {
            cluster.kubectl(&["delete", "pod", "kafka-0", "--wait=false"]);
            wait_for_work(&shop, &mut warehouse, &format!("round {round}, kafka restarted"));
        }
        shop.correct();
        shop.acequia.kill();
        // Also without an operator everything runs on.
        wait_for_work(&shop, &mut warehouse, &format!("round {round}, operator killed"));
    }
    shop.acequia.wait("everything is ready again", READY_DEADLINE, |status| status.ready);
    shop.close();
    let records = shop.drain();
    assert_none(&shop.faults(&records, &MINIMUM), "after all kills");
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

/// Kills the pod of a stage as `kill -9` does.
fn kill_stage(cluster: &Cluster, pipeline: &str, stage: &str) {
    cluster.kill_pods(&format!("acequia.dev/pipeline={pipeline},acequia.dev/stage={stage}"));
}
