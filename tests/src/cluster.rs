//! The local Kubernetes cluster, with the servers of `examples/stack` and the operator in it, brought up by
//! `tests/cluster/install` before the tests.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::acequia::{Connector, Stage, Status};
use crate::stack::{Stack, root};

/// The namespace of servers, operator and Pipelines: it enforces restricted pod security.
pub const NAMESPACE: &str = "acequia-test";
/// The release of the operator's chart.
pub const RELEASE: &str = "acequia";
/// What the superuser gets as password; by itself the server lets it in over its own socket only.
const SUPERUSER_PASSWORD: &str = "of-the-tests";

/// The cluster. Changes are made by kubectl, as users make them; looking, which tests do all the time, goes by a client.
#[derive(Clone)]
pub struct Cluster {
    kubeconfig: PathBuf,
    client: Client,
    runtime: Arc<Runtime>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({})", self.kubeconfig.display())
    }
}

/// Group, version, kind and plural of what tests look at.
const KINDS: [(&str, &str, &str, &str); 8] = [
    ("acequia.dev", "v1alpha1", "Pipeline", "pipelines"),
    ("apps", "v1", "Deployment", "deployments"),
    ("batch", "v1", "Job", "jobs"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "ConfigMap", "configmaps"),
    ("apps", "v1", "StatefulSet", "statefulsets"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    ("events.k8s.io", "v1", "Event", "events"),
];

impl Cluster {
    /// The cluster of `$ACEQUIA_TEST_CLUSTER`, a kubeconfig.
    ///
    /// # Panics
    /// When there is none.
    pub fn brought_up() -> Self {
        let kubeconfig = std::env::var_os("ACEQUIA_TEST_CLUSTER").expect(
            "ACEQUIA_TEST_CLUSTER names a kubeconfig; `make test-cluster` brings a cluster up and sets it",
        );
        let kubeconfig = PathBuf::from(kubeconfig);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let client = runtime.block_on(async {
            let config = Kubeconfig::read_from(&kubeconfig).expect("the kubeconfig");
            let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
            Client::try_from(config.expect("the kubeconfig")).expect("a client")
        });
        Self { kubeconfig, client, runtime: Arc::new(runtime) }
    }

    /// Runs kubectl in the namespace; what it prints.
    ///
    /// # Panics
    /// When it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")))
    }

    /// Runs kubectl in the namespace; what it prints, or what it says is wrong.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        self.fed("kubectl", arguments, "")
    }

    /// Runs helm in the namespace; what it prints, or what it says is wrong.
    pub fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        self.fed("helm", arguments, "")
    }

    /// Upgrades the operator's release, whose values stay but for what `options` say.
    pub fn upgrade(&self, chart: &str, options: &[&str]) -> Result<String, String> {
        let upgrade = ["upgrade", RELEASE, chart, "--reuse-values", "--wait", "--timeout", "120s"];
        self.helm(&[&upgrade[..], options].concat())
    }

    /// Applies a manifest as a user would.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        self.fed("kubectl", &["apply", "-f", "-"], text)
    }

    /// Creates an object that isn't there yet.
    pub fn create(&self, text: &str) -> Result<String, String> {
        self.fed("kubectl", &["create", "-f", "-"], text)
    }

    /// An object as JSON; none where there is none.
    ///
    /// # Panics
    /// When the API server can't be asked.
    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let found = self.runtime.block_on(self.api(kind).get_opt(name)).expect("the API server answers");
        found.map(|object| serde_json::to_value(object).expect("JSON"))
    }

    /// Objects with these labels, as JSON.
    ///
    /// # Panics
    /// When they can't be listed.
    pub fn list(&self, kind: &str, labels: &str) -> Vec<Value> {
        let params = ListParams::default().labels(labels);
        let found = self.runtime.block_on(self.api(kind).list(&params)).expect("the API server answers");
        found.items.into_iter().map(|object| serde_json::to_value(object).expect("JSON")).collect()
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let known = KINDS.iter().find(|(_, _, _, plural)| *plural == kind);
        let (group, version, kind, plural) = known.unwrap_or_else(|| panic!("{kind} isn't among KINDS"));
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        Api::namespaced_with(self.client.clone(), NAMESPACE, &resource)
    }

    /// Names of the pods of a stage that aren't being deleted.
    pub fn pods(&self, pipeline: &str, stage: &str) -> Vec<String> {
        let labels = format!("acequia.dev/pipeline={pipeline},acequia.dev/stage={stage}");
        let pods = self.list("pods", &labels);
        let alive = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        alive.filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned())).collect()
    }

    /// Kills pods as `kill -9` does: nobody is asked.
    pub fn kill_pods(&self, labels: &str) {
        self.kubectl(&["delete", "pods", "-l", labels, "--grace-period=0", "--force", "--wait=false"]);
    }

    /// How many brokers Kafka has when all are there.
    ///
    /// # Panics
    /// When there is no Kafka.
    pub fn brokers(&self) -> usize {
        let kafka = self.get("statefulsets", "kafka").expect("Kafka's StatefulSet");
        let replicas = kafka["spec"]["replicas"].as_u64().expect("spec.replicas");
        usize::try_from(replicas).expect("a few")
    }

    /// The servers as tests on this machine reach them: a folder like that of `tests/stack/up`.
    ///
    /// # Panics
    /// When they aren't there.
    pub fn stack(&self) -> Stack {
        let folder = tempfile::Builder::new().prefix("acequia-cluster-").tempdir().expect("a folder").keep();
        let ports = [
            ("kafka:9092", 30_092),
            ("postgres:5432", 30_432),
            ("redis:6379", 30_379),
            ("connect:8083", 30_083),
        ];
        let offset: u32 =
            std::env::var("ACEQUIA_PORT_OFFSET").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let ports = ports.map(|(name, port)| (name, port + offset));
        let addresses = ports.map(|(name, port)| format!("\"{name}\": \"127.0.0.1:{port}\"\n")).concat();
        std::fs::write(folder.join("addresses.yaml"), addresses).expect("addresses.yaml");
        for secret in ["instashop-db", "dwh-db"] {
            std::fs::create_dir_all(folder.join("secrets").join(secret)).expect("a folder");
            for key in ["username", "password"] {
                let template = format!("go-template={{{{index .data \"{key}\" | base64decode}}}}");
                let value = self.kubectl(&["get", "secret", secret, "-o", &template]);
                std::fs::write(folder.join("secrets").join(secret).join(key), value).expect("a secret");
            }
        }
        let sql = format!("ALTER ROLE postgres PASSWORD '{SUPERUSER_PASSWORD}'");
        self.kubectl(&["exec", "postgres-0", "--", "psql", "-h", "/tmp", "-U", "postgres", "-c", &sql]);
        std::fs::write(
            folder.join("pgpass"),
            format!("127.0.0.1:{}:*:postgres:{SUPERUSER_PASSWORD}\n", 30_432 + offset),
        )
        .expect("pgpass");
        Stack::in_folder(folder)
    }

    /// What the status of a Pipeline says, as `acequia status` would; none where there is none yet.
    pub fn status(&self, pipeline: &str) -> Option<Status> {
        let object = self.get("pipelines", pipeline)?;
        let status = object.get("status")?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let stages = status["stages"].as_array().into_iter().flatten();
        let named = stages.map(|stage| {
            let (kind, name) = (stage["kind"].as_str().unwrap_or_default(), &stage["name"]);
            (format!("{kind}-{}", name.as_str().unwrap_or_default()), kind, stage)
        });
        let named: Vec<_> = named.collect();
        let is_source = |kind: &str| kind == "source";
        let connectors =
            named.iter().filter(|(_, kind, _)| is_source(kind)).map(|(id, _, stage)| Connector {
                stage: id.clone(),
                state: text(&stage["state"]).unwrap_or_default(),
                error: text(&stage["error"]),
            });
        let workers = named.iter().filter(|(_, kind, _)| !is_source(kind)).map(|(id, _, stage)| Stage {
            id: id.clone(),
            state: text(&stage["state"]).unwrap_or_default(),
            ready: stage["state"] == "running" && stage["error"].is_null(),
            lag: stage["lag"].as_u64(),
            error: text(&stage["error"]),
            ..Stage::default()
        });
        let ready = condition(&object, "Ready");
        let reason = ready.map(|ready| ready["reason"].as_str().unwrap_or_default());
        Some(Status {
            ready: ready.is_some_and(|ready| {
                ready["status"] == "True" && ready["observedGeneration"] == object["metadata"]["generation"]
            }),
            connectors: connectors.collect(),
            stages: workers.collect(),
            invalid: ready
                .filter(|_| reason == Some("InvalidSpec"))
                .and_then(|ready| text(&ready["message"])),
            ..Status::default()
        })
    }

    /// Runs kubectl in no namespace in particular.
    ///
    /// # Panics
    /// When it fails.
    pub fn kubectl_anywhere(&self, arguments: &[&str]) -> String {
        let done = self.feed("kubectl", arguments, "");
        done.unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")))
    }

    /// Applies a manifest that names its namespace.
    pub fn apply_anywhere(&self, text: &str) -> Result<String, String> {
        self.feed("kubectl", &["apply", "-f", "-"], text)
    }

    fn fed(&self, program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
        let arguments: Vec<&str> = ["--namespace", NAMESPACE].iter().chain(arguments).copied().collect();
        self.feed(program, &arguments, input)
    }

    fn feed(&self, program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(program);
        command.args(arguments).env("KUBECONFIG", &self.kubeconfig);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
        let mut stdin = child.stdin.take().expect("a pipe");
        // One that ends before it has read everything says why.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

/// The operator's metrics: name with labels as Prometheus writes them, and the value.
///
/// # Panics
/// When it doesn't answer.
pub fn metrics(cluster: &Cluster) -> BTreeMap<String, f64> {
    let at = format!("/api/v1/namespaces/{NAMESPACE}/services/{RELEASE}:8080/proxy/metrics");
    let text = cluster.kubectl_anywhere(&["get", "--raw", &at]);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let values = lines.filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.strip_prefix("acequia_operator_")?.to_owned(), value.parse().ok()?))
    });
    values.collect()
}

/// The operator's chart, of this checkout.
pub fn chart() -> String {
    root().join("helm/acequia").display().to_string()
}

/// A condition of an object.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// The `Role` and `RoleBinding` that Connect, which is in [`NAMESPACE`], needs for the manifests of a folder, applied in
/// `namespace`.
///
/// # Panics
/// When `acequia grants` fails.
pub fn grants(manifests: &Path, namespace: &str) -> String {
    let output = Command::new(crate::process::binary("acequia"))
        .arg("grants")
        .arg("-f")
        .arg(manifests)
        .args(["--namespace", namespace, "--service-account", &format!("{NAMESPACE}/connect")])
        .output()
        .expect("acequia grants runs");
    assert!(output.status.success(), "acequia grants: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// How long an object may take to be gone once it is deleted.
pub const GONE_DEADLINE: Duration = Duration::from_secs(60);
