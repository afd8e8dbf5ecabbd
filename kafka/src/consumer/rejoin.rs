//! Whether a member that was put out of its group comes back.
//!
//! librdkafka 2.12.1 was seen to stay outside for good: a session that timed out while the coordinator was away, no member in
//! the group any more, and no request to join it, however long brokers answered. Only another client helps then.

use std::time::{Duration, Instant};

use super::Rebalance;

/// While brokers answer, a member is back within this time: the longest that the others may take to meet is shorter.
const BACK_WITHIN: Duration = Duration::from_secs(45);
/// How often brokers are asked meanwhile.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Rejoin {
    is_outside: bool,
    ask_at: Option<Instant>,
    answering_since: Option<Instant>,
}

impl Rejoin {
    /// What the group did.
    pub fn note(&mut self, change: &Rebalance, now: Instant) {
        match change {
            Rebalance::Lost(_) => {
                *self = Self { is_outside: true, ask_at: Some(now + ASK_EVERY), answering_since: None }
            }
            Rebalance::Assigned(_) => *self = Self::default(),
            Rebalance::Revoked(_) => {}
        }
    }

    /// Whether brokers are to be asked now whether they answer.
    pub fn is_to_ask(&self, now: Instant) -> bool {
        self.is_outside && self.ask_at.is_some_and(|at| now >= at)
    }

    /// Whether they did. True: they have for so long that this member won't come back.
    pub fn told(&mut self, answers: bool, now: Instant) -> bool {
        self.ask_at = Some(now + ASK_EVERY);
        if !answers {
            self.answering_since = None;
            return false;
        }
        now.duration_since(*self.answering_since.get_or_insert(now)) >= BACK_WITHIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds after the loss → whether brokers answer then; the first second in which it is given up.
    fn given_up(answers: impl Fn(u64) -> bool, back_at: Option<u64>) -> Option<u64> {
        let (mut rejoin, t0) = (Rejoin::default(), Instant::now());
        rejoin.note(&Rebalance::Lost(Vec::new()), t0);
        (0..200).find(|second| {
            let now = t0 + Duration::from_secs(*second);
            if back_at == Some(*second) {
                rejoin.note(&Rebalance::Assigned(Vec::new()), now);
            }
            rejoin.is_to_ask(now) && rejoin.told(answers(*second), now)
        })
    }

    #[test]
    fn a_member_that_stays_outside_while_brokers_answer_is_given_up() {
        assert_eq!(given_up(|_| true, None), Some(50));
    }

    #[test]
    fn brokers_that_are_away_give_it_more_time() {
        assert_eq!(given_up(|second| second >= 60, None), Some(105));
        assert_eq!(given_up(|_| false, None), None);
    }

    #[test]
    fn a_member_that_is_back_is_not_given_up_whatever_it_was_given() {
        assert_eq!(given_up(|_| true, Some(40)), None);
    }

    #[test]
    fn a_member_that_was_never_outside_is_not_asked_about() {
        let (mut rejoin, now) = (Rejoin::default(), Instant::now());
        rejoin.note(&Rebalance::Revoked(Vec::new()), now);
        assert!(!rejoin.is_to_ask(now + Duration::from_secs(600)));
    }
}
