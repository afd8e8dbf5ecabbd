//! The spec of a `Pipeline`, one file a section.

pub mod aggregation;
pub mod connect;
pub mod csv;
pub mod gateway;
pub mod generator;
pub mod kafka;
pub mod sink;
pub mod source;
pub mod status;
pub mod store;
pub mod text;
pub mod topic;
pub mod transform;
pub(crate) mod union;
pub mod value;
pub mod workers;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::aggregation::Aggregation;
use self::connect::Connect;
use self::gateway::Gateway;
use self::generator::Generator;
use self::kafka::Kafka;
use self::sink::Sink;
use self::source::Source;
use self::status::PipelineStatus;
use self::store::Store;
use self::topic::{DeletionPolicy, Topic};
use self::transform::Transform;
use self::workers::Workers;

/// What is wanted.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "acequia.dev",
    version = "v1alpha1",
    kind = "Pipeline",
    namespaced,
    status = "PipelineStatus",
    category = "acequia",
    shortname = "acq",
    derive = "PartialEq",
    doc = "A streaming data system: Kafka topics, what fills them, what is made of them, and where it goes.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Stages", type_ = "string", json_path = ".status.stagesReady"),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.lag"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::PIPELINE))]
#[expect(clippy::duplicated_attributes, reason = "columns of one type")]
pub struct PipelineSpec {
    /// Stops everything in order: generators and sources first, the rest once it has drained. Topics and offsets stay. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// What happens to the topics when the Pipeline is deleted; a topic may say otherwise. Default: `Retain`.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// The Kafka cluster.
    pub kafka: Kafka,
    /// The Kafka Connect cluster; needed for `debezium` and `connector` sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// Every connection to a database, named once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 30), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub stores: Vec<Store>,
    /// The topics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub topics: Vec<Topic>,
    /// Synthetic data, for demos, tests and load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub generators: Vec<Generator>,
    /// What comes in from outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 30), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sources: Vec<Source>,
    /// Topic to topic, exactly once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 30), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub transforms: Vec<Transform>,
    /// Topics into stores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 30), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sinks: Vec<Sink>,
    /// Counts, sums and more, by window and group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 30), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub aggregations: Vec<Aggregation>,
    /// A REST API and a live dashboard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// Defaults for the workers of all stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
}

impl PipelineSpec {
    /// The store of that name.
    pub fn store(&self, name: &str) -> Option<&Store> {
        self.stores.iter().find(|store| store.name == name)
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name == name)
    }
}
