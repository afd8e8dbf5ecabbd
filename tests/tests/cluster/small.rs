//! A Pipeline of one table, in databases of its own on the cluster's server.

use std::collections::BTreeSet;
use std::time::Duration;

use acequia_tests::acequia::{Acequia, Status};
use acequia_tests::cluster::{Cluster, RELEASE};
use acequia_tests::database::Database;
use acequia_tests::stack::{Stack, unique};
use acequia_tests::wait::until;
use acequia_tests::worker::http_get;

/// How long such a Pipeline may take to be ready.
pub const READY_DEADLINE: Duration = Duration::from_secs(120);

/// The reasons of Events, as `docs/kubernetes.md` lists them.
const REASONS: [&str; 14] = [
    "TopicCreated",
    "TopicChanged",
    "TopicDeleted",
    "GroupDeleted",
    "ConnectorConfigured",
    "ConnectorRestarted",
    "ConnectorSteered",
    "ConnectorRemoved",
    "StageStarted",
    "StageChanged",
    "StageStopped",
    "InvalidSpec",
    "Refused",
    "LeftBehind",
];

/// The Pipeline and what is around it.
pub struct Small {
    /// The cluster.
    pub cluster: Cluster,
    /// Its servers.
    pub stack: Stack,
    /// Its name; the topic's and the source database's too, with `_` in the place of `-`.
    pub name: String,
    /// Its manifest, and who keeps it.
    pub acequia: Acequia,
}

impl Small {
    /// A Pipeline that isn't there yet, whose manifest was changed as a text; its databases are.
    pub fn new(prefix: &str, change: impl FnOnce(String) -> String) -> Self {
        let cluster = Cluster::brought_up();
        // What a test that failed left would take the node's room.
        cluster.kubectl(&["delete", "pipelines", "--all", "--timeout=120s"]);
        let stack = cluster.stack();
        let database = unique(prefix);
        let name = database.replace('_', "-");
        let mut superuser = Database::open_as_superuser(&stack);
        superuser.run(&format!("CREATE DATABASE {database} OWNER instashop"));
        superuser.run(&format!("CREATE DATABASE {database}_dwh_db OWNER dwh"));
        Database::open(&stack, &database).run(
            "CREATE TABLE orders (id integer PRIMARY KEY, item text NOT NULL); \
             INSERT INTO orders SELECT n, 'first' FROM generate_series(1, 100) n",
        );
        let manifest = change(manifest(&name, &database));
        let acequia = Acequia::in_cluster(&cluster, &stack, &[("pipeline.yaml", manifest)]);
        Self { cluster, stack, name, acequia }
    }

    /// The same, applied and ready.
    pub fn ready(prefix: &str, change: impl FnOnce(String) -> String) -> Self {
        let mut small = Self::new(prefix, change);
        small.acequia.start();
        small.wait_until_ready();
        small
    }

    /// Waits until it is Ready at its generation.
    pub fn wait_until_ready(&mut self) -> Status {
        self.acequia.wait("the Pipeline is ready", READY_DEADLINE, |status| status.ready)
    }

    /// Its topic, and its source database.
    pub fn topic(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Its connector.
    pub fn connector(&self) -> String {
        format!("acequia.{}.{}.source-orders", acequia_tests::cluster::NAMESPACE, self.name)
    }

    /// Whether Connect has it; none while Connect doesn't answer.
    pub fn connector_is_there(&self) -> Option<bool> {
        let list = http_get(self.stack.address("connect:8083"), "/connectors")?;
        Some(list.contains(&self.connector()))
    }

    /// Waits until there are Events of all these reasons about it. There are never any of a reason that isn't on the list.
    pub fn was_told(&self, reasons: &[&str]) {
        let told = || -> BTreeSet<String> {
            let events = self.cluster.list("events", "");
            let ours = events.iter().filter(|event| event["regarding"]["name"] == self.name.as_str());
            let ours = ours.filter(|event| event["regarding"]["kind"] == "Pipeline");
            ours.filter_map(|event| event["reason"].as_str().map(str::to_owned)).collect()
        };
        let are_there = |told: &BTreeSet<String>| reasons.iter().all(|reason| told.contains(*reason));
        let told = until(&format!("Events {reasons:?}"), Duration::from_secs(10), told, are_there);
        let unknown: Vec<&String> =
            told.iter().filter(|reason| !REASONS.contains(&reason.as_str())).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    /// The values of the operator's release, as a file for another installation.
    pub fn write_values(&self) -> String {
        let values = self.cluster.helm(&["get", "values", RELEASE, "-o", "yaml"]).expect("the values");
        let file = self.acequia.folder().join("values.yaml");
        std::fs::write(&file, values).expect("the values are written");
        file.display().to_string()
    }

    /// UIDs of the pods of a stage.
    pub fn pod_uids(&self, stage: &str) -> Vec<String> {
        let labels = format!("acequia.dev/pipeline={},acequia.dev/stage={stage}", self.name);
        let pods = self.cluster.list("pods", &labels);
        pods.iter().filter_map(|pod| Some(pod["metadata"]["uid"].as_str()?.to_owned())).collect()
    }

    /// Adds orders, and waits until they are in the warehouse: everything is at work.
    pub fn flows(&self, item: &str) {
        let (source, warehouse) = (self.topic(), format!("{}_dwh_db", self.topic()));
        Database::open(&self.stack, &source).run(&format!(
            "INSERT INTO orders SELECT m + n, '{item}' FROM generate_series(1, 10) n, (SELECT max(id) m FROM orders) o"
        ));
        let mut there = Database::open_as_superuser_of(&self.stack, &warehouse);
        let sql = format!("SELECT count(*) FROM orders WHERE item = '{item}'");
        let what = format!("orders of {item} arrive in the warehouse of {}", self.name);
        until(&what, READY_DEADLINE, || there.number(&sql), |rows| *rows == 10);
    }

    /// Deletes the Pipeline and drops the databases.
    pub fn delete(self) {
        self.acequia.delete();
        self.drop_databases();
    }

    /// Drops the databases.
    pub fn drop_databases(self) {
        let mut superuser = Database::open_as_superuser(&self.stack);
        for database in [self.topic(), format!("{}_dwh_db", self.topic())] {
            superuser.run(&format!("DROP DATABASE {database} WITH (FORCE)"));
        }
        std::fs::remove_dir_all(self.acequia.folder()).expect("the folder can be removed");
    }
}

fn manifest(name: &str, database: &str) -> String {
    format!(
        r#"apiVersion: acequia.dev/v1alpha1
kind: Pipeline
metadata: {{name: {name}}}
spec:
  deletionPolicy: Delete
  kafka: {{bootstrapServers: "kafka:9092"}}
  connect: {{url: "http://connect:8083"}}
  stores:
    - {{name: source, postgres: {{host: postgres, database: {database}, credentialsSecret: instashop-db}}}}
    - {{name: dwh, postgres: {{host: postgres, database: {database}_dwh_db, credentialsSecret: dwh-db}}}}
  topics:
    - {{name: {database}, partitions: 2}}
    - {{name: {database}_spare, partitions: 1}}
  sources:
    - {{name: orders, debezium: {{store: source, tables: [{{table: public.orders, topic: {database}}}]}}}}
  sinks:
    - {{name: dwh, from: [{database}], store: dwh, postgres: {{mode: mirror}}}}
    - {{name: log, from: [{database}], store: dwh, postgres: {{table: order_log, mode: append, columns: [{{name: op, type: text, value: event.op}}]}}}}
"#
    )
}
