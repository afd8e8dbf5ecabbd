//! A Pipeline of one table: `orders` of a PostgreSQL server of its own, through one topic, mirrored to the server's
//! warehouse by `acequia run`.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::own_postgres::OwnPostgres;
use crate::process::{Process, binary};
use crate::stack::{Stack, unique};

/// The Pipeline, its server, and the folder with its manifest and its state.
#[derive(Debug)]
pub struct SmallPipeline {
    /// The servers that it shares with other tests.
    pub stack: Stack,
    /// The server that is its own.
    pub postgres: OwnPostgres,
    name: String,
    folder: PathBuf,
}

/// A running `acequia run`.
#[derive(Debug)]
pub struct Run {
    /// The process.
    pub process: Process,
    state: PathBuf,
}

impl SmallPipeline {
    /// A Pipeline with a name that no other has, and its server. Its secrets aren't there yet.
    ///
    /// # Panics
    /// When its folder can't be made.
    pub fn new(stack: &Stack, prefix: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("acequia-test-").tempdir().expect("a folder").keep();
        let name = unique(prefix).replace('_', "-");
        Self { stack: stack.clone(), postgres: OwnPostgres::start(stack), name, folder }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its identity.
    pub fn identity(&self) -> String {
        format!("local/default/{}", self.name)
    }

    /// Its topic.
    pub fn topic(&self) -> String {
        self.name.replace('-', "_")
    }

    /// Its connector.
    pub fn connector(&self) -> String {
        format!("acequia.default.{}.source-orders", self.name)
    }

    /// Name of the secret of the store `source` or `dwh`.
    pub fn secret_name(&self, store: &str) -> String {
        format!("{}-{store}", self.name)
    }

    /// The folder of its run: configurations, logs, status.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Everything that its commands print.
    pub fn log(&self) -> PathBuf {
        self.folder.join("acequia.log")
    }

    /// The manifest; tests change its text.
    pub fn manifest(&self) -> String {
        let (name, topic, port) = (&self.name, self.topic(), self.postgres.port());
        format!(
            r#"apiVersion: acequia.dev/v1alpha1
kind: Pipeline
metadata: {{name: {name}}}
spec:
  deletionPolicy: Delete
  kafka: {{bootstrapServers: "kafka:9092"}}
  connect: {{url: "http://connect:8083"}}
  stores:
    - {{name: source, postgres: {{host: 127.0.0.1, port: {port}, database: instashop, credentialsSecret: {name}-source}}}}
    - {{name: dwh, postgres: {{host: 127.0.0.1, port: {port}, database: dwh_db, credentialsSecret: {name}-dwh}}}}
  topics:
    - {{name: {topic}, partitions: 2}}
  sources:
    - {{name: orders, debezium: {{store: source, tables: [{{table: public.orders, topic: {topic}}}]}}}}
  sinks:
    - {{name: dwh, from: [{topic}], store: dwh, postgres: {{mode: mirror}}}}
"#
        )
    }

    /// Puts the manifest where the run finds it.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn write_manifest(&self, text: &str) {
        std::fs::write(self.folder.join("pipeline.yaml"), text).expect("the manifest is written");
    }

    /// Puts a key of the secret of a store where workers and Connect find it, readable for those who can read the
    /// stack's other secrets.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn put_secret(&self, store: &str, key: &str, value: &str) {
        let secrets = self.stack.secrets();
        let owner = std::fs::metadata(&secrets).expect("the folder of secrets");
        let give = |path: &Path, mode: u32| {
            chown(path, Some(owner.uid()), Some(owner.gid())).expect("an owner is given");
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode is given");
        };
        let folder = secrets.join(self.secret_name(store));
        if !folder.exists() {
            std::fs::create_dir(&folder).expect("the folder of the secret");
            give(&folder, 0o750);
        }
        let (path, new) = (folder.join(key), folder.join(format!(".{key}.new")));
        std::fs::write(&new, value).expect("the secret is written");
        give(&new, 0o400);
        std::fs::rename(&new, &path).expect("the secret is in its place");
    }

    /// Puts the whole right secret of a store where it belongs.
    pub fn put_right_secret(&self, store: &str) {
        let of_server = if store == "dwh" { "dwh-db" } else { "instashop-db" };
        for key in ["username", "password"] {
            self.put_secret(store, key, &self.postgres.secret(of_server, key));
        }
    }

    /// Starts `acequia run` on the manifest, with an environment that is added to this process's.
    pub fn run(&self, environment: &[(&str, &str)]) -> Run {
        let mut command = self.command("run");
        command.arg("--state").arg(self.state()).envs(environment.iter().copied());
        Run { process: Process::start(&mut command, &self.log()), state: self.state() }
    }

    /// Runs `acequia plan` on a manifest with this text: its exit code and what it prints.
    ///
    /// # Panics
    /// When it doesn't end by itself.
    pub fn plan(&self, manifest: &str) -> (i32, String) {
        let file = self.folder.join("planned.yaml");
        std::fs::write(&file, manifest).expect("the manifest is written");
        let output = self.command_on("plan", &file).output().expect("acequia plan runs");
        (output.status.code().expect("it ends by itself"), text(&output))
    }

    /// Runs `acequia delete` on the manifest: connector, slot, publication and topics are gone afterwards.
    ///
    /// # Panics
    /// When something is left.
    pub fn delete(&self) {
        let output =
            self.command("delete").arg("--state").arg(self.state()).output().expect("acequia delete runs");
        assert!(output.status.success(), "acequia delete: {}", text(&output));
    }

    fn command(&self, subcommand: &str) -> Command {
        self.command_on(subcommand, &self.folder.join("pipeline.yaml"))
    }

    fn command_on(&self, subcommand: &str, manifest: &Path) -> Command {
        let mut command = Command::new(binary("acequia"));
        command
            .arg(subcommand)
            .arg("-f")
            .arg(manifest)
            .arg("--secrets")
            .arg(self.stack.secrets())
            .arg("--addresses")
            .arg(self.stack.addresses_file());
        command
    }
}

impl Drop for SmallPipeline {
    fn drop(&mut self) {
        for store in ["source", "dwh"] {
            // A test may end before it has made them.
            let _ = std::fs::remove_dir_all(self.stack.secrets().join(self.secret_name(store)));
        }
        if std::thread::panicking() {
            eprintln!("manifest, state and logs: {}", self.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl Run {
    /// The status file, as `acequia status` prints it; null while there is none.
    pub fn status(&self) -> Value {
        let text = std::fs::read_to_string(self.state.join("status.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
