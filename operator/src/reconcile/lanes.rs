//! Which lanes are at work, which have failed, and when they are tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::model::plan::{Change, Lane, Plan};

/// The first wait after a failure; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const MAX_WAIT: Duration = Duration::from_mins(1);
/// The wait before changes that were made and are due again: something keeps them from lasting, and to hurry helps
/// nobody. Example: a Deployment that is being deleted takes what is applied and goes all the same.
const REPEAT_WAIT: Duration = Duration::from_secs(5);

struct Failure {
    message: String,
    tries: u32,
    retry_at: Instant,
}

struct Finished {
    at: Instant,
    /// What was made; None when it failed.
    made: Option<Vec<Change>>,
}

/// The lanes of a run.
#[derive(Default)]
pub struct Lanes {
    busy: BTreeSet<Lane>,
    finished: BTreeMap<Lane, Finished>,
    failures: BTreeMap<Lane, Failure>,
}

impl Lanes {
    /// Whether the lane may take up these changes, which follow from looks, the oldest of which began at `seen`. What was
    /// seen before the lane's last changes were done says nothing about what they did.
    pub fn may_start(&self, lane: &Lane, changes: &[Change], seen: Instant, now: Instant) -> bool {
        let is_free = |finished: &Finished| {
            finished.at < seen
                && (finished.made.as_deref() != Some(changes) || now >= finished.at + REPEAT_WAIT)
        };
        !self.busy.contains(lane)
            && self.finished.get(lane).is_none_or(is_free)
            && self.failures.get(lane).is_none_or(|failure| failure.retry_at <= now)
    }

    /// The lane is at work from now on.
    pub fn start(&mut self, lane: Lane) {
        self.busy.insert(lane);
    }

    /// The lane is done with `changes`.
    pub fn finish(&mut self, lane: Lane, changes: Vec<Change>, now: Instant, failed: Option<String>) {
        self.busy.remove(&lane);
        let made = failed.is_none().then_some(changes);
        self.finished.insert(lane.clone(), Finished { at: now, made });
        match failed {
            None => {
                self.failures.remove(&lane);
            }
            Some(message) => {
                let tries = self.failures.get(&lane).map_or(0, |failure| failure.tries).saturating_add(1);
                self.failures.insert(lane, Failure { message, tries, retry_at: now + wait(tries) });
            }
        }
    }

    /// Forgets failures of lanes that have nothing more to do.
    pub fn forget_settled(&mut self, plan: &Plan) {
        let lanes: BTreeSet<Lane> = plan.changes.iter().map(Change::lane).collect();
        self.failures.retain(|lane, _| lanes.contains(lane) || self.busy.contains(lane));
    }

    /// Another manifest: everything is tried again at once.
    pub fn forget_failures(&mut self) {
        self.failures.clear();
    }

    /// Why each lane that failed did.
    pub fn messages(&self) -> BTreeMap<Lane, String> {
        self.failures.iter().map(|(lane, failure)| (lane.clone(), failure.message.clone())).collect()
    }

    /// No lane is at work.
    pub fn all_idle(&self) -> bool {
        self.busy.is_empty()
    }
}

fn wait(tries: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(MAX_WAIT)
}

#[cfg(test)]
mod tests {
    use acequia_crds::names::{StageId, StageKind};

    use super::*;

    #[test]
    fn waits_double_from_1_to_60_seconds() {
        let seconds: Vec<u64> = [1, 2, 3, 6, 7, 99].map(|tries| wait(tries).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60]);
    }

    #[test]
    fn a_lane_starts_only_on_what_was_seen_after_it_finished() {
        let (mut lanes, t0) = (Lanes::default(), Instant::now());
        let at = |seconds| t0 + Duration::from_secs(seconds);
        assert!(lanes.may_start(&Lane::Topics, &[], t0, t0));
        lanes.start(Lane::Topics);
        assert!(!lanes.may_start(&Lane::Topics, &[], at(1), at(1)), "it is at work");
        lanes.finish(Lane::Topics, vec![], at(5), None);
        assert!(!lanes.may_start(&Lane::Topics, &[], at(4), at(11)), "the look began before it finished");
        assert!(lanes.may_start(&Lane::Topics, &[], at(6), at(11)));
    }

    #[test]
    fn the_same_changes_once_more_wait_and_others_do_not() {
        let (mut lanes, t0) = (Lanes::default(), Instant::now());
        let at = |seconds| t0 + Duration::from_secs(seconds);
        let stop = |name: &str| vec![Change::StopStage { id: StageId::new(StageKind::Sink, name) }];
        lanes.finish(Lane::Stages, stop("a"), t0, None);
        assert!(!lanes.may_start(&Lane::Stages, &stop("a"), at(1), at(4)));
        assert!(lanes.may_start(&Lane::Stages, &stop("b"), at(1), at(1)));
        assert!(lanes.may_start(&Lane::Stages, &stop("a"), at(1), at(5)));
        lanes.finish(Lane::Stages, stop("a"), at(5), Some("no".into()));
        assert!(lanes.may_start(&Lane::Stages, &stop("a"), at(6), at(6)), "a failure has a wait of its own");
    }

    #[test]
    fn a_lane_that_failed_waits_and_then_tries_again() {
        let (mut lanes, t0) = (Lanes::default(), Instant::now());
        let at = |seconds| t0 + Duration::from_secs(seconds);
        lanes.finish(Lane::Stages, vec![], t0, Some("no".into()));
        assert!(!lanes.may_start(&Lane::Stages, &[], at(1), t0 + Duration::from_millis(999)));
        assert!(lanes.may_start(&Lane::Stages, &[], at(1), at(1)));
        assert_eq!(lanes.messages()[&Lane::Stages], "no");
        lanes.forget_settled(&Plan::default());
        assert!(lanes.messages().is_empty());
    }
}
