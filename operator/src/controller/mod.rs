//! The operator in a cluster: one watch over Pipelines, and a task for each that keeps it.
//!
//! A task holds what is under way for its Pipeline (looks, changes, retries), so none waits for another; the newest
//! object always counts, and what is between two of them is skipped. That is why this is not kube's `Controller`, whose
//! reconciler starts from nothing each time.

mod crew;
mod events;
mod last_valid;
mod leftovers;
mod metrics;
mod namespaces;
mod object;
mod pipeline;
mod release;
mod service;
mod settings;
mod status;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use acequia_crds::pipeline::Pipeline;
use futures::{Stream, StreamExt as _};
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use self::release::release;
pub use self::settings::{Error as SettingsError, OperatorSettings};

use self::crew::Crew;
use self::metrics::Metrics;
use self::namespaces::Going;
use self::pipeline::Office;
use crate::access::Access;
use crate::calls::Calls;
use crate::kubernetes::children::Children;

/// Pipelines that are gone, found and not yet taken up.
const LEFTOVERS: usize = 16;

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
    let calls = Calls::new();
    let metrics = Arc::new(Metrics::new(&calls));
    service::serve(listen, Arc::clone(&metrics)).await?;
    let namespace = settings.namespace.clone();
    let children = Children::watch(&client, namespace.as_deref());
    let access: Arc<Access> = Arc::new(settings.access(calls));
    let (ending, stopping) = watch::channel(false);
    // With scope Namespaced the only one that counts is looked at when it may matter.
    let (to_go, going) = watch::channel(namespace.as_ref().map(|_| Going::default()));
    if namespace.is_none() {
        tokio::spawn(namespaces::watch(client.clone(), to_go.clone()));
    }
    let office = Office { client: client.clone(), children, access, settings, metrics, stopping, going };
    let office = Arc::new(office);
    tokio::pin!(stop);
    let is_known = tokio::select! {
        () = office.ready() => true,
        () = &mut stop => false,
    };
    let mut crew = Crew::new(office);
    let resource = ApiResource::erase::<Pipeline>(&());
    let pipelines: Api<DynamicObject> = match &namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    // Untyped, so that one object that this version can't read doesn't hide all the others.
    let mut events = std::pin::pin!(watcher(pipelines, watcher::Config::default()).default_backoff());
    if is_known {
        keep(&mut crew, &mut events, stop).await?;
    }
    namespaces::when_told_to_stop(&client, namespace.as_deref(), &to_go).await;
    ending.send_replace(true);
    crew.end(events).await;
    Ok(())
}

/// Hands over what happens to Pipelines, until `stop` ends.
async fn keep(
    crew: &mut Crew,
    events: &mut (impl Stream<Item = Result<watcher::Event<DynamicObject>, watcher::Error>> + Unpin),
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), Error> {
    // It ends with this.
    let (found, mut half_removed) = mpsc::channel(LEFTOVERS);
    let (mut search, mut to_search) = (JoinSet::new(), Some(found));
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => {
                    let is_listed = matches!(event, watcher::Event::InitDone);
                    crew.take(event);
                    // Once; what this operator begins it goes on with by itself.
                    if let Some(found) = to_search.take_if(|_| is_listed) {
                        search.spawn(leftovers::search(crew.office(), crew.namespaces(), found));
                    }
                }
                Some(Err(error)) => tracing::warn!(%error, "the watch over Pipelines was interrupted and goes on"),
                None => return Err(Error::WatchEnded),
            },
            () = crew.ended() => {}
            Some(leftover) = half_removed.recv() => crew.see_through(leftover),
            () = &mut stop => return Ok(()),
        }
    }
}
