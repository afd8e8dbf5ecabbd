//! `spec.connect`: the Kafka Connect cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text;

/// A Kafka Connect cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connect {
    /// Address of its REST API. Example: `http://connect:8083`.
    #[schemars(with = "text::Short", regex(pattern = text::CONNECT_URL))]
    pub url: String,
}
