//! The operator in a cluster: one watch over Pipelines, and a task for each that keeps it.
//!
//! A task holds what is under way for its Pipeline (looks, changes, retries), so none waits for another; the newest
//! object always counts, and what is between two of them is skipped. That is why this is not kube's `Controller`, whose
//! reconciler starts from nothing each time.

mod events;
mod last_valid;
mod leftovers;
mod metrics;
mod object;
mod pipeline;
mod service;
mod settings;
mod status;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acequia_crds::pipeline::Pipeline;
use futures::StreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PartialObjectMeta};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

pub use self::settings::{Error as SettingsError, OperatorSettings};

use self::leftovers::Leftover;
use self::metrics::Metrics;
use self::object::Finalizer;
use self::pipeline::{Keeper, Office, clear_up};
use crate::access::Access;
use crate::kubernetes::children::{Children, PipelineKey};
use crate::kubernetes::{bounded, is_conflict};

/// How long the tasks may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// Pipelines that are gone, found and not yet taken up.
const LEFTOVERS: usize = 16;
/// How many Pipelines are released from one list.
const RELEASE_PAGE: u32 = 100;
/// How often the finalizer is tried to be taken off an object that somebody else writes at the same time.
const RELEASE_TRIES: usize = 10;

/// Why the operator can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not in a cluster, and no kubeconfig.
    #[error(
        "the API server can't be reached: {0}; run it in a pod with a service account, or set KUBECONFIG"
    )]
    Client(Box<kube::Error>),
    /// Its own port.
    #[error("can't listen on {addresses:?}: {source}")]
    Listen {
        /// Where it was tried.
        addresses: Vec<SocketAddr>,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A call failed.
    #[error(transparent)]
    Call(#[from] crate::kubernetes::Error),
    /// The watch ended.
    #[error("the watch over Pipelines ended; a restart begins a new one")]
    WatchEnded,
}

/// Keeps all Pipelines until `stop` ends.
///
/// # Errors
/// The API server can't be reached at all, or the port is taken.
pub async fn run(
    settings: OperatorSettings,
    listen: &[SocketAddr],
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let client = Client::try_default().await.map_err(|error| Error::Client(Box::new(error)))?;
    let metrics = Arc::new(Metrics::new());
    service::serve(listen, Arc::clone(&metrics)).await?;
    let namespace = settings.namespace.clone();
    let children = Children::watch(&client, namespace.as_deref());
    let access: Arc<Access> = Arc::new(settings.access());
    let (ending, stopping) = watch::channel(false);
    let office = Office { client: client.clone(), children, access, settings, metrics, stopping };
    let office = Arc::new(office);
    tokio::pin!(stop);
    tokio::select! {
        () = office.children.ready() => {}
        () = &mut stop => return Ok(()),
    }
    let mut crew = Crew { office, keepers: HashMap::new(), leaving: HashMap::new(), tasks: JoinSet::new() };
    // It ends with this.
    let (found, mut half_removed) = mpsc::channel(LEFTOVERS);
    let (mut search, mut to_search) = (JoinSet::new(), Some(found));
    let resource = ApiResource::erase::<Pipeline>(&());
    let pipelines: Api<DynamicObject> = match &namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    // Untyped, so that one object that this version can't read doesn't hide all the others.
    let mut events = std::pin::pin!(watcher(pipelines, watcher::Config::default()).default_backoff());
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => {
                    let is_listed = matches!(event, watcher::Event::InitDone);
                    crew.take(event);
                    // Once; what this operator begins it goes on with by itself.
                    if let Some(found) = to_search.take_if(|_| is_listed) {
                        search.spawn(leftovers::search(Arc::clone(&crew.office), crew.namespaces(), found));
                    }
                }
                Some(Err(error)) => tracing::warn!(%error, "the watch over Pipelines was interrupted and goes on"),
                None => return Err(Error::WatchEnded),
            },
            Some(ended) = crew.tasks.join_next() => Crew::ended(&ended),
            Some(leftover) = half_removed.recv() => crew.see_through(leftover),
            () = &mut stop => break,
        }
    }
    ending.send_replace(true);
    crew.stop().await;
    Ok(())
}

/// Takes the finalizer off all Pipelines and says off how many. An operator that still runs leaves them so, the next
/// one puts it on again.
///
/// # Errors
/// The API server can't be reached, or refused.
pub async fn release(namespace: Option<&str>) -> Result<usize, Error> {
    let client = Client::try_default().await.map_err(|error| Error::Client(Box::new(error)))?;
    let resource = ApiResource::erase::<Pipeline>(&());
    let pipelines: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let (mut released, mut refused) = (0, None);
    let mut page = ListParams::default().limit(RELEASE_PAGE);
    loop {
        // Without what is in them: there may be many.
        let list = bounded("list Pipelines".to_owned(), pipelines.list_metadata(&page)).await?;
        for object in list.items.into_iter().map(without_content).filter(object::has_finalizer) {
            match release_one(&client, object).await {
                Ok(()) => released += 1,
                Err(error) => refused = Some(error),
            }
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    refused.map_or(Ok(released), |error| Err(error.into()))
}

fn without_content(object: PartialObjectMeta<DynamicObject>) -> DynamicObject {
    DynamicObject { types: object.types, metadata: object.metadata, data: serde_json::Value::Null }
}

/// Takes the finalizer off one, however often its operator writes to it meanwhile.
async fn release_one(client: &Client, mut object: DynamicObject) -> Result<(), crate::kubernetes::Error> {
    let api = object::api(client, &object.namespace().unwrap_or_default());
    for _ in 0..RELEASE_TRIES {
        match object::set_finalizer(client, &object, Finalizer::Released).await {
            Err(crate::kubernetes::Error::Api { source, .. }) if is_conflict(&source) => {}
            done => return done,
        }
        let name = object.name_any();
        match bounded(format!("read Pipeline {name}"), api.get_opt(&name)).await? {
            Some(newer) => object = newer,
            None => return Ok(()),
        }
    }
    object::set_finalizer(client, &object, Finalizer::Released).await
}

/// The tasks, one for each Pipeline.
struct Crew {
    office: Arc<Office>,
    keepers: HashMap<PipelineKey, Post>,
    /// Those whose Pipeline is gone and that may still take away what it left.
    leaving: HashMap<PipelineKey, AbortHandle>,
    tasks: JoinSet<PipelineKey>,
}

/// The line to one task.
struct Post {
    uid: Option<String>,
    objects: watch::Sender<Option<Arc<DynamicObject>>>,
    /// Seen since the list began.
    listed: bool,
    task: AbortHandle,
}

impl Crew {
    fn take(&mut self, event: watcher::Event<DynamicObject>) {
        match event {
            watcher::Event::Init => self.keepers.values_mut().for_each(|post| post.listed = false),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => self.hand_over(object),
            watcher::Event::InitDone => {
                let gone: Vec<PipelineKey> = self
                    .keepers
                    .iter()
                    .filter(|(_, post)| !post.listed)
                    .map(|(key, _)| key.clone())
                    .collect();
                for key in &gone {
                    self.dismiss(key);
                }
                self.office.metrics.ready();
            }
            watcher::Event::Delete(object) => self.dismiss(&key_of(&object)),
        }
    }

    fn hand_over(&mut self, object: DynamicObject) {
        let (key, uid) = (key_of(&object), object.uid());
        // Deleted and made anew: another Pipeline of the same name.
        if self.keepers.get(&key).is_some_and(|post| post.uid != uid) {
            self.dismiss(&key);
        }
        let object = Arc::new(object);
        if let Some(post) = self.keepers.get_mut(&key) {
            post.listed = true;
            post.objects.send_replace(Some(object));
            return;
        }
        // It takes up what the one before left; every change that is under way can be repeated.
        if let Some(before) = self.leaving.remove(&key) {
            before.abort();
        }
        let (objects, receiver) = watch::channel(Some(Arc::clone(&object)));
        let keeper = Keeper::new(Arc::clone(&self.office), key.clone(), receiver);
        let of = key.clone();
        let task = self.tasks.spawn(async move {
            keeper.run().await;
            of
        });
        self.keepers.insert(key, Post { uid, objects, listed: true, task });
    }

    /// Those that are kept: the one, or those of all Pipelines there are.
    fn namespaces(&self) -> BTreeSet<String> {
        match &self.office.settings.namespace {
            Some(namespace) => BTreeSet::from([namespace.clone()]),
            None => self.keepers.keys().map(|key| key.namespace.clone()).collect(),
        }
    }

    /// Goes on with removals that a former operator began. A Pipeline that is there sees to its own.
    fn see_through(&mut self, leftover: Leftover) {
        let Leftover { key, wanted } = leftover;
        if self.keepers.contains_key(&key) || self.leaving.get(&key).is_some_and(|task| !task.is_finished()) {
            return;
        }
        tracing::info!(
            namespace = key.namespace,
            pipeline = key.name,
            "it is gone, and not all of it was removed"
        );
        let reconciler = match self.office.reconciler(wanted, 0, String::new()) {
            Ok(reconciler) => reconciler,
            Err(error) => return tracing::warn!(pipeline = key.name, error, "what it left can't be removed"),
        };
        let (of, stopping) = (key.clone(), self.office.stopping.clone());
        let task = self.tasks.spawn(async move {
            clear_up(reconciler, stopping).await;
            of
        });
        self.leaving.insert(key, task);
    }

    fn dismiss(&mut self, key: &PipelineKey) {
        // The closed line tells the task to end.
        if let Some(post) = self.keepers.remove(key) {
            self.leaving.insert(key.clone(), post.task);
        }
        self.leaving.retain(|_, task| !task.is_finished());
        self.office.metrics.forget(key);
    }

    fn ended(ended: &Result<PipelineKey, tokio::task::JoinError>) {
        match ended {
            Ok(key) => tracing::info!(namespace = key.namespace, pipeline = key.name, "no longer kept"),
            Err(error) if error.is_cancelled() => {}
            Err(error) => tracing::error!(%error, "a task that kept a Pipeline ended abnormally"),
        }
    }

    async fn stop(mut self) {
        self.keepers.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_DEADLINE, all).await.is_err() {
            tracing::warn!("some changes were still under way; the next operator sees what became of them");
        }
    }
}

fn key_of(object: &DynamicObject) -> PipelineKey {
    PipelineKey { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}
