//! Topics, claims and consumer groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use acequia_kafka::KafkaError;
use acequia_kafka::admin::{Admin, OffsetOf, Topic};

use crate::cluster::{CALL_DEADLINE, Cluster, Error};
use crate::model::desired::Desired;
use crate::model::observed::{GroupLag, ObservedTopic, Part, Unreachable};
use crate::model::ownership::{ClaimKind, Claimed, Ownership};

/// What there is in Kafka of one Pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaLook {
    /// Topics that it names or has claimed.
    pub topics: BTreeMap<String, ObservedTopic>,
    /// Who owns what it names or has claimed.
    pub ownership: Ownership,
    /// Its consumer groups.
    pub lag: BTreeMap<String, Part<GroupLag>>,
}

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    owner: String,
    topics: BTreeSet<String>,
    connectors: BTreeSet<String>,
    groups: BTreeMap<String, BTreeSet<String>>,
}

impl Subject {
    /// What `desired` names.
    pub fn of(desired: &Desired) -> Self {
        let reads = desired.stages.values().flat_map(|stage| &stage.reads);
        let mut groups: BTreeMap<String, BTreeSet<String>> =
            reads.map(|reads| (reads.group.clone(), reads.topics.clone())).collect();
        groups.extend(desired.retired_groups.iter().map(|group| (group.clone(), BTreeSet::new())));
        Self {
            owner: desired.identity.to_string(),
            topics: desired.topics.keys().cloned().collect(),
            connectors: desired.connectors.keys().map(|name| name.as_str().to_owned()).collect(),
            groups,
        }
    }
}

/// Looks at Kafka.
pub async fn look(cluster: &Arc<Cluster>, subject: Subject) -> Part<KafkaLook> {
    // Asked once for all who look: one that is away holds up nobody's place below.
    cluster.claims().await?;
    let _place = cluster.place().await;
    let wanted = listed(&subject.topics);
    let found = cluster.call(move |admin, _| Ok(admin.describe_topics(&wanted, CALL_DEADLINE)?)).await;
    let found = found.map_err(|error| cluster.unreachable(&error))?;
    // After the topics: a claim is recorded before its topic is made, so a topic without one is somebody else's.
    let claims = cluster.claims().await?;
    let topics = subject.topics.iter().map(|name| (ClaimKind::Topic, name.as_str()));
    let connectors = subject.connectors.iter().map(|name| (ClaimKind::Connector, name.as_str()));
    let ownership = claims.concerning(&subject.owner, topics.chain(connectors));
    let once = async || {
        let (subject, found) = (subject.clone(), found.clone());
        let (ownership, what) = (ownership.clone(), cluster.what());
        cluster.call(move |admin, _| Ok(look_blocking(admin, &subject, found, ownership, &what)?)).await
    };
    let answer = match once().await {
        // A coordinator that has moved is no Kafka that is away; the next client asks the new one.
        Err(Error::Kafka(error)) if error.is_stale_coordinator() => once().await,
        answer => answer,
    };
    let look = answer.map_err(|error: Error| cluster.unreachable(&error))?;
    if look.lag.values().any(Result::is_err) {
        // Its client for groups may wait in vain, while all others get their answers.
        cluster.renew();
    }
    Ok(look)
}

fn look_blocking(
    admin: &Admin,
    subject: &Subject,
    mut found: BTreeMap<String, Topic>,
    ownership: Ownership,
    what: &str,
) -> Result<KafkaLook, KafkaError> {
    let claimed = ownership.of_owner(ClaimKind::Topic, &subject.owner).map(|(name, _)| name.to_owned());
    let more: BTreeSet<String> = claimed.filter(|name| !subject.topics.contains(name)).collect();
    found.extend(admin.describe_topics(&listed(&more), CALL_DEADLINE)?);
    let mut configs = admin.topic_configs(&listed(found.keys()), CALL_DEADLINE)?;
    let topics = found
        .iter()
        .map(|(name, topic)| {
            let config = configs.remove(name).unwrap_or_default();
            let own = config.into_iter().filter(|(_, entry)| entry.is_topic_override);
            let config = own.filter_map(|(key, entry)| Some((key, entry.value?))).collect();
            (name.clone(), observed(topic, config))
        })
        .collect();
    let lag = lag(admin, &groups(subject, &ownership), &found, what)?;
    Ok(KafkaLook { topics, ownership, lag })
}

fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    names.into_iter().cloned().collect()
}

fn observed(topic: &Topic, config: BTreeMap<String, String>) -> ObservedTopic {
    ObservedTopic {
        id: topic.id.to_string(),
        partitions: u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX),
        replication_factor: topic
            .partitions
            .first()
            .map_or(0, |partition| u32::try_from(partition.replicas).unwrap_or(u32::MAX)),
        config,
    }
}

/// The groups that the Pipeline names, with what they read, and those that its topics remember.
fn groups(subject: &Subject, ownership: &Ownership) -> BTreeMap<String, BTreeSet<String>> {
    let mut groups = subject.groups.clone();
    for (_, claim) in ownership.of_owner(ClaimKind::Topic, &subject.owner) {
        let Claimed::Topic(topic) = &claim.of else { continue };
        for group in &topic.groups {
            groups.entry(group.clone()).or_default();
        }
    }
    groups
}

fn lag(
    admin: &Admin,
    reads: &BTreeMap<String, BTreeSet<String>>,
    topics: &BTreeMap<String, Topic>,
    what: &str,
) -> Result<BTreeMap<String, Part<GroupLag>>, KafkaError> {
    let groups = admin.describe_groups(&listed(reads.keys()), CALL_DEADLINE)?;
    let mut lag = BTreeMap::new();
    for (name, group) in groups {
        let topics_read = reads.get(&name).into_iter().flatten();
        let partitions: Vec<(String, i32)> = topics_read
            .filter_map(|topic| Some((topic, topics.get(topic)?)))
            .flat_map(|(name, topic)| topic.partitions.iter().map(|one| (name.clone(), one.id)))
            .collect();
        let members = u32::try_from(group.members.len()).unwrap_or(u32::MAX);
        let part = group_lag(admin, &name, members, &partitions, topics)
            .map_err(|error| Unreachable { what: what.to_owned(), why: error.to_string() });
        lag.insert(name, part);
    }
    Ok(lag)
}

/// Records between what the group has committed and the end, over all partitions; and who uses it.
fn group_lag(
    admin: &Admin,
    group: &str,
    members: u32,
    partitions: &[(String, i32)],
    topics: &BTreeMap<String, Topic>,
) -> Result<GroupLag, KafkaError> {
    let committed = admin.group_offsets(group, CALL_DEADLINE)?;
    let ends = admin.offsets(partitions, OffsetOf::LatestCommitted, CALL_DEADLINE)?;
    let begins = admin.offsets(partitions, OffsetOf::Earliest, CALL_DEADLINE)?;
    let others: BTreeSet<&String> =
        committed.keys().map(|(topic, _)| topic).filter(|topic| !topics.contains_key(*topic)).collect();
    // Offsets outlast their topic for a moment. A topic that can't be asked about is somebody else's.
    let are_there = || admin.describe_topics(&listed(others.iter().copied()), CALL_DEADLINE);
    let is_shared = !others.is_empty() && are_there().map_or(true, |there| !there.is_empty());
    let records = ends
        .iter()
        .map(|(partition, end)| {
            let begin = begins.get(partition).copied().unwrap_or(0);
            let read = committed.get(partition).copied().unwrap_or(begin).max(begin);
            u64::try_from(end.saturating_sub(read)).unwrap_or(0)
        })
        .sum();
    Ok(GroupLag { records, members, is_shared })
}
