//! The task that keeps one Pipeline.

mod deletion;

use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_crds::lint::Place;
use acequia_crds::names::PipelineId;
use acequia_crds::pipeline::Pipeline;
use acequia_crds::pipeline::status::PipelineStatus;
use acequia_crds::problem::Problem;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject};
use kube::{Client, Resource as _, ResourceExt as _};
use tokio::sync::{broadcast, watch};

pub use self::deletion::clear_up;
use super::events::{self, Reason};
use super::last_valid::LastValid;
use super::metrics::Metrics;
use super::object::{self, config_maps, set_finalizer};
use super::settings::OperatorSettings;
use super::status::Writer;
use crate::access::Access;
use crate::debezium::SecretReferences;
use crate::desired::{Addresses, ConfigMaps, Settings, desired};
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
/// Waits after the API server refused something: from, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

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
    kept: Option<LastValid>,
    deleting_since: Option<Instant>,
    /// Reading the object, and keeping what was read.
    taking_in: Retry,
    /// All else.
    stepping: Retry,
    told: events::Told,
}

/// What is tried again after the API server refused.
struct Retry {
    failures: u32,
    at: Instant,
}

impl Retry {
    fn now() -> Self {
        Self { failures: 0, at: Instant::now() }
    }

    fn is_due(&self) -> bool {
        Instant::now() >= self.at
    }

    /// Twice as long after each failure.
    fn later(&mut self, of: &PipelineKey, error: &Error) {
        let wait = RETRY.0.saturating_mul(1 << self.failures.min(10)).min(RETRY.1);
        self.failures = self.failures.saturating_add(1);
        self.at = Instant::now() + wait;
        tracing::warn!(namespace = of.namespace, pipeline = of.name, %error, "tried again in {} s", wait.as_secs());
    }
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
            kept: None,
            deleting_since: None,
            taking_in: Retry::now(),
            stepping: Retry::now(),
            told: events::Told::default(),
        }
    }

    /// Keeps it until it is gone, or the operator ends.
    pub async fn run(mut self) {
        let mut changes = self.office.children.changes();
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
                    (self.taking_in, self.stepping) = (Retry::now(), Retry::now());
                }
                stages = children_changed(&mut changes, &self.key) => {
                    if let (true, Some(reconciler)) = (stages, &mut self.reconciler) {
                        reconciler.stages_changed();
                    }
                }
                _ = ticks.tick() => {}
            }
        }
        let Some(reconciler) = self.reconciler else { return };
        if self.deleting_since.is_some() && !reconciler.is_settled() {
            clear_up(reconciler, self.office.stopping.clone()).await;
        } else {
            reconciler.stop().await;
        }
    }

    /// Takes in the newest object, turns once, and tells what came of it.
    async fn step(&mut self) -> Result<Next, Error> {
        let Some(object) = self.objects.borrow_and_update().clone() else { return Ok(Next::Gone) };
        if object.metadata.deletion_timestamp.is_some() {
            return self.let_go(&object).await;
        }
        // What can't be read or kept just now doesn't stop what is there from being healed.
        if self.taking_in.is_due() {
            match self.take_in(&object).await {
                Ok(()) => self.taking_in = Retry::now(),
                Err(error) => self.taking_in.later(&self.key, &error),
            }
        }
        self.turn().await?;
        Ok(Next::GoOn)
    }

    /// Reads the object, if it or its ConfigMaps may have changed.
    async fn take_in(&mut self, object: &DynamicObject) -> Result<(), Error> {
        let generation = object.metadata.generation.unwrap_or_default();
        let same = self.read.as_ref().is_some_and(|(read, _)| *read == generation);
        if same && self.read_at.elapsed() < CONFIG_MAPS_PAUSE {
            return Ok(());
        }
        let pipeline = object::read(object);
        let maps = match &pipeline {
            Ok(pipeline) => config_maps(&self.office.client, &self.key.namespace, &pipeline.spec).await?,
            Err(_) => ConfigMaps::new(),
        };
        self.read_at = Instant::now();
        if same && self.read.as_ref().is_some_and(|(_, read)| *read == maps) {
            return Ok(());
        }
        let wanted = pipeline.map_err(|problem| vec![problem]).and_then(|pipeline| {
            desired(&pipeline, &maps, &self.settings()).map(|desired| (pipeline, desired))
        });
        match wanted {
            Ok((pipeline, wanted)) => {
                set_finalizer(&self.office.client, object, true).await?;
                match self.take_up(object, wanted, generation) {
                    Ok(()) => self.keep(object, &pipeline, &maps, generation).await?,
                    Err(message) => self.reject(object, message, generation).await?,
                }
            }
            Err(problems) => self.reject(object, sentence(&problems), generation).await?,
        }
        self.read = Some((generation, maps));
        Ok(())
    }

    fn settings(&self) -> Settings {
        Settings {
            cluster: self.office.settings.cluster.clone(),
            namespace: self.key.namespace.clone(),
            secrets: SecretReferences::in_namespace(&self.key.namespace),
            place: Place::Cluster,
            addresses: Addresses::default(),
        }
    }

    fn id(&self) -> PipelineId {
        PipelineId {
            cluster: self.office.settings.cluster.clone(),
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
        }
    }

    fn take_up(&mut self, object: &DynamicObject, wanted: Desired, generation: i64) -> Result<(), String> {
        if let Some(reconciler) = &mut self.reconciler {
            return reconciler.take_up(wanted, generation).map(drop);
        }
        let mut reconciler = self.office.reconciler(wanted, generation, object.uid().unwrap_or_default())?;
        reconciler.said_before(self.writer.written().cloned());
        self.reconciler = Some(reconciler);
        Ok(())
    }

    /// Remembers a generation that could be carried out.
    async fn keep(
        &mut self,
        object: &DynamicObject,
        pipeline: &Pipeline,
        maps: &ConfigMaps,
        generation: i64,
    ) -> Result<(), Error> {
        let now = LastValid { generation, spec: pipeline.spec.clone(), config_maps: maps.clone() };
        if self.kept.as_ref() == Some(&now) {
            return Ok(());
        }
        let client = &self.office.client;
        let id = self.id();
        if LastValid::read(client, &id).await?.as_ref() != Some(&now) {
            now.write(client, &id, &object.uid().unwrap_or_default()).await?;
        }
        self.kept = Some(now);
        Ok(())
    }

    /// The object says what can't be: the last valid generation goes on.
    async fn reject(
        &mut self,
        object: &DynamicObject,
        message: String,
        generation: i64,
    ) -> Result<(), Error> {
        if self.reconciler.is_none() {
            self.revive(object).await?;
        }
        let is_new = match &mut self.reconciler {
            Some(reconciler) => reconciler.reject(message.clone(), generation),
            None => true,
        };
        if self.reconciler.is_none() {
            let before = self.writer.written();
            let status = crate::status::never_valid(&message, generation, before, &now());
            self.write_status(status).await?;
        }
        if is_new {
            self.tell(Reason::InvalidSpec, &message).await;
        }
        Ok(())
    }

    /// Takes up what another operator kept of the last valid generation, if there is anything.
    async fn revive(&mut self, object: &DynamicObject) -> Result<(), Error> {
        let Some(kept) = LastValid::read(&self.office.client, &self.id()).await? else { return Ok(()) };
        let mut pipeline = Pipeline::new(&self.key.name, kept.spec.clone());
        pipeline.metadata = object.metadata.clone();
        if let Ok(wanted) = desired(&pipeline, &kept.config_maps, &self.settings())
            && self.take_up(object, wanted, kept.generation).is_ok()
        {
            self.kept = Some(kept);
        }
        Ok(())
    }

    async fn turn(&mut self) -> Result<(), Error> {
        let Some(reconciler) = &mut self.reconciler else { return Ok(()) };
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
        let Some(report) = report else { return Ok(()) };
        if let Some(before) = news {
            self.office.metrics.report(&self.key, &report);
            let told = before.map(|before| before.refused).unwrap_or_default();
            for refusal in report.refused.iter().filter(|refusal| !told.contains(refusal)) {
                self.tell(Reason::Refused, &refusal.to_string()).await;
            }
        }
        self.write_status(report.status).await
    }

    async fn write_status(&mut self, status: PipelineStatus) -> Result<(), Error> {
        match self.writer.news(&status, Instant::now()) {
            Some(status) => self.writer.write(&self.office.client, &self.key, status).await,
            None => Ok(()),
        }
    }

    /// An Event is a courtesy: whoever misses it finds the same in the status.
    async fn tell(&self, reason: Reason, note: &str) {
        let (namespace, pipeline) = (&self.key.namespace, &self.key.name);
        tracing::info!(namespace, pipeline, reason = reason.word(), note);
        if let Err(error) = events::publish(&self.office.client, &self.about, reason, note).await {
            tracing::warn!(namespace, pipeline, %error, "an Event could not be published");
        }
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

fn sentence(problems: &[Problem]) -> String {
    let sentences: Vec<String> = problems.iter().map(ToString::to_string).collect();
    sentences.join(" | ")
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
