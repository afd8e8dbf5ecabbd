//! Step 1: from a manifest to everything that shall be. After it nobody reads the spec again.
//!
//! Pure: the manifest, the ConfigMaps beside it and the settings of this operator are all it depends on.

mod addresses;
#[cfg(test)]
mod aggregation_tests;
mod aggregations;
mod connectors;
mod stages;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::lint::{Place, lint, not_available};
use acequia_crds::names::PipelineId;
use acequia_crds::pipeline::kafka::Kafka;
use acequia_crds::pipeline::store::{Postgres, Store};
use acequia_crds::pipeline::topic::DeletionPolicy as SpecPolicy;
use acequia_crds::pipeline::{Pipeline, PipelineSpec};
use acequia_crds::problem::Problem;
pub use addresses::{Addresses, InvalidAddresses};
pub(crate) use stages::store_secrets;

use crate::debezium::SecretReferences;
use crate::model::desired::{DeletionPolicy, Desired};

/// What differs from one operator to another.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the Kubernetes cluster, the first part of every identity; `local` for `acequia run`.
    pub cluster: String,
    /// Namespace of a manifest that names none.
    pub namespace: String,
    /// Where the manifest's addresses are.
    pub addresses: Addresses,
    /// How connectors refer to secrets.
    pub secrets: SecretReferences,
    /// What runs the stages.
    pub place: Place,
}

/// ConfigMaps by name: key → text.
pub type ConfigMaps = BTreeMap<String, BTreeMap<String, String>>;

/// Everything that shall be, or all that is wrong with the manifest.
///
/// # Errors
/// Every problem that was found, at least one.
pub fn desired(
    pipeline: &Pipeline,
    config_maps: &ConfigMaps,
    settings: &Settings,
) -> Result<Desired, Vec<Problem>> {
    let mut problems = lint(&pipeline.spec);
    problems.extend(not_available(&pipeline.spec, settings.place));
    if !problems.is_empty() {
        return Err(problems);
    }
    let context = Context::new(pipeline, config_maps, settings, &mut problems);
    let topics = topics::topics(&context, &mut problems);
    let stages = stages::stages(&context, &mut problems);
    let connectors = connectors::connectors(&context, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Desired {
        connect_urls: context.connect_url.iter().cloned().collect(),
        kafka: context.kafka,
        identity: context.identity,
        topics,
        connectors,
        stages,
        retired_groups: BTreeSet::new(),
        retains_state: false,
        only_begun: false,
        namespace_goes: false,
    })
}

/// What shall be once the Pipeline is deleted: nothing. Its groups go when its topics do; those that a topic remembers go
/// with it.
pub fn deletion_of(desired: &Desired, spec: &PipelineSpec) -> Desired {
    let remembered: BTreeSet<&String> = desired.topics.values().flat_map(|topic| &topic.groups).collect();
    let groups = desired.stages.values().flat_map(|stage| &stage.reads).map(|reads| &reads.group);
    let retired_groups = match spec.deletion_policy {
        SpecPolicy::Delete => groups.filter(|group| !remembered.contains(group)).cloned().collect(),
        SpecPolicy::Retain => BTreeSet::new(),
    };
    Desired {
        retired_groups,
        retains_state: spec.deletion_policy == SpecPolicy::Retain,
        only_begun: false,
        ..begun_removals(desired.identity.clone(), desired.kafka.clone(), desired.connect_urls.clone())
    }
}

/// What a Pipeline that is gone left half removed: connectors whose claims say that they are being removed, on these
/// Kafka Connect clusters.
pub fn begun_removals(identity: PipelineId, kafka: Kafka, connect_urls: BTreeSet<String>) -> Desired {
    Desired {
        identity,
        kafka,
        connect_urls,
        topics: BTreeMap::new(),
        connectors: BTreeMap::new(),
        stages: BTreeMap::new(),
        retired_groups: BTreeSet::new(),
        retains_state: true,
        only_begun: true,
        namespace_goes: false,
    }
}

/// Who the Pipeline is.
pub fn identity(pipeline: &Pipeline, settings: &Settings) -> PipelineId {
    let metadata = &pipeline.metadata;
    PipelineId {
        cluster: settings.cluster.clone(),
        namespace: metadata.namespace.clone().unwrap_or_else(|| settings.namespace.clone()),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// What every part needs.
struct Context<'a> {
    identity: PipelineId,
    spec: &'a PipelineSpec,
    config_maps: &'a ConfigMaps,
    secrets: &'a SecretReferences,
    place: Place,
    kafka: Kafka,
    connect_url: Option<String>,
    /// Stores by name, where they are.
    stores: BTreeMap<&'a str, Store>,
    /// PostgreSQL stores by name, where they are.
    postgres: BTreeMap<&'a str, Postgres>,
}

impl<'a> Context<'a> {
    fn new(
        pipeline: &'a Pipeline,
        config_maps: &'a ConfigMaps,
        settings: &'a Settings,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let spec = &pipeline.spec;
        let identity = identity(pipeline, settings);
        let names = [("metadata.name", &identity.name, 40), ("metadata.namespace", &identity.namespace, 63)];
        for (field, name, max_len) in names.into_iter().filter(|(_, name, max_len)| !is_label(name, *max_len))
        {
            let message = format!("`{name}` can't be part of derived names");
            let fix = format!(
                "use 1 to {max_len} lower-case letters, digits and `-`, with a letter or digit at both ends"
            );
            problems.push(Problem::new(field, message, fix));
        }
        let stores: BTreeMap<&str, Store> =
            spec.stores.iter().map(|store| (store.name.as_str(), settings.addresses.store(store))).collect();
        let postgres = stores.iter().filter_map(|(name, store)| Some((*name, store.postgres.clone()?)));
        let postgres = postgres.collect();
        Self {
            identity,
            spec,
            config_maps,
            secrets: &settings.secrets,
            place: settings.place,
            kafka: settings.addresses.kafka(&spec.kafka),
            connect_url: spec.connect.as_ref().map(|connect| settings.addresses.url(&connect.url)),
            stores,
            postgres,
        }
    }

    fn postgres(
        &self,
        name: &str,
        field: impl Fn() -> String,
        problems: &mut Vec<Problem>,
    ) -> Option<Postgres> {
        let found = self.postgres.get(name).cloned();
        if found.is_none() {
            let message = format!("`{name}` names no postgres store");
            problems.push(Problem::new(field(), message, "add it to spec.stores or correct the name"));
        }
        found
    }
}

/// A DNS label that leaves room for what is added to it.
fn is_label(name: &str, max_len: usize) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=max_len).contains(&name.len())
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

impl From<SpecPolicy> for DeletionPolicy {
    fn from(policy: SpecPolicy) -> Self {
        match policy {
            SpecPolicy::Retain => Self::Retain,
            SpecPolicy::Delete => Self::Delete,
        }
    }
}
