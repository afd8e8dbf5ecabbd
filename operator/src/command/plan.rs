//! `acequia plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use acequia_crds::names::ConnectorName;

use super::{Error, Output, PlanArgs, secrets_folder, settings};
use crate::cluster::Cluster;
use crate::connect::Client;
use crate::diff::diff;
use crate::manifest;
use crate::model::desired::Desired;
use crate::model::observed::Observed;
use crate::model::ownership::{ClaimKind, Claimed};
use crate::model::plan::{Change, Lane, Plan};
use crate::observe;
use crate::observe::connect::{CALL_DEADLINE, Connect};
use crate::reconcile::now_ms;
use crate::run::screen::say;

/// Something would change.
const CHANGES: u8 = 2;

pub(super) async fn plan(args: PlanArgs) -> Result<ExitCode, Error> {
    let settings = settings(&args.files.namespace, &args.local)?;
    let manifest = manifest::load(&manifest::read(&args.files.files)?, &settings)?;
    let observed = observe(&manifest.desired, secrets_folder(&args.local)?).await?;
    let mut plan = diff(&manifest.desired, &observed);
    // Processes belong to a run, not to the outside.
    plan.changes.retain(|change| change.lane() != Lane::Stages);
    match args.output {
        Output::Table => say(&text(&manifest.desired, &plan)),
        // Plain structs and texts always serialise.
        Output::Json => say(&format!("{}\n", serde_json::to_string_pretty(&plan).unwrap_or_default())),
    }
    let unseen = observed.topics.is_err() || observed.connectors.values().any(Result::is_err);
    Ok(if unseen || !plan.refused.is_empty() {
        ExitCode::FAILURE
    } else if plan.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CHANGES)
    })
}

/// One look at everything but the processes.
async fn observe(desired: &Desired, secrets: PathBuf) -> Result<Observed, Error> {
    let cluster = Arc::new(Cluster::new(desired.kafka.clone(), secrets));
    let kafka = observe::kafka::look(&cluster, observe::kafka::Subject::of(desired)).await;
    let mut places: BTreeMap<ConnectorName, String> = BTreeMap::new();
    if let Ok(look) = &kafka {
        for (name, claim) in look.ownership.of_owner(ClaimKind::Connector, &desired.identity.to_string()) {
            if let Claimed::Connector(connector) = &claim.of {
                places.insert(ConnectorName::from_text(name), connector.url.clone());
            }
        }
    }
    places.extend(desired.connectors.iter().map(|(name, connector)| (name.clone(), connector.url.clone())));
    let mut seen = BTreeMap::new();
    let ours: BTreeSet<ConnectorName> = places.keys().cloned().collect();
    for url in places.values() {
        if !seen.contains_key(url) {
            let connect = Connect::new(Client::new(url, CALL_DEADLINE, None)?);
            seen.insert(url.clone(), connect.look(url, &ours).await);
        }
    }
    // A claim may have been made since the first look, on a connector that was seen since.
    let kafka = match kafka {
        Ok(_) if !seen.is_empty() => {
            observe::kafka::look(&cluster, observe::kafka::Subject::of(desired)).await
        }
        first => first,
    };
    let connectors = places.into_iter().filter_map(|(name, url)| {
        let there = seen.get(&url)?.as_ref().map(|look| look.get(&name)).map_err(Clone::clone);
        Some((name, there))
    });
    let connectors = connectors.collect();
    let (topics, ownership, lag) = match kafka {
        Ok(look) => (Ok(look.topics), Ok(look.ownership), look.lag),
        Err(unreachable) => (Err(unreachable.clone()), Err(unreachable), BTreeMap::new()),
    };
    Ok(Observed { at_ms: now_ms(), topics, ownership, connectors, stages: BTreeMap::new(), lag })
}

fn text(desired: &Desired, plan: &Plan) -> String {
    let is_record = |change: &&Change| matches!(change, Change::Record { .. });
    let records = plan.changes.iter().filter(is_record).count();
    let changes = plan.changes.iter().filter(|change| !is_record(change));
    let mut lines: Vec<String> = changes.map(|change| format!("change   {change}")).collect();
    if records > 0 {
        lines.push(format!("change   {records} records of ownership"));
    }
    lines.extend(plan.notes.iter().map(|note| format!("note     {note}")));
    lines.extend(plan.waiting.iter().map(|waiting| format!("later    {waiting}")));
    lines.extend(plan.refused.iter().map(|refusal| format!("refused  {refusal}")));
    if plan.is_empty() {
        lines.push("nothing to change outside".to_owned());
    }
    lines.extend(plan.run.iter().map(|id| format!("runs     {id}")));
    format!("{}\n  {}\n", desired.identity, lines.join("\n  "))
}
