//! Crash points: the places where a worker can be made to die or to stand still, so that tests can try each one.
//!
//! Each call of [`point`] is numbered by the order in which it is reached, from 1. With `ACEQUIA_CRASH_AT=n` in
//! the environment the process aborts at the n-th, without running destructors, as `kill -9` would. With
//! `ACEQUIA_FREEZE_AT=n:name` it stands still at the n-th point of this name, until it gets SIGCONT.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

static REACHED: AtomicU64 = AtomicU64::new(0);
static ASKED: OnceLock<Option<Asked>> = OnceLock::new();

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Crash { at: u64 },
    Freeze { at: u64, name: String },
}

/// Marks a place before or after an effect. Costs one relaxed load when nothing is asked for.
pub fn point(name: &'static str) {
    let Some(asked) = ASKED.get_or_init(requested) else { return };
    match asked {
        Asked::Crash { at } => {
            let reached = REACHED.fetch_add(1, Ordering::SeqCst) + 1;
            if reached == *at {
                eprintln!("{{\"level\":\"ERROR\",\"message\":\"crash point {reached} ({name})\"}}");
                std::process::abort();
            }
        }
        Asked::Freeze { at, name: wanted } => {
            if name == wanted && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *at {
                eprintln!("{{\"level\":\"ERROR\",\"message\":\"frozen at {name}\"}}");
                // All threads stop before this returns; a signal that can't be sent shows in a test that waits for it.
                let _ = kill_process(getpid(), Signal::STOP);
            }
        }
    }
}

fn requested() -> Option<Asked> {
    let variable = |name: &str| std::env::var(name).ok();
    let crash = variable("ACEQUIA_CRASH_AT").and_then(|at| at.parse().ok());
    crash.map(|at| Asked::Crash { at }).or_else(|| variable("ACEQUIA_FREEZE_AT").as_deref().and_then(freeze))
}

fn freeze(text: &str) -> Option<Asked> {
    let (at, name) = text.split_once(':')?;
    Some(Asked::Freeze { at: at.parse().ok()?, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_freeze_is_a_number_and_a_name() {
        assert_eq!(freeze("2:after commit"), Some(Asked::Freeze { at: 2, name: "after commit".into() }));
        assert_eq!(freeze("after commit"), None);
    }
}
