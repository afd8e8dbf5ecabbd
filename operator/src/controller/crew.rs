//! The tasks that keep Pipelines.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::leftovers::Leftover;
use super::pipeline::{Keeper, Office, clear_up};
use crate::kubernetes::children::PipelineKey;

/// How long the tasks may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// The same after Pipelines were seen off, which ends by itself.
const SEEN_OFF_DEADLINE: Duration = Duration::from_secs(4);

/// How long an operator that goes with its namespace waits until it knows what there is.
const READY_DEADLINE: Duration = Duration::from_secs(3);

/// The tasks, one for each Pipeline.
pub struct Crew {
    office: Arc<Office>,
    keepers: HashMap<PipelineKey, Post>,
    /// Those whose Pipeline is gone and that may still take away what it left.
    leaving: HashMap<PipelineKey, AbortHandle>,
    tasks: JoinSet<PipelineKey>,
    /// All Pipelines that there are have been told of once.
    listed: bool,
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
    /// Nobody is kept yet.
    pub fn new(office: Arc<Office>) -> Self {
        Self {
            office,
            keepers: HashMap::new(),
            leaving: HashMap::new(),
            tasks: JoinSet::new(),
            listed: false,
        }
    }

    /// What all tasks share.
    pub fn office(&self) -> Arc<Office> {
        Arc::clone(&self.office)
    }

    /// Takes in what the watch over Pipelines tells.
    pub fn take(&mut self, event: watcher::Event<DynamicObject>) {
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
                self.listed = true;
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
    pub fn namespaces(&self) -> BTreeSet<String> {
        match &self.office.settings.namespace {
            Some(namespace) => BTreeSet::from([namespace.clone()]),
            None => self.keepers.keys().map(|key| key.namespace.clone()).collect(),
        }
    }

    /// Goes on with removals that a former operator began. A Pipeline that is there sees to its own.
    pub fn see_through(&mut self, leftover: Leftover) {
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
        let (of, office) = (key.clone(), Arc::clone(&self.office));
        let task = self.tasks.spawn(async move {
            clear_up(reconciler, &office).await;
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

    /// Waits until a task ends; for ever while there is none.
    pub async fn ended(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(key)) => tracing::info!(namespace = key.namespace, pipeline = key.name, "no longer kept"),
            Some(Err(error)) if error.is_cancelled() => {}
            Some(Err(error)) => tracing::error!(%error, "a task that kept a Pipeline ended abnormally"),
            None => std::future::pending().await,
        }
    }

    /// Ends all tasks. When the operator goes with its namespace, those of Pipelines there see them off before.
    pub async fn end(
        mut self,
        mut events: impl Stream<Item = Result<watcher::Event<DynamicObject>, watcher::Error>> + Unpin,
    ) {
        let ends_at = self.office.ends_at();
        let all = async {
            if ends_at.is_some() {
                self.see_off(&mut events).await;
            }
            self.keepers.clear();
            while !self.tasks.is_empty() {
                self.ended().await;
            }
        };
        let deadline = ends_at.map_or_else(|| Instant::now() + STOP_DEADLINE, |at| at + SEEN_OFF_DEADLINE);
        if tokio::time::timeout_at(deadline.into(), all).await.is_err() {
            tracing::warn!("some changes were still under way; the next operator sees what became of them");
        }
    }

    async fn see_off(
        &mut self,
        events: &mut (impl Stream<Item = Result<watcher::Event<DynamicObject>, watcher::Error>> + Unpin),
    ) {
        // Without them nobody would wait for workers that still write.
        let _ = tokio::time::timeout(READY_DEADLINE, self.office.ready()).await;
        let office = Arc::clone(&self.office);
        let is_there =
            |object: &DynamicObject| office.namespace_goes(&object.namespace().unwrap_or_default());
        self.keepers.retain(|key, _| office.namespace_goes(&key.namespace));
        while !(self.listed && self.all_have_ended()) {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)))
                        if !is_there(&object) => {}
                    Some(Ok(event)) => self.take(event),
                    Some(Err(error)) => tracing::warn!(%error, "the watch over Pipelines was interrupted and goes on"),
                    None => break,
                },
                () = self.ended() => {}
            }
        }
    }

    fn all_have_ended(&self) -> bool {
        self.keepers
            .values()
            .map(|post| &post.task)
            .chain(self.leaving.values())
            .all(AbortHandle::is_finished)
    }
}

fn key_of(object: &DynamicObject) -> PipelineKey {
    PipelineKey { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}
