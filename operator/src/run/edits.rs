//! What an edit of the manifest does to a run.

use std::sync::Arc;
use std::time::Instant;

use super::{FILES_PAUSE, Run, clients};
use crate::cluster::Cluster;
use crate::manifest;
use crate::model::desired::Desired;
use crate::observe::kafka::Subject;
use crate::run::parts::PartKey;

impl Run {
    /// Reads the files again, at most once a second.
    pub(super) fn reread(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        if self.files_read.elapsed() < FILES_PAUSE {
            return;
        }
        self.files_read = Instant::now();
        let loaded = match manifest::read(&watch.paths) {
            Ok(texts) if texts == watch.texts => return,
            Ok(texts) => {
                let loaded = manifest::load(&texts, &watch.settings);
                watch.texts = texts;
                loaded
            }
            Err(error) => Err(error),
        };
        match loaded {
            Ok(manifest) => self.take_up(manifest.desired),
            Err(error) => self.reject(error.to_string()),
        }
    }

    fn take_up(&mut self, desired: Desired) {
        if desired.identity != self.desired.identity {
            let (old, new) = (&self.desired.identity, &desired.identity);
            let message =
                format!("the Pipeline was {old} and is now {new}; stop this run and start one for it");
            return self.reject(message);
        }
        let connects = match clients(&desired) {
            Ok(connects) => connects,
            Err(error) => return self.reject(error.to_string()),
        };
        if desired.kafka != self.desired.kafka {
            self.tools.cluster = Arc::new(Cluster::new(desired.kafka.clone(), self.secrets.clone()));
            self.tools.kafka = desired.kafka.clone();
            self.parts.forget_kafka(Instant::now());
        }
        // A topic that nobody asked about would look as if it weren't there.
        if Subject::of(&desired) != Subject::of(&self.desired) {
            self.parts.forget_kafka(Instant::now());
        }
        self.tools.connects = connects;
        self.invalid = None;
        if desired != *self.desired {
            self.generation += 1;
            self.lanes.forget_failures();
            self.parts.outdated(PartKey::Kafka);
            self.screen.note("the manifest has changed");
            self.desired = Arc::new(desired);
            self.outdate_connects();
        }
    }

    fn reject(&mut self, message: String) {
        if self.invalid.as_ref() != Some(&message) {
            self.screen
                .note(&format!("the manifest is not valid; the last valid one keeps running:\n{message}"));
            self.invalid = Some(message);
        }
    }
}
