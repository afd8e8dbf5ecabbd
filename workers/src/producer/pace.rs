//! When the next round is due.

use std::time::{Duration, Instant};

/// How many late rounds are made up for without a pause; older ones are given up, so that a database that comes
/// back after an hour isn't met by an hour's rounds at once.
const CATCH_UP_ROUNDS: u32 = 20;

/// A steady pace: a round that was late doesn't make the next ones late.
#[derive(Clone, Debug)]
pub struct Pace {
    interval: Duration,
    due: Instant,
}

impl Pace {
    /// One round each `interval`, the first one `now`.
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, due: now }
    }

    /// How long to wait before the next round; zero when it is due.
    pub fn wait(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }

    /// A round has been made.
    pub fn advance(&mut self, now: Instant) {
        self.due += self.interval;
        if let Some(earliest) = now.checked_sub(self.interval * CATCH_UP_ROUNDS) {
            self.due = self.due.max(earliest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    /// Rounds made at once at `now`.
    fn burst(pace: &mut Pace, now: Instant) -> u32 {
        let mut rounds = 0;
        while pace.wait(now).is_zero() {
            pace.advance(now);
            rounds += 1;
        }
        rounds
    }

    #[test]
    fn a_late_round_is_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace::new(INTERVAL, start);
        assert_eq!(burst(&mut pace, start), 1);
        assert_eq!(pace.wait(start), INTERVAL);
        assert_eq!(burst(&mut pace, start + INTERVAL * 5), 5);
    }

    #[test]
    fn a_long_pause_is_followed_by_a_bounded_burst() {
        let start = Instant::now();
        let mut pace = Pace::new(INTERVAL, start);
        let rounds = burst(&mut pace, start + Duration::from_hours(1));
        assert!(rounds <= CATCH_UP_ROUNDS + 2, "{rounds}");
        assert!(rounds >= CATCH_UP_ROUNDS, "{rounds}");
    }
}
