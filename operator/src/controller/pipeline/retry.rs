//! Trying again after the API server refused something.

use std::time::{Duration, Instant};

use crate::kubernetes::children::PipelineKey;
use crate::kubernetes::{Error, is_conflict};

/// The first wait, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// What is tried again after the API server refused.
pub(super) struct Retry {
    failures: u32,
    at: Instant,
}

impl Retry {
    /// It is due.
    pub(super) fn now() -> Self {
        Self { failures: 0, at: Instant::now() }
    }

    /// Whether the wait is over.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.at
    }

    /// Twice as long after each failure.
    pub(super) fn later(&mut self, of: &PipelineKey, error: &Error) {
        let wait = RETRY.0.saturating_mul(1 << self.failures.min(10)).min(RETRY.1);
        self.failures = self.failures.saturating_add(1);
        self.at = Instant::now() + wait;
        let (namespace, pipeline, seconds) = (&of.namespace, &of.name, wait.as_secs());
        if matches!(error, Error::Api { source, .. } if is_conflict(source)) {
            // The newer object is on its way.
            tracing::debug!(namespace, pipeline, %error, "tried again in {seconds} s");
        } else {
            tracing::warn!(namespace, pipeline, %error, "tried again in {seconds} s");
        }
    }
}
