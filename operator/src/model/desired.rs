//! What shall be: everything of one Pipeline, validated, with every reference and address resolved.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::names::{ConnectorName, PipelineId, StageId, StageKind};
use acequia_crds::pipeline::kafka::Kafka;
use acequia_crds::pipeline::workers::Workers;
use acequia_crds::stage::{SlotRelease, StageConfig};
use serde::{Deserialize, Serialize};

/// One Pipeline as it shall be. After `desired` nobody reads the spec again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Desired {
    /// Whose it is.
    pub identity: PipelineId,
    /// The Kafka cluster, with local addresses.
    pub kafka: Kafka,
    /// Base URLs of the Kafka Connect clusters to look at, even when no connector shall be there any more.
    pub connect_urls: BTreeSet<String>,
    /// Topics by name, the internal ones too.
    pub topics: BTreeMap<String, DesiredTopic>,
    /// Connectors by their name in Connect.
    pub connectors: BTreeMap<ConnectorName, DesiredConnector>,
    /// Stages by id.
    pub stages: BTreeMap<StageId, DesiredStage>,
    /// Consumer groups to delete that no topic remembers. Only filled when the Pipeline itself goes.
    pub retired_groups: BTreeSet<String>,
    /// The Pipeline goes and may come back: topics that are a stage's own are let go with the groups that they remember,
    /// whatever their policy, so that it goes on where it was.
    pub retains_state: bool,
    /// The Pipeline is gone, and of what it left only removals of connectors that were begun are seen through.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub only_begun: bool,
    /// The Pipeline goes with its namespace: its pods end without the operator, none can be started, and its Secrets are there
    /// only until the last pod is gone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub namespace_goes: bool,
}

impl Desired {
    /// Nothing shall be there: the Pipeline goes, or is gone.
    pub fn is_nothing(&self) -> bool {
        self.topics.is_empty() && self.connectors.is_empty() && self.stages.is_empty()
    }
}

/// A topic as it shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DesiredTopic {
    /// Where it stands in the manifest, for messages. Example: `spec.topics[0]`. Internal topics name their stage.
    pub field: String,
    /// Number of partitions. None: as the topic has it, or the broker's default when it is created.
    pub partitions: Option<u32>,
    /// Copies of each partition. None: the broker's default.
    pub replication_factor: Option<u32>,
    /// Settings of the topic; only these keys are managed.
    pub config: BTreeMap<String, String>,
    /// What becomes of it when it leaves the manifest.
    pub deletion_policy: DeletionPolicy,
    /// How it becomes ours.
    pub hold: Hold,
    /// A stage of this Pipeline writes records with keys to it, so another number of partitions moves keys.
    pub keyed: bool,
    /// The user accepts that keys move when partitions are added.
    pub allow_rekey: bool,
    /// The stage whose own it is: nothing else reads or writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageId>,
    /// Consumer groups that mean nothing without it, and are deleted before it is.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
}

/// How a topic becomes ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// Created by us; one that exists already and isn't recorded as ours is refused.
    Own,
    /// One that exists is taken over.
    Adopt,
    /// Used and never changed.
    External,
}

/// What becomes of something outside when it leaves the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeletionPolicy {
    /// It stays; the claim on it is released.
    Retain,
    /// It is deleted.
    Delete,
}

/// A connector as it shall be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredConnector {
    /// The stage it is.
    pub stage: StageId,
    /// Where it stands in the manifest. Example: `spec.sources[0]`.
    pub field: String,
    /// Base URL of the Kafka Connect cluster.
    pub url: String,
    /// Its whole configuration without `name`. Secrets are references that Connect resolves.
    pub config: BTreeMap<String, String>,
    /// What must be there before it is created.
    pub after: Preconditions,
    /// Running, or stopped because the Pipeline is suspended.
    pub target: ConnectorTarget,
    /// Slot and publication to drop when it goes; Debezium only.
    pub release: Option<SlotRelease>,
    /// Delete: offsets, slot and publication go with it. Retain: they stay together.
    pub deletion_policy: DeletionPolicy,
    /// Image, resources and place of the pod that drops them.
    pub workers: Workers,
}

/// What must be there before a connector is created.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Preconditions {
    /// These topics exist.
    pub topics: BTreeSet<String>,
    /// These generators have run their setup SQL.
    pub setup: BTreeSet<StageId>,
}

/// What a connector shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ConnectorTarget {
    /// Run.
    Running,
    /// Hold no task; its offsets stay.
    Stopped,
}

/// A stage as it shall be: the processes of one worker role with one configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredStage {
    /// What it does.
    pub kind: StageKind,
    /// Its name in the manifest, without the kind.
    pub name: String,
    /// What the worker is told.
    pub config: StageConfig,
    /// `config` as the YAML text of the worker's file.
    pub text: String,
    /// `acequia_crds::stage_report::config_hash` of `text`.
    pub hash: String,
    /// How many processes.
    pub replicas: u32,
    /// Image, resources and place of its pods.
    pub workers: Workers,
    /// Which worker.
    pub role: Role,
    /// Names of the secrets it may read.
    pub secrets: BTreeSet<String>,
    /// Its consumer groups and the topics they read. The lag of the first is the stage's.
    pub reads: Vec<Reads>,
    /// Whether it runs now.
    pub run: RunPolicy,
}

/// What a consumer group of a stage reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reads {
    /// The group.
    pub group: String,
    /// The topics.
    pub topics: BTreeSet<String>,
}

/// Whether a stage runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RunPolicy {
    /// Always.
    Always,
    /// Until what it reads is read to the end and nothing writes it any more: the Pipeline is suspended.
    UntilDrained,
    /// Not now.
    Never,
}

/// A subcommand of `acequia-worker`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Writes into Kafka or a database.
    Producer,
    /// Reads Kafka.
    Consumer,
    /// Computes windows and totals.
    Aggregator,
    /// Drops a slot and a publication, once.
    SlotRelease,
}

impl Role {
    /// The word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Aggregator => "aggregator",
            Self::SlotRelease => "slot-release",
        }
    }
}

/// A worker that runs once, to its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Job {
    /// Names it in files and messages. Example: `release-acequia.default.shop.source-crm`.
    pub name: String,
    /// Which worker.
    pub role: Role,
    /// The YAML text of its configuration file.
    pub text: String,
    /// Names of the secrets it may read.
    pub secrets: BTreeSet<String>,
    /// Image, resources and place of its pod.
    pub workers: Workers,
}
