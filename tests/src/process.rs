//! A process under test: its output is kept, and it ends with its owner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait;

/// How long a process may take to end once it was asked to.
const END_DEADLINE: Duration = Duration::from_secs(30);

/// A child process. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// A binary of this workspace, as `cargo build` leaves it beside the test's own.
///
/// # Panics
/// When it isn't there.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    // A test is target/<profile>/deps/<test>, a binary is target/<profile>/<binary>.
    let found = test.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("no {name} beside {}: run `cargo build --workspace --bins` first", test.display())
    })
}

impl Process {
    /// Starts a command with its output in `log`.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).expect("the log file");
        let errors = output.try_clone().expect("the log file");
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        Self { child: child.expect("the process starts"), log: log.to_owned() }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the process can be asked")
    }

    /// Sends a signal by its name, for example `TERM`.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits for its end.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let log = self.log.clone();
        let what = format!("the process ends (log: {})", log.display());
        wait::until(&what, END_DEADLINE, || self.ended(), Option::is_some).expect("it has ended")
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_end()
    }

    /// As [`Self::stop`], or how it has ended already.
    pub fn stop_if_running(&mut self) -> ExitStatus {
        match self.ended() {
            Some(status) => status,
            None => self.stop(),
        }
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // A frozen process is killed as well as any other.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("log of process {}: {}", self.child.id(), self.log.display());
        }
    }
}

/// Sends a signal to a process of ours.
///
/// # Panics
/// When it can't be sent.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "signal {name} to process {pid}");
}
