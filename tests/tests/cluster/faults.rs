//! What goes wrong outside: the condition says what, where, why and what to do within 30 s, and all is well by itself
//! once the cause is gone.

use std::time::Duration;

use acequia_tests::cluster::{condition, metrics};
use acequia_tests::database::Database;
use acequia_tests::wait::until;
use acequia_tests::worker::http_get;

use crate::deletions::{all_is_gone, delete, left_behind};
use crate::small::{READY_DEADLINE, Small};

/// How soon a fault must be said.
const SAID_WITHIN: Duration = Duration::from_secs(30);
/// How long the kubelet may take to show a Secret to a pod that waits for it, and the worker to look again.
const HEALED_WITHIN: Duration = Duration::from_secs(150);

/// Waits until Ready is not True and its message holds all these words.
fn says(small: &Small, words: &[&str]) -> String {
    let look = || {
        let object = small.cluster.get("pipelines", &small.name)?;
        let ready = condition(&object, "Ready")?;
        (ready["status"] != "True").then(|| ready["message"].as_str().unwrap_or_default().to_owned())
    };
    let message = until(&format!("Ready says {words:?}"), SAID_WITHIN, look, |message| {
        message.as_ref().is_some_and(|message| words.iter().all(|word| message.contains(word)))
    });
    println!("{}", message.as_deref().unwrap_or_default());
    message.unwrap_or_default()
}

fn secret(small: &Small, name: &str, username: &str, password: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{username: {username}, password: \"{password}\"}}\n"
    );
    small.cluster.apply(&text).expect("the Secret is applied");
}

/// A Pipeline one of whose stores (0: the source, 1: the warehouse) wants a Secret of its own, and that Secret's name.
fn with_its_own_secret(prefix: &str, store: usize) -> (Small, String) {
    let small = Small::new(prefix, |manifest| manifest);
    let name = format!("{}-login", small.name);
    small.acequia.edit_file(|pipeline| {
        pipeline["spec"]["stores"][store]["postgres"]["credentialsSecret"] = name.as_str().into();
    });
    (small, name)
}

/// Puts the credentials of one of the stack's secrets into the Secret.
fn put_right(small: &Small, name: &str, of: &str) {
    let right = |key: &str| {
        std::fs::read_to_string(small.stack.secrets().join(of).join(key)).expect("the stack's secret")
    };
    secret(small, name, &right("username"), &right("password"));
}

/// The same for the warehouse's, and sees everything heal and go.
fn heal(mut small: Small, name: &str) {
    put_right(&small, name, "dwh-db");
    small.acequia.wait("all is well", HEALED_WITHIN, |status| status.ready);
    small.flows("healed");
    small.cluster.kubectl(&["delete", "secret", name]);
    small.delete();
}

#[test]
fn a_missing_secret_is_said_and_heals() {
    let (mut small, name) = with_its_own_secret("secret", 1);
    small.acequia.start();
    says(&small, &[&format!("kubectl create secret generic {name}")]);
    heal(small, &name);
}

#[test]
fn a_connectors_secret_that_is_missing_is_said_and_what_was_left_without_it_goes_once_it_is_back() {
    let (mut small, name) = with_its_own_secret("grant", 0);
    small.acequia.start();
    says(&small, &["source-orders", &format!("kubectl create secret generic {name}")]);
    put_right(&small, &name, "instashop-db");
    small.acequia.wait("all is well", HEALED_WITHIN, |status| status.ready);
    small.flows("healed");

    small.cluster.kubectl(&["delete", "secret", &name]);
    delete(&small);
    let told = left_behind(&small.cluster, &small.name);
    assert!(told.contains(&small.connector()), "{told}");
    put_right(&small, &name, "instashop-db");
    all_is_gone(&small);
    small.cluster.kubectl(&["delete", "secret", &name]);
    small.drop_databases();
}

#[test]
fn an_object_of_somebody_else_in_the_way_is_said_and_left_alone() {
    let mut small = Small::new("foreign", |manifest| manifest);
    let name = format!("{}-sink-dwh", small.name);
    small.cluster.kubectl(&["create", "deployment", &name, "--image=theirs:1", "--replicas=0"]);
    small.acequia.start();
    says(&small, &[&name, "belongs to somebody else"]);
    let theirs = small.cluster.get("deployments", &name).expect("the Deployment");
    assert_eq!(theirs["spec"]["template"]["spec"]["containers"][0]["image"], "theirs:1");
    small.cluster.kubectl(&["delete", "deployment", &name]);
    small.acequia.wait("all is well", READY_DEADLINE, |status| status.ready);
    small.flows("healed");
    small.delete();
}

#[test]
fn a_wrong_password_is_said_and_heals() {
    let (mut small, name) = with_its_own_secret("password", 1);
    secret(&small, &name, "dwh", "wrong");
    small.acequia.start();
    says(&small, &["password", "credentialsSecret"]);
    heal(small, &name);
}

#[test]
fn an_image_that_cannot_be_pulled_and_a_quota_are_said_and_heal() {
    let mut small = Small::ready("pods", |manifest| manifest);
    small.acequia.edit(|pipeline| {
        pipeline["spec"]["sinks"][0]["workers"] = serde_json::json!({"image": "nowhere.invalid/none:1"});
    });
    says(&small, &["sink-dwh", "nowhere.invalid/none:1", "spec.workers.image"]);
    small.acequia.edit(|pipeline| {
        pipeline["spec"]["sinks"][0].as_object_mut().expect("a sink").remove("workers");
    });
    small.wait_until_ready();

    let quota =
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small}\nspec: {hard: {count/pods: \"0\"}}\n";
    small.cluster.apply(quota).expect("the quota is applied");
    small.cluster.kill_pods(&format!("acequia.dev/pipeline={},acequia.dev/stage=sink-dwh", small.name));
    says(&small, &["sink-dwh", "quota"]);
    small.cluster.kubectl(&["delete", "resourcequota", "small"]);
    small.acequia.wait("all is well", READY_DEADLINE, |status| status.ready);
    small.flows("healed");
    small.delete();
}

#[test]
fn a_connect_that_is_away_is_said_and_heals() {
    let mut small = Small::ready("away", |manifest| manifest);
    let cluster = small.cluster.clone();
    let connect = cluster.kubectl(&[
        "get",
        "deployment,statefulset",
        "-l",
        "app.kubernetes.io/name=connect",
        "-o",
        "name",
    ]);
    let connect = connect.trim();
    cluster.kubectl(&["scale", connect, "--replicas=0"]);
    says(&small, &["Kafka Connect at http://connect:8083"]);
    cluster.kubectl(&["scale", connect, "--replicas=1"]);
    small.acequia.wait("all is well", READY_DEADLINE, |status| status.ready);
    small.flows("healed");
    small.delete();
}

#[test]
fn a_missing_plug_in_is_said_and_heals() {
    let mut small = Small::ready("plugin", |manifest| manifest);
    let cluster = small.cluster.clone();
    let plugins = |folders: &str| {
        cluster.kubectl(&["set", "env", "deployment/connect", &format!("PLUGINS={folders}")]);
        cluster.kubectl(&["rollout", "status", "deployment/connect", "--timeout=120s"]);
    };
    let before = cluster.get("deployments", "connect").expect("Connect");
    let before =
        before["spec"]["template"]["spec"]["containers"][0]["env"].as_array().cloned().unwrap_or_default();
    let before = before.iter().find(|variable| variable["name"] == "PLUGINS").expect("PLUGINS");
    let before = before["value"].as_str().expect("folders");
    let (_, without_debezium) =
        before.split_once(',').expect("Debezium's folder, and that of the Secrets' provider");
    plugins(without_debezium);
    says(&small, &["has no class io.debezium.connector.postgresql.PostgresConnector", "install the plug-in"]);
    plugins(before);
    small.acequia.wait("all is well", READY_DEADLINE, |status| status.ready);
    small.flows("healed");
    small.delete();
}

/// Of the connector's task, as Connect says it.
fn task_is(small: &Small, state: &str) {
    let at = format!("/connectors/{}/tasks/0/status", small.connector());
    let wanted = format!(r#""state":"{state}""#);
    let look = || http_get(small.stack.address("connect:8083"), &at).unwrap_or_default();
    until(&format!("the task is {state}"), READY_DEADLINE, look, |answer| answer.contains(&wanted));
}

#[test]
fn a_failed_task_is_said_and_restarts_by_itself() {
    let mut small = Small::ready("task", |manifest| manifest);
    let mut superuser = Database::open_as_superuser(&small.stack);
    superuser.run("ALTER ROLE instashop NOLOGIN");
    superuser.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'instashop'");
    task_is(&small, "FAILED");
    says(&small, &["source-orders", "database"]);
    superuser.run("ALTER ROLE instashop LOGIN");
    task_is(&small, "RUNNING");
    small.acequia.wait("all is well", READY_DEADLINE, |status| status.ready);
    small.flows("healed");
    small.was_told(&["ConnectorRestarted"]);
    let counted = metrics(&small.cluster);
    assert!(counted.contains_key("changes_total{reason=\"ConnectorRestarted\"}"), "{counted:?}");
    small.delete();
}

#[test]
fn a_server_that_nobody_allowed_is_refused_by_name() {
    let mut small = Small::new("allowed", |manifest| manifest.replace("kafka:9092", "mine:9092"));
    small.acequia.start();
    says(&small, &["spec.kafka.bootstrapServers", "mine:9092", "kafka:9092"]);
    small.acequia.edit(|pipeline| pipeline["spec"]["kafka"]["bootstrapServers"] = "kafka:9092".into());
    small.wait_until_ready();
    small.delete();
}
