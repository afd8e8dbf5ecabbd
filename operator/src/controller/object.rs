//! A Pipeline as the API server has it: read, with its finalizer and its ConfigMaps.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::pipeline::status::PipelineStatus;
use acequia_crds::pipeline::{Pipeline, PipelineSpec};
use acequia_crds::problem::Problem;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde::Serialize;

use crate::desired::ConfigMaps;
use crate::kubernetes::{Error, bounded, is_not_found};

/// Held while something of the Pipeline may be in Kafka, Connect or a database.
pub const FINALIZER: &str = "acequia.dev/external";

/// The API of Pipelines of one namespace, as they are written.
pub fn api(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<Pipeline>(&()))
}

/// The Pipeline as this version understands it.
///
/// # Errors
/// What can't be read of it.
pub fn read(object: &DynamicObject) -> Result<Pipeline, Problem> {
    let spec = object.data.get("spec").cloned().unwrap_or_default();
    let spec: PipelineSpec = serde_json::from_value(spec).map_err(|error| {
        let fix = "correct it, or install the CRD and the operator of the same version";
        Problem::new("spec", format!("this version can't read it: {error}"), fix)
    })?;
    let mut pipeline = Pipeline::new(&object.name_any(), spec);
    pipeline.metadata = object.metadata.clone();
    Ok(pipeline)
}

/// The status that the API server has.
pub fn status(object: &DynamicObject) -> Option<PipelineStatus> {
    serde_json::from_value(object.data.get("status")?.clone()).ok()
}

/// The names of the ConfigMaps that a Pipeline refers to.
pub fn config_map_names(spec: &PipelineSpec) -> BTreeSet<&str> {
    let setups = spec.generators.iter().filter_map(|generator| generator.setup.as_ref());
    setups.map(|setup| setup.config_map.as_str()).collect()
}

/// The ConfigMaps that a Pipeline refers to; one that isn't there is left out.
///
/// # Errors
/// The API server didn't answer.
pub async fn config_maps(client: &Client, namespace: &str, spec: &PipelineSpec) -> Result<ConfigMaps, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let mut found = BTreeMap::new();
    for name in config_map_names(spec) {
        if let Some(map) = bounded(format!("read ConfigMap {name}"), api.get_opt(name)).await? {
            found.insert(name.to_owned(), map.data.unwrap_or_default());
        }
    }
    Ok(found)
}

#[derive(Debug, Serialize)]
struct FinalizersPatch {
    metadata: FinalizersMetadata,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FinalizersMetadata {
    finalizers: Vec<String>,
    /// Somebody else's finalizer that came meanwhile makes this a conflict instead of getting lost.
    resource_version: Option<String>,
}

/// Puts the finalizer on, or takes it off. Nothing is asked when it is so already.
///
/// # Errors
/// The API server refused; on a conflict the newer object comes by the watch.
pub async fn set_finalizer(client: &Client, object: &DynamicObject, on: bool) -> Result<(), Error> {
    let mut finalizers = object.finalizers().to_vec();
    if finalizers.iter().any(|one| one == FINALIZER) == on {
        return Ok(());
    }
    finalizers.retain(|one| one != FINALIZER);
    if on {
        finalizers.push(FINALIZER.to_owned());
    }
    let patch = FinalizersPatch {
        metadata: FinalizersMetadata { finalizers, resource_version: object.resource_version() },
    };
    let namespace = object.namespace().unwrap_or_default();
    let what =
        format!("{} the finalizer of Pipeline {}", if on { "put on" } else { "take off" }, object.name_any());
    let api = api(client, &namespace);
    let name = object.name_any();
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    match bounded(what, api.patch_metadata(&name, &params, &patch)).await {
        // It is gone already.
        Err(Error::Api { source, .. }) if !on && is_not_found(&source) => Ok(()),
        done => done.map(drop),
    }
}
