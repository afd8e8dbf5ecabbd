//! What the object says: read, taken up, kept as the last valid generation, or rejected.

use std::time::Instant;

use acequia_crds::lint::Place;
use acequia_crds::names::PipelineId;
use acequia_crds::pipeline::Pipeline;
use acequia_crds::problem::Problem;
use kube::ResourceExt as _;
use kube::api::DynamicObject;

use super::{CONFIG_MAPS_PAUSE, Keeper, MISSING_PAUSE, now};
use crate::controller::events::Reason;
use crate::controller::last_valid::LastValid;
use crate::controller::object::{self, Finalizer, config_map_names, config_maps, set_finalizer};
use crate::debezium::SecretReferences;
use crate::desired::{Addresses, ConfigMaps, Settings, desired};
use crate::kubernetes::Error;
use crate::model::desired::Desired;

impl Keeper {
    /// Reads the object, if it or its ConfigMaps may have changed.
    pub(super) async fn take_in(&mut self, object: &DynamicObject) -> Result<(), Error> {
        self.hold_again(object).await?;
        let generation = object.metadata.generation.unwrap_or_default();
        let same = self.read.as_ref().is_some_and(|(read, _)| *read == generation);
        if same && self.read_at.elapsed() < self.config_maps_pause {
            return Ok(());
        }
        let pipeline = object::read(object);
        let maps = match &pipeline {
            Ok(pipeline) => config_maps(&self.office.client, &self.key.namespace, &pipeline.spec).await?,
            Err(_) => ConfigMaps::new(),
        };
        self.read_at = Instant::now();
        let lacks_one = pipeline.as_ref().is_ok_and(|pipeline| {
            config_map_names(&pipeline.spec).iter().any(|name| !maps.contains_key(*name))
        });
        self.config_maps_pause = if lacks_one { MISSING_PAUSE } else { CONFIG_MAPS_PAUSE };
        if same && self.read.as_ref().is_some_and(|(_, read)| *read == maps) {
            return self.keep_again(object).await;
        }
        let wanted = pipeline.map_err(|problem| vec![problem]).and_then(|pipeline| {
            desired(&pipeline, &maps, &self.settings()).map(|desired| (pipeline, desired))
        });
        match wanted {
            Ok((pipeline, wanted)) => {
                // One that was released is held again by the next operator, not by the one that goes.
                if self.kept.is_none() || !object::was_released(object) {
                    set_finalizer(&self.office.client, object, Finalizer::On).await?;
                }
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

    /// Puts the finalizer back that somebody has taken off a Pipeline that is kept, as `kubectl replace` does.
    pub(super) async fn hold_again(&mut self, object: &DynamicObject) -> Result<(), Error> {
        let version = object.resource_version();
        let is_held = object::has_finalizer(object) || self.held_again == version;
        if self.kept.is_none() || is_held || object::was_released(object) {
            return Ok(());
        }
        set_finalizer(&self.office.client, object, Finalizer::On).await?;
        // Until the object that has it comes by the watch.
        self.held_again = version;
        Ok(())
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            cluster: self.office.settings.cluster.clone(),
            namespace: self.key.namespace.clone(),
            secrets: SecretReferences::in_namespace(&self.key.namespace),
            place: Place::Cluster,
            addresses: Addresses::default(),
        }
    }

    pub(super) fn id(&self) -> PipelineId {
        PipelineId {
            cluster: self.office.settings.cluster.clone(),
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
        }
    }

    pub(super) fn take_up(
        &mut self,
        object: &DynamicObject,
        wanted: Desired,
        generation: i64,
    ) -> Result<(), String> {
        if let Some(reconciler) = &mut self.reconciler {
            return reconciler.take_up(wanted, generation).map(drop);
        }
        let mut reconciler = self.office.reconciler(wanted, generation, object.uid().unwrap_or_default())?;
        reconciler.said_before(self.writer.written().cloned());
        self.reconciler = Some(reconciler);
        Ok(())
    }

    /// Remembers a generation that could be carried out.
    pub(super) async fn keep(
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
        let (client, id, uid) = (&self.office.client, self.id(), object.uid().unwrap_or_default());
        if LastValid::read(client, &id, &uid).await?.as_ref() != Some(&now) {
            now.write(client, &id, &uid).await?;
        }
        self.kept = Some(now);
        Ok(())
    }

    /// Puts back what is kept, if somebody has deleted it.
    pub(super) async fn keep_again(&self, object: &DynamicObject) -> Result<(), Error> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let (client, id, uid) = (&self.office.client, self.id(), object.uid().unwrap_or_default());
        if LastValid::is_among(&self.office.children.config_maps(&self.key), &id, &uid) {
            return Ok(());
        }
        kept.write(client, &id, &uid).await
    }

    /// The object says what can't be: the last valid generation goes on.
    pub(super) async fn reject(
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
            self.office.metrics.never_valid(&self.key);
            self.never_valid = Some(status);
        }
        if is_new {
            self.tell(Reason::InvalidSpec, &message).await;
        }
        Ok(())
    }

    /// Takes up what another operator kept of the last valid generation, if there is anything.
    pub(super) async fn revive(&mut self, object: &DynamicObject) -> Result<(), Error> {
        let uid = object.uid().unwrap_or_default();
        let kept = LastValid::read(&self.office.client, &self.id(), &uid).await?;
        let Some(kept) = kept else { return Ok(()) };
        // It may have been released by the operator before.
        if object.metadata.deletion_timestamp.is_none() {
            set_finalizer(&self.office.client, object, Finalizer::On).await?;
        }
        let mut pipeline = Pipeline::new(&self.key.name, kept.spec.clone());
        pipeline.metadata = object.metadata.clone();
        if let Ok(wanted) = desired(&pipeline, &kept.config_maps, &self.settings())
            && self.take_up(object, wanted, kept.generation).is_ok()
        {
            self.kept = Some(kept);
        }
        Ok(())
    }
}

fn sentence(problems: &[Problem]) -> String {
    let sentences: Vec<String> = problems.iter().map(ToString::to_string).collect();
    sentences.join(" | ")
}
