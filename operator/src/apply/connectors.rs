//! Changes of one connector.

use std::time::Duration;

use acequia_crds::names::ConnectorName;
use acequia_crds::pipeline::workers::Workers;
use acequia_crds::stage::{SlotRelease, StageConfig, Work};

use super::{Error, Tools};
use crate::connect::{self, Client};
use crate::desired::store_secrets;
use crate::model::desired::{DeletionPolicy, Job, Role};
use crate::model::ownership::{Claim, ClaimKey, ClaimState, Claimed, ConnectorClaim};
use crate::model::plan::Change;

/// How long a connector may take to let its tasks go.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// How often it is asked whether it has.
const STOP_POLL: Duration = Duration::from_millis(250);
/// How long Connect may take to share out its connectors anew.
const REBALANCE_DEADLINE: Duration = Duration::from_secs(10);
/// How long dropping a slot and a publication may take; the slot's last reader has to be gone.
const RELEASE_DEADLINE: Duration = Duration::from_mins(1);

pub(super) async fn carry_out(tools: &Tools, change: Change) -> Result<(), Error> {
    match change {
        Change::PutConnector { name, url, config, claim, stopped, .. } => {
            tools.cluster.record(vec![(key(tools, &name), Some(claim))]).await?;
            let connect = tools.connect(&url)?;
            let client = &connect.client;
            client.put_config(name.as_str(), &config).await?;
            if stopped {
                client.stop(name.as_str()).await?;
            }
            tracing::info!(connector = name.as_str(), "configured a connector");
        }
        Change::RestartConnector { name, url, attempt, .. } => {
            tools.connect(&url)?.client.restart_failed(name.as_str()).await?;
            tracing::info!(connector = name.as_str(), attempt, "restarted a failed connector");
        }
        Change::StopConnector { name, url } => tools.connect(&url)?.client.stop(name.as_str()).await?,
        Change::ResumeConnector { name, url } => tools.connect(&url)?.client.resume(name.as_str()).await?,
        Change::RemoveConnector { name, claim, since_ms } => remove(tools, &name, &claim, since_ms).await?,
        _ => {}
    }
    Ok(())
}

/// Stop, offsets, connector, slot and publication, record: each step can be repeated, so a crash in between is
/// gone through again from the start.
async fn remove(
    tools: &Tools,
    name: &ConnectorName,
    claim: &ConnectorClaim,
    since_ms: u64,
) -> Result<(), Error> {
    let deleting = Claim { since_ms, state: ClaimState::Deleting, of: Claimed::Connector(claim.clone()) };
    tools.cluster.record(vec![(key(tools, name), Some(deleting))]).await?;
    let connect = tools.connect(&claim.url)?;
    let client = &connect.client;
    if client.get(name.as_str()).await?.is_some() {
        if claim.deletion_policy == DeletionPolicy::Delete {
            patiently(|| client.stop(name.as_str())).await?;
            wait_until_stopped(client, name).await?;
            patiently(|| client.delete_offsets(name.as_str())).await?;
        }
        patiently(|| client.delete(name.as_str())).await?;
    }
    if let (DeletionPolicy::Delete, Some(release)) = (claim.deletion_policy, &claim.release) {
        let job = release_job(tools, name, release, &claim.workers)?;
        let done = tools.stages.run_job(&job, RELEASE_DEADLINE).await;
        done.map_err(|source| Error::Release { name: name.clone(), source })?;
    }
    tools.cluster.record(vec![(key(tools, name), None)]).await?;
    tracing::info!(connector = name.as_str(), "removed a connector");
    Ok(())
}

/// Repeats a call while Connect shares out its connectors anew: several that go at once make it do so all the time.
async fn patiently<F: Future<Output = Result<(), connect::Error>>>(
    mut call: impl FnMut() -> F,
) -> Result<(), connect::Error> {
    let started = tokio::time::Instant::now();
    loop {
        match call().await {
            Err(connect::Error::Rebalancing) if started.elapsed() < REBALANCE_DEADLINE => {
                tokio::time::sleep(STOP_POLL).await;
            }
            done => return done,
        }
    }
}

async fn wait_until_stopped(client: &Client, name: &ConnectorName) -> Result<(), Error> {
    let started = tokio::time::Instant::now();
    while started.elapsed() < STOP_DEADLINE {
        match client.get(name.as_str()).await? {
            Some(connector) if !connector.is_at_rest() => {}
            _ => return Ok(()),
        }
        tokio::time::sleep(STOP_POLL).await;
    }
    Err(Error::StillRunning { name: name.clone(), seconds: STOP_DEADLINE.as_secs() })
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

fn key(tools: &Tools, name: &ConnectorName) -> ClaimKey {
    ClaimKey::of_connector(name, tools.identity.to_string())
}
