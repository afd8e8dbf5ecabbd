//! All stages and their processes.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acequia_crds::names::StageId;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::child::{Child, describe};
use super::error::Error;
use super::files::{Files, make_folders};
use super::keeper::{Keeper, Order, Spec, View};
use super::leftovers;
use super::settings::Settings;
use crate::model::desired::{DesiredStage, Job};
use crate::model::observed::{ObservedReplica, ObservedStage, ReplicaState};
use crate::observe::reports::Reports;

/// How long the last answer of a process stands for one that is slow.
const REPORT_LASTS: Duration = Duration::from_secs(10);

/// Keeps the processes of all stages. Dropping it closes their stdin, which they take as the order to stop.
pub struct Supervisor {
    settings: Arc<Settings>,
    stages: Mutex<BTreeMap<StageId, Stage>>,
    reports: Reports,
    /// Held as long as this lives; the kernel lets go of it when the process dies.
    _lock: File,
}

struct Stage {
    hash: String,
    replicas: Vec<Replica>,
    /// Replicas that are on their way out.
    leaving: Vec<Replica>,
}

struct Replica {
    files: Files,
    orders: watch::Sender<Order>,
    view: View,
    task: JoinHandle<()>,
}

impl Supervisor {
    /// Takes the state folder for itself, and ends what a previous run left behind in it.
    ///
    /// # Errors
    /// Another run has the folder, the worker isn't there, or files can't be written.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        if !settings.worker.is_file() {
            return Err(Error::NoWorker { path: settings.worker });
        }
        make_folders(&settings.state)?;
        let lock = lock(&settings)?;
        let (folder, grace) = (settings.state.join("run"), settings.grace);
        let ended = tokio::task::spawn_blocking(move || leftovers::end_all(&folder, grace)).await;
        for pid in ended.unwrap_or_else(|_| Ok(Vec::new()))? {
            tracing::info!(pid, "ended: left over by a previous run");
        }
        let reports =
            Reports::new(REPORT_LASTS).map_err(|failure| Error::Http { reason: failure.to_string() })?;
        Ok(Self { settings: Arc::new(settings), stages: Mutex::default(), reports, _lock: lock })
    }

    /// Makes the stage run as `stage` says: starts what is missing, stops what is too much, and replaces processes
    /// whose configuration differs, the old one stopped before the new one starts. Returns at once.
    ///
    /// # Errors
    /// The id can't be a file name.
    pub fn set(&self, id: &StageId, stage: &DesiredStage) -> Result<(), Error> {
        let spec = Arc::new(Spec { role: stage.role, text: stage.text.clone(), hash: stage.hash.clone() });
        let mut stages = self.lock_stages();
        let kept = stages.entry(id.clone()).or_insert_with(|| Stage::new(String::new()));
        kept.hash.clone_from(&stage.hash);
        for replica in &kept.replicas {
            replica.orders.send_replace(Some(Arc::clone(&spec)));
        }
        for index in kept.replicas.len()..stage.replicas as usize {
            let leaving = kept.leaving.iter().position(|leaving| leaving.is(id, index));
            let before = leaving.map(|at| kept.leaving.swap_remove(at));
            let replica = self.keep(id, index, &spec, before)?;
            kept.replicas.push(replica);
        }
        kept.shrink(stage.replicas as usize);
        Ok(())
    }

    /// Stops all processes of the stage. Returns at once; they are seen as stopping until they are gone.
    pub fn remove(&self, id: &StageId) {
        if let Some(stage) = self.lock_stages().get_mut(id) {
            stage.shrink(0);
        }
    }

    /// Every stage that has processes, with what each says at `GET /status`.
    pub async fn observe(&self) -> BTreeMap<StageId, ObservedStage> {
        let mut observed = self.look();
        self.reports.ask(observed.values_mut().flat_map(|stage| &mut stage.replicas)).await;
        observed
    }

    /// Runs a worker once, to its end.
    ///
    /// # Errors
    /// It can't be started, ends without success, or takes longer than `deadline`; then it is killed.
    pub async fn run_job(&self, job: &Job, deadline: Duration) -> Result<(), Error> {
        let files = Files::new(&self.settings.state, &job.name)?;
        let mut child = Child::start(&self.settings, &files, job.role, &job.text)?;
        let Ok(status) = tokio::time::timeout(deadline, child.ended()).await else {
            child.kill().await;
            files.remove()?;
            return Err(Error::JobTimeout { name: job.name.clone(), deadline, log: files.log });
        };
        let status = status.map_err(Error::file(&files.pid, "wait for the process"))?;
        let message = files.read_termination();
        files.remove()?;
        if status.success() {
            return Ok(());
        }
        Err(Error::JobFailed { name: job.name.clone(), exit: describe(status, message) })
    }

    /// Stops everything and waits until it is gone; at most a little longer than the grace period.
    pub async fn shutdown(self) {
        let stages = std::mem::take(&mut *self.lock_stages());
        let all = stages.into_values().flat_map(|mut stage| {
            stage.shrink(0);
            stage.leaving
        });
        futures::future::join_all(all.map(|replica| replica.task)).await;
    }

    /// A keeper, which waits until the process `before` is gone.
    fn keep(
        &self,
        id: &StageId,
        index: usize,
        spec: &Arc<Spec>,
        before: Option<Replica>,
    ) -> Result<Replica, Error> {
        let files = Files::new(&self.settings.state, &process_name(id, index))?;
        let (orders, receiver) = watch::channel(Some(Arc::clone(spec)));
        let (view, predecessor) = before.map(|replica| (replica.view, replica.task)).unzip();
        let view = view.unwrap_or_default();
        let keeper = Keeper {
            settings: Arc::clone(&self.settings),
            files: files.clone(),
            orders: receiver,
            view: view.clone(),
            predecessor,
        };
        Ok(Replica { files, orders, view, task: tokio::spawn(keeper.run()) })
    }

    /// What can be seen without asking the workers. Forgets what has left.
    fn look(&self) -> BTreeMap<StageId, ObservedStage> {
        let mut stages = self.lock_stages();
        for stage in stages.values_mut() {
            stage.leaving.retain(|replica| !replica.task.is_finished());
        }
        stages.retain(|_, stage| !stage.replicas.is_empty() || !stage.leaving.is_empty());
        let look = |stage: &Stage| ObservedStage {
            hash: stage.hash.clone(),
            wanted: u32::try_from(stage.replicas.len()).unwrap_or(u32::MAX),
            replicas: stage.replicas.iter().chain(&stage.leaving).filter_map(Replica::look).collect(),
            fault: None,
        };
        stages.iter().map(|(id, stage)| (id.clone(), look(stage))).collect()
    }

    fn lock_stages(&self) -> std::sync::MutexGuard<'_, BTreeMap<StageId, Stage>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stage {
    const fn new(hash: String) -> Self {
        Self { hash, replicas: Vec::new(), leaving: Vec::new() }
    }

    /// Tells the replicas beyond `replicas` to stop.
    fn shrink(&mut self, replicas: usize) {
        for replica in self.replicas.drain(replicas.min(self.replicas.len())..) {
            replica.orders.send_replace(None);
            self.leaving.push(replica);
        }
    }
}

impl Replica {
    fn is(&self, id: &StageId, index: usize) -> bool {
        self.files.log.file_stem().is_some_and(|stem| stem == process_name(id, index).as_str())
    }

    fn look(&self) -> Option<ObservedReplica> {
        let mut replica = self.view.get()?;
        if replica.state == ReplicaState::Running {
            replica.address = self.files.read_address();
        }
        Some(replica)
    }
}

fn process_name(id: &StageId, index: usize) -> String {
    format!("{id}-{index}")
}

fn lock(settings: &Settings) -> Result<File, Error> {
    let path = settings.state.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(Error::file(&path, "open"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::InUse { path: settings.state.clone() }),
        Err(std::fs::TryLockError::Error(error)) => Err(Error::file(&path, "lock")(error)),
    }
}
