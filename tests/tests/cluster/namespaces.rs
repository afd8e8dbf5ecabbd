//! A Pipeline goes with its namespace, and with it what it has elsewhere; what can't go is told.

use std::time::Instant;

use acequia_tests::census;
use acequia_tests::cluster::{Cluster, GONE_DEADLINE, NAMESPACE, RELEASE, chart, grants};
use acequia_tests::wait::until;
use serde_json::Value;

use crate::small::{READY_DEADLINE, Small};

/// The Pipeline of a [`Small`] in another namespace than the servers.
struct Elsewhere {
    small: Small,
    namespace: String,
}

impl Elsewhere {
    /// The namespace, with the Secrets and what Connect may read of them.
    fn new(prefix: &str) -> Self {
        let here = |server: &str| format!("{server}.{NAMESPACE}.svc");
        let small = Small::new(prefix, |manifest| {
            manifest
                .replace("kafka:9092", &format!("{}:9092", here("kafka")))
                .replace("http://connect:8083", &format!("http://{}:8083", here("connect")))
                .replace("host: postgres,", &format!("host: {},", here("postgres")))
        });
        let namespace = format!("{}-elsewhere", small.name);
        let elsewhere = Self { small, namespace };
        elsewhere.make_namespace();
        elsewhere
    }

    fn make_namespace(&self) {
        let cluster = &self.small.cluster;
        cluster.kubectl(&["create", "namespace", &self.namespace]);
        for secret in ["instashop-db", "dwh-db"] {
            let text = cluster.kubectl(&["get", "secret", secret, "-o", "json"]);
            let secret: Value = serde_json::from_str(&text).expect("a Secret");
            let copy = serde_json::json!({
                "apiVersion": "v1", "kind": "Secret", "data": secret["data"],
                "metadata": {"name": secret["metadata"]["name"], "namespace": self.namespace},
            });
            cluster.apply_anywhere(&copy.to_string()).expect("the Secret is applied");
        }
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let namespace = format!("--namespace={}", self.namespace);
        self.small.cluster.kubectl_anywhere(&[&[namespace.as_str()], arguments].concat())
    }

    /// Applies the Pipeline, and waits until it is Ready and rows arrive.
    fn start(&self, item: &str) {
        let manifests = self.small.acequia.folder().join("manifests");
        let rights = grants(&manifests, &self.namespace);
        self.small.cluster.apply_anywhere(&rights).expect("the grants");
        self.kubectl(&["apply", "-f", &manifests.display().to_string()]);
        let timeout = format!("--timeout={}s", READY_DEADLINE.as_secs());
        self.kubectl(&["wait", "pipeline", &self.small.name, "--for=condition=Ready", &timeout]);
        self.small.flows(item);
    }

    /// Deletes the namespace, which is gone in time.
    fn delete(&self) {
        let (started, timeout) = (Instant::now(), format!("--timeout={}s", GONE_DEADLINE.as_secs()));
        self.small.cluster.kubectl_anywhere(&["delete", "namespace", &self.namespace, &timeout]);
        println!("namespace {} was gone after {:.1} s", self.namespace, started.elapsed().as_secs_f64());
    }

    fn census(&self) -> census::Census {
        census::take(&self.small.stack, &[self.small.topic()])
    }
}

fn set_scope(cluster: &Cluster, scope: &str) -> Result<String, String> {
    let values = format!(
        "scope={scope},kafka[0].bootstrapServers=kafka:9092,connect[0].url=http://connect:8083,{}",
        servers_elsewhere(1)
    );
    cluster.upgrade(&chart(), &["--set", &values])
}

/// The servers as Pipelines of another namespace write them, for `--set`.
fn servers_elsewhere(index: usize) -> String {
    format!(
        "kafka[{index}].bootstrapServers=kafka.{NAMESPACE}.svc:9092,connect[{index}].url=http://connect.{NAMESPACE}.svc:8083"
    )
}

/// The shared operator keeps all namespaces, until this is dropped.
struct Wide(Cluster);

impl Wide {
    fn new(cluster: &Cluster) -> Self {
        set_scope(cluster, "Cluster").expect("the chart is upgraded");
        Self(cluster.clone())
    }
}

impl Drop for Wide {
    fn drop(&mut self) {
        // A test that fails says why by itself.
        if let Err(error) = set_scope(&self.0, "Namespaced") {
            println!("the scope stays Cluster: {error}");
        }
    }
}

/// A pod that takes its time to end, so that the Secrets of its namespace stay for longer than the 10 s that there are on a
/// node with nothing else to do.
fn hold_secrets(there: &Elsewhere) {
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: holder, namespace: {}}}\nspec:\n  \
         terminationGracePeriodSeconds: 30\n  containers:\n    - name: holder\n      image: acequia-stack/postgres:dev\n      \
         imagePullPolicy: Never\n      command: [sleep, infinity]\n      lifecycle: {{preStop: {{sleep: {{seconds: 20}}}}}}\n",
        there.namespace
    );
    there.small.cluster.apply_anywhere(&pod).expect("the pod is applied");
    there.kubectl(&["wait", "pod/holder", "--for=condition=Ready", "--timeout=60s"]);
}

#[test]
fn with_scope_cluster_everything_of_a_pipeline_goes_with_its_namespace() {
    let mut small = Small::ready("wide", |manifest| manifest);
    let wide = Wide::new(&small.cluster);
    // What there was goes on, is changed and healed under the rights of the ClusterRole.
    small.acequia.edit(|pipeline| {
        pipeline["spec"]["sinks"][1]["postgres"]["columns"][0]["value"] = "event.source.table".into();
    });
    small.wait_until_ready();
    small.flows("under the ClusterRole");
    small.delete();
    let there = Elsewhere::new("there");
    let before = there.census();
    there.start("elsewhere");
    hold_secrets(&there);
    there.delete();
    assert_eq!(census::left_behind(&before, &there.census()), Vec::<String>::new());
    what_cannot_go_is_told_and_taken_up(&there, &before);
    there.small.drop_databases();
    drop(wide);
}

/// Without the Secret's grant nobody can drop slot and publication any more.
fn what_cannot_go_is_told_and_taken_up(there: &Elsewhere, before: &census::Census) {
    there.make_namespace();
    there.start("without a grant");
    let grants = format!("{}-connect", there.small.name);
    there.kubectl(&["delete", "rolebinding", &grants]);
    there.delete();
    let left = census::left_behind(before, &there.census()).join("\n");
    assert!(["slot ", "publication ", "connector "].iter().all(|kind| left.contains(kind)), "{left}");
    let pipeline = format!("Pipeline {}/{}", there.namespace, there.small.name);
    let events = there.small.cluster.list("events", "");
    let told: Vec<&Value> = events.iter().filter(|event| event["reason"] == "LeftBehind").collect();
    let is_told = |event: &&Value| {
        let note = event["note"].as_str().unwrap_or_default();
        let says = |part: &str| note.contains(part);
        note.starts_with(&pipeline) && says("left behind: connector ") && says("Failed to retrieve Secret")
    };
    let of_operator =
        |event: &&Value| event["regarding"]["kind"] == "Pod" && event["related"]["kind"] == "Pipeline";
    assert!(told.iter().any(|event| is_told(event) && of_operator(event)), "{told:?}");
    there.make_namespace();
    there.start("once more");
    there.kubectl(&["delete", "pipeline", &there.small.name, "--timeout=60s"]);
    assert_eq!(census::left_behind(before, &there.census()), Vec::<String>::new());
    there.kubectl(&["delete", "namespace", &there.namespace]);
}

#[test]
fn with_scope_namespaced_everything_of_a_pipeline_goes_with_the_namespace_and_its_operator() {
    let there = Elsewhere::new("own");
    let cluster = &there.small.cluster;
    let file = there.small.write_values();
    let values = std::fs::read_to_string(&file).expect("the values");
    assert!(!values.contains("scope: Cluster"), "another operator would do it: {values}");
    let values = format!("scope=Namespaced,crds.install=false,{}", servers_elsewhere(0));
    let (chart, to) = (chart(), there.namespace.as_str());
    let options = ["--values", &file, "--set", &values, "--wait", "--timeout", "120s"];
    let before = there.census();
    // The later `--namespace` counts.
    cluster
        .helm(&[&["install", RELEASE, &chart, "--namespace", to][..], &options].concat())
        .expect("a second release");
    there.start("beside its operator");
    there.delete();
    let gone = || census::left_behind(&before, &there.census());
    until("nothing is left", GONE_DEADLINE, gone, Vec::is_empty);
    there.small.drop_databases();
}
