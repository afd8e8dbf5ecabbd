//! Crash points: the places where a worker can be made to die, so that tests can try each one.
//!
//! Each call of [`point`] is numbered by the order in which it is reached, from 1. With `ACEQUIA_CRASH_AT=n` in
//! the environment the process aborts at the n-th, without running destructors, as `kill -9` would.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

static REACHED: AtomicU64 = AtomicU64::new(0);
static CRASH_AT: OnceLock<Option<u64>> = OnceLock::new();

/// Marks a place before or after an effect. Costs one relaxed load when no crash is asked for.
pub fn point(name: &'static str) {
    let Some(crash_at) = *CRASH_AT.get_or_init(requested) else { return };
    let reached = REACHED.fetch_add(1, Ordering::SeqCst) + 1;
    if reached == crash_at {
        eprintln!("{{\"level\":\"ERROR\",\"message\":\"crash point {reached} ({name})\"}}");
        std::process::abort();
    }
}

fn requested() -> Option<u64> {
    std::env::var("ACEQUIA_CRASH_AT").ok()?.parse().ok()
}
