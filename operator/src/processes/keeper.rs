//! Keeps one process: starts it, starts it again when it ends, replaces it when its configuration changes.

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::child::{Child, describe};
use super::error::Error;
use super::files::Files;
use super::settings::Settings;
use crate::model::desired::Role;
use crate::model::observed::{ObservedReplica, ReplicaState};

/// What a process is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    /// Which worker.
    pub role: Role,
    /// The text of its configuration.
    pub text: String,
    /// Hash of that text.
    pub hash: String,
}

/// The order to a keeper; the newest counts.
pub(super) type Order = Option<Arc<Spec>>;

/// What a keeper lets be seen.
#[derive(Clone, Debug, Default)]
pub(super) struct View(Arc<Mutex<Option<ObservedReplica>>>);

impl View {
    /// What there is now; nothing before the first start and after the last stop.
    pub fn get(&self) -> Option<ObservedReplica> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, replica: Option<ObservedReplica>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = replica;
    }
}

/// Keeps one process until it is ordered to stop, or whoever gives orders is gone.
pub(super) struct Keeper {
    pub settings: Arc<Settings>,
    pub files: Files,
    pub orders: watch::Receiver<Order>,
    pub view: View,
    /// The keeper of the process that had these files before; two must never run with the same ones.
    pub predecessor: Option<JoinHandle<()>>,
}

/// Why a process isn't running any more.
enum Over {
    /// It ended by itself.
    Ended(String),
    /// It was stopped because the order changed.
    Ordered,
}

impl Keeper {
    /// Runs until the order is to stop.
    pub async fn run(mut self) {
        if let Some(predecessor) = self.predecessor.take() {
            let _ = predecessor.await;
        }
        while let Some(spec) = self.order() {
            self.keep(&spec).await;
        }
        self.view.set(None);
        if let Err(error) = self.files.remove() {
            tracing::warn!(%error, "files of a stopped process stay");
        }
    }

    fn order(&mut self) -> Order {
        self.orders.borrow_and_update().clone()
    }

    /// One configuration: process after process, until the order changes.
    async fn keep(&mut self, spec: &Arc<Spec>) {
        let mut seen = Seen { config_hash: spec.hash.clone(), ..Seen::default() };
        loop {
            let started = Instant::now();
            let over = match Child::start(&self.settings, &self.files, spec.role, &spec.text) {
                Ok(child) => self.watch(child, spec, &seen).await,
                Err(error) => self.cannot_start(&error, &mut seen),
            };
            let Over::Ended(exit) = over else { return };
            tracing::warn!(process = %self.files.log.display(), %exit, "ended");
            seen.failures = self.settings.backoff.failures(seen.failures, started.elapsed());
            seen.restarts += 1;
            seen.last_exit = Some(exit);
            if self.back_off(&seen, spec).await {
                return;
            }
        }
    }

    /// Waits for the end of the process, or stops it when the order changes.
    async fn watch(&mut self, mut child: Child, spec: &Arc<Spec>, seen: &Seen) -> Over {
        self.view.set(Some(seen.replica(ReplicaState::Running, Some(child.pid))));
        loop {
            tokio::select! {
                status = child.ended() => return Over::Ended(self.exit(status)),
                changed = self.orders.changed() => {
                    if changed.is_ok() && self.order().as_ref() == Some(spec) {
                        continue;
                    }
                    self.view.set(Some(seen.replica(ReplicaState::Stopping, Some(child.pid))));
                    child.stop(self.settings.grace).await;
                    return Over::Ordered;
                }
            }
        }
    }

    fn exit(&self, status: Result<ExitStatus, std::io::Error>) -> String {
        match status {
            Ok(status) => describe(status, self.files.read_termination()),
            Err(error) => format!("lost: {error}"),
        }
    }

    fn cannot_start(&self, error: &Error, seen: &mut Seen) -> Over {
        seen.last_exit = Some(error.to_string());
        self.view.set(Some(seen.replica(ReplicaState::CannotStart, None)));
        Over::Ended(error.to_string())
    }

    /// Waits before the next start. True: the order changed meanwhile.
    async fn back_off(&mut self, seen: &Seen, spec: &Arc<Spec>) -> bool {
        let wait = self.settings.backoff.wait(seen.failures);
        let shown = self.view.get().map(|replica| replica.state);
        let state = match shown {
            Some(ReplicaState::CannotStart) => ReplicaState::CannotStart,
            _ => ReplicaState::BackingOff { until_ms: now_ms().saturating_add(wait.as_millis() as u64) },
        };
        self.view.set(Some(seen.replica(state, None)));
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return false,
                changed = self.orders.changed() => {
                    if changed.is_err() || self.order().as_ref() != Some(spec) {
                        return true;
                    }
                }
            }
        }
    }
}

/// What a keeper remembers of one configuration's processes.
#[derive(Default)]
struct Seen {
    config_hash: String,
    failures: u32,
    restarts: u32,
    last_exit: Option<String>,
}

impl Seen {
    fn replica(&self, state: ReplicaState, pid: Option<u32>) -> ObservedReplica {
        ObservedReplica {
            state,
            config_hash: self.config_hash.clone(),
            pid,
            pod: None,
            address: None,
            restarts: self.restarts,
            last_exit: self.last_exit.clone(),
            report: None,
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis() as u64
}
