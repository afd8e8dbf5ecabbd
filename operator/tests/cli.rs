//! The command line, as a user or a script meets it. Nothing here needs a server; where one is named, none answers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::cargo::CommandCargoExt as _;
use serde_json::Value;

const SHOP: &str = include_str!("manifests/shop.yaml");
const DEADLINE: Duration = Duration::from_secs(30);

/// A folder with a manifest, a secret, addresses where nothing listens, and a worker that only waits for its end.
struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(manifest: &str) -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap() };
        scene.write("shop/pipeline.yaml", manifest);
        scene.write("secrets/crm-db/username", "somebody");
        // Port 1 of the loopback refuses at once.
        scene.write(
            "addresses.yaml",
            "kafka:9092: 127.0.0.1:1\nconnect:8083: 127.0.0.1:1\npostgres:5432: 127.0.0.1:1\n",
        );
        scene.write("worker", "#!/bin/sh\ncat >/dev/null\n");
        std::fs::set_permissions(scene.path("worker"), std::fs::Permissions::from_mode(0o755)).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("acequia").unwrap();
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    fn acequia(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn start(&self, more: &[&str]) -> Running {
        let mut arguments = vec![
            "run",
            "-f",
            "shop",
            "--addresses",
            "addresses.yaml",
            "--worker",
            "worker",
            "--state",
            "state",
        ];
        arguments.extend(more);
        let child = self.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Running { child }
    }

    fn status(&self) -> Option<Value> {
        let output = self.acequia(&["status", "--state", "state"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The status, once it is as it is waited for.
    fn wait_for_status(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || self.status().filter(|status| is_it(status)))
    }
}

struct Running {
    child: Child,
}

impl Running {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "waited too long for {what}");
        std::thread::yield_now();
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn ready(status: &Value) -> &Value {
    let conditions = status["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == "Ready").unwrap()
}

fn pids(status: &Value) -> Vec<u64> {
    let stages = status["stages"].as_array().unwrap();
    stages.iter().flat_map(|stage| stage["pids"].as_array().unwrap()).filter_map(Value::as_u64).collect()
}

fn is_alive(pid: u64) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn lint_is_silent_about_a_valid_manifest() {
    let output = Scene::new(SHOP).acequia(&["lint", "-f", "shop"]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
}

#[test]
fn lint_prints_place_path_reason_and_fix_and_exits_with_1() {
    let scene = Scene::new(&SHOP.replace("partitions: 3", "partitons: 3"));
    let output = scene.acequia(&["lint", "-f", "shop/pipeline.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.starts_with("shop/pipeline.yaml:12:") && text.contains("`partitions`"), "{text}");
}

#[test]
fn lint_speaks_json_to_programs() {
    let scene = Scene::new(&SHOP.replace("partitions: 3", "partitons: 3"));
    let output = scene.acequia(&["lint", "-f", "shop", "--output", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["problems"][0]["line"], 12);
    assert!(json[0]["problems"][0]["path"].as_str().unwrap().starts_with("spec.topics[0]"), "{json}");
}

#[test]
fn crd_prints_what_is_committed() {
    let output = Scene::new(SHOP).acequia(&["crd"]);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/pipelines.acequia.dev.yaml");
    assert_eq!(stdout(&output), std::fs::read_to_string(committed).unwrap());
}

#[test]
fn what_can_not_be_read_is_named_with_the_way_out() {
    let scene = Scene::new(SHOP);
    for (arguments, part) in [
        (&["plan", "-f", "nowhere"][..], "nowhere can't be read"),
        (&["plan", "-f", "shop", "--secrets", "none"][..], "no folder none with secrets"),
        (&["plan", "-f", "shop", "--addresses", "none"][..], "none can't be read"),
        (&["plan", "-f", "secrets"][..], "no Pipeline in"),
        (&["status", "--state", "none"][..], "say which with --state"),
        (&["run", "-f", "shop", "--worker", "none"][..], "no worker at /"),
    ] {
        let output = scene.acequia(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(part), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn plan_names_the_servers_that_do_not_answer_and_changes_nothing() {
    let scene = Scene::new(SHOP);
    let output = scene.acequia(&["plan", "-f", "shop", "--addresses", "addresses.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("Kafka at 127.0.0.1:1") && text.contains("http://127.0.0.1:1"), "{text}");
}

#[test]
fn run_reports_unreachable_servers_by_address_and_starts_the_stages_all_the_same() {
    let scene = Scene::new(SHOP);
    let mut run = scene.start(&[]);
    let status = scene.wait_for_status("two workers and the reason", |status| {
        pids(status).len() == 2 && ready(status)["reason"] == "KafkaUnreachable"
    });
    assert!(ready(&status)["message"].as_str().unwrap().contains("127.0.0.1:1"), "{status}");
    run.signal("-TERM");
    assert!(run.child.wait().unwrap().success());
    assert!(pids(&status).into_iter().all(|pid| !is_alive(pid)), "its workers went with it");
}

#[test]
fn an_invalid_edit_is_reported_and_the_workers_keep_running() {
    let scene = Scene::new(SHOP);
    let _run = scene.start(&[]);
    let before = scene.wait_for_status("two workers", |status| pids(status).len() == 2);
    scene.write("shop/pipeline.yaml", &SHOP.replace("mode: mirror", "mode: miror"));
    let invalid = scene.wait_for_status("the refusal", |status| ready(status)["reason"] == "InvalidSpec");
    assert!(invalid["invalid"].as_str().unwrap().contains("miror"), "{invalid}");
    assert_eq!(pids(&invalid), pids(&before));
    scene.write("shop/pipeline.yaml", SHOP);
    scene.wait_for_status("health", |status| ready(status)["reason"] != "InvalidSpec");
}

#[test]
fn a_stage_that_is_edited_away_is_stopped_and_nothing_else() {
    let scene = Scene::new(SHOP);
    let _run = scene.start(&[]);
    scene.wait_for_status("two workers", |status| pids(status).len() == 2);
    let (before, rest) = SHOP.split_once("  generators:\n").unwrap();
    let (_, after) = rest.split_once("  sources:\n").unwrap();
    scene.write("shop/pipeline.yaml", &format!("{before}  sources:\n{after}"));
    let status = scene.wait_for_status("one stage", |status| status["stages"].as_array().unwrap().len() == 1);
    assert_eq!(status["stages"][0]["id"], "sink-dwh");
}

#[test]
fn two_runs_do_not_share_a_state_folder_and_the_next_takes_over_from_one_that_was_killed() {
    let scene = Scene::new(SHOP);
    let mut first = scene.start(&[]);
    let status = scene.wait_for_status("two workers", |status| pids(status).len() == 2);
    let second = scene.acequia(&["run", "-f", "shop", "--worker", "worker", "--state", "state"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("in use by another"), "{}", stderr(&second));
    first.signal("-KILL");
    first.child.wait().unwrap();
    let _third = scene.start(&[]);
    let after = scene.wait_for_status("two other workers", |status| {
        pids(status).len() == 2 && status["pid"] != first.child.id()
    });
    assert!(pids(&status).into_iter().all(|pid| !is_alive(pid)), "the killed run left workers behind");
    assert!(pids(&after).into_iter().all(is_alive));
}

#[test]
fn once_gives_up_after_its_timeout_and_says_what_is_not_ready() {
    let scene = Scene::new(SHOP);
    let output = scene.acequia(&[
        "run",
        "-f",
        "shop",
        "--addresses",
        "addresses.yaml",
        "--worker",
        "worker",
        "--once",
        "--timeout",
        "4",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("not ready after 4 s"), "{}", stderr(&output));
}

#[test]
fn delete_gives_up_after_its_timeout_and_says_what_is_left() {
    let scene = Scene::new(SHOP);
    let output = scene.acequia(&[
        "delete",
        "-f",
        "shop",
        "--addresses",
        "addresses.yaml",
        "--worker",
        "worker",
        "--timeout",
        "4",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("not everything is gone") && text.contains("127.0.0.1:1"), "{text}");
}
