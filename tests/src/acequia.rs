//! A Pipeline that is kept by `acequia run`, or by the operator in a cluster; a test sees no difference.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{self, Cluster};
use crate::process::{Process, binary};
use crate::stack::Stack;
use crate::wait;

/// A manifest folder and a state folder, with or without a run at work on them. A run that is left is killed when
/// this is dropped.
#[derive(Debug)]
pub struct Acequia {
    stack: Stack,
    folder: PathBuf,
    keeper: Keeper,
}

/// Who keeps the Pipeline.
#[derive(Debug)]
enum Keeper {
    /// `acequia run`, while it is at work.
    Run(Option<Process>),
    /// The operator in the cluster.
    Operator(Cluster),
}

/// What `acequia status` prints, as far as tests look at it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Process id of the run.
    pub pid: u32,
    /// The condition Ready.
    pub ready: bool,
    /// The stages.
    pub stages: Vec<Stage>,
    /// The connectors.
    pub connectors: Vec<Connector>,
    /// What failed and is tried again.
    pub failures: Vec<String>,
    /// What is wrong with the manifest as it is now.
    pub invalid: Option<String>,
}

/// A stage, summed over its processes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stage {
    /// Its id. Example: `sink-dwh`.
    pub id: String,
    /// In one word.
    pub state: String,
    /// It is as it shall be.
    pub ready: bool,
    /// Its process ids.
    pub pids: Vec<u32>,
    /// Records that wait to be read.
    pub lag: Option<u64>,
    /// Records put to the dead letters since the processes began.
    pub dead_letters: u64,
    /// What is wrong.
    pub error: Option<String>,
}

/// A connector.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Connector {
    /// The stage it is. Example: `source-crm`.
    pub stage: String,
    /// In one word.
    pub state: String,
    /// What is wrong.
    pub error: Option<String>,
}

impl Status {
    /// A stage by its id.
    pub fn stage(&self, id: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.id == id)
    }

    /// Whether every sink and every aggregation has read everything.
    pub fn has_no_lag(&self) -> bool {
        let reads = |stage: &&Stage| ["sink-", "aggregation-"].iter().any(|kind| stage.id.starts_with(kind));
        let mut readers = self.stages.iter().filter(reads).peekable();
        readers.peek().is_some() && readers.all(|stage| stage.lag == Some(0))
    }
}

impl Acequia {
    /// Puts manifests (file name → text) into a folder of their own; nothing is started yet.
    ///
    /// # Panics
    /// When they can't be written.
    pub fn new(stack: &Stack, manifests: &[(&str, String)]) -> Self {
        Self::kept_by(Keeper::Run(None), stack, manifests)
    }

    /// The same in a cluster.
    ///
    /// # Panics
    /// When they can't be written.
    pub fn in_cluster(cluster: &Cluster, stack: &Stack, manifests: &[(&str, String)]) -> Self {
        Self::kept_by(Keeper::Operator(cluster.clone()), stack, manifests)
    }

    fn kept_by(keeper: Keeper, stack: &Stack, manifests: &[(&str, String)]) -> Self {
        let folder = tempfile::Builder::new().prefix("acequia-test-").tempdir().expect("a folder").keep();
        std::fs::create_dir(folder.join("manifests")).expect("a folder for manifests");
        for (name, text) in manifests {
            std::fs::write(folder.join("manifests").join(name), text).expect("the manifest is written");
        }
        Self { stack: stack.clone(), folder, keeper }
    }

    /// Where everything of it is: `manifests`, `state`, `run.log`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts `acequia run`, or applies the manifests.
    ///
    /// # Panics
    /// When it can't be started, or the API server refuses.
    pub fn start(&mut self) {
        match &self.keeper {
            Keeper::Run(_) => {
                let process = Process::start(&mut self.command("run"), &self.folder.join("run.log"));
                self.keeper = Keeper::Run(Some(process));
            }
            Keeper::Operator(cluster) => {
                let manifests = self.folder.join("manifests");
                cluster
                    .apply(&cluster::grants(&manifests, cluster::NAMESPACE))
                    .expect("the grants are applied");
                cluster.kubectl(&["apply", "-f", &manifests.display().to_string()]);
            }
        }
    }

    /// Kills `acequia run`, or the operator's pod, as `kill -9` does. The workers are left to themselves.
    ///
    /// # Panics
    /// When no run is at work.
    pub fn kill(&mut self) {
        match &mut self.keeper {
            Keeper::Run(process) => process.take().expect("a run is at work").kill(),
            Keeper::Operator(cluster) => cluster.kill_pods("app.kubernetes.io/component=operator"),
        }
    }

    /// The processes of a stage: process ids, or names of pods.
    pub fn processes(&self, stage: &str) -> Vec<String> {
        match &self.keeper {
            Keeper::Run(_) => {
                let status = self.status().unwrap_or_default();
                let pids = status.stage(stage).map(|stage| stage.pids.clone()).unwrap_or_default();
                pids.iter().map(ToString::to_string).collect()
            }
            Keeper::Operator(cluster) => cluster.pods(&self.pipeline(), stage),
        }
    }

    /// Whether one of these processes is still there.
    pub fn is_any_alive(&self, processes: &[String]) -> bool {
        processes.iter().any(|process| match &self.keeper {
            Keeper::Run(_) => process.parse().is_ok_and(is_alive),
            Keeper::Operator(cluster) => cluster.get("pods", process).is_some(),
        })
    }

    /// Name of the Pipeline in `pipeline.yaml`.
    ///
    /// # Panics
    /// When there is none.
    pub fn pipeline(&self) -> String {
        let text =
            std::fs::read_to_string(self.folder.join("manifests/pipeline.yaml")).expect("the manifest");
        let pipeline: Value = serde_yaml::from_str(&text).expect("the manifest is YAML");
        pipeline["metadata"]["name"].as_str().expect("a name").to_owned()
    }

    /// Asks `acequia run` to stop, waits, and checks that it ended well and took its workers along.
    ///
    /// # Panics
    /// When it didn't.
    pub fn stop(&mut self) {
        let Keeper::Run(process) = &mut self.keeper else { return };
        let process = process.take();
        let workers: Vec<u32> = self
            .status()
            .map(|status| status.stages.into_iter().flat_map(|stage| stage.pids).collect())
            .unwrap_or_default();
        let ended = process.expect("a run is at work").stop();
        assert!(ended.success(), "acequia run ended with {ended}; see {}", self.folder.display());
        let left: Vec<_> = workers.into_iter().filter(|pid| is_alive(*pid)).collect();
        assert_eq!(left, Vec::<u32>::new(), "workers that outlived their run");
    }

    /// Runs `acequia delete` to its end, or deletes the object and waits until it is gone.
    ///
    /// # Panics
    /// When it fails.
    pub fn delete(&self) {
        if let Keeper::Operator(cluster) = &self.keeper {
            let manifests = self.folder.join("manifests");
            cluster.kubectl(&["delete", "pipeline", &self.pipeline(), "--timeout=60s"]);
            cluster.kubectl(&["delete", "-f", &manifests.display().to_string(), "--ignore-not-found"]);
            return;
        }
        let output = self.command("delete").output().expect("acequia delete runs");
        assert!(
            output.status.success(),
            "acequia delete: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// What `acequia plan` says of the Pipeline with a change that isn't made: its exit code and what it prints.
    ///
    /// # Panics
    /// When it can't be run.
    pub fn plan(&self, change: impl FnOnce(&mut Value)) -> (Option<i32>, String) {
        let planned = tempfile::tempdir().expect("a folder");
        for file in std::fs::read_dir(self.folder.join("manifests")).expect("the manifests").flatten() {
            std::fs::copy(file.path(), planned.path().join(file.file_name())).expect("a copy");
        }
        edit(&planned.path().join("pipeline.yaml"), change);
        let output = self.command_on("plan", planned.path()).output().expect("acequia plan runs");
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
    }

    /// Changes the Pipeline in `pipeline.yaml`, as an editor would that replaces the file, and applies it.
    ///
    /// # Panics
    /// When it can't be read or written, or the API server refuses.
    pub fn edit(&self, change: impl FnOnce(&mut Value)) {
        self.edit_file(change);
        if let Keeper::Operator(cluster) = &self.keeper {
            let file = self.folder.join("manifests/pipeline.yaml");
            cluster.kubectl(&["apply", "-f", &file.display().to_string()]);
        }
    }

    /// The same, not applied yet.
    ///
    /// # Panics
    /// When it can't be read or written.
    pub fn edit_file(&self, change: impl FnOnce(&mut Value)) {
        edit(&self.folder.join("manifests/pipeline.yaml"), change);
    }

    /// What `acequia status` would print; none before the first report.
    pub fn status(&self) -> Option<Status> {
        if let Keeper::Operator(cluster) = &self.keeper {
            return cluster.status(&self.pipeline());
        }
        let text = std::fs::read_to_string(self.folder.join("state/status.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Waits until the run that is at work now says what is wanted.
    pub fn wait(&mut self, what: &str, deadline: Duration, is_wanted: impl Fn(&Status) -> bool) -> Status {
        let reached = |status: &Option<Status>| status.as_ref().is_some_and(&is_wanted);
        let process = match &mut self.keeper {
            Keeper::Run(process) => process.as_mut().expect("a run is at work"),
            Keeper::Operator(_) => {
                return wait::until(what, deadline, || self.status(), reached).unwrap_or_default();
            }
        };
        let file = self.folder.join("state/status.json");
        let look = || {
            assert_eq!(process.ended(), None, "acequia run ended; see its log in {}", self.folder.display());
            let status: Status = serde_json::from_str(&std::fs::read_to_string(&file).ok()?).ok()?;
            // What an earlier run left says nothing.
            (status.pid == process.id()).then_some(status)
        };
        wait::until(what, deadline, look, reached).unwrap_or_default()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = self.command_on(name, &self.folder.join("manifests"));
        command.arg("--state").arg(self.folder.join("state"));
        command
    }

    fn command_on(&self, name: &str, manifests: &Path) -> Command {
        let mut command = Command::new(binary("acequia"));
        command.arg(name).arg("-f").arg(manifests);
        command.arg("--secrets").arg(self.stack.secrets());
        command.arg("--addresses").arg(self.stack.addresses_file());
        command
    }
}

/// Replaces a manifest by what `change` makes of it.
fn edit(file: &Path, change: impl FnOnce(&mut Value)) {
    let text = std::fs::read_to_string(file).expect("the manifest");
    let mut pipeline: Value = serde_yaml::from_str(&text).expect("the manifest is YAML");
    change(&mut pipeline);
    let new = file.with_extension("new");
    std::fs::write(&new, serde_yaml::to_string(&pipeline).expect("YAML")).expect("the manifest is written");
    std::fs::rename(&new, file).expect("the manifest is replaced");
}

/// Whether there is a process with this id that still does something.
pub fn is_alive(pid: u32) -> bool {
    // The state comes after the name, which may hold anything.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
