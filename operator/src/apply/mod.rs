//! Step 4: carries changes out. Each lane (topics, each connector, the stages) runs on its own, and every call has a
//! deadline, so a connector that hangs delays nobody else.
//!
//! All of it can be repeated: what was done before a crash is seen by the next observation.

mod connectors;
mod slot_release;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_crds::names::{ConnectorName, PipelineId};
use acequia_crds::pipeline::kafka::Kafka;

use crate::access::{self, Access};
use crate::cluster::Cluster;
use crate::connect;
use crate::model::desired::Desired;
use crate::model::plan::{Change, Lane};
use crate::observe::connect::Connect;
use crate::stages::{self, Stages};

/// Why a lane couldn't be carried out to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] crate::cluster::Error),
    /// Kafka Connect.
    #[error(transparent)]
    Connect(#[from] connect::Error),
    /// A server that may not be reached.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// Stages, or a job.
    #[error(transparent)]
    Stages(#[from] stages::Error),
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
    /// The job that drops slot and publication failed.
    #[error(
        "slot and publication of connector `{name}` can't be dropped: {source}; mend that, or leave them: put the source \
         back with `deletionPolicy: Retain`, and take it out again"
    )]
    Release {
        /// The connector.
        name: ConnectorName,
        /// Why.
        #[source]
        source: stages::Error,
    },
    /// The connector couldn't drop them itself.
    #[error(
        "slot and publication of connector `{name}` can't be dropped by Kafka Connect while the namespace goes: {why}"
    )]
    ReleaseByConnect {
        /// The connector.
        name: ConnectorName,
        /// Why.
        why: String,
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
    pub connects: BTreeMap<String, Arc<Connect>>,
    /// How others are reached.
    pub access: Arc<Access>,
    /// Runs stages, and short jobs.
    pub stages: Arc<Stages>,
}

impl Tools {
    /// A Connect cluster; a connector that is being removed may be in one that the manifest no longer
    /// names.
    ///
    /// # Errors
    /// It isn't allowed, or the address can't be one.
    pub fn connect(&self, url: &str) -> Result<Arc<Connect>, access::Error> {
        match self.connects.get(url) {
            Some(connect) => Ok(Arc::clone(connect)),
            None => self.access.connect(url, &self.identity.namespace),
        }
    }
}

/// Carries out the changes of one lane, in order.
///
/// # Errors
/// The first change that failed; topics, connectors and stages that don't depend on it are done all the same.
pub async fn carry_out(
    tools: &Tools,
    desired: &Desired,
    lane: &Lane,
    changes: Vec<Change>,
) -> Result<(), Error> {
    match lane {
        Lane::Topics => topics::carry_out(tools, changes).await,
        Lane::Connector(_) => {
            for change in changes {
                connectors::carry_out(tools, desired, change).await?;
            }
            Ok(())
        }
        Lane::Stages => Ok(tools.stages.carry_out(desired, &changes).await?),
    }
}
