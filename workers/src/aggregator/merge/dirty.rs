//! Which values an output doesn't have yet.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::state::GroupKey;

/// Groups whose values are to be written to one output, of one partials partition.
#[derive(Debug, Default)]
pub struct Dirty {
    /// Group → lowest offset of a change that the output doesn't have.
    waiting: HashMap<GroupKey, i64, RandomState>,
    in_flight: HashMap<GroupKey, i64, RandomState>,
}

impl Dirty {
    /// A group has changed at this offset.
    pub fn add(&mut self, key: GroupKey, offset: i64) {
        let since = self.waiting.entry(key).or_insert(offset);
        *since = (*since).min(offset);
    }

    /// Whether a group is waiting that `is_due`.
    pub fn any(&self, is_due: impl Fn(&GroupKey) -> bool) -> bool {
        self.waiting.keys().any(is_due)
    }

    /// Takes the groups that are due, at most `most`, into the batch that is on its way.
    pub fn take(&mut self, most: usize, is_due: impl Fn(&GroupKey) -> bool) -> Vec<GroupKey> {
        let due: Vec<GroupKey> = self.waiting.keys().filter(|key| is_due(key)).take(most).cloned().collect();
        for key in &due {
            if let Some(since) = self.waiting.remove(key) {
                self.in_flight.insert(key.clone(), since);
            }
        }
        due
    }

    /// The batch that was on its way is in the output.
    pub fn written(&mut self) {
        self.in_flight.clear();
    }

    /// Every change below this offset is in the output; `next` is the offset after the last change.
    pub fn flushed(&self, next: i64) -> i64 {
        self.waiting.values().chain(self.in_flight.values()).copied().min().unwrap_or(next)
    }

    /// Groups that wait or are on their way.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.len()
    }

    /// Whether the output has everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pane_ms: i64) -> GroupKey {
        (pane_ms, (*b"[]").into())
    }

    #[test]
    fn what_is_flushed_ends_at_the_first_change_that_the_output_does_not_have() {
        let mut dirty = Dirty::default();
        assert_eq!(dirty.flushed(10), 10);
        dirty.add(key(0), 7);
        dirty.add(key(0), 9);
        dirty.add(key(30), 8);
        assert_eq!(dirty.take(10, |key| key.0 == 0), [key(0)]);
        assert_eq!(dirty.flushed(10), 7, "a batch on its way isn't there yet");
        dirty.add(key(0), 12);
        dirty.written();
        assert_eq!((dirty.flushed(13), dirty.len()), (8, 2));
        assert_eq!(dirty.take(1, |_| true).len(), 1);
        assert!(dirty.any(|_| true) && !dirty.is_empty());
    }
}
