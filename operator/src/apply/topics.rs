//! Changes in Kafka, in batches: one call for all topics that are to be created, not one each.

use std::collections::BTreeMap;

use acequia_crds::names::PipelineId;
use acequia_kafka::admin::{ConfigChange, NewTopic};

use super::{Error, Tools};
use crate::cluster::{self, CALL_DEADLINE, all_done};
use crate::model::ownership::{Claim, ClaimKey, ClaimKind, Claimed};
use crate::model::plan::Change;

/// Creates, then grows, configures, records, deletes. One kind that fails doesn't hold up the next.
pub(super) async fn carry_out(tools: &Tools, changes: Vec<Change>) -> Result<(), Error> {
    let mut batch = Batch::default();
    for change in changes {
        batch.take(change);
    }
    let mut failures = Vec::new();
    failures.extend(batch.create(tools).await.err());
    failures.extend(batch.grow(tools).await.err());
    failures.extend(batch.configure(tools).await.err());
    let records = std::mem::take(&mut batch.records);
    failures.extend(tools.cluster.record(records).await.err().map(Error::from));
    failures.extend(batch.delete(tools).await.err());
    failures.extend(batch.delete_groups(tools).await.err());
    failures.into_iter().next().map_or(Ok(()), Err)
}

/// Changes by kind.
#[derive(Default)]
struct Batch {
    creations: Vec<(NewTopic, Claim)>,
    growths: Vec<(String, i32)>,
    configurations: Vec<(String, Vec<ConfigChange>, Claim)>,
    records: Vec<(ClaimKey, Option<Claim>)>,
    deletions: Vec<(String, String)>,
    groups: Vec<String>,
}

impl Batch {
    fn take(&mut self, change: Change) {
        match change {
            Change::CreateTopic { name, partitions, replication_factor, config, claim } => {
                let number = |wanted: Option<u32>| wanted.and_then(|n| i32::try_from(n).ok()).unwrap_or(-1);
                let (partitions, replication_factor) = (number(partitions), number(replication_factor));
                self.creations.push((NewTopic { name, partitions, replication_factor, config }, claim));
            }
            Change::AddPartitions { name, to, .. } => {
                self.growths.push((name, i32::try_from(to).unwrap_or(i32::MAX)));
            }
            Change::ConfigureTopic { name, set, unset, claim } => {
                let set = set.into_iter().map(|(key, value)| ConfigChange::Set(key, value));
                let changes = set.chain(unset.into_iter().map(ConfigChange::Delete)).collect();
                self.configurations.push((name, changes, claim));
            }
            Change::Record { key, claim } => self.records.push((key, claim)),
            Change::DeleteTopic { name, id } => self.deletions.push((name, id)),
            Change::DeleteGroup { name } => self.groups.push(name),
            _ => {}
        }
    }

    async fn create(&mut self, tools: &Tools) -> Result<(), Error> {
        if self.creations.is_empty() {
            return Ok(());
        }
        let creations = absent(tools, std::mem::take(&mut self.creations)).await?;
        if creations.is_empty() {
            return Ok(());
        }
        let claim =
            |(topic, claim): &(NewTopic, Claim)| (key(&tools.identity, &topic.name), Some(claim.clone()));
        tools.cluster.record(creations.iter().map(claim).collect()).await?;
        let topics: Vec<NewTopic> = creations.iter().map(|(topic, _)| topic.clone()).collect();
        let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
        let (outcome, found) = tools
            .cluster
            .call(move |admin, _| {
                let outcome = admin.create_topics(&topics, false, CALL_DEADLINE)?;
                Ok((outcome, admin.describe_topics(&names, CALL_DEADLINE)?))
            })
            .await?;
        for (topic, _) in &creations {
            tracing::info!(topic = topic.name, partitions = topic.partitions, "created a topic");
        }
        // A topic that isn't there yet on the broker that was asked gets its ID recorded by the next round.
        let with_id = creations.into_iter().filter_map(|(topic, mut claim)| {
            let created = outcome.get(&topic.name).is_some_and(Result::is_ok);
            let id = found.get(&topic.name).filter(|_| created)?.id.to_string();
            if let Claimed::Topic(of) = &mut claim.of {
                of.id = Some(id);
            }
            Some((key(&tools.identity, &topic.name), Some(claim)))
        });
        tools.cluster.record(with_id.collect()).await?;
        all_done("create topic", outcome).map_err(Error::from)
    }

    async fn grow(&mut self, tools: &Tools) -> Result<(), Error> {
        let totals = std::mem::take(&mut self.growths);
        let outcome =
            tools.cluster.call(move |admin, _| Ok(admin.create_partitions(&totals, CALL_DEADLINE)?)).await?;
        Ok(all_done("add partitions to topic", outcome)?)
    }

    async fn configure(&mut self, tools: &Tools) -> Result<(), Error> {
        let configurations = std::mem::take(&mut self.configurations);
        let claims =
            configurations.iter().map(|(name, _, claim)| (key(&tools.identity, name), Some(claim.clone())));
        tools.cluster.record(claims.collect()).await?;
        let changes: BTreeMap<_, _> =
            configurations.into_iter().map(|(name, changes, _)| (name, changes)).collect();
        let outcome = tools
            .cluster
            .call(move |admin, _| Ok(admin.incremental_alter_configs(&changes, CALL_DEADLINE)?))
            .await?;
        Ok(all_done("configure topic", outcome)?)
    }

    /// Deletes topics that still have the recorded ID.
    async fn delete(&mut self, tools: &Tools) -> Result<(), Error> {
        let deletions = std::mem::take(&mut self.deletions);
        if deletions.is_empty() {
            return Ok(());
        }
        let expected: BTreeMap<String, String> = deletions.into_iter().collect();
        let (gone, mistaken, outcome) = tools
            .cluster
            .call(move |admin, _| {
                let names: Vec<String> = expected.keys().cloned().collect();
                let found = admin.describe_topics(&names, CALL_DEADLINE)?;
                let is_it = |name: &String| {
                    found.get(name).is_some_and(|topic| topic.id.to_string() == expected[name])
                };
                let (same, other): (Vec<String>, Vec<String>) = names.into_iter().partition(is_it);
                let mistaken = other.iter().find(|name| found.contains_key(*name)).cloned();
                let outcome = admin.delete_topics(&same, CALL_DEADLINE)?;
                Ok((same, mistaken, outcome))
            })
            .await?;
        let deleted = gone.iter().filter(|name| outcome.get(*name).is_none_or(Result::is_ok));
        let claims = deleted.map(|name| (key(&tools.identity, name), None)).collect();
        tools.cluster.record(claims).await?;
        all_done("delete topic", outcome)?;
        mistaken.map_or(Ok(()), |name| Err(Error::AnotherTopic { name }))
    }

    async fn delete_groups(&mut self, tools: &Tools) -> Result<(), Error> {
        let groups = std::mem::take(&mut self.groups);
        let outcome =
            tools.cluster.call(move |admin, _| Ok(admin.delete_groups(&groups, CALL_DEADLINE)?)).await?;
        let outcome = outcome
            .into_iter()
            .filter(|(_, result)| !matches!(result, Err(refused) if refused.is_not_found()));
        Ok::<(), cluster::Error>(all_done("delete consumer group", outcome.collect())?).map_err(Error::from)
    }
}

/// Those that still aren't there. A claim on one that is would make somebody else's topic look like ours; the next
/// look knows or refuses it.
async fn absent(tools: &Tools, creations: Vec<(NewTopic, Claim)>) -> Result<Vec<(NewTopic, Claim)>, Error> {
    let names: Vec<String> = creations.iter().map(|(topic, _)| topic.name.clone()).collect();
    let found = tools.cluster.call(move |admin, _| Ok(admin.describe_topics(&names, CALL_DEADLINE)?)).await?;
    Ok(creations.into_iter().filter(|(topic, _)| !found.contains_key(&topic.name)).collect())
}

fn key(identity: &PipelineId, topic: &str) -> ClaimKey {
    ClaimKey { kind: ClaimKind::Topic, name: topic.to_owned(), owner: identity.to_string() }
}
