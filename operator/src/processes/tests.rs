use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use acequia_crds::names::{StageId, StageKind};
use acequia_crds::pipeline::workers::Workers;
use acequia_crds::stage::{SlotRelease, StageConfig, Work};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::*;
use crate::model::desired::{DesiredStage, Job, Role, RunPolicy};
use crate::model::observed::{ObservedReplica, ReplicaState};

/// A worker that does what its configuration says: `run`, `exit`, `deaf` (ignores the order to stop).
const WORKER: &str = r#"#!/bin/sh
role=$1
while [ $# -gt 0 ]; do
  case $1 in
    --config) config=$2 ;; --secrets) secrets=$2 ;;
    --address-file) address=$2 ;; --termination-message) words=$2 ;;
  esac
  shift
done
echo "started $$ $role" >> "$(dirname "$0")/starts"
env > "$(dirname "$0")/env"
case $(cat "$config") in
  *exit*) echo "the cause" > "$words"; exit 1 ;;
  *done*) exit 0 ;;
  *deaf*) trap '' TERM; echo 127.0.0.1:1 > "$address"; while :; do sleep 0.05; done ;;
  *) trap 'exit 0' TERM; echo 127.0.0.1:1 > "$address"; exec 3<&0; cat <&3 > /dev/null & wait $!; exit 0 ;;
esac
"#;

struct Lab {
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let worker = folder.path().join("worker");
        std::fs::write(&worker, WORKER).unwrap();
        std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn settings(&self) -> Settings {
        let at = |name: &str| self.folder.path().join(name);
        let mut settings = Settings::new(at("worker"), at("state"), at("secrets"));
        settings.backoff = Backoff {
            first: Duration::from_millis(20),
            max: Duration::from_millis(40),
            healthy_after: Duration::from_mins(1),
        };
        settings.grace = Duration::from_millis(500);
        settings
    }

    async fn supervisor(&self) -> Supervisor {
        Supervisor::start(self.settings()).await.unwrap()
    }

    fn starts(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("starts")).unwrap_or_default().lines().count()
    }

    fn config_of(&self, name: &str) -> PathBuf {
        self.folder.path().join("state/run").join(format!("{name}.yaml"))
    }
}

fn id(name: &str) -> StageId {
    StageId::new(StageKind::Sink, name)
}

fn stage(text: &str, replicas: u32) -> DesiredStage {
    let postgres = serde_json::json!({"host": "h", "database": "d", "credentialsSecret": "s"});
    let kafka = serde_json::json!({"bootstrapServers": "k:1"});
    let release = SlotRelease {
        store: serde_json::from_value(postgres).unwrap(),
        slot: "s".to_owned(),
        publication: "p".to_owned(),
    };
    DesiredStage {
        kind: StageKind::Sink,
        name: "x".to_owned(),
        config: StageConfig {
            pipeline: "local/default/p".to_owned(),
            stage: "sink-x".to_owned(),
            kafka: serde_json::from_value(kafka).unwrap(),
            work: Work::SlotRelease(release),
        },
        text: text.to_owned(),
        hash: text.to_owned(),
        replicas,
        workers: Workers::default(),
        role: Role::Consumer,
        secrets: BTreeSet::new(),
        reads: Vec::new(),
        run: RunPolicy::Always,
    }
}

fn job(text: &str) -> Job {
    Job {
        name: "release-x".to_owned(),
        role: Role::SlotRelease,
        text: text.to_owned(),
        secrets: BTreeSet::new(),
        workers: Workers::default(),
    }
}

/// Looks again until `found` gives something; fails after ten seconds.
async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = found().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn replicas(supervisor: &Supervisor, name: &str) -> Vec<ObservedReplica> {
    supervisor.observe().await.remove(&id(name)).map(|stage| stage.replicas).unwrap_or_default()
}

async fn running(supervisor: &Supervisor, name: &str) -> u32 {
    until("a running process with an address", async || {
        let replica = replicas(supervisor, name).await.into_iter().next()?;
        replica.address.as_ref().and(replica.pid)
    })
    .await
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(id.cast_signed()).unwrap()
}

fn is_alive(id: u32) -> bool {
    test_kill_process(pid(id)).is_ok()
}

#[tokio::test]
async fn a_process_that_ends_is_started_again_and_its_last_words_are_kept() {
    let lab = Lab::new();
    let supervisor = lab.supervisor().await;
    supervisor.set(&id("a"), &stage("exit", 1)).unwrap();
    let replica = until("three starts", async || {
        let replica = replicas(&supervisor, "a").await.pop()?;
        (replica.restarts >= 2).then_some(replica)
    })
    .await;
    assert_eq!(replica.last_exit.as_deref(), Some("exit code 1: the cause"));
    assert!(lab.starts() >= 2);
    supervisor.shutdown().await;
}

#[tokio::test]
async fn a_killed_process_comes_back_under_another_id() {
    let lab = Lab::new();
    let supervisor = lab.supervisor().await;
    supervisor.set(&id("a"), &stage("run", 1)).unwrap();
    let first = running(&supervisor, "a").await;
    kill_process(pid(first), Signal::KILL).unwrap();
    let replica = until("another process", async || {
        replicas(&supervisor, "a").await.pop().filter(|replica| replica.pid.is_some_and(|now| now != first))
    })
    .await;
    assert_eq!((replica.restarts, replica.last_exit.as_deref()), (1, Some("signal 9")));
    supervisor.shutdown().await;
}

#[tokio::test]
async fn another_configuration_replaces_that_stage_and_no_other() {
    let lab = Lab::new();
    let supervisor = lab.supervisor().await;
    supervisor.set(&id("a"), &stage("run 1", 1)).unwrap();
    supervisor.set(&id("b"), &stage("run 1", 1)).unwrap();
    let (a, b) = (running(&supervisor, "a").await, running(&supervisor, "b").await);

    supervisor.set(&id("b"), &stage("run 1", 1)).unwrap();
    supervisor.set(&id("a"), &stage("run 2", 1)).unwrap();
    until("a new process of a", async || (running(&supervisor, "a").await != a).then_some(())).await;

    assert!(!is_alive(a));
    assert_eq!(running(&supervisor, "b").await, b);
    assert_eq!(std::fs::read_to_string(lab.config_of("sink-a-0")).unwrap(), "run 2");
    assert_eq!(supervisor.observe().await[&id("a")].hash, "run 2");
    supervisor.shutdown().await;
}

#[tokio::test]
async fn a_process_is_seen_with_the_configuration_it_was_started_with_until_it_is_gone() {
    let lab = Lab::new();
    let supervisor = lab.supervisor().await;
    supervisor.set(&id("a"), &stage("deaf", 1)).unwrap();
    let deaf = running(&supervisor, "a").await;
    supervisor.set(&id("a"), &stage("run", 1)).unwrap();
    until("another process", async || {
        let replica = replicas(&supervisor, "a").await.pop()?;
        let pid = replica.pid?;
        assert_eq!(replica.config_hash, if pid == deaf { "deaf" } else { "run" });
        (pid != deaf).then_some(())
    })
    .await;
    assert!(!is_alive(deaf));
    supervisor.shutdown().await;
}

#[tokio::test]
async fn one_that_does_not_stop_in_time_is_killed() {
    let lab = Lab::new();
    let supervisor = lab.supervisor().await;
    supervisor.set(&id("a"), &stage("deaf", 1)).unwrap();
    let deaf = running(&supervisor, "a").await;
    supervisor.remove(&id("a"));
    let state = until("it stops", async || {
        replicas(&supervisor, "a").await.pop().filter(|replica| replica.state != ReplicaState::Running)
    });
    assert_eq!(state.await.state, ReplicaState::Stopping);
    until("it is gone", async || supervisor.observe().await.is_empty().then_some(())).await;
    assert!(!is_alive(deaf));
    assert!(!lab.config_of("sink-a-0").exists());
}

#[tokio::test]
async fn a_stage_that_is_removed_and_set_again_never_has_two_processes() {
    let lab = Lab::new();
    let supervisor = lab.supervisor().await;
    supervisor.set(&id("a"), &stage("deaf", 1)).unwrap();
    let first = running(&supervisor, "a").await;
    supervisor.remove(&id("a"));
    supervisor.set(&id("a"), &stage("run", 1)).unwrap();
    let second = until("the second process", async || {
        replicas(&supervisor, "a").await.pop()?.pid.filter(|now| *now != first)
    })
    .await;
    assert!(!is_alive(first));
    assert!(is_alive(second));
    supervisor.shutdown().await;
    assert!(!is_alive(second));
}

#[tokio::test]
async fn replicas_are_added_and_taken_away() {
    let lab = Lab::new();
    let supervisor = lab.supervisor().await;
    let count = async |wanted: usize| {
        until("that many processes", async || {
            let alive =
                replicas(&supervisor, "a").await.iter().filter(|replica| replica.pid.is_some()).count();
            (alive == wanted).then_some(())
        })
        .await;
    };
    supervisor.set(&id("a"), &stage("run", 3)).unwrap();
    count(3).await;
    supervisor.set(&id("a"), &stage("run", 1)).unwrap();
    count(1).await;
    supervisor.shutdown().await;
}

#[tokio::test]
async fn nothing_but_named_variables_and_no_secret_reaches_a_child() {
    let lab = Lab::new();
    let supervisor = lab.supervisor().await;
    supervisor.set(&id("a"), &stage("run", 1)).unwrap();
    running(&supervisor, "a").await;
    let environment = std::fs::read_to_string(lab.folder.path().join("env")).unwrap();
    for line in environment.lines() {
        let name = line.split('=').next().unwrap();
        let of_the_shell = ["PWD", "OLDPWD", "SHLVL", "_"].contains(&name);
        assert!(of_the_shell || super::child::PASSED_ON.contains(&name), "{name}");
    }
    let mode = std::fs::metadata(lab.config_of("sink-a-0")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    supervisor.shutdown().await;
}

#[tokio::test]
async fn a_job_ends_well_or_says_why_not() {
    let lab = Lab::new();
    let supervisor = lab.supervisor().await;
    let long = Duration::from_secs(10);
    supervisor.run_job(&job("done"), long).await.unwrap();
    let failed = supervisor.run_job(&job("exit"), long).await.unwrap_err();
    assert_eq!(failed.to_string(), "release-x failed: exit code 1: the cause");
    let late = supervisor.run_job(&job("run"), Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(late, Error::JobTimeout { .. }), "{late}");
}

#[tokio::test]
async fn a_worker_that_cannot_be_started_is_said_to_be_so() {
    let lab = Lab::new();
    let supervisor = lab.supervisor().await;
    std::fs::write(lab.folder.path().join("worker"), "no program").unwrap();
    supervisor.set(&id("a"), &stage("run", 1)).unwrap();
    let replica = until("the failure", async || {
        replicas(&supervisor, "a").await.pop().filter(|replica| replica.state == ReplicaState::CannotStart)
    })
    .await;
    assert!(replica.last_exit.unwrap().contains("can't be started"));
    supervisor.shutdown().await;
    std::fs::remove_file(lab.folder.path().join("worker")).unwrap();
    assert!(matches!(Supervisor::start(lab.settings()).await, Err(Error::NoWorker { .. })));
}

#[tokio::test]
async fn two_runs_never_share_a_state_folder() {
    let lab = Lab::new();
    let first = lab.supervisor().await;
    assert!(matches!(Supervisor::start(lab.settings()).await, Err(Error::InUse { .. })));
    first.shutdown().await;
    lab.supervisor().await;
}

#[tokio::test]
async fn a_long_log_is_put_aside_when_its_process_starts() {
    let lab = Lab::new();
    let mut settings = lab.settings();
    settings.log_max_bytes = 10;
    let supervisor = Supervisor::start(settings).await.unwrap();
    let log = lab.folder.path().join("state/logs/sink-a-0.log");
    std::fs::write(&log, "a line that is too long").unwrap();
    supervisor.set(&id("a"), &stage("run", 1)).unwrap();
    running(&supervisor, "a").await;
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);
    assert_eq!(std::fs::read_to_string(log.with_extension("log.1")).unwrap(), "a line that is too long");
    supervisor.shutdown().await;
}

/// Starts a process as a run that was killed would have left it: noted, with its configuration in its command line.
fn leave_over(lab: &Lab, name: &str, script: &str) -> std::process::Child {
    let run = lab.folder.path().join("state/run");
    super::files::make_folders(&lab.folder.path().join("state")).unwrap();
    let config = lab.config_of(name);
    let child = std::process::Command::new("/bin/sh")
        .args(["-c", script, "worker", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    super::leftovers::note(&run.join(format!("{name}.pid")), child.id(), &config).unwrap();
    child
}

fn has_ended(child: &mut std::process::Child) -> bool {
    child.try_wait().unwrap().is_some()
}

#[tokio::test]
async fn what_a_killed_run_left_behind_is_ended_even_when_frozen() {
    let lab = Lab::new();
    let mut polite = leave_over(&lab, "sink-a-0", "trap 'exit 0' TERM; while :; do sleep 0.05; done");
    let mut deaf = leave_over(&lab, "sink-b-0", "trap '' TERM; while :; do sleep 0.05; done");
    let mut frozen = leave_over(&lab, "sink-c-0", "while :; do sleep 0.05; done");
    kill_process(pid(frozen.id()), Signal::STOP).unwrap();
    let supervisor = lab.supervisor().await;
    for child in [&mut polite, &mut deaf, &mut frozen] {
        until("the end of a leftover", async || has_ended(child).then_some(())).await;
    }
    assert!(!lab.folder.path().join("state/run/sink-a-0.pid").exists());
    supervisor.shutdown().await;
}

#[tokio::test]
async fn a_process_that_only_has_the_same_id_is_left_alone() {
    let lab = Lab::new();
    let mut other = leave_over(&lab, "sink-a-0", "while :; do sleep 0.05; done");
    let note = lab.folder.path().join("state/run/sink-a-0.pid");
    let text = std::fs::read_to_string(&note).unwrap();
    let text = text.replace("sink-a-0.yaml", "sink-z-0.yaml");
    std::fs::write(&note, text).unwrap();
    let supervisor = lab.supervisor().await;
    assert!(!has_ended(&mut other));
    other.kill().unwrap();
    other.wait().unwrap();
    supervisor.shutdown().await;
}

#[tokio::test]
async fn dropping_the_supervisor_ends_its_children() {
    let lab = Lab::new();
    let supervisor = lab.supervisor().await;
    supervisor.set(&id("a"), &stage("run", 1)).unwrap();
    let child = running(&supervisor, "a").await;
    drop(supervisor);
    until("the end of the child", async || {
        // A zombie until the runtime reaps it.
        let stat = std::fs::read_to_string(Path::new("/proc").join(child.to_string()).join("stat"));
        stat.map_or(true, |text| text.contains(") Z ")).then_some(())
    })
    .await;
}
