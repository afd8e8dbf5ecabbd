//! The last valid generation of a Pipeline, kept in a ConfigMap, so that a new operator goes on with it while the
//! object says what can't be.

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_crds::names::PipelineId;
use acequia_crds::pipeline::PipelineSpec;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PartialObjectMeta, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde::{Deserialize, Serialize};

use crate::desired::ConfigMaps;
use crate::kubernetes::objects::{MANAGED_BY, PIPELINE_LABEL, owner};
use crate::kubernetes::{Error, FIELD_MANAGER, bounded, is_owned_by};

const KEY: &str = "pipeline.json";

/// Everything that `desired` depends on besides the operator's settings. It names secrets and holds none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastValid {
    /// Its generation.
    pub generation: i64,
    /// The spec.
    pub spec: PipelineSpec,
    /// The ConfigMaps that the spec refers to.
    pub config_maps: ConfigMaps,
}

impl LastValid {
    /// What was kept of the Pipeline with this UID, if anything that this version can read was.
    ///
    /// # Errors
    /// The API server didn't answer.
    pub async fn read(client: &Client, pipeline: &PipelineId, uid: &str) -> Result<Option<Self>, Error> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &pipeline.namespace);
        let name = name(pipeline);
        let map = bounded(format!("read ConfigMap {name}"), api.get_opt(&name)).await?;
        let text = map.filter(|map| is_owned_by(&map.metadata, uid)).and_then(|map| map.data?.remove(KEY));
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Whether it is among the ConfigMaps of its Pipeline.
    pub fn is_among(maps: &[Arc<PartialObjectMeta<ConfigMap>>], pipeline: &PipelineId, uid: &str) -> bool {
        maps.iter().any(|map| map.name_any() == name(pipeline) && is_owned_by(&map.metadata, uid))
    }

    /// Whether anything was kept of it, also what this version can't read.
    ///
    /// # Errors
    /// The API server didn't answer.
    pub async fn is_there(client: &Client, pipeline: &PipelineId, uid: &str) -> Result<bool, Error> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &pipeline.namespace);
        let name = name(pipeline);
        let map = bounded(format!("read ConfigMap {name}"), api.get_metadata_opt(&name)).await?;
        Ok(map.is_some_and(|map| is_owned_by(&map.metadata, uid)))
    }

    /// Keeps it.
    ///
    /// # Errors
    /// The API server refused, or somebody else has a ConfigMap of that name.
    pub async fn write(&self, client: &Client, pipeline: &PipelineId, uid: &str) -> Result<(), Error> {
        let name = name(pipeline);
        let labels = [(MANAGED_BY.0, MANAGED_BY.1), (PIPELINE_LABEL, pipeline.name.as_str())];
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(pipeline.namespace.clone()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                owner_references: Some(vec![owner(pipeline, uid)]),
                ..ObjectMeta::default()
            },
            // A plain struct of texts and numbers always serialises.
            data: Some(BTreeMap::from([(KEY.to_owned(), serde_json::to_string(self).unwrap_or_default())])),
            ..ConfigMap::default()
        };
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), &pipeline.namespace);
        let what = format!("apply ConfigMap {name}");
        let there = bounded(what.clone(), api.get_metadata_opt(&name)).await?;
        if there.is_some_and(|there| there.labels().get(PIPELINE_LABEL) != Some(&pipeline.name)) {
            return Err(Error::Foreign { what });
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        bounded(what, api.patch(&name, &params, &Patch::Apply(&map))).await?;
        Ok(())
    }
}

fn name(pipeline: &PipelineId) -> String {
    format!("{}-last-valid", pipeline.name)
}
