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

/// Annotation: when the finalizer was taken off without the operator.
const RELEASED: &str = "acequia.dev/released";

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

/// What becomes of the finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// Held from now on.
    On,
    /// Nothing is outside any more, or nobody waits for it.
    Off,
    /// Taken off without the operator, which doesn't put it back as long as it runs; see [`was_released`].
    Released,
}

/// Somebody has taken the finalizer off on purpose: `acequia release`.
pub fn was_released(object: &DynamicObject) -> bool {
    object.annotations().contains_key(RELEASED)
}

/// Whether the finalizer is held.
pub fn has_finalizer(object: &DynamicObject) -> bool {
    object.finalizers().iter().any(|one| one == FINALIZER)
}

#[derive(Debug, Serialize)]
struct FinalizersPatch {
    metadata: FinalizersMetadata,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FinalizersMetadata {
    finalizers: Vec<String>,
    /// None as a value takes an annotation away.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'static str, Option<String>>,
    /// Somebody else's finalizer that came meanwhile makes this a conflict instead of getting lost.
    resource_version: Option<String>,
}

/// Puts the finalizer on, or takes it off. Nothing is asked when it is so already.
///
/// # Errors
/// The API server refused; on a conflict the newer object comes by the watch.
pub async fn set_finalizer(client: &Client, object: &DynamicObject, to: Finalizer) -> Result<(), Error> {
    let on = to == Finalizer::On;
    if has_finalizer(object) == on {
        return Ok(());
    }
    let patch = FinalizersPatch { metadata: metadata_with(object, to) };
    let name = object.name_any();
    let what = format!("{} the finalizer of Pipeline {name}", if on { "put on" } else { "take off" });
    let api = api(client, &object.namespace().unwrap_or_default());
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    match bounded(what, api.patch_metadata(&name, &params, &patch)).await {
        // It is gone already.
        Err(Error::Api { source, .. }) if !on && is_not_found(&source) => Ok(()),
        done => done.map(drop),
    }
}

fn metadata_with(object: &DynamicObject, to: Finalizer) -> FinalizersMetadata {
    let mut finalizers = object.finalizers().to_vec();
    finalizers.retain(|one| one != FINALIZER);
    let annotations = match to {
        Finalizer::On => was_released(object).then_some((RELEASED, None)),
        Finalizer::Off => None,
        Finalizer::Released => Some((RELEASED, Some(jiff::Timestamp::now().to_string()))),
    };
    if to == Finalizer::On {
        finalizers.push(FINALIZER.to_owned());
    }
    FinalizersMetadata {
        finalizers,
        annotations: annotations.into_iter().collect(),
        resource_version: object.resource_version(),
    }
}
