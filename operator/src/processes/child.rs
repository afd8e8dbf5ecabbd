//! One child process: started, waited for, stopped.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{ChildStdin, Command};

use super::error::Error;
use super::files::Files;
use super::leftovers;
use super::settings::Settings;
use crate::model::desired::Role;

/// What a child finds in its environment when this process has it: nothing secret, nothing that differs by accident.
pub(super) const PASSED_ON: [&str; 7] =
    ["PATH", "RUST_LOG", "RUST_BACKTRACE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "ACEQUIA_CRASH_AT"];

/// A running child. Dropping it closes its stdin, which it takes as the order to stop.
pub(super) struct Child {
    process: tokio::process::Child,
    stdin: Option<ChildStdin>,
    /// Its process id.
    pub pid: u32,
}

impl Child {
    /// Writes the configuration, starts the worker with it, and notes its process id.
    pub fn start(settings: &Settings, files: &Files, role: Role, config: &str) -> Result<Self, Error> {
        files.prepare(config)?;
        let log = files.open_log(settings.log_max_bytes)?;
        let for_stdout = log.try_clone().map_err(Error::file(&files.log, "open the log"))?;
        let mut command = Command::new(&settings.worker);
        command
            .arg(role.as_str())
            .args([Path::new("--config"), &files.config])
            .args([Path::new("--secrets"), &settings.secrets])
            .args(["--listen", "127.0.0.1:0"])
            .args([Path::new("--address-file"), &files.address])
            .args([Path::new("--termination-message"), &files.termination])
            .arg("--instance")
            .arg(files.config.file_stem().unwrap_or_default())
            .arg("--stop-with-stdin")
            .env_clear()
            .envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .stdin(Stdio::piped())
            .stdout(for_stdout)
            .stderr(log)
            // Ctrl-C in a terminal goes to the whole group; the order in which stages stop is decided here.
            .process_group(0);
        let spawned = command.spawn();
        let mut process =
            spawned.map_err(|source| Error::Spawn { worker: settings.worker.clone(), source })?;
        let stdin = process.stdin.take();
        let pid = process.id().unwrap_or_default();
        leftovers::note(&files.pid, pid, &files.config)?;
        Ok(Self { process, stdin, pid })
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> Result<ExitStatus, std::io::Error> {
        // Not `Child::wait`: that one would close a stdin it still owned.
        self.process.wait().await
    }

    /// Asks it to stop, by the end of its stdin and by SIGTERM, and kills it when it takes longer than `grace`.
    pub async fn stop(mut self, grace: Duration) {
        drop(self.stdin.take());
        // The id can't belong to another process: the child isn't waited for yet.
        if let Some(pid) = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(grace, self.process.wait()).await.is_err() {
            tracing::warn!(pid = self.pid, grace_s = grace.as_secs(), "killed: it didn't stop in time");
            self.kill().await;
        }
    }

    /// Kills it at once.
    pub async fn kill(mut self) {
        let _ = self.process.start_kill();
        let _ = self.process.wait().await;
    }
}

/// `exit code 1: <what it said>` or `signal 9: …`.
pub(super) fn describe(status: ExitStatus, message: Option<String>) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown exit".to_owned(),
    };
    match message {
        Some(message) => format!("{how}: {message}"),
        None => how,
    }
}
