//! Stages as Deployments: the edge of the operator in a cluster.
//!
//! Objects are applied server-side with one field manager and pruned by label. What there is comes from watches, so a
//! look costs calls only to the workers' `/status`.

pub mod children;
pub mod covers;
mod jobs;
pub mod objects;
#[cfg(test)]
mod objects_tests;
pub mod pods;
mod policies;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_crds::names::{StageId, StageKind};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;

use self::children::{Children, PipelineKey};
use self::covers::{covers, difference};
use self::objects::{CONFIG_HASH, STAGE_LABEL, Shape};
use crate::model::desired::{Desired, DesiredStage};
use crate::model::observed::ObservedStage;
use crate::observe::reports::Reports;

/// Who applies: the field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "acequia";
/// How long one call to the API server may take.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// How long the last answer of a pod stands for one that is slow.
const REPORT_LASTS: Duration = Duration::from_secs(15);
/// How long the watches may take to show what was changed.
const SEEN_DEADLINE: Duration = Duration::from_secs(5);
/// How often it is looked whether something has come to its end.
const POLL: Duration = Duration::from_millis(500);

/// Why the API server didn't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refused, or couldn't be reached.
    #[error("{what}: {source}{hint}")]
    Api {
        /// What was asked. Example: `apply Deployment shop-sink-dwh`.
        what: String,
        /// What to do about it, if that is known.
        hint: &'static str,
        /// What it said.
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("{what}: no answer within {} s", CALL_DEADLINE.as_secs())]
    Timeout {
        /// What was asked.
        what: String,
    },
    /// An object of that name belongs to somebody else.
    #[error(
        "{what}: there is one already that belongs to somebody else; delete it, or give the stage another name"
    )]
    Foreign {
        /// What was to be applied.
        what: String,
    },
    /// Something in the cluster changes what is applied.
    #[error(
        "{what}: the cluster changed `{field}` while it was applied, perhaps by an admission webhook; let it leave the \
         operator's objects alone, or say in `workers` of the chart, or in spec.workers, what it wants there"
    )]
    Altered {
        /// What was applied.
        what: String,
        /// The field.
        field: String,
    },
    /// A job ended without success.
    #[error("job {name} failed: {why}")]
    JobFailed {
        /// Its name.
        name: String,
        /// Its last words.
        why: String,
    },
    /// A job didn't end in time.
    #[error("job {name} has not ended within {seconds} s: {why}")]
    JobTimeout {
        /// Its name.
        name: String,
        /// How long was waited.
        seconds: u64,
        /// How it was then.
        why: String,
    },
}

/// Runs the stages of one Pipeline as Deployments.
pub struct Deployments {
    client: Client,
    children: Arc<Children>,
    shape: Shape,
    reports: Reports,
}

impl Deployments {
    /// Nothing is called yet.
    ///
    /// # Errors
    /// TLS can't be set up on this machine.
    pub fn new(client: Client, children: Arc<Children>, shape: Shape) -> Result<Self, crate::http::NoAnswer> {
        Ok(Self { client, children, shape, reports: Reports::new(REPORT_LASTS)? })
    }

    /// Every stage that has a Deployment or pods, with what each pod says at `GET /status`.
    pub async fn observe(&self, desired: &Desired) -> BTreeMap<StageId, ObservedStage> {
        let of = self.key();
        let config_maps: Vec<String> =
            self.children.config_maps(&of).iter().map(|object| object.name_any()).collect();
        let mut stages: BTreeMap<StageId, ObservedStage> = BTreeMap::new();
        for deployment in self.children.deployments(&of) {
            let Some(id) = stage_of(deployment.as_ref()) else { continue };
            // A copy that somebody made, with all labels.
            if stages.contains_key(&id) && deployment.name_any() != self.shape.pipeline.deployment(&id) {
                continue;
            }
            let wanted = desired.stages.get(&id);
            stages.insert(id.clone(), self.look(&id, &deployment, wanted, &config_maps));
        }
        for pod in self.children.pods(&of) {
            // The pods of jobs have a name there that is no stage's.
            let Some(id) = stage_of(pod.as_ref()) else { continue };
            if let Some(replica) = pods::replica(&pod) {
                stages.entry(id).or_insert_with(gone).replicas.push(replica);
            }
        }
        for stage in stages.values_mut() {
            stage.replicas.sort_by(|a, b| a.pod.cmp(&b.pod));
        }
        self.reports.ask(stages.values_mut().flat_map(|stage| &mut stage.replicas)).await;
        stages
    }

    /// Makes the stage's objects as they shall be. Returns when the API server has them, and looks show them.
    ///
    /// # Errors
    /// It refused, or an object of that name belongs to somebody else.
    pub async fn set(&self, id: &StageId, stage: &DesiredStage) -> Result<(), Error> {
        let (config, deployment) = (self.shape.config_map(id, stage), self.shape.deployment(id, stage));
        self.apply(&config).await?;
        let policy = self.shape.network_policy(id);
        match &policy {
            Some(policy) => self.apply(policy).await?,
            None => self.remove_policy(id).await?,
        }
        self.apply(&deployment).await?;
        let config = config.name_any();
        self.prune(id, Some(&config)).await?;
        let of = self.key();
        let is_there = |one: &Arc<Deployment>| {
            stage_of(one.as_ref()).as_ref() == Some(id) && covers(&deployment, one.as_ref())
        };
        self.until_seen(|| {
            self.children.config_maps(&of).iter().any(|one| one.name_any() == config)
                && self.children.deployments(&of).iter().any(is_there)
                && self.has_policy(id, policy.as_ref())
        })
        .await;
        Ok(())
    }

    /// Takes the stage's objects away; its pods are seen as stopping until they are gone.
    ///
    /// # Errors
    /// The API server refused.
    pub async fn remove(&self, id: &StageId) -> Result<(), Error> {
        let of = self.key();
        let is_kept = |one: &Arc<Deployment>| {
            stage_of(one.as_ref()).as_ref() == Some(id) && one.metadata.deletion_timestamp.is_none()
        };
        for deployment in self.children.deployments(&of).iter().filter(|one| is_kept(one)) {
            self.delete::<Deployment>(&deployment.name_any(), &DeleteParams::background()).await?;
        }
        self.remove_policy(id).await?;
        self.prune(id, None).await?;
        self.until_seen(|| !self.children.deployments(&of).iter().any(is_kept)).await;
        Ok(())
    }

    /// Waits until the watches show a change, so that the next look doesn't have it made, and told, once more. Whatever
    /// is slower than the deadline, or changed by somebody else meanwhile, is seen by that look.
    async fn until_seen(&self, is_seen: impl Fn() -> bool) {
        let mut changes = self.children.changes();
        let seen = async {
            while !is_seen() {
                if let Err(broadcast::error::RecvError::Closed) = changes.recv().await {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(SEEN_DEADLINE, seen).await;
    }

    fn look(
        &self,
        id: &StageId,
        deployment: &Deployment,
        wanted: Option<&DesiredStage>,
        config_maps: &[String],
    ) -> ObservedStage {
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let replicas = u32::try_from(replicas).unwrap_or(0);
        let has = annotation(deployment);
        let hash = match wanted {
            Some(wanted) if self.is_as_applied(id, deployment, wanted, replicas, config_maps) => {
                wanted.hash.clone()
            }
            // Edited by hand, or by an operator with other settings: any text that is no hash of ours.
            Some(wanted) if has == wanted.hash => format!("{has}, but not as applied"),
            _ => has,
        };
        let wanted = if deployment.metadata.deletion_timestamp.is_some() { 0 } else { replicas };
        ObservedStage { hash, wanted, replicas: Vec::new(), fault: pods::deployment_fault(deployment) }
    }

    fn is_as_applied(
        &self,
        id: &StageId,
        deployment: &Deployment,
        wanted: &DesiredStage,
        replicas: u32,
        config_maps: &[String],
    ) -> bool {
        let mut expected = self.shape.deployment(id, wanted);
        // Their number is compared on its own.
        if let Some(spec) = &mut expected.spec {
            spec.replicas = i32::try_from(replicas).ok();
        }
        config_maps.contains(&self.shape.config_name(id, &wanted.hash))
            && covers(&expected, deployment)
            && self.has_policy(id, self.shape.network_policy(id).as_ref())
    }

    /// Deletes the ConfigMaps of a stage but the one in use.
    async fn prune(&self, id: &StageId, keep: Option<&str>) -> Result<(), Error> {
        for object in self.children.config_maps(&self.key()) {
            let name = object.name_any();
            if stage_of(object.as_ref()).as_ref() == Some(id) && keep != Some(name.as_str()) {
                self.delete::<ConfigMap>(&name, &DeleteParams::default()).await?;
            }
        }
        Ok(())
    }

    async fn apply<K>(&self, object: &K) -> Result<(), Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
    {
        let name = object.name_any();
        let api: Api<K> = self.api();
        let what = format!("apply {} {name}", K::kind(&()));
        let existing = bounded(what.clone(), api.get_metadata_opt(&name)).await?;
        if existing.is_some_and(|existing| !is_owned_by(existing.meta(), &self.shape.uid)) {
            return Err(Error::Foreign { what });
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let applied = bounded(what.clone(), api.patch(&name, &params, &Patch::Apply(object))).await?;
        // To apply it again and again wouldn't help.
        match difference(object, &applied) {
            Some(field) => Err(Error::Altered { what, field }),
            None => Ok(()),
        }
    }

    async fn create<K>(&self, object: &K) -> Result<K, Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
    {
        let what = format!("create {} {}", K::kind(&()), object.name_any());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let api: Api<K> = self.api();
        let started = Instant::now();
        loop {
            match bounded(what.clone(), api.create(&params, object)).await {
                // One that is being deleted has not gone yet.
                Err(Error::Api { source, .. })
                    if is_conflict(&source) && started.elapsed() < CALL_DEADLINE =>
                {
                    tokio::time::sleep(POLL).await;
                }
                done => return done,
            }
        }
    }

    async fn delete<K>(&self, name: &str, params: &DeleteParams) -> Result<(), Error>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = self.api();
        match bounded(format!("delete {} {name}", K::kind(&())), api.delete(name, params)).await {
            Err(Error::Api { source, .. }) if is_not_found(&source) => Ok(()),
            done => done.map(drop),
        }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.shape.pipeline.namespace)
    }

    fn key(&self) -> PipelineKey {
        let pipeline = &self.shape.pipeline;
        PipelineKey { namespace: pipeline.namespace.clone(), name: pipeline.name.clone() }
    }
}

/// Whether the object with this UID is an owner.
pub fn is_owned_by(metadata: &ObjectMeta, uid: &str) -> bool {
    metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

/// An object of that name is there already, or somebody else has written to it meanwhile.
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// There is no such object.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// A call that ends, with an error that says what was asked.
pub async fn bounded<T>(
    what: String,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(CALL_DEADLINE, call).await {
        Err(_) => Err(Error::Timeout { what }),
        Ok(done) => done.map_err(|source| {
            let hint = match &source {
                kube::Error::Api(status) if status.code == 403 && status.message.contains("quota") => {
                    "; raise the quota of the namespace, or delete what isn't needed"
                }
                kube::Error::Api(status) if status.code == 403 => {
                    "; the operator's account lacks this right: the chart's RBAC grants it"
                }
                _ => "",
            };
            Error::Api { what, hint, source: Box::new(source) }
        }),
    }
}

/// A stage of which only pods are left, or nothing.
const fn gone() -> ObservedStage {
    ObservedStage { hash: String::new(), wanted: 0, replicas: Vec::new(), fault: None }
}

fn stage_of(object: &impl Resource) -> Option<StageId> {
    let label = object.meta().labels.as_ref()?.get(STAGE_LABEL)?;
    let (kind, name) = label.split_once('-')?;
    let kind = StageKind::ALL.into_iter().find(|one| one.as_str() == kind)?;
    Some(StageId::new(kind, name))
}

fn annotation(deployment: &Deployment) -> String {
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
    let annotations = template.and_then(|metadata| metadata.annotations.as_ref());
    annotations.and_then(|annotations| annotations.get(CONFIG_HASH)).cloned().unwrap_or_default()
}
