//! Writing the status: only when it says something new.

use std::time::{Duration, Instant};

use acequia_crds::pipeline::status::PipelineStatus;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde::Serialize;

use super::object;
use crate::kubernetes::children::PipelineKey;
use crate::kubernetes::{Error, FIELD_MANAGER, bounded};

/// A lag that moves is no news more often than this.
const LAG_PAUSE: Duration = Duration::from_mins(1);

/// What was written last, and when.
#[derive(Debug, Default)]
pub struct Writer {
    written: Option<PipelineStatus>,
    at: Option<Instant>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusPatch<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Name<'a>,
    status: &'a PipelineStatus,
}

#[derive(Debug, Serialize)]
struct Name<'a> {
    name: &'a str,
}

impl Writer {
    /// What the API server is known to have.
    pub fn of(status: Option<PipelineStatus>) -> Self {
        Self { written: status, at: None }
    }

    /// What the API server has, as far as is known.
    pub const fn written(&self) -> Option<&PipelineStatus> {
        self.written.as_ref()
    }

    /// What is to be written now; None: nothing new.
    pub fn news(&self, status: &PipelineStatus, now: Instant) -> Option<PipelineStatus> {
        let status = in_steps(status);
        let Some(written) = &self.written else { return Some(status) };
        if *written == status {
            return None;
        }
        let only_lag = without_lag(written) == without_lag(&status);
        let soon = self.at.is_some_and(|at| now.duration_since(at) < LAG_PAUSE);
        (!only_lag || !soon).then_some(status)
    }

    /// Writes it.
    ///
    /// # Errors
    /// The API server refused; nothing counts as written.
    pub async fn write(
        &mut self,
        client: &Client,
        pipeline: &PipelineKey,
        status: PipelineStatus,
    ) -> Result<(), Error> {
        let patch = StatusPatch {
            api_version: "acequia.dev/v1alpha1",
            kind: "Pipeline",
            metadata: Name { name: &pipeline.name },
            status: &status,
        };
        let api = object::api(client, &pipeline.namespace);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let what = format!("write the status of Pipeline {}", pipeline.name);
        bounded(what, api.patch_status(&pipeline.name, &params, &Patch::Apply(&patch))).await?;
        self.written = Some(status);
        self.at = Some(Instant::now());
        Ok(())
    }
}

/// With every lag rounded: a busy Pipeline isn't a new status every second.
fn in_steps(status: &PipelineStatus) -> PipelineStatus {
    let mut status = status.clone();
    status.lag = status.lag.map(step);
    for stage in &mut status.stages {
        stage.lag = stage.lag.map(step);
    }
    status
}

/// Up to two digits as it is, beyond that its first digit and zeros.
fn step(lag: u64) -> u64 {
    let mut unit = 1;
    while lag / unit >= 100 {
        unit *= 10;
    }
    if unit == 1 { lag } else { lag / (unit * 10) * (unit * 10) }
}

fn without_lag(status: &PipelineStatus) -> PipelineStatus {
    let mut status = status.clone();
    status.lag = None;
    for stage in &mut status.stages {
        stage.lag = None;
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_lag(lag: u64) -> PipelineStatus {
        PipelineStatus { observed_generation: Some(1), lag: Some(lag), ..PipelineStatus::default() }
    }

    #[test]
    fn the_same_is_not_written_twice_and_a_lag_at_most_once_a_minute() {
        let t0 = Instant::now();
        let writer = Writer { written: Some(with_lag(10)), at: Some(t0) };
        assert_eq!(writer.news(&with_lag(10), t0), None);
        assert_eq!(writer.news(&with_lag(20), t0 + Duration::from_secs(59)), None);
        assert_eq!(writer.news(&with_lag(20), t0 + Duration::from_secs(60)), Some(with_lag(20)));
        let other = PipelineStatus { observed_generation: Some(2), ..with_lag(20) };
        assert_eq!(writer.news(&other, t0), Some(other), "anything else at once");
        assert_eq!(Writer::of(None).news(&with_lag(10), t0), Some(with_lag(10)));
    }

    #[test]
    fn a_lag_is_told_in_steps() {
        let steps = [0, 7, 99, 100, 123, 999, 1_234, 98_765].map(step);
        assert_eq!(steps, [0, 7, 99, 100, 100, 900, 1_000, 90_000]);
    }
}
