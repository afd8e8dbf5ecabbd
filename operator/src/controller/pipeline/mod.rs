//! The task that keeps one Pipeline.

mod deletion;
mod retry;
mod taking_in;

use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_crds::pipeline::Pipeline;
use acequia_crds::pipeline::status::PipelineStatus;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject};
use kube::{Client, Resource as _, ResourceExt as _};
use tokio::sync::{broadcast, watch};

pub use self::deletion::clear_up;
use self::retry::Retry;
use super::events::{self, Reason};
use super::last_valid::LastValid;
use super::metrics::Metrics;
use super::namespaces::Going;
use super::object;
use super::settings::OperatorSettings;
use super::status::Writer;
use crate::access::Access;
use crate::desired::ConfigMaps;
use crate::kubernetes::children::{Children, PipelineKey};
use crate::kubernetes::objects::Shape;
use crate::kubernetes::{Deployments, Error};
use crate::model::desired::Desired;
use crate::reconcile::{Reconciler, Turn};
use crate::stages::Stages;

/// How often a loop turns when nothing happens.
const TICK: Duration = Duration::from_secs(1);
/// How often the ConfigMaps that a Pipeline refers to are read again.
const CONFIG_MAPS_PAUSE: Duration = Duration::from_secs(30);
/// The same while one of them isn't there: it may have been applied after the Pipeline.
const MISSING_PAUSE: Duration = Duration::from_secs(3);

/// What all tasks share.
pub struct Office {
    /// The API server.
    pub client: Client,
    /// What Pipelines own there.
    pub children: Arc<Children>,
    /// Which servers may be reached.
    pub access: Arc<Access>,
    /// What the administrator says.
    pub settings: OperatorSettings,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Changes when the operator ends.
    pub stopping: watch::Receiver<bool>,
    /// Namespaces that are being deleted; None until they are known.
    pub going: watch::Receiver<Option<Going>>,
}

impl Office {
    /// What carries out a generation of the Pipeline with this UID.
    ///
    /// # Errors
    /// A server isn't allowed; a sentence.
    pub fn reconciler(&self, wanted: Desired, generation: i64, uid: String) -> Result<Reconciler, String> {
        let shape = Shape { pipeline: wanted.identity.clone(), uid, settings: self.settings.workers.clone() };
        let deployments = Deployments::new(self.client.clone(), Arc::clone(&self.children), shape)
            .map_err(|error| format!("no HTTP client can be made: {error}"))?;
        let stages = Arc::new(Stages::Deployments(Box::new(deployments)));
        let reconciler = Reconciler::new(wanted, generation, Arc::clone(&self.access), stages);
        reconciler.map_err(|error| error.to_string())
    }

    /// Waits until it is known what there is in the cluster.
    pub async fn ready(&self) {
        self.children.ready().await;
        // It is closed only when the program ends.
        let _ = self.going.clone().wait_for(Option::is_some).await;
    }

    /// Whether this namespace is being deleted.
    pub fn namespace_goes(&self, name: &str) -> bool {
        self.going.borrow().as_ref().is_some_and(|going| going.contains(name))
    }

    /// When the operator ends, if it goes with its namespace.
    pub fn ends_at(&self) -> Option<Instant> {
        self.going.borrow().as_ref().and_then(|going| going.ends_at)
    }

    /// The operator's own pod, unless its namespace goes too: what Events are about that can't be written elsewhere.
    fn own_pod(&self) -> Option<ObjectReference> {
        let pod = events::own_pod()?;
        let is_going = pod.namespace.as_ref().is_some_and(|own| self.namespace_goes(own));
        (!is_going).then_some(pod)
    }
}

/// Keeps one Pipeline.
pub struct Keeper {
    office: Arc<Office>,
    key: PipelineKey,
    objects: watch::Receiver<Option<Arc<DynamicObject>>>,
    about: ObjectReference,
    reconciler: Option<Reconciler>,
    writer: Writer,
    /// Generation and ConfigMaps that were read last.
    read: Option<(i64, ConfigMaps)>,
    read_at: Instant,
    config_maps_pause: Duration,
    kept: Option<LastValid>,
    /// What is said while no generation could be carried out yet.
    never_valid: Option<PipelineStatus>,
    /// While it is being deleted: when it is let go, whatever is left.
    let_go_at: Option<Instant>,
    /// The version of the object that the finalizer was put on again for.
    held_again: Option<String>,
    /// Reading the object, and keeping what was read.
    taking_in: Retry,
    /// The status.
    writing: Retry,
    /// All else.
    stepping: Retry,
    told: events::Told,
}

/// Whether there is anything more to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Gone,
}

impl Keeper {
    /// Nothing is called yet.
    pub fn new(
        office: Arc<Office>,
        key: PipelineKey,
        objects: watch::Receiver<Option<Arc<DynamicObject>>>,
    ) -> Self {
        let object = objects.borrow().clone();
        let status = object.as_ref().and_then(|object| object::status(object));
        let about = object.map(|object| object.object_ref(&ApiResource::erase::<Pipeline>(&())));
        Self {
            office,
            key,
            objects,
            about: about.unwrap_or_default(),
            reconciler: None,
            writer: Writer::of(status),
            read: None,
            read_at: Instant::now(),
            config_maps_pause: CONFIG_MAPS_PAUSE,
            kept: None,
            never_valid: None,
            let_go_at: None,
            held_again: None,
            taking_in: Retry::now(),
            writing: Retry::now(),
            stepping: Retry::now(),
            told: events::Told::default(),
        }
    }

    /// Keeps it until it is gone, or the operator ends.
    pub async fn run(mut self) {
        let mut changes = self.office.children.changes();
        let mut going = self.office.going.clone();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if self.stepping.is_due() {
                match self.step().await {
                    Ok(Next::GoOn) => self.stepping = Retry::now(),
                    Ok(Next::Gone) => break,
                    Err(error) => self.stepping.later(&self.key, &error),
                }
            }
            let wake = async {
                match &mut self.reconciler {
                    Some(reconciler) => reconciler.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wake => {}
                newer = self.objects.changed() => {
                    if newer.is_err() {
                        break;
                    }
                    (self.taking_in, self.writing, self.stepping) = (Retry::now(), Retry::now(), Retry::now());
                }
                stages = children_changed(&mut changes, &self.key) => {
                    if let (true, Some(reconciler)) = (stages, &mut self.reconciler) {
                        reconciler.stages_changed();
                    }
                }
                // There is little time then.
                Ok(()) = going.changed() => {
                    if self.namespace_goes() {
                        self.stepping = Retry::now();
                    }
                }
                _ = ticks.tick() => {}
            }
        }
        let Some(reconciler) = self.reconciler else { return };
        if self.let_go_at.is_some() && !reconciler.is_settled() {
            clear_up(reconciler, &self.office).await;
        } else {
            reconciler.stop().await;
        }
    }

    /// Takes in the newest object, turns once, and tells what came of it.
    async fn step(&mut self) -> Result<Next, Error> {
        let Some(object) = self.objects.borrow_and_update().clone() else { return Ok(Next::Gone) };
        if object.metadata.deletion_timestamp.is_some() || self.namespace_goes() {
            return self.let_go(&object).await;
        }
        // What can't be read or kept just now doesn't stop what is there from being healed.
        if self.taking_in.is_due() {
            match self.take_in(&object).await {
                Ok(()) => self.taking_in = Retry::now(),
                Err(error) => self.taking_in.later(&self.key, &error),
            }
        }
        self.turn().await;
        Ok(Next::GoOn)
    }

    async fn turn(&mut self) {
        let Some(reconciler) = &mut self.reconciler else {
            if let Some(status) = self.never_valid.clone() {
                self.write_status(status).await;
            }
            return;
        };
        let began = Instant::now();
        let Turn { started, notes, news } = reconciler.turn();
        self.office.metrics.turn(began.elapsed().as_secs_f64(), &started);
        let report = reconciler.report().cloned();
        for (reason, note) in events::of_changes(&started) {
            if self.told.is_news(reason, &note, Instant::now()) {
                self.tell(reason, &note).await;
            }
        }
        for note in notes {
            self.tell(Reason::StageChanged, &note.to_string()).await;
        }
        let Some(report) = report else { return };
        if let Some(before) = news {
            self.office.metrics.report(&self.key, &report);
            let told = before.map(|before| before.refused).unwrap_or_default();
            for refusal in report.refused.iter().filter(|refusal| !told.contains(refusal)) {
                self.tell(Reason::Refused, &refusal.to_string()).await;
            }
        }
        self.write_status(report.status).await;
    }

    /// A status that can't be written keeps nothing from being healed.
    async fn write_status(&mut self, status: PipelineStatus) {
        let Some(status) = self.writer.news(&status, Instant::now()).filter(|_| self.writing.is_due()) else {
            return;
        };
        match self.writer.write(&self.office.client, &self.key, status).await {
            Ok(()) => self.writing = Retry::now(),
            Err(error) => self.writing.later(&self.key, &error),
        }
    }

    /// An Event is a courtesy: whoever misses it finds the same in the status.
    async fn tell(&self, reason: Reason, note: &str) {
        let (namespace, pipeline) = (&self.key.namespace, &self.key.name);
        tracing::info!(namespace, pipeline, reason = reason.word(), note);
        let published = if self.namespace_goes() {
            // Nothing can be created there any more.
            let Some(pod) = self.office.own_pod().filter(|_| reason.is_warning()) else { return };
            let note = format!("Pipeline {namespace}/{pipeline}: {note}");
            events::publish(&self.office.client, &pod, Some(&self.about), reason, &note).await
        } else {
            events::publish(&self.office.client, &self.about, None, reason, note).await
        };
        if let Err(error) = published {
            tracing::warn!(namespace, pipeline, %error, "an Event could not be published");
        }
    }

    /// It goes with its namespace.
    fn namespace_goes(&self) -> bool {
        let created = self.objects.borrow().as_ref().and_then(|object| object.creation_timestamp());
        let going = self.office.going.borrow();
        going.as_ref().is_some_and(|going| going.takes(&self.key.namespace, created.map(|time| time.0)))
    }
}

/// Waits for a change of a child. False: of another Pipeline's.
async fn children_changed(changes: &mut broadcast::Receiver<PipelineKey>, key: &PipelineKey) -> bool {
    loop {
        match changes.recv().await {
            Ok(of) if of == *key => return true,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return true,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
