//! Changes of one connector.

use std::time::Duration;

use acequia_crds::names::ConnectorName;

use super::{Error, Tools, slot_release};
use crate::connect::{self, Client};
use crate::model::desired::{DeletionPolicy, Desired};
use crate::model::ownership::{Claim, ClaimKey, ClaimState, Claimed, ConnectorClaim};
use crate::model::plan::Change;

/// How long a connector may take to let its tasks go.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// How often it is asked whether it has.
pub(super) const STOP_POLL: Duration = Duration::from_millis(250);
/// How long Connect may take to share out its connectors anew.
const REBALANCE_DEADLINE: Duration = Duration::from_secs(10);

pub(super) async fn carry_out(tools: &Tools, desired: &Desired, change: Change) -> Result<(), Error> {
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
        Change::RemoveConnector { name, claim, since_ms } => {
            let deleting =
                Claim { since_ms, state: ClaimState::Deleting, of: Claimed::Connector(claim.clone()) };
            tools.cluster.record(vec![(key(tools, &name), Some(deleting))]).await?;
            remove(tools, desired, &name, &claim).await?;
            tools.cluster.record(vec![(key(tools, &name), None)]).await?;
            tracing::info!(connector = name.as_str(), "removed a connector");
        }
        _ => {}
    }
    Ok(())
}

/// Stop, offsets, connector, slot and publication: each step can be repeated, so a crash in between is gone through again
/// from the start. The connector stays as long as its offsets do, or one made anew would go on from them.
async fn remove(
    tools: &Tools,
    desired: &Desired,
    name: &ConnectorName,
    claim: &ConnectorClaim,
) -> Result<(), Error> {
    let connect = tools.connect(&claim.url)?;
    let client = &connect.client;
    if claim.deletion_policy == DeletionPolicy::Retain {
        return Ok(patiently(|| client.delete(name.as_str())).await?);
    }
    match &claim.release {
        // First, since it needs a Secret that goes with the namespace.
        Some(release) if desired.namespace_goes => {
            slot_release::by_connect(client, name, release, &tools.identity).await?;
            remove_with_offsets(client, name).await
        }
        Some(release) => {
            remove_with_offsets(client, name).await?;
            slot_release::by_job(tools, name, release, &claim.workers).await
        }
        None => remove_with_offsets(client, name).await,
    }
}

async fn remove_with_offsets(client: &Client, name: &ConnectorName) -> Result<(), Error> {
    if client.get(name.as_str()).await?.is_none() {
        return Ok(());
    }
    patiently(|| client.stop(name.as_str())).await?;
    wait_until_stopped(client, name).await?;
    patiently(|| client.delete_offsets(name.as_str())).await?;
    Ok(patiently(|| client.delete(name.as_str())).await?)
}

/// Repeats a call while Connect shares out its connectors anew: several that go at once make it do so all the time.
pub(super) async fn patiently<F: Future<Output = Result<(), connect::Error>>>(
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

fn key(tools: &Tools, name: &ConnectorName) -> ClaimKey {
    ClaimKey::of_connector(name, tools.identity.to_string())
}
