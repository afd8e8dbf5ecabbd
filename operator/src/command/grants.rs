//! `acequia grants`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use acequia_crds::pipeline::{Pipeline, PipelineSpec};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;

use super::{Error, GrantsArgs};
use crate::manifest;
use crate::run::screen::say;

pub(super) fn grants(args: &GrantsArgs) -> Result<ExitCode, Error> {
    let pipeline = manifest::pipeline(&manifest::read(&args.files.files)?)?;
    let namespace = pipeline.namespace().unwrap_or_else(|| args.files.namespace.clone());
    say(&text(&pipeline, &namespace, &args.service_account));
    Ok(ExitCode::SUCCESS)
}

fn text(pipeline: &Pipeline, namespace: &str, account: &str) -> String {
    let secrets = connector_secrets(&pipeline.spec);
    if secrets.is_empty() {
        return "# No connector of this Pipeline reads a Secret.\n".to_owned();
    }
    let (account_namespace, account) = account.split_once('/').unwrap_or((namespace, account));
    let metadata = ObjectMeta {
        name: Some(format!("{}-connect", pipeline.name_any())),
        namespace: Some(namespace.to_owned()),
        labels: Some(BTreeMap::from([("app.kubernetes.io/part-of".to_owned(), "acequia".to_owned())])),
        ..ObjectMeta::default()
    };
    let role = Role {
        metadata: metadata.clone(),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["secrets".to_owned()]),
            resource_names: Some(secrets.into_iter().collect()),
            verbs: vec!["get".to_owned()],
            non_resource_urls: None,
        }]),
    };
    let binding = RoleBinding {
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: metadata.name.clone().unwrap_or_default(),
        },
        metadata,
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: account.to_owned(),
            namespace: Some(account_namespace.to_owned()),
            api_group: None,
        }]),
    };
    // Plain structs and texts always serialise.
    let yaml = |object: Result<String, _>| object.unwrap_or_default();
    format!("{}---\n{}", yaml(serde_yaml::to_string(&role)), yaml(serde_yaml::to_string(&binding)))
}

/// The Secrets that Kafka Connect resolves for the connectors of a Pipeline.
fn connector_secrets(spec: &PipelineSpec) -> BTreeSet<String> {
    let debezium = spec.sources.iter().filter_map(|source| source.debezium.as_ref());
    let stores: BTreeSet<&str> = debezium.map(|debezium| debezium.store.as_str()).collect();
    let stores = spec.stores.iter().filter(|store| stores.contains(store.name.as_str()));
    let of_stores =
        stores.filter_map(|store| store.postgres.as_ref()).flat_map(crate::desired::store_secrets);
    let connectors = spec.sources.iter().filter_map(|source| source.connector.as_ref());
    let of_connectors =
        connectors.flat_map(|connector| &connector.config_from).map(|from| from.secret.name.clone());
    of_stores.chain(of_connectors).collect()
}
