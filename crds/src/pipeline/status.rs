//! `status`: what is, as the operator last saw it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is, as the operator last saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineStatus {
    /// Generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `TopicsReady`, `ConnectorsReady`, `WorkersReady` and `Degraded`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 10),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// Stages that run and all stages. Example: `3/4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages_ready: Option<String>,
    /// Records that wait to be read, over all stages; in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Each stage.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub stages: Vec<StageStatus>,
    /// Each topic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub topics: Vec<TopicStatus>,
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The question.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// The answer.
    pub status: ConditionStatus,
    /// Generation of the spec that the answer is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the answer changed last; RFC 3339.
    pub last_transition_time: String,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, and what to do.
    pub message: String,
}

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// The plan is empty and everything is healthy at this generation.
    Ready,
    /// The topics are as the spec wants them.
    TopicsReady,
    /// The connectors and their tasks run.
    ConnectorsReady,
    /// The workers run.
    WorkersReady,
    /// Data flows, but something needs attention.
    Degraded,
}

/// Answer of a condition, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// Yes.
    True,
    /// No.
    False,
    /// It could not be found out.
    Unknown,
}

/// Why a condition is as it is: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// All is as the spec wants it.
    Healthy,
    /// Changes are under way.
    Progressing,
    /// `suspend` is set and everything has stopped.
    Suspended,
    /// The Pipeline is being deleted.
    Deleting,
    /// The spec is not valid; the last valid one keeps running.
    InvalidSpec,
    /// The spec asks for what this version does not have.
    NotAvailable,
    /// A change cannot be done.
    Refused,
    /// The Kafka cluster does not answer.
    KafkaUnreachable,
    /// Kafka Connect does not answer.
    ConnectUnreachable,
    /// A topic is missing or differs.
    TopicNotReady,
    /// A connector or one of its tasks does not run.
    ConnectorNotReady,
    /// A worker does not run or reports an error.
    WorkerNotReady,
    /// Records or changes were lost before they were read; a person has to decide.
    DataLoss,
    /// Something failed and is tried again.
    Retrying,
}

/// A stage, as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Its name in the spec.
    pub name: String,
    /// generator, source, transform, sink, aggregation or gateway.
    pub kind: String,
    /// What it is doing. Example: `running`.
    pub state: String,
    /// Processes or tasks at work.
    #[serde(default)]
    pub replicas: u32,
    /// Records that wait to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A topic, as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Its name.
    pub name: String,
    /// Its ID in Kafka: a topic made again under the same name is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its partitions.
    #[serde(default)]
    pub partitions: i32,
}
