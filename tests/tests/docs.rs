//! Every command in the README does what the README says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::Instant;

use acequia_tests::process::binary;
use acequia_tests::stack::{Stack, root};

/// The `acequia` commands of the README's shell blocks, in order.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut blocks = readme.split("```sh\n").skip(1);
    let block = blocks.next().unwrap().split("```").next().unwrap().to_owned();
    assert!(blocks.next().is_none(), "a second block of commands isn't run by this test");
    block.lines().map(str::to_owned).collect()
}

/// `make` targets that the README names.
fn targets() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let words: Vec<&str> = readme.split(|c: char| !(c.is_alphanumeric() || c == '-')).collect();
    let named = words.windows(2).filter(|pair| pair[0] == "make").map(|pair| pair[1].to_owned());
    named.filter(|target| !target.is_empty()).collect()
}

#[test]
fn the_commands_of_the_readme_run_in_their_order() {
    let stack = Stack::up();
    let folder = tempfile::tempdir().unwrap();
    let path = binary("acequia").parent().unwrap().display().to_string();
    let commands = commands();
    assert!(commands.len() >= 6, "{commands:?}");
    for line in commands {
        let started = Instant::now();
        let takes_state = [" run ", " status", " delete "].iter().any(|word| line.contains(word));
        let state = if takes_state {
            format!(" --state {}", folder.path().join("state").display())
        } else {
            String::new()
        };
        let output = Command::new("bash")
            .args(["-c", &format!("{line}{state}")])
            .current_dir(root())
            .env("STACK", stack.secrets().parent().unwrap())
            .env("PATH", format!("{path}:{}", std::env::var("PATH").unwrap()))
            .output()
            .unwrap();
        // `plan` says by 2 that there is something to change, as there is at this point.
        let expected = if line.starts_with("acequia plan") { 2 } else { 0 };
        let (printed, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(expected), "{line}\n{printed}\n{errors}");
        println!("{:6.1} s  {line}", started.elapsed().as_secs_f64());
    }
}

#[test]
fn the_make_targets_of_the_readme_exist() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let targets = targets();
    assert!(targets.len() >= 6, "{targets:?}");
    for target in targets {
        assert!(
            makefile.contains(&format!("\n{target}:")),
            "the README names `make {target}`, the Makefile doesn't"
        );
    }
}
