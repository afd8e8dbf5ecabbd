//! A stage as Kubernetes objects: an immutable ConfigMap named by its hash, and a Deployment that mounts it.
//!
//! Pure. Whatever is not said here is left to the API server's defaults, and so to whoever else sets it.

use std::collections::BTreeMap;

use acequia_crds::names::{PipelineId, StageId};
use acequia_crds::pipeline::text::IntOrText;
use acequia_crds::pipeline::workers::{Resources, Workers};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMap, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
    LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, SeccompProfile, SecurityContext, Toleration,
};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;

use super::volumes::{self, CONFIG_FOLDER, SECRETS_FOLDER};
use crate::model::desired::{DesiredStage, Job as WorkerJob, Role};

/// Label: the Pipeline that an object belongs to.
pub const PIPELINE_LABEL: &str = "acequia.dev/pipeline";
/// Label: the stage that an object belongs to.
pub const STAGE_LABEL: &str = "acequia.dev/stage";
/// Annotation of pods: hash of the configuration they were started with.
pub const CONFIG_HASH: &str = "acequia.dev/config-hash";
/// Label and its value: what the operator watches.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "acequia");
/// The port of a worker's `/status`, `/metrics`, `/healthz` and `/readyz`.
pub const WORKER_PORT: u16 = 8080;

/// The container of a pod that is ours; others may have been injected beside it.
pub const CONTAINER: &str = "worker";
const CONFIG_KEY: &str = "stage.yaml";
const TERMINATION_MESSAGE: &str = "/dev/termination-log";
/// A worker finishes its transaction within 10 s.
const GRACE_SECONDS: i64 = 30;
/// A job that has ended is kept this long, for whoever wants to see why.
const JOB_LASTS_SECONDS: i32 = 600;

/// What the operator's administrator says of the pods of workers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSettings {
    /// Image with `acequia-worker`, unless a Pipeline names another.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    #[serde(default = "PodSettings::if_not_present")]
    pub image_pull_policy: String,
    /// Secrets for the registry, in the namespace of the Pipeline.
    #[serde(default)]
    pub image_pull_secrets: Vec<String>,
    /// Requests of a worker that a Pipeline says nothing of; a Pipeline's own count as request and limit.
    #[serde(default)]
    pub requests: Resources,
    /// Limits of a worker that a Pipeline says nothing of.
    #[serde(default)]
    pub limits: Resources,
    /// Each stage gets a NetworkPolicy: connections to its workers' one port, and to no other.
    #[serde(default)]
    pub network_policies: bool,
    /// User and group of every worker, by number. Default: the cluster chooses, or else the image.
    #[serde(default)]
    pub run_as_user: Option<i64>,
}

impl PodSettings {
    fn if_not_present() -> String {
        "IfNotPresent".to_owned()
    }
}

/// Everything around the objects of one Pipeline.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Whose they are.
    pub pipeline: PipelineId,
    /// The Pipeline's UID; what it owns goes with it.
    pub uid: String,
    /// What the administrator says.
    pub settings: PodSettings,
}

impl Shape {
    /// The configuration of a stage. It never changes: another configuration is another ConfigMap.
    pub fn config_map(&self, id: &StageId, stage: &DesiredStage) -> ConfigMap {
        let name = self.config_name(id, &stage.hash);
        ConfigMap {
            metadata: self.metadata(name, self.labels(id.as_str())),
            immutable: Some(true),
            data: Some([(CONFIG_KEY.to_owned(), stage.text.clone())].into()),
            ..ConfigMap::default()
        }
    }

    /// Who may connect to the processes of a stage, where that is to be said: anybody, but only to their one port. None of
    /// it is secret, and who reads metrics isn't known here. Where they connect to isn't restricted: brokers and
    /// databases have addresses that no manifest says.
    pub fn network_policy(&self, id: &StageId) -> Option<NetworkPolicy> {
        self.settings.network_policies.then(|| {
            let labels = self.labels(id.as_str());
            let port = NetworkPolicyPort {
                port: Some(IntOrString::Int(WORKER_PORT.into())),
                protocol: Some("TCP".to_owned()),
                end_port: None,
            };
            NetworkPolicy {
                metadata: self.metadata(self.pipeline.deployment(id), labels.clone()),
                spec: Some(NetworkPolicySpec {
                    pod_selector: Some(LabelSelector {
                        match_labels: Some(selector(&labels)),
                        ..LabelSelector::default()
                    }),
                    policy_types: Some(vec!["Ingress".to_owned()]),
                    ingress: Some(vec![NetworkPolicyIngressRule { ports: Some(vec![port]), from: None }]),
                    egress: None,
                }),
            }
        })
    }

    /// The name of that ConfigMap.
    pub fn config_name(&self, id: &StageId, hash: &str) -> String {
        format!("{}-{hash}", self.pipeline.deployment(id))
    }

    /// The processes of a stage. The old ones go before the new ones come, so that two configurations never run
    /// side by side.
    pub fn deployment(&self, id: &StageId, stage: &DesiredStage) -> Deployment {
        let labels = self.labels(id.as_str());
        let name = self.pipeline.deployment(id);
        let pod = Pod {
            role: stage.role,
            config_map: self.config_name(id, &stage.hash),
            secrets: stage.secrets.iter().map(String::as_str).collect(),
            workers: &stage.workers,
            // With one process a fixed name: the next pod takes over at once from one that is lost with its node.
            instance: Some(if stage.replicas == 1 { name.clone() } else { "$(POD_NAME)".to_owned() }),
            probes: true,
        };
        let mut template = self.template(&pod, labels.clone());
        let annotation = (CONFIG_HASH.to_owned(), stage.hash.clone());
        template.metadata.get_or_insert_default().annotations = Some([annotation].into());
        Deployment {
            metadata: self.metadata(name, labels.clone()),
            spec: Some(DeploymentSpec {
                replicas: i32::try_from(stage.replicas).ok(),
                revision_history_limit: Some(1),
                selector: LabelSelector { match_labels: Some(selector(&labels)), ..LabelSelector::default() },
                paused: Some(false),
                strategy: Some(DeploymentStrategy {
                    type_: Some("Recreate".to_owned()),
                    rolling_update: None,
                }),
                template,
                ..DeploymentSpec::default()
            }),
            status: None,
        }
    }

    /// A worker that runs once, and its configuration. `name` is a DNS label. Nobody owns them: they also work for a
    /// Pipeline that is gone.
    pub fn job(&self, name: &str, job: &WorkerJob, deadline_seconds: i64) -> (ConfigMap, Job) {
        let labels = self.labels(name);
        let metadata =
            ObjectMeta { owner_references: None, ..self.metadata(name.to_owned(), labels.clone()) };
        let config_map = ConfigMap {
            metadata: metadata.clone(),
            immutable: Some(true),
            data: Some([(CONFIG_KEY.to_owned(), job.text.clone())].into()),
            ..ConfigMap::default()
        };
        let pod = Pod {
            role: job.role,
            config_map: name.to_owned(),
            secrets: job.secrets.iter().map(String::as_str).collect(),
            workers: &job.workers,
            instance: None,
            probes: false,
        };
        let mut template = self.template(&pod, labels);
        if let Some(spec) = &mut template.spec {
            spec.restart_policy = Some("Never".to_owned());
        }
        let job = Job {
            metadata,
            spec: Some(JobSpec {
                active_deadline_seconds: Some(deadline_seconds),
                backoff_limit: Some(0),
                ttl_seconds_after_finished: Some(JOB_LASTS_SECONDS),
                template,
                ..JobSpec::default()
            }),
            status: None,
        };
        (config_map, job)
    }

    fn labels(&self, stage: &str) -> BTreeMap<String, String> {
        let (managed_by, acequia) = MANAGED_BY;
        [
            ("app.kubernetes.io/name", "acequia-worker"),
            ("app.kubernetes.io/instance", &self.pipeline.name),
            ("app.kubernetes.io/component", stage),
            (managed_by, acequia),
            (PIPELINE_LABEL, &self.pipeline.name),
            (STAGE_LABEL, stage),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    fn metadata(&self, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.pipeline.namespace.clone()),
            labels: Some(labels),
            owner_references: Some(vec![owner(&self.pipeline, &self.uid)]),
            ..ObjectMeta::default()
        }
    }

    fn template(&self, pod: &Pod<'_>, labels: BTreeMap<String, String>) -> PodTemplateSpec {
        let pull_secrets = self.settings.image_pull_secrets.iter();
        PodTemplateSpec {
            metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
            spec: Some(PodSpec {
                automount_service_account_token: Some(false),
                enable_service_links: Some(false),
                termination_grace_period_seconds: Some(GRACE_SECONDS),
                image_pull_secrets: non_empty(
                    pull_secrets.map(|name| LocalObjectReference { name: name.clone() }).collect(),
                ),
                security_context: Some(PodSecurityContext {
                    run_as_non_root: Some(true),
                    run_as_user: self.settings.run_as_user,
                    run_as_group: self.settings.run_as_user,
                    fs_group: self.settings.run_as_user,
                    seccomp_profile: Some(SeccompProfile {
                        type_: "RuntimeDefault".to_owned(),
                        localhost_profile: None,
                    }),
                    ..PodSecurityContext::default()
                }),
                node_selector: Some(pod.workers.node_selector.clone()).filter(|labels| !labels.is_empty()),
                tolerations: non_empty(pod.workers.tolerations.iter().map(toleration).collect()),
                containers: vec![self.container(pod)],
                volumes: Some(volumes::volumes(&pod.config_map, &pod.secrets)),
                ..PodSpec::default()
            }),
        }
    }

    fn container(&self, pod: &Pod<'_>) -> Container {
        let own_name = EnvVar {
            name: "POD_NAME".to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: None,
                    field_path: "metadata.name".to_owned(),
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        };
        Container {
            name: CONTAINER.to_owned(),
            image: Some(pod.workers.image.clone().unwrap_or_else(|| self.settings.image.clone())),
            image_pull_policy: Some(self.settings.image_pull_policy.clone()),
            command: Some(vec!["acequia-worker".to_owned()]),
            args: Some(pod.args()),
            env: Some(vec![own_name]),
            ports: Some(vec![ContainerPort {
                name: Some("http".to_owned()),
                container_port: WORKER_PORT.into(),
                ..ContainerPort::default()
            }]),
            liveness_probe: pod.probes.then(|| probe("/healthz", 10)),
            readiness_probe: pod.probes.then(|| probe("/readyz", 5)),
            resources: Some(self.resources(pod.workers.resources.as_ref())),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                read_only_root_filesystem: Some(true),
                capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
                ..SecurityContext::default()
            }),
            volume_mounts: Some(volumes::mounts(&pod.secrets)),
            ..Container::default()
        }
    }

    /// What a Pipeline says is request and limit; what it leaves open is as the administrator says.
    fn resources(&self, own: Option<&Resources>) -> ResourceRequirements {
        let own = own.cloned().unwrap_or_default();
        let quantities = |defaults: &Resources| {
            let cpu = own.cpu.as_ref().or(defaults.cpu.as_ref());
            let memory = own.memory.as_ref().or(defaults.memory.as_ref());
            let named = [("cpu", cpu), ("memory", memory)].into_iter();
            let some = named.filter_map(|(name, value)| Some((name.to_owned(), quantity(value?))));
            Some(some.collect::<BTreeMap<_, _>>()).filter(|map| !map.is_empty())
        };
        ResourceRequirements {
            requests: quantities(&self.settings.requests),
            limits: quantities(&self.settings.limits),
            claims: None,
        }
    }
}

/// What makes an object go with its Pipeline.
pub fn owner(pipeline: &PipelineId, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: "acequia.dev/v1alpha1".to_owned(),
        kind: "Pipeline".to_owned(),
        name: pipeline.name.clone(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// What differs from pod to pod.
struct Pod<'a> {
    role: Role,
    config_map: String,
    secrets: Vec<&'a str>,
    workers: &'a Workers,
    /// Its name in consumer groups.
    instance: Option<String>,
    probes: bool,
}

impl Pod<'_> {
    fn args(&self) -> Vec<String> {
        let mut args = vec![
            self.role.as_str().to_owned(),
            format!("--config={CONFIG_FOLDER}/{CONFIG_KEY}"),
            format!("--secrets={SECRETS_FOLDER}"),
            // All IPv6 addresses are all IPv4 addresses too, where the node knows IPv6.
            format!("--listen=[::]:{WORKER_PORT},0.0.0.0:{WORKER_PORT}"),
            format!("--termination-message={TERMINATION_MESSAGE}"),
        ];
        args.extend(self.instance.as_ref().map(|name| format!("--instance={name}")));
        args
    }
}

/// The part of the labels that a Deployment's pods are found by. It can't be changed later.
fn selector(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels
        .iter()
        .filter(|(key, _)| [PIPELINE_LABEL, STAGE_LABEL].contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn probe(path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("http".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        failure_threshold: Some(6),
        ..Probe::default()
    }
}

fn toleration(spec: &acequia_crds::pipeline::workers::Toleration) -> Toleration {
    // The words are those of Kubernetes.
    Toleration {
        key: spec.key.clone(),
        operator: spec.operator.map(|operator| format!("{operator:?}")),
        value: spec.value.clone(),
        effect: spec.effect.map(|effect| format!("{effect:?}")),
        toleration_seconds: spec.toleration_seconds,
    }
}

fn quantity(value: &IntOrText) -> Quantity {
    Quantity(value.to_text())
}

fn non_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
