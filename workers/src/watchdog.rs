//! Ends the process when a call of the Kafka client doesn't come back, long after its own deadline.
//!
//! librdkafka 2.12.1 was seen to wait in `rd_kafka_send_offsets_to_transaction` for ever, whatever timeout it was given, after
//! the broker that coordinated the group had been killed. Nothing else in the process can end such a call; the next process
//! ends the transaction that is left open.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// How late a call may be.
const GRACE: Duration = Duration::from_secs(10);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Exit code of a process that was ended: that of any failure.
const EXIT: i32 = 1;

/// Calls under way: when each has to be back, and what it is.
type Calls = BTreeMap<u64, (Instant, &'static str)>;

static CALLS: Mutex<Calls> = Mutex::new(Calls::new());
static NEXT: AtomicU64 = AtomicU64::new(0);
static STARTED: Once = Once::new();

/// Makes a call that has a deadline of its own. If it isn't back well after that, the process ends.
pub fn within<T>(deadline: Duration, what: &'static str, call: impl FnOnce() -> T) -> T {
    STARTED.call_once(start);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    lock().insert(id, (Instant::now() + deadline + GRACE, what));
    let done = call();
    lock().remove(&id);
    done
}

fn start() {
    let look = || {
        loop {
            std::thread::sleep(LOOK_EVERY);
            if let Some(what) = overdue(&lock(), Instant::now()) {
                tracing::error!(
                    "{what}: the Kafka client doesn't come back; this process ends, the next one goes on"
                );
                std::process::exit(EXIT);
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("watchdog".to_owned()).spawn(look) {
        tracing::warn!(%error, "no watchdog: a call of the Kafka client that hangs isn't noticed");
    }
}

fn overdue(calls: &Calls, now: Instant) -> Option<&'static str> {
    calls.values().find(|(back_at, _)| now > *back_at).map(|(_, what)| *what)
}

fn lock() -> std::sync::MutexGuard<'static, Calls> {
    CALLS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_that_is_late_is_overdue() {
        let now = Instant::now();
        let calls = Calls::from([(1, (now, "a")), (2, (now + GRACE, "b"))]);
        assert_eq!(overdue(&calls, now), None);
        assert_eq!(overdue(&calls, now + LOOK_EVERY), Some("a"));
        assert_eq!(overdue(&Calls::new(), now), None);
    }

    #[test]
    fn a_call_that_came_back_is_forgotten() {
        assert!(within(Duration::ZERO, "a call", || lock().values().any(|(_, what)| *what == "a call")));
        assert!(lock().values().all(|(_, what)| *what != "a call"));
    }
}
