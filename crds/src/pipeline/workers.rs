//! `spec.workers`: the processes that do the work.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::text::{self, IntOrText};

/// The processes of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Workers {
    /// Image, of the operator's version. Default: the operator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Short>")]
    pub image: Option<String>,
    /// Request and limit of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// How many. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// Labels a node must have. For the whole Pipeline.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, text::Label>", extend("maxProperties" = 20))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that are tolerated. For the whole Pipeline.
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

/// A stage may differ in image, resources and replicas; where its processes run is the Pipeline's choice.
pub(super) fn of_a_stage(schema: &mut Schema) {
    remove(schema, &["nodeSelector", "tolerations"]);
}

/// As [`of_a_stage`], for stages whose number of processes is fixed or said elsewhere.
pub(super) fn of_a_fixed_stage(schema: &mut Schema) {
    remove(schema, &["nodeSelector", "tolerations", "replicas"]);
}

fn remove(schema: &mut Schema, fields: &[&str]) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !fields.contains(&name.as_str()));
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
#[schemars(extend("x-kubernetes-validations" = crate::rules::OPTIONAL_RANGE))]
pub struct Replicas {
    /// At least. Default: 1.
    #[serde(default = "Replicas::default_min")]
    #[schemars(range(min = 1, max = 1000))]
    pub min: u32,
    /// At most.
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,
    /// Records that may wait for each. Default: 10000.
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
    #[schemars(with = "Option<text::Label>")]
    pub key: Option<String>,
    /// How key and value are compared. Default: `Equal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// Value of the taint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Label>")]
    pub value: Option<String>,
    /// Effect of the taint. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// For `NoExecute`: how long, in seconds. Default: for ever.
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
