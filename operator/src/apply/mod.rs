//! Step 4: carries changes out. Each lane (topics, each connector, the stages) runs on its own, and every call has a
//! deadline, so a connector that hangs delays nobody else.
//!
//! All of it can be repeated: what was done before a crash is seen by the next observation.

mod connectors;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_crds::names::{ConnectorName, PipelineId};
use acequia_crds::pipeline::kafka::Kafka;

use crate::cluster::Cluster;
use crate::connect;
use crate::model::desired::{Desired, DesiredStage};
use crate::model::plan::{Change, Lane};
use crate::processes::{self, Supervisor};

/// Why a lane couldn't be carried out to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] crate::cluster::Error),
    /// Kafka Connect.
    #[error(transparent)]
    Connect(#[from] connect::Error),
    /// Processes.
    #[error(transparent)]
    Processes(#[from] processes::Error),
    /// A topic has another ID than the one that was to be deleted.
    #[error("topic `{name}` is not deleted: it was deleted and created again by somebody else meanwhile")]
    AnotherTopic {
        /// The topic.
        name: String,
    },
    /// A stopped connector still has tasks.
    #[error("connector `{name}` has not stopped within {seconds} s; its offsets can't be deleted yet")]
    StillRunning {
        /// The connector.
        name: ConnectorName,
        /// How long was waited.
        seconds: u64,
    },
    /// The configuration of a job can't be written.
    #[error("the configuration of {name} can't be written: {reason}")]
    Job {
        /// The job.
        name: String,
        /// Why.
        reason: String,
    },
}

/// What changes are carried out with.
#[derive(Clone)]
pub struct Tools {
    /// Whose changes they are.
    pub identity: PipelineId,
    /// The Kafka cluster as workers reach it.
    pub kafka: Kafka,
    /// The Kafka cluster.
    pub cluster: Arc<Cluster>,
    /// Kafka Connect clusters by URL.
    pub connects: BTreeMap<String, connect::Client>,
    /// Runs short jobs.
    pub supervisor: Arc<Supervisor>,
}

/// Carries out the changes of one lane that talks to a server, in order.
///
/// # Errors
/// The first change that failed; topics and connectors that don't depend on it are done all the same.
pub async fn carry_out(tools: &Tools, lane: &Lane, changes: Vec<Change>) -> Result<(), Error> {
    match lane {
        Lane::Topics => topics::carry_out(tools, changes).await,
        Lane::Connector(_) => {
            for change in changes {
                connectors::carry_out(tools, change).await?;
            }
            Ok(())
        }
        Lane::Stages => Ok(()),
    }
}

/// Gives the supervisor what shall run. Returns at once.
///
/// # Errors
/// The first stage that couldn't be given; the others are.
pub fn stages(supervisor: &Supervisor, desired: &Desired, changes: &[Change]) -> Result<(), Error> {
    let mut failed = None;
    for change in changes {
        match change {
            Change::StartStage { id, .. } | Change::ReplaceStage { id } | Change::ScaleStage { id, .. } => {
                let stage: Option<&DesiredStage> = desired.stages.get(id);
                if let Some(Err(error)) = stage.map(|stage| supervisor.set(id, stage)) {
                    failed.get_or_insert(error);
                }
            }
            Change::StopStage { id } => supervisor.remove(id),
            _ => {}
        }
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}
