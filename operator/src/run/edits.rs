//! What an edit of the manifest does to a run.

use std::time::Instant;

use super::{FILES_PAUSE, Run};
use crate::manifest::{self, Texts};
use crate::model::desired::Desired;

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
        match self.reconciler.take_up(desired, self.generation + 1) {
            Ok(true) => {
                self.generation += 1;
                self.screen.note("the manifest has changed");
            }
            Ok(false) => {}
            Err(message) => self.reject(message),
        }
    }

    fn reject(&mut self, message: String) {
        let said = format!("the manifest is not valid; the last valid one keeps running:\n{message}");
        if self.reconciler.reject(message, self.generation) {
            self.screen.note(&said);
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
