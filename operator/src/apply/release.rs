//! Slot and publication of a source that goes: dropped by a worker that runs once, or, where none can be started any more, by
//! the connector itself.

use std::time::Duration;

use acequia_crds::names::{ConnectorName, PipelineId};
use acequia_crds::pipeline::workers::Workers;
use acequia_crds::stage::{SlotRelease, StageConfig, Work};

use super::connectors::{STOP_POLL, patiently};
use super::{Error, Tools};
use crate::connect::{Client, State};
use crate::debezium::{RELEASED, SecretReferences, release_config};
use crate::desired::store_secrets;
use crate::model::desired::{Job, Role};

/// How long a job may take; the slot's last reader has to be gone.
const JOB_DEADLINE: Duration = Duration::from_mins(1);
/// How long the connector may take.
const CONNECTOR_DEADLINE: Duration = Duration::from_secs(15);

/// Runs a job with the Secret of the source's store.
pub(super) async fn by_job(
    tools: &Tools,
    name: &ConnectorName,
    release: &SlotRelease,
    workers: &Workers,
) -> Result<(), Error> {
    let job = release_job(tools, name, release, workers)?;
    let done = tools.stages.run_job(&job, JOB_DEADLINE).await;
    done.map_err(|source| Error::Release { name: name.clone(), source })
}

fn release_job(
    tools: &Tools,
    name: &ConnectorName,
    release: &SlotRelease,
    workers: &Workers,
) -> Result<Job, Error> {
    let job = format!("release-{name}");
    let config = StageConfig {
        pipeline: tools.identity.to_string(),
        stage: job.clone(),
        kafka: tools.kafka.clone(),
        work: Work::SlotRelease(release.clone()),
    };
    let text = serde_yaml::to_string(&config)
        .map_err(|error| Error::Job { name: job.clone(), reason: error.to_string() })?;
    let secrets = store_secrets(&release.store);
    Ok(Job { name: job, role: Role::SlotRelease, text, secrets, workers: workers.clone() })
}

/// Lets the connector do it, as Connect still knows the password: no pod can be started in a namespace that goes, and the
/// operator reads no Secret.
pub(super) async fn by_connect(
    client: &Client,
    name: &ConnectorName,
    release: &SlotRelease,
    identity: &PipelineId,
) -> Result<(), Error> {
    let secrets = SecretReferences::in_namespace(&identity.namespace);
    let config = release_config(release, &secrets)
        .map_err(|refused| Error::ReleaseByConnect { name: name.clone(), why: refused.to_string() })?;
    let before = client.get(name.as_str()).await?;
    patiently(|| client.put_config(name.as_str(), &config)).await?;
    if before.is_some_and(|before| matches!(before.state, State::Stopped | State::Paused)) {
        patiently(|| client.resume(name.as_str())).await?;
    }
    let started = tokio::time::Instant::now();
    loop {
        let connector = client.get(name.as_str()).await?;
        let failure = connector.as_ref().and_then(|connector| connector.failure()).unwrap_or_default();
        if failure.contains(RELEASED) {
            return Ok(());
        }
        // One that failed before has its old trace for a moment.
        if started.elapsed() > CONNECTOR_DEADLINE {
            let why = if failure.is_empty() { "the slot may still be read" } else { failure };
            let why = format!("not done within {} s: {why}", CONNECTOR_DEADLINE.as_secs());
            return Err(Error::ReleaseByConnect { name: name.clone(), why });
        }
        tokio::time::sleep(STOP_POLL).await;
    }
}
