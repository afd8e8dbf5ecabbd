//! What an edit of the manifest does to a run.

use std::sync::Arc;
use std::time::Instant;

use super::{FILES_PAUSE, Run, clients};
use crate::cluster::Cluster;
use crate::manifest::{self, Texts};
use crate::model::desired::Desired;
use crate::observe::kafka::Subject;
use crate::run::parts::PartKey;

/// What was read of the files. Nothing is known after they couldn't be read, so that what comes next is taken up even
/// if it is what was there before.
#[derive(Default)]
pub(super) struct Readings {
    taken_up: Option<Texts>,
    last: Option<Texts>,
}

impl Readings {
    /// The run began with these.
    pub(super) const fn of(texts: Option<Texts>) -> Self {
        Self { taken_up: texts, last: None }
    }

    /// What is to be taken up: something else than before, and read the same twice in a row, because an editor may be
    /// half through with writing it.
    fn settled(&mut self, texts: Texts) -> Option<Texts> {
        let before = self.last.replace(texts.clone());
        if self.taken_up.as_ref() == Some(&texts) || before.as_ref() != Some(&texts) {
            return None;
        }
        self.taken_up = Some(texts.clone());
        Some(texts)
    }
}

impl Run {
    /// Reads the files again, at most once a second.
    pub(super) fn reread(&mut self) {
        let Some(watch) = &self.watch else { return };
        if self.files_read.elapsed() < FILES_PAUSE {
            return;
        }
        self.files_read = Instant::now();
        let loaded = match manifest::read(&watch.paths) {
            Ok(texts) => match self.readings.settled(texts) {
                Some(texts) => manifest::load(&texts, &watch.settings),
                None => return,
            },
            Err(error) => {
                self.readings = Readings::default();
                Err(error)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Texts {
        Texts::new(vec![("pipeline.yaml".into(), text.to_owned())])
    }

    #[test]
    fn a_text_counts_once_it_was_read_the_same_twice_in_a_row() {
        let mut readings = Readings::of(Some(texts("a")));
        let mut read = |text: &str| readings.settled(texts(text)).is_some();
        assert_eq!(
            ["a", "a", "b", "bc", "bc", "bc"].map(&mut read),
            [false, false, false, false, true, false]
        );
        assert_eq!(["a", "a"].map(&mut read), [false, true], "back to what was before");
    }

    #[test]
    fn after_files_could_not_be_read_the_same_text_is_taken_up_again() {
        let mut readings = Readings::default();
        assert!(readings.settled(texts("a")).is_none());
        assert!(readings.settled(texts("a")).is_some());
    }
}
