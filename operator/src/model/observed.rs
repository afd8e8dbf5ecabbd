//! What is: the same maps as `Desired`, filled from Kafka, Connect and the processes.

use std::collections::BTreeMap;

use acequia_crds::names::{ConnectorName, StageId};
use acequia_crds::stage_report::StageReport;
use serde::Serialize;

use super::ownership::Ownership;

/// A part of the observation, or why it could not be had. Only changes that need that part wait.
pub type Part<T> = Result<T, Unreachable>;

/// One look at everything a Pipeline touches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Observed {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Topics of the cluster that the Pipeline names or has claimed, by name. A missing key: no such topic.
    pub topics: Part<BTreeMap<String, ObservedTopic>>,
    /// Who owns what.
    pub ownership: Part<Ownership>,
    /// Connectors that the Pipeline names or has claimed. None: Connect answered that there is none.
    pub connectors: BTreeMap<ConnectorName, Part<Option<ObservedConnector>>>,
    /// Stages that were given to the supervisor. A missing key: none of its processes is there.
    pub stages: BTreeMap<StageId, ObservedStage>,
    /// Consumer groups that the Pipeline names or its topics remember, and how far they are behind. A missing key: no such group. Taken after
    /// everything else, so that a 0 beside stopped sources means that all is read.
    pub lag: BTreeMap<String, Part<GroupLag>>,
}

/// Why a part could not be observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Unreachable {
    /// What was asked, with its address. Example: `Kafka at 127.0.0.1:9092`.
    pub what: String,
    /// Why it gave no answer, and what to do.
    pub why: String,
}

/// A topic that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObservedTopic {
    /// Its topic ID; a topic that was created again has another one.
    pub id: String,
    /// Number of partitions.
    pub partitions: u32,
    /// Copies of each partition.
    pub replication_factor: u32,
    /// Settings made on the topic itself, not those inherited from the broker.
    pub config: BTreeMap<String, String>,
}

/// A connector that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObservedConnector {
    /// Its configuration as Connect echoes it, with `name`.
    pub config: BTreeMap<String, String>,
    /// Its own state.
    pub state: ConnectorState,
    /// Why it, or the first of its tasks that did, failed.
    pub fault: Option<ConnectorFault>,
    /// Its tasks, in order.
    pub tasks: Vec<ObservedTask>,
    /// What the operator did about failures so far. Filled from the operator's memory, not by Connect.
    pub restarts: Restarts,
}

impl ObservedConnector {
    /// It has no task and gets none by itself. One that failed to start (its Secret may be gone) is never called stopped
    /// by Connect, though it takes the call.
    pub const fn is_at_rest(&self) -> bool {
        matches!(self.state, ConnectorState::Stopped | ConnectorState::Failed) && self.tasks.is_empty()
    }

    /// Connect was told to stop it, and won't start it by itself.
    pub const fn was_stopped(&self) -> bool {
        matches!(self.state, ConnectorState::Stopped) || self.restarts.stopped
    }
}

/// A task of a connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObservedTask {
    /// Its number.
    pub id: u32,
    /// Its state.
    pub state: ConnectorState,
}

/// Why a connector fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorFault {
    /// In one word.
    pub reason: String,
    /// What is wrong, where, and what to do. Free of secrets.
    pub sentence: String,
    /// A restart helps as soon as the cause is gone, and does no harm before.
    pub heals_outside: bool,
}

/// States of connectors and tasks, as Connect names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ConnectorState {
    /// Waits for a worker of Connect.
    Unassigned,
    /// Works.
    Running,
    /// Holds its tasks without working.
    Paused,
    /// Holds no task.
    Stopped,
    /// Gave up.
    Failed,
    /// Is being restarted.
    Restarting,
    /// A state that this version doesn't know.
    Unknown,
}

/// What the operator did to a connector: restarts since it was last healthy, and a stop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restarts {
    /// How many.
    pub count: u32,
    /// When the last one was, in milliseconds since 1970.
    pub last_ms: u64,
    /// What the preconditions looked like then; when they have changed since, waiting makes no sense.
    pub preconditions: String,
    /// It was told to stop since. Connect says so only of one that had started.
    pub stopped: bool,
}

/// The processes of a stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObservedStage {
    /// Hash of the configuration that the supervisor was given last.
    pub hash: String,
    /// How many processes the supervisor was told to keep; those beyond it are on their way out.
    pub wanted: u32,
    /// One entry a process that is there, in order.
    pub replicas: Vec<ObservedReplica>,
    /// Why the cluster doesn't make the pods that it should. Example: a quota.
    pub fault: Option<String>,
}

/// One process of a stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObservedReplica {
    /// What the supervisor sees.
    pub state: ReplicaState,
    /// Hash of the configuration that it was started with, or is started with next.
    pub config_hash: String,
    /// Process id while there is a process on this machine.
    pub pid: Option<u32>,
    /// Name of the pod it is in, in a cluster.
    pub pod: Option<String>,
    /// Where it listens, `host:port`, once it has said so.
    pub address: Option<String>,
    /// How often it was started again after it ended by itself.
    pub restarts: u32,
    /// How it ended last: exit code or signal, and its termination message.
    pub last_exit: Option<String>,
    /// What it says at `/status`. Filled by `observe`, not by the supervisor.
    pub report: Option<StageReport>,
}

impl ObservedReplica {
    /// There is a process, or a pod that may hold one.
    pub const fn is_there(&self) -> bool {
        self.pid.is_some() || self.pod.is_some()
    }
}

/// What the supervisor sees of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ReplicaState {
    /// It runs.
    Running,
    /// It ended and is started again at this time, in milliseconds since 1970.
    BackingOff {
        /// When.
        until_ms: u64,
    },
    /// It was told to stop and hasn't ended yet.
    Stopping,
    /// It could not be started at all; see `last_exit`.
    CannotStart,
}

/// How far a consumer group is behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupLag {
    /// Records not yet committed, over all partitions. A partition without a commit counts from its start.
    pub records: u64,
    /// Members at this moment.
    pub members: u32,
    /// It has committed offsets of topics that are neither named nor claimed by the Pipeline: somebody else uses it too.
    pub is_shared: bool,
}
