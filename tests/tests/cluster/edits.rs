//! What an edit does, and what happens when somebody else edits what is ours.

use std::time::{Duration, Instant};

use acequia_kafka::admin::Admin;
use acequia_tests::cluster::{Cluster, NAMESPACE, condition, metrics};
use acequia_tests::stack::KAFKA_DEADLINE;
use acequia_tests::wait::until;

use crate::small::{READY_DEADLINE, Small};

/// How long a change of Kubernetes or Kafka may take.
const SOON: Duration = Duration::from_secs(10);
/// How long a connector may be gone.
const WITHIN_A_MINUTE: Duration = Duration::from_secs(60);

fn partitions(small: &Small) -> usize {
    let admin = Admin::connect(&small.stack.kafka(), "acequia tests").expect("an admin client");
    let topic = small.topic();
    let topics = admin.describe_topics(std::slice::from_ref(&topic), KAFKA_DEADLINE).expect("Kafka answers");
    topics.get(&topic).map_or(0, |topic| topic.partitions.len())
}

fn retention(small: &Small) -> Option<String> {
    let admin = Admin::connect(&small.stack.kafka(), "acequia tests").expect("an admin client");
    let topic = small.topic();
    let mut configs =
        admin.topic_configs(std::slice::from_ref(&topic), KAFKA_DEADLINE).expect("Kafka answers");
    configs.remove(&topic)?.remove("retention.ms")?.value
}

/// Reason and message of Ready, at the generation that the object has now.
fn not_ready(small: &Small, reason: &str) -> String {
    let look = || {
        let object = small.cluster.get("pipelines", &small.name).expect("the Pipeline");
        let ready = condition(&object, "Ready").cloned().unwrap_or_default();
        (object["metadata"]["generation"] == ready["observedGeneration"], ready)
    };
    let (_, ready) =
        until(&format!("Ready says {reason}"), Duration::from_secs(30), look, |(is_now, ready)| {
            *is_now && ready["status"] == "False" && ready["reason"] == reason
        });
    ready["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn topics_follow_an_edit_and_what_cannot_be_is_refused_while_everything_runs_on() {
    let mut small = Small::ready("topics", |manifest| manifest);
    small.flows("before");
    let uids = small.pod_uids("sink-dwh");

    small.acequia.edit(|pipeline| {
        pipeline["spec"]["topics"][0]["config"] = serde_json::json!({"retention.ms": 3_600_000});
    });
    until("Kafka has the retention", SOON, || retention(&small), |value| value.as_deref() == Some("3600000"));

    small.acequia.edit(|pipeline| {
        pipeline["spec"]["topics"][0]["partitions"] = 3.into();
        pipeline["spec"]["topics"][0]["allowRekey"] = true.into();
    });
    until("Kafka has the partitions", SOON, || partitions(&small), |count| *count == 3);
    small.wait_until_ready();

    small.acequia.edit(|pipeline| pipeline["spec"]["topics"][0]["partitions"] = 1.into());
    let why = not_ready(&small, "Refused");
    assert!(why.contains("spec.topics[0].partitions"), "{why}");
    small.flows("while refused");
    assert_eq!(partitions(&small), 3);

    small.acequia.edit(|pipeline| pipeline["spec"]["topics"][0]["partitions"] = 3.into());
    small.wait_until_ready();
    assert_eq!(small.pod_uids("sink-dwh"), uids, "no stage was rolled for any of it");
    small.was_told(&["TopicCreated", "ConnectorConfigured", "StageStarted", "TopicChanged", "Refused"]);
    is_suspended_and_goes_on(&mut small);
    small.delete();
}

fn is_suspended_and_goes_on(small: &mut Small) {
    small.acequia.edit(|pipeline| pipeline["spec"]["suspend"] = true.into());
    let labels = format!("acequia.dev/pipeline={}", small.name);
    until("no worker is left", READY_DEADLINE, || small.cluster.list("pods", &labels), Vec::is_empty);
    let ready = || {
        let object = small.cluster.get("pipelines", &small.name).expect("the Pipeline");
        condition(&object, "Ready").cloned().unwrap_or_default()
    };
    let is_suspended =
        |ready: &serde_json::Value| ready["status"] == "True" && ready["reason"] == "Suspended";
    until("it says that it is suspended", READY_DEADLINE, ready, is_suspended);
    small.acequia.edit(|pipeline| pipeline["spec"]["suspend"] = false.into());
    small.wait_until_ready();
    small.flows("after the pause");
    small.was_told(&["ConnectorSteered", "StageStopped"]);
}

#[test]
fn a_stage_is_rolled_alone_and_an_invalid_edit_leaves_the_last_valid_generation_running_and_healed() {
    let mut small = Small::ready("stages", |manifest| manifest);
    let (mirror, log) = (small.pod_uids("sink-dwh"), small.pod_uids("sink-log"));
    small.acequia.edit(|pipeline| {
        pipeline["spec"]["sinks"][1]["postgres"]["columns"][0]["value"] = "event.source.table".into();
    });
    small.wait_until_ready();
    assert_eq!(small.pod_uids("sink-dwh"), mirror, "the other stage");
    assert_ne!(small.pod_uids("sink-log"), log, "the stage that was changed");
    let labels = format!("acequia.dev/pipeline={},acequia.dev/stage=sink-log", small.name);
    assert_eq!(small.cluster.list("configmaps", &labels).len(), 1, "the configuration before is pruned");

    small.acequia.edit(|pipeline| {
        pipeline["spec"]["sinks"][1]["postgres"]["columns"][0]["value"] = "event.op +".into();
    });
    let why = not_ready(&small, "InvalidSpec");
    assert!(why.contains("spec.sinks[1].postgres.columns[0].value"), "{why}");
    small.flows("while invalid");
    heals_a_deployment(&small, |cluster, name| {
        cluster.kubectl(&["delete", "deployment", name]);
    });
    // Also a new operator knows what ran before.
    small.acequia.kill();
    let operator = "app.kubernetes.io/component=operator";
    small.cluster.kubectl(&["wait", "pod", "-l", operator, "--for=condition=Ready", "--timeout=60s"]);
    heals_a_deployment(&small, |cluster, name| {
        cluster.kubectl(&["delete", "deployment", name]);
    });
    small.flows("still invalid");
    small.acequia.edit(|pipeline| {
        pipeline["spec"]["sinks"][1]["postgres"]["columns"][0]["value"] = "event.op".into();
    });
    small.wait_until_ready();
    small.was_told(&["StageChanged", "InvalidSpec"]);
    small.delete();
}

/// Does something to a stage's Deployment, and waits until it is as it was.
fn heals_a_deployment(small: &Small, harm: impl FnOnce(&Cluster, &str)) {
    let name = format!("{}-sink-dwh", small.name);
    let spec = |value: Option<serde_json::Value>| value.map(|object| object["spec"].clone());
    let before = spec(small.cluster.get("deployments", &name)).expect("the Deployment");
    harm(&small.cluster, &name);
    until(
        "the Deployment is as it was",
        SOON,
        || spec(small.cluster.get("deployments", &name)),
        |now| now.as_ref() == Some(&before),
    );
}

#[test]
fn what_somebody_else_changes_is_put_right() {
    let mut small = Small::ready("drift", |manifest| manifest);
    heals_a_deployment(&small, |cluster, name| {
        cluster.kubectl(&["scale", "deployment", name, "--replicas=0"]);
    });
    heals_a_deployment(&small, |cluster, name| {
        cluster.kubectl(&["set", "image", &format!("deployment/{name}"), "worker=elsewhere:1"]);
    });
    heals_a_deployment(&small, |cluster, name| {
        cluster.kubectl(&["rollout", "pause", &format!("deployment/{name}")]);
    });
    heals_a_deployment(&small, |cluster, name| {
        cluster.kubectl(&["delete", "deployment", name]);
    });
    small.wait_until_ready();
    let policy = format!("{}-sink-dwh", small.name);
    small.cluster.kubectl(&["delete", "networkpolicy", &policy]);
    until(
        "the NetworkPolicy is back",
        SOON,
        || small.cluster.get("networkpolicies", &policy),
        Option::is_some,
    );
    holds_its_finalizer_again(&small);

    let url = format!("http://{}/connectors/{}", small.stack.address("connect:8083"), small.connector());
    delete(&url);
    let gone = Instant::now();
    let look = || small.connector_is_there();
    until("the connector is back", WITHIN_A_MINUTE, look, |there| *there == Some(true));
    println!("the connector was back after {:.1} s", gone.elapsed().as_secs_f64());
    small.acequia.wait("everything is ready again", READY_DEADLINE, |status| status.ready);
    small.flows("after all of it");
    small.delete();
}

/// How often the API server was asked so far to write a Pipeline, its status, or what Pipelines own.
fn writes(cluster: &Cluster) -> Vec<String> {
    let metrics = cluster.kubectl_anywhere(&["get", "--raw", "/metrics"]);
    let is_write = |line: &&str| {
        let has = |label: &str, values: &[&str]| {
            values.iter().any(|value| line.contains(&format!("{label}=\"{value}\"")))
        };
        line.starts_with("apiserver_request_total{")
            && has("resource", &["pipelines", "deployments", "configmaps", "jobs"])
            && has("verb", &["APPLY", "PATCH", "POST", "PUT", "DELETE"])
    };
    metrics.lines().filter(is_write).map(str::to_owned).collect()
}

/// What the operator's metrics say of a Pipeline that is well.
fn is_measured(small: &Small) {
    let metrics = metrics(&small.cluster);
    let value = |name: &str| *metrics.get(name).unwrap_or_else(|| panic!("{name}: {metrics:?}"));
    assert!((value("pipelines{ready=\"true\"}") - 1.0).abs() < 0.1, "{metrics:?}");
    let lag =
        format!("stage_lag{{namespace=\"{NAMESPACE}\",pipeline=\"{}\",stage=\"sink-dwh\"}}", small.name);
    assert!(value(&lag).abs() < 0.1, "{metrics:?}");
    for counted in [
        "reconciles_total",
        "reconcile_seconds_count",
        "changes_total{reason=\"TopicCreated\"}",
        "changes_total{reason=\"StageStarted\"}",
        "call_seconds_count{server=\"kafka\",outcome=\"ok\"}",
        "call_seconds_count{server=\"connect\",outcome=\"ok\"}",
    ] {
        assert!(value(counted) >= 1.0, "{counted}: {metrics:?}");
    }
}

/// `kubectl replace` takes finalizers off without a word; `acequia release` does it on purpose.
fn holds_its_finalizer_again(small: &Small) {
    let finalizers =
        || small.cluster.get("pipelines", &small.name).map(|object| object["metadata"]["finalizers"].clone());
    let is_held = |finalizers: &Option<serde_json::Value>| {
        finalizers.as_ref().is_some_and(|all| *all == serde_json::json!(["acequia.dev/external"]))
    };
    assert!(is_held(&finalizers()), "{:?}", finalizers());
    let none = r#"{"metadata": {"finalizers": null}}"#;
    small.cluster.kubectl(&["patch", "pipeline", &small.name, "--type=merge", "-p", none]);
    until("the finalizer is back", SOON, finalizers, is_held);
}

fn delete(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = runtime.block_on(reqwest::Client::new().delete(url).send()).expect("Connect answers");
    assert!(answer.status().is_success(), "{url}: {}", answer.status());
}

#[test]
fn an_idle_pipeline_writes_nothing_and_ready_is_never_of_an_old_generation() {
    let mut small = Small::ready("idle", |manifest| manifest);
    small.flows("the last");
    small.acequia.wait("nothing waits", READY_DEADLINE, |status| status.ready && status.has_no_lag());
    let labels = format!("acequia.dev/pipeline={}", small.name);
    // The kubelet looks at a worker later than the operator does, and writes what it sees.
    small.cluster.kubectl(&["wait", "pods", "-l", &labels, "--for=condition=Ready", "--timeout=60s"]);
    let available = "--for=condition=Available";
    small.cluster.kubectl(&["wait", "deployments", "-l", &labels, available, "--timeout=60s"]);
    let versions = || {
        let mut versions: Vec<String> = ["deployments", "configmaps", "pods"]
            .iter()
            .flat_map(|kind| small.cluster.list(kind, &labels))
            .chain(small.cluster.get("pipelines", &small.name))
            .map(|object| object["metadata"]["resourceVersion"].to_string())
            .collect();
        versions.sort();
        versions
    };
    let (before, writes_before, since) = (versions(), writes(&small.cluster), Instant::now());
    assert!(!writes_before.is_empty(), "the API server counts them");
    until(
        "a minute has passed",
        Duration::from_secs(70),
        || since.elapsed(),
        |passed| *passed > WITHIN_A_MINUTE,
    );
    assert_eq!(versions(), before, "a minute without anything to do");
    assert_eq!(writes(&small.cluster), writes_before, "a write that changes nothing is one too");
    is_measured(&small);
    let columns = small.cluster.kubectl(&["get", "acq", &small.name]);
    let [head, row] = columns.lines().collect::<Vec<_>>()[..] else { panic!("{columns}") };
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(head), ["NAME", "READY", "REASON", "STAGES", "LAG", "AGE"], "{columns}");
    assert_eq!(words(row)[..5], [&small.name, "True", "Healthy", "3/3", "0"], "{columns}");

    small.acequia.edit(|pipeline| {
        pipeline["spec"]["topics"][0]["config"] = serde_json::json!({"retention.ms": 7_200_000});
    });
    small.cluster.kubectl(&["wait", "pipeline", &small.name, "--for=condition=Ready", "--timeout=60s"]);
    assert_eq!(retention(&small).as_deref(), Some("7200000"), "kubectl wait returned on the old generation");
    small.delete();
}
