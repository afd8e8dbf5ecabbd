//! Slot and publication of a source that goes: dropped by a worker that runs once, or, where none can be started any more, by
//! the connector itself.

use std::time::Duration;

use acequia_crds::names::{ConnectorName, PipelineId};
use acequia_crds::pipeline::workers::Workers;
use acequia_crds::stage::{SlotRelease, StageConfig, Work};

use super::connectors::{STOP_POLL, patiently};
use super::{Error, Tools};
use crate::connect::{Client, State};
use crate::debezium::{SLOT_RELEASED, SecretReferences, normalise, release_config};
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
/// operator reads no Secret. A connector that can't be told so is stopped.
pub(super) async fn by_connect(
    client: &Client,
    name: &ConnectorName,
    release: &SlotRelease,
    identity: &PipelineId,
) -> Result<(), Error> {
    let config = release_config(release, &SecretReferences::in_namespace(&identity.namespace))
        .map_err(|refused| Error::ReleaseByConnect { name: name.clone(), why: refused.to_string() })?;
    let before = client.get(name.as_str()).await?;
    let is_told = before.as_ref().is_some_and(|before| normalise(&before.config) == config);
    let failure = before.as_ref().and_then(|before| before.failure()).unwrap_or_default();
    if is_told && failure.contains(SLOT_RELEASED) {
        return Ok(());
    }
    if is_told {
        // At it since an earlier try, with a password that it has already.
        patiently(|| client.restart_failed(name.as_str())).await?;
    } else if let Err(error) = patiently(|| client.put_config(name.as_str(), &config)).await {
        if before.is_some() {
            patiently(|| client.stop(name.as_str())).await?;
        }
        return Err(error.into());
    }
    if before.is_some_and(|before| matches!(before.state, State::Stopped | State::Paused)) {
        patiently(|| client.resume(name.as_str())).await?;
    }
    let started = tokio::time::Instant::now();
    loop {
        // A trace from before, or none while Connect shares out its connectors anew, doesn't count.
        let seen = client
            .get(name.as_str())
            .await
            .map(|seen| seen.and_then(|seen| Some(seen.failure()?.to_owned())));
        let why = match seen {
            Ok(Some(failure)) if failure.contains(SLOT_RELEASED) => return Ok(()),
            Ok(Some(failure)) => failure,
            Ok(None) => "the slot may still be read".to_owned(),
            Err(error) => error.to_string(),
        };
        if started.elapsed() > CONNECTOR_DEADLINE {
            let why = format!("not done within {} s: {why}", CONNECTOR_DEADLINE.as_secs());
            return Err(Error::ReleaseByConnect { name: name.clone(), why });
        }
        tokio::time::sleep(STOP_POLL).await;
    }
}
