//! What there is in the cluster that Pipelines own: a watch for each kind, shared by all of them, so that a look costs no call.

use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource, ResourceExt as _};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::objects::{MANAGED_BY, PIPELINE_LABEL};

/// Changes that a slow listener may miss; it then looks at everything.
const CHANGES: usize = 1_024;

/// Namespace and name of a Pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipelineKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Deployments, pods, ConfigMaps and NetworkPolicies of all Pipelines, as last seen.
pub struct Children {
    deployments: Store<Deployment>,
    network_policies: Store<NetworkPolicy>,
    pods: Store<Pod>,
    config_maps: Store<PartialObjectMeta<ConfigMap>>,
    changes: broadcast::Sender<PipelineKey>,
    _watches: JoinSet<()>,
}

impl Children {
    /// Watches one namespace, or all.
    pub fn watch(client: &Client, namespace: Option<&str>) -> Arc<Self> {
        let (changes, _) = broadcast::channel(CHANGES);
        let mut watches = JoinSet::new();
        let config = watcher::Config::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
        let (deployments, writer) = reflector::store();
        let stream = watcher(api(client, namespace), config.clone()).default_backoff();
        watches.spawn(follow(stream.reflect(writer), changes.clone()));
        let (pods, writer) = reflector::store();
        let stream = watcher(api(client, namespace), config.clone()).default_backoff();
        watches.spawn(follow(stream.modify(forget_bulk).reflect(writer), changes.clone()));
        let (network_policies, writer) = reflector::store();
        let stream = watcher(api(client, namespace), config.clone()).default_backoff();
        watches.spawn(follow(stream.reflect(writer), changes.clone()));
        let (config_maps, writer) = reflector::store();
        let stream =
            watcher(api::<PartialObjectMeta<ConfigMap>>(client, namespace), config).default_backoff();
        watches.spawn(follow(stream.reflect(writer), changes.clone()));
        Arc::new(Self { deployments, network_policies, pods, config_maps, changes, _watches: watches })
    }

    /// Waits until everything was seen once.
    pub async fn ready(&self) {
        // A store whose writer is gone never gets ready; its watch has ended with the program.
        let _ = tokio::join!(
            self.network_policies.wait_until_ready(),
            self.deployments.wait_until_ready(),
            self.pods.wait_until_ready(),
            self.config_maps.wait_until_ready()
        );
    }

    /// Whose children have changed, from now on.
    pub fn changes(&self) -> broadcast::Receiver<PipelineKey> {
        self.changes.subscribe()
    }

    /// The Deployments of a Pipeline.
    pub fn deployments(&self, of: &PipelineKey) -> Vec<Arc<Deployment>> {
        of_pipeline(&self.deployments, of)
    }

    /// The NetworkPolicies of a Pipeline.
    pub fn network_policies(&self, of: &PipelineKey) -> Vec<Arc<NetworkPolicy>> {
        of_pipeline(&self.network_policies, of)
    }

    /// The pods of a Pipeline.
    pub fn pods(&self, of: &PipelineKey) -> Vec<Arc<Pod>> {
        of_pipeline(&self.pods, of)
    }

    /// The ConfigMaps of a Pipeline, without what is in them.
    pub fn config_maps(&self, of: &PipelineKey) -> Vec<Arc<PartialObjectMeta<ConfigMap>>> {
        of_pipeline(&self.config_maps, of)
    }
}

/// The API of one namespace, or of all.
pub fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope>,
    <K as Resource>::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn key_of(object: &impl Resource) -> Option<PipelineKey> {
    let name = object.meta().labels.as_ref()?.get(PIPELINE_LABEL)?.clone();
    Some(PipelineKey { namespace: object.meta().namespace.clone()?, name })
}

fn of_pipeline<K>(store: &Store<K>, of: &PipelineKey) -> Vec<Arc<K>>
where
    K: Resource + Clone + 'static,
    K::DynamicType: std::hash::Hash + Eq + Clone + Default,
{
    store.state_filter(|object| {
        let meta = object.meta();
        let pipeline = meta.labels.as_ref().and_then(|labels| labels.get(PIPELINE_LABEL));
        pipeline == Some(&of.name) && meta.namespace.as_ref() == Some(&of.namespace)
    })
}

/// Fields that are never looked at and are most of a pod.
fn forget_bulk(pod: &mut Pod) {
    pod.managed_fields_mut().clear();
    pod.spec = None;
}

async fn follow<K: Resource>(
    stream: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
    changes: broadcast::Sender<PipelineKey>,
) {
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(
                watcher::Event::Apply(object)
                | watcher::Event::Delete(object)
                | watcher::Event::InitApply(object),
            ) => {
                if let Some(key) = key_of(&object) {
                    // Nobody listens before the first Pipeline is there.
                    let _ = changes.send(key);
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a watch was interrupted and goes on"),
        }
    }
}
