//! Waiting for a condition, never for a time.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks at something until it is as wanted; fails with what was seen last when the time is up.
///
/// # Panics
/// When the time is up: it is a test that waits.
pub fn until<T: Debug>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> T,
    is_wanted: impl Fn(&T) -> bool,
) -> T {
    let started = Instant::now();
    loop {
        let seen = look();
        if is_wanted(&seen) {
            return seen;
        }
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}; seen last: {seen:?}");
        thread::sleep(LOOK_EVERY);
    }
}
