//! The edge that runs stages: child processes for `acequia run`, Deployments in a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use acequia_crds::names::StageId;

use crate::kubernetes::{self, Deployments};
use crate::model::desired::{Desired, Job};
use crate::model::observed::ObservedStage;
use crate::model::plan::Change;
use crate::processes::{self, Supervisor};

/// Pause between two looks at stages that are not as they shall be, or at processes.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause between two looks at pods that are well.
const HEALTHY_PAUSE: Duration = Duration::from_secs(5);

/// What runs the stages of one Pipeline.
pub enum Stages {
    /// Child processes.
    Processes(Supervisor),
    /// Deployments.
    Deployments(Box<Deployments>),
}

/// Why a stage could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of a process.
    #[error(transparent)]
    Processes(#[from] processes::Error),
    /// Of a Deployment.
    #[error(transparent)]
    Deployments(#[from] kubernetes::Error),
}

impl Stages {
    /// Pause between two looks. What happens to a pod is told by the watch.
    pub const fn pause(&self, healthy: bool) -> Duration {
        match self {
            Self::Deployments(_) if healthy => HEALTHY_PAUSE,
            _ => PAUSE,
        }
    }

    /// Every stage that there is something of, with what each of its processes says at `GET /status`.
    pub async fn observe(&self, desired: &Desired) -> BTreeMap<StageId, ObservedStage> {
        match self {
            Self::Processes(supervisor) => supervisor.observe().await,
            Self::Deployments(deployments) => deployments.observe(desired).await,
        }
    }

    /// Carries out the changes of stages. Returns when they are ordered, not when they are done.
    ///
    /// # Errors
    /// The first stage that couldn't be changed; the others are.
    pub async fn carry_out(&self, desired: &Desired, changes: &[Change]) -> Result<(), Error> {
        let mut failed = None;
        for change in changes {
            let done = match change {
                Change::StartStage { id, .. }
                | Change::ReplaceStage { id }
                | Change::ScaleStage { id, .. } => self.set(desired, id).await,
                Change::StopStage { id } => self.remove(id).await,
                _ => Ok(()),
            };
            if let Err(error) = done {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn set(&self, desired: &Desired, id: &StageId) -> Result<(), Error> {
        let Some(stage) = desired.stages.get(id) else { return Ok(()) };
        match self {
            Self::Processes(supervisor) => supervisor.set(id, stage)?,
            Self::Deployments(deployments) => deployments.set(id, stage).await?,
        }
        Ok(())
    }

    async fn remove(&self, id: &StageId) -> Result<(), Error> {
        match self {
            Self::Processes(supervisor) => supervisor.remove(id),
            Self::Deployments(deployments) => deployments.remove(id).await?,
        }
        Ok(())
    }

    /// Runs a worker once, to its end.
    ///
    /// # Errors
    /// It can't be started, ends without success, or takes longer than `deadline`; then it is ended.
    pub async fn run_job(&self, job: &Job, deadline: Duration) -> Result<(), Error> {
        match self {
            Self::Processes(supervisor) => supervisor.run_job(job, deadline).await?,
            Self::Deployments(deployments) => deployments.run_job(job, deadline).await?,
        }
        Ok(())
    }
}
