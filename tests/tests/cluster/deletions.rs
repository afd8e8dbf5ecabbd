//! A Pipeline that is deleted is gone within a minute, whatever is away, and what was left is told.

use std::time::{Duration, Instant};

use acequia_kafka::admin::Admin;
use acequia_tests::cluster::{Cluster, GONE_DEADLINE, RELEASE, chart, metrics};
use acequia_tests::database::Database;
use acequia_tests::stack::KAFKA_DEADLINE;
use acequia_tests::wait::until;

use crate::small::Small;

/// How long a server may take to be back.
const BACK_DEADLINE: Duration = Duration::from_secs(120);

fn topics(small: &Small) -> Vec<String> {
    let admin = Admin::connect(&small.stack.kafka(), "acequia tests").expect("an admin client");
    let all = admin.list_topics(KAFKA_DEADLINE).expect("Kafka answers");
    all.into_iter().filter(|name| name.starts_with(&small.topic())).collect()
}

/// Deletes the object and waits until it is gone, in time.
pub fn delete(small: &Small) {
    let started = Instant::now();
    small.cluster.kubectl(&["delete", "pipeline", &small.name, "--wait=false"]);
    until(
        "the Pipeline is gone",
        GONE_DEADLINE,
        || small.cluster.get("pipelines", &small.name),
        Option::is_none,
    );
    println!("{} was gone after {:.1} s", small.name, started.elapsed().as_secs_f64());
    let labels = format!("acequia.dev/pipeline={}", small.name);
    until("no pod is left", GONE_DEADLINE, || small.cluster.list("pods", &labels), Vec::is_empty);
}

/// What was told of a Pipeline that was let go.
pub fn left_behind(cluster: &Cluster, pipeline: &str) -> String {
    let events = cluster.list("events", "");
    let told = events
        .iter()
        .filter(|event| event["reason"] == "LeftBehind" && event["regarding"]["name"] == pipeline);
    told.filter_map(|event| event["note"].as_str()).collect::<Vec<_>>().join("\n")
}

/// Made and deleted once more, when everything is there again: it takes up what was left.
fn clean_up(mut small: Small) {
    small.acequia.start();
    small.acequia.wait("it is ready once more", BACK_DEADLINE, |status| status.ready);
    small.delete();
}

/// Counts the replication slots of its source database.
fn slots_of(small: &Small) -> String {
    format!("SELECT count(*) FROM pg_replication_slots WHERE database = '{}'", small.topic())
}

/// Waits until neither its connector nor its slot is left, which hang together.
pub fn all_is_gone(small: &Small) {
    let (slots, mut superuser) = (slots_of(small), Database::open_as_superuser(&small.stack));
    let is_left = || (small.connector_is_there(), superuser.number(&slots));
    until("connector and slot are gone", BACK_DEADLINE, is_left, |left| *left == (Some(false), 0));
}

fn scale(cluster: &Cluster, server: &str, replicas: usize) {
    let labels = format!("app.kubernetes.io/name={server}");
    let object = cluster.kubectl(&["get", "deployment,statefulset", "-l", &labels, "-o", "name"]);
    cluster.kubectl(&["scale", object.trim(), &format!("--replicas={replicas}")]);
    if replicas == 0 {
        // Brokers that are asked to go all at once would wait for each other.
        cluster.kill_pods(&labels);
        until(&format!("{server} is away"), BACK_DEADLINE, || cluster.list("pods", &labels), Vec::is_empty);
    } else {
        cluster.kubectl(&["rollout", "status", object.trim(), "--timeout=120s"]);
    }
}

#[test]
fn topics_stay_under_retain_and_go_under_delete() {
    let small = Small::ready("retained", |manifest| {
        manifest.replace("deletionPolicy: Delete", "deletionPolicy: Retain")
    });
    small.flows("before");
    delete(&small);
    assert_eq!(topics(&small).len(), 2, "topics stay");
    let mut again = small;
    again.acequia.start();
    again.wait_until_ready();
    again.flows("after");
    again.acequia.edit(|pipeline| pipeline["spec"]["deletionPolicy"] = "Delete".into());
    again.wait_until_ready();
    delete(&again);
    assert_eq!(topics(&again), Vec::<String>::new());
    again.was_told(&["StageStopped", "ConnectorRemoved", "TopicDeleted", "GroupDeleted"]);
    assert_eq!(Database::open_as_superuser(&again.stack).number(&slots_of(&again)), 0, "the slot");
    again.drop_databases();
}

#[test]
fn with_kafka_away_a_pipeline_is_let_go_and_what_was_left_is_told() {
    let small = Small::ready("nokafka", |manifest| manifest);
    let brokers = small.cluster.brokers();
    scale(&small.cluster, "kafka", 0);
    delete(&small);
    let told = left_behind(&small.cluster, &small.name);
    assert!(told.contains("left behind") && told.contains("Kafka"), "{told}");
    scale(&small.cluster, "kafka", brokers);
    // The same operator goes on by itself.
    all_is_gone(&small);
    clean_up(small);
}

#[test]
fn with_connect_away_a_pipeline_is_let_go_and_what_was_left_is_told() {
    let mut small = Small::ready("noconnect", |manifest| manifest);
    scale(&small.cluster, "connect", 0);
    delete(&small);
    let told = left_behind(&small.cluster, &small.name);
    assert!(told.contains(&small.connector()), "{told}");
    let metrics = metrics(&small.cluster);
    for counted in ["left_behind_total", "call_seconds_count{server=\"connect\",outcome=\"failed\"}"] {
        assert!(metrics.get(counted).is_some_and(|count| *count >= 1.0), "{counted}: {metrics:?}");
    }
    // The next operator finds on record that the connector was to go.
    small.acequia.kill();
    scale(&small.cluster, "connect", 1);
    all_is_gone(&small);
    clean_up(small);
}

#[test]
fn with_the_operator_uninstalled_first_a_pipeline_can_still_be_deleted() {
    let small = Small::ready("nooperator", |manifest| manifest);
    let file = small.write_values();
    small
        .cluster
        .helm(&["uninstall", RELEASE, "--wait", "--timeout", "120s"])
        .expect("the chart is uninstalled");
    small.cluster.kubectl_anywhere(&["get", "crd", "pipelines.acequia.dev"]);
    small.flows("without an operator");
    delete(&small);
    let install = ["install", RELEASE, &chart(), "--values", &file, "--wait", "--timeout", "120s"];
    small.cluster.helm(&install).expect("the chart is installed again");
    small.cluster.helm(&["test", RELEASE, "--timeout", "60s"]).expect("helm test");
    clean_up(small);
}
