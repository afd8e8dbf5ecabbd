//! `spec.workers`: the processes that do the work.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{self, IntOrText};

/// The processes of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Workers {
    /// Container image. Default: the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Short>")]
    pub image: Option<String>,
    /// What each process may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// How many processes. Default: one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// Labels a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub tolerations: Vec<Toleration>,
}

impl Workers {
    /// These settings, with what they leave open taken from `defaults`.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        Self {
            image: self.image.clone().or_else(|| defaults.image.clone()),
            resources: self.resources.clone().or_else(|| defaults.resources.clone()),
            replicas: self.replicas.clone().or_else(|| defaults.replicas.clone()),
            node_selector: either(&self.node_selector, &defaults.node_selector, BTreeMap::is_empty),
            tolerations: either(&self.tolerations, &defaults.tolerations, Vec::is_empty),
        }
    }
}

fn either<T: Clone>(own: &T, default: &T, is_empty: impl Fn(&T) -> bool) -> T {
    if is_empty(own) { default.clone() } else { own.clone() }
}

/// Request and limit of a process, in Kubernetes' units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// Example: `500m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<IntOrText>,
    /// Example: `256Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<IntOrText>,
}

/// A number of processes, fixed (`min` = `max`) or following the lag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::RANGE))]
pub struct Replicas {
    /// At least. Default: 1.
    #[serde(default = "Replicas::default_min")]
    #[schemars(range(min = 1, max = 1000))]
    pub min: u32,
    /// At most; never above the partitions.
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,
    /// Records that may wait per process before another one is added. Default: 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub target_lag: Option<u64>,
}

impl Replicas {
    const fn default_min() -> u32 {
        1
    }
}

/// A taint that is tolerated, as in a Pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Toleration {
    /// Key of the taint. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Short>")]
    pub key: Option<String>,
    /// Default: `Equal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// Value of the taint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Short>")]
    pub value: Option<String>,
    /// Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// For `NoExecute`: how long. Default: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration matches a taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// Key and value are equal.
    Equal,
    /// The key is there.
    Exists,
}

/// What a taint does to pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// They are not put there.
    NoSchedule,
    /// They are put there last.
    PreferNoSchedule,
    /// They are taken away.
    NoExecute,
}
