//! Topics: create, grow, configure, release, delete, and what is refused.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::names::INTERNAL_PREFIX;

use super::incarnations;
use crate::model::desired::{DeletionPolicy, Desired, DesiredTopic, Hold};
use crate::model::observed::{Observed, ObservedTopic, Unreachable};
use crate::model::ownership::{Claim, ClaimKey, ClaimKind, ClaimState, Claimed, Ownership, TopicClaim};
use crate::model::plan::{Change, Plan};

/// Topics of the manifest.
pub(super) fn kept(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let (existing, ownership) = match seen(observed) {
        Ok(seen) => seen,
        Err(unreachable) => {
            plan.wait("topics".to_owned(), unreachable.to_string());
            return;
        }
    };
    let owner = desired.identity.to_string();
    for (name, topic) in &desired.topics {
        let one = One { name, topic, owner: &owner, ownership, at_ms: observed.at_ms };
        one.keep(existing.get(name), plan);
    }
}

/// Topics that were ours and are no longer in the manifest.
pub(super) fn removed(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let Ok((existing, ownership)) = seen(observed) else { return };
    let owner = desired.identity.to_string();
    let gone: Vec<_> = ownership
        .of_owner(ClaimKind::Topic, &owner)
        .filter(|(name, claim)| !desired.topics.contains_key(*name) && incarnations::is_to_go(claim, desired))
        .collect();
    let may_write = super::connectors::may_write_elsewhere(desired, observed);
    for (name, claim) in gone {
        if may_write || plan.takes_away_users_of_topics() {
            plan.wait(format!("release of topic {name}"), "its writers and readers to go".to_owned());
            continue;
        }
        let Claimed::Topic(recorded) = &claim.of else { continue };
        let key = ClaimKey { kind: ClaimKind::Topic, name: name.to_owned(), owner: owner.clone() };
        let policy = incarnations::policy(recorded, desired);
        if policy == DeletionPolicy::Delete && incarnations::groups_remain(name, recorded, observed, plan) {
            continue;
        }
        let still_ours = existing.get(name).filter(|topic| recorded.id.as_ref() == Some(&topic.id));
        plan.changes.push(match (still_ours, policy) {
            // Gone already, or somebody else's by now.
            (None, _) => Change::Record { key, claim: None },
            (Some(topic), DeletionPolicy::Delete) => {
                Change::DeleteTopic { name: name.to_owned(), id: topic.id.clone() }
            }
            (Some(_), DeletionPolicy::Retain) => {
                Change::Record { key, claim: Some(Claim { state: ClaimState::Released, ..claim.clone() }) }
            }
        });
    }
}

/// Consumer groups of a Pipeline that goes as a whole. One that the manifest names may be somebody else's too, and stays
/// then.
pub(super) fn retired_groups(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    for name in &desired.retired_groups {
        let is_named = !name.starts_with(INTERNAL_PREFIX);
        match observed.lag.get(name) {
            None => continue,
            Some(Ok(lag)) if is_named && lag.is_shared => continue,
            Some(Err(unreachable)) if is_named => {
                plan.wait(format!("deletion of consumer group {name}"), unreachable.to_string());
                continue;
            }
            Some(_) => {}
        }
        if plan.takes_away_users_of_topics() {
            plan.wait(format!("deletion of consumer group {name}"), "its members to go".to_owned());
        } else {
            plan.changes.push(Change::DeleteGroup { name: name.clone() });
        }
    }
}

type Seen<'a> = (&'a BTreeMap<String, ObservedTopic>, &'a Ownership);

fn seen(observed: &Observed) -> Result<Seen<'_>, &Unreachable> {
    Ok((observed.topics.as_ref()?, observed.ownership.as_ref()?))
}

/// Whether two texts are one value of a setting. Kafka says numbers and lists in its own way.
fn same_value(one: &str, other: &str) -> bool {
    if let (Ok(one), Ok(other)) = (one.trim().parse::<i64>(), other.trim().parse::<i64>()) {
        return one == other;
    }
    if let (Ok(one), Ok(other)) = (one.trim().parse::<f64>(), other.trim().parse::<f64>()) {
        return one.total_cmp(&other).is_eq();
    }
    one.split(',').map(str::trim).eq(other.split(',').map(str::trim))
}

/// One topic of the manifest.
struct One<'a> {
    name: &'a str,
    topic: &'a DesiredTopic,
    owner: &'a str,
    ownership: &'a Ownership,
    at_ms: u64,
}

impl One<'_> {
    fn keep(&self, existing: Option<&ObservedTopic>, plan: &mut Plan) {
        if self.name.starts_with("__") {
            let why = "topics that begin with `__` belong to Kafka itself";
            self.refuse(plan, "name", "this topic", why, "choose another name");
            return;
        }
        let held = self.ownership.claim(ClaimKind::Topic, self.name, self.owner);
        if self.topic.hold == Hold::External {
            self.use_only(existing, held, plan);
            return;
        }
        let since_ms = held.filter(|claim| claim.state != ClaimState::Released).map(|claim| claim.since_ms);
        if let Some(rival) = self.ownership.rival(ClaimKind::Topic, self.name, self.owner, since_ms) {
            let why = format!("the Pipeline {rival} owns it already");
            self.refuse(
                plan,
                "name",
                "this topic",
                &why,
                "set `external: true` to use it, or choose another name",
            );
            return;
        }
        let Some(existing) = existing else {
            plan.changes.push(self.create(held));
            return;
        };
        match self.right_to(existing, held) {
            Ok(()) => self.bring_up(existing, held, plan),
            Err(why) => {
                let fix = "set `adopt: true` to take it over, `external: true` to use it as it is, or choose another name";
                self.refuse(plan, "name", "this topic", why, fix);
            }
        }
    }

    fn use_only(&self, existing: Option<&ObservedTopic>, held: Option<&Claim>, plan: &mut Plan) {
        if existing.is_none() {
            plan.wait(
                format!("topic {}", self.name),
                "somebody else to create it, because it says `external: true`".to_owned(),
            );
        }
        if held.is_some() {
            plan.changes.push(Change::Record { key: self.key(), claim: None });
        }
    }

    fn right_to(&self, existing: &ObservedTopic, held: Option<&Claim>) -> Result<(), &'static str> {
        if self.topic.hold == Hold::Adopt {
            return Ok(());
        }
        match held.map(|claim| &claim.of) {
            // Without an ID: the claim was recorded while there was no such topic, so we created it.
            Some(Claimed::Topic(TopicClaim { id: None, .. })) => Ok(()),
            Some(Claimed::Topic(TopicClaim { id: Some(id), .. })) if *id == existing.id => Ok(()),
            Some(_) => Err("it was deleted and created again by somebody else"),
            None => Err("it exists and isn't recorded as created by this Pipeline"),
        }
    }

    fn create(&self, held: Option<&Claim>) -> Change {
        Change::CreateTopic {
            name: self.name.to_owned(),
            partitions: self.topic.partitions,
            replication_factor: self.topic.replication_factor,
            config: self.topic.config.clone(),
            claim: self.claim(held, None, self.topic.config.keys().cloned().collect()),
        }
    }

    /// Settings, partitions and record of a topic that is ours.
    fn bring_up(&self, existing: &ObservedTopic, held: Option<&Claim>, plan: &mut Plan) {
        let wanted: BTreeSet<String> = self.topic.config.keys().cloned().collect();
        let recorded = match held.map(|claim| &claim.of) {
            Some(Claimed::Topic(topic)) => topic.keys.clone(),
            _ => BTreeSet::new(),
        };
        let set: BTreeMap<String, String> = self
            .topic
            .config
            .iter()
            .filter(|(key, value)| !existing.config.get(*key).is_some_and(|there| same_value(there, value)))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let unset: BTreeSet<String> =
            recorded.difference(&wanted).filter(|key| existing.config.contains_key(*key)).cloned().collect();
        let done = self.claim(held, Some(existing.id.clone()), wanted.clone());
        if !set.is_empty() || !unset.is_empty() {
            // Old and new settings are on record until the new ones are seen, and only those.
            let claim =
                self.claim(held, Some(existing.id.clone()), wanted.union(&recorded).cloned().collect());
            let name = self.name.to_owned();
            plan.changes.push(Change::ConfigureTopic { name, set, unset, claim });
        } else if held != Some(&done) {
            plan.changes.push(Change::Record { key: self.key(), claim: Some(done) });
        }
        self.partitions(existing, plan);
    }

    fn partitions(&self, existing: &ObservedTopic, plan: &mut Plan) {
        let from = existing.partitions;
        match self.topic.partitions {
            Some(to) if to < from => {
                let what = format!("{to} partitions instead of {from}");
                let fix = format!("write `partitions: {from}`, or use a new topic");
                self.refuse(plan, "partitions", &what, "Kafka can't take partitions away", &fix);
            }
            Some(to) if to > from && self.topic.keyed && !self.topic.allow_rekey => {
                let what = format!("{to} partitions instead of {from}");
                let why =
                    "its records have keys, and a key would move to another partition, away from its order";
                let fix =
                    format!("set `allowRekey: true` if that is all right, or write `partitions: {from}`");
                self.refuse(plan, "partitions", &what, why, &fix);
            }
            Some(to) if to > from => {
                plan.changes.push(Change::AddPartitions { name: self.name.to_owned(), from, to });
            }
            _ => {}
        }
        let has = existing.replication_factor;
        if let Some(wants) = self.topic.replication_factor.filter(|wants| *wants != has) {
            let what = format!("replication factor {wants} instead of {has}");
            let fix = format!("write `replicationFactor: {has}`, or move the replicas with Kafka's own tool");
            self.refuse(plan, "replicationFactor", &what, "Acequia doesn't move replicas", &fix);
        }
    }

    fn claim(&self, held: Option<&Claim>, id: Option<String>, keys: BTreeSet<String>) -> Claim {
        // A claim that was let go starts anew, or it would beat whoever took the topic meanwhile.
        let since_ms = held
            .filter(|claim| claim.state != ClaimState::Released)
            .map_or(self.at_ms, |claim| claim.since_ms);
        let of = Claimed::Topic(TopicClaim {
            id,
            keys,
            deletion_policy: self.topic.deletion_policy,
            stage: self.topic.stage.clone(),
            groups: self.topic.groups.clone(),
        });
        Claim { since_ms, state: ClaimState::Held, of }
    }

    fn key(&self) -> ClaimKey {
        ClaimKey { kind: ClaimKind::Topic, name: self.name.to_owned(), owner: self.owner.to_owned() }
    }

    fn refuse(&self, plan: &mut Plan, field: &str, what: &str, why: &str, fix: &str) {
        plan.refuse(
            format!("{}.{field}", self.topic.field),
            format!("{what} (`{}`)", self.name),
            why.to_owned(),
            fix.to_owned(),
        );
    }
}
