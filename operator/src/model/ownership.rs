//! Who owns what: claims on topics and connectors, as recorded in the compacted topic `acequia.ownership`.
//!
//! A claim is written before the thing is created, so whatever exists without a claim of ours is somebody else's.
//! Each owner writes its own key, so two claims on one thing can be seen, and the older one wins.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::names::{ConnectorName, StageId};
use acequia_crds::pipeline::workers::Workers;
use acequia_crds::stage::SlotRelease;
use serde::{Deserialize, Serialize};

use super::desired::DeletionPolicy;

/// Which thing a claim is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClaimKind {
    /// A topic of the Kafka cluster that the ownership topic is in.
    Topic,
    /// A connector.
    Connector,
}

impl ClaimKind {
    /// The word in keys and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Connector => "connector",
        }
    }
}

/// The key of a record: the thing and who claims it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ClaimKey {
    /// What kind of thing.
    pub kind: ClaimKind,
    /// Its name.
    pub name: String,
    /// Identity of the Pipeline that claims it.
    pub owner: String,
}

impl ClaimKey {
    /// The key of `owner`'s claim on a connector.
    pub fn of_connector(name: &ConnectorName, owner: String) -> Self {
        Self { kind: ClaimKind::Connector, name: name.as_str().to_owned(), owner }
    }

    /// The record's key: `<kind>/<name>/<cluster>/<namespace>/<pipeline>`.
    pub fn to_text(&self) -> String {
        format!("{}/{}/{}", self.kind.as_str(), self.name, self.owner)
    }

    /// Reads a record's key back. None: not one of ours. No name of a topic or connector of ours holds a `/`.
    pub fn from_text(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once('/')?;
        let (name, owner) = rest.split_once('/')?;
        let kind = match kind {
            "topic" => ClaimKind::Topic,
            "connector" => ClaimKind::Connector,
            _ => return None,
        };
        Some(Self { kind, name: name.to_owned(), owner: owner.to_owned() })
    }
}

/// One owner's claim on one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// When it was first made, in milliseconds since 1970. The older of two claims wins.
    pub since_ms: u64,
    /// What the owner wants with it.
    pub state: ClaimState,
    /// What is claimed.
    pub of: Claimed,
}

/// What the owner wants with a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClaimState {
    /// Keeps it.
    Held,
    /// Is removing it. It stays until the removal was seen through, even if Connect was away meanwhile.
    Deleting,
    /// Let it go and left it there; the same owner can take it again.
    Released,
}

/// What is claimed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Claimed {
    /// A topic.
    Topic(TopicClaim),
    /// A connector.
    Connector(ConnectorClaim),
}

/// What is recorded of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicClaim {
    /// Its topic ID; absent between the claim and the creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Settings that the manifest names, so that one that leaves the manifest can be set back.
    pub keys: BTreeSet<String>,
    /// What becomes of it when it leaves the manifest.
    pub deletion_policy: DeletionPolicy,
    /// The stage whose own it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageId>,
    /// Consumer groups that are deleted before it is: nobody else remembers them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub groups: BTreeSet<String>,
}

/// What is recorded of a connector: enough to remove it when the manifest no longer knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectorClaim {
    /// Base URL of the Kafka Connect cluster.
    pub url: String,
    /// What becomes of offsets, slot and publication.
    pub deletion_policy: DeletionPolicy,
    /// Slot and publication. No secret is in it, only the name of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<SlotRelease>,
    /// Image, resources and place of the pod that drops them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub workers: Box<Workers>,
}

fn is_default(workers: &Workers) -> bool {
    *workers == Workers::default()
}

/// Claims: all there are, or those that concern one owner.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Ownership {
    claims: BTreeMap<ClaimKind, BTreeMap<String, BTreeMap<String, Claim>>>,
    /// The same by owner, so that one of a thousand needn't go through everybody's.
    #[serde(skip)]
    owned: BTreeMap<String, BTreeMap<ClaimKind, BTreeSet<String>>>,
}

impl Ownership {
    /// Adds or replaces a claim; None removes it, as a tombstone does.
    pub fn record(&mut self, key: ClaimKey, claim: Option<Claim>) {
        let ClaimKey { kind, name, owner } = key;
        let Some(claim) = claim else {
            remove(self.claims.entry(kind).or_default(), &name, |owners| {
                owners.remove(&owner);
                owners.is_empty()
            });
            remove(&mut self.owned, &owner, |kinds| {
                remove(kinds, &kind, |names| {
                    names.remove(&name);
                    names.is_empty()
                });
                kinds.is_empty()
            });
            return;
        };
        self.owned.entry(owner.clone()).or_default().entry(kind).or_default().insert(name.clone());
        self.claims.entry(kind).or_default().entry(name).or_default().insert(owner, claim);
    }

    /// All claims of `owner`, and everybody's on what it has claimed and on `named`.
    #[must_use]
    pub fn concerning<'a>(&'a self, owner: &str, named: impl Iterator<Item = (ClaimKind, &'a str)>) -> Self {
        let kinds = self.owned.get(owner).into_iter().flatten();
        let claimed = kinds.flat_map(|(kind, names)| names.iter().map(|name| (*kind, name.as_str())));
        let things: BTreeSet<(ClaimKind, &str)> = claimed.chain(named).collect();
        let mut concerning = Self::default();
        for (kind, name) in things {
            for (owner, claim) in self.claims.get(&kind).and_then(|all| all.get(name)).into_iter().flatten() {
                let key = ClaimKey { kind, name: name.to_owned(), owner: owner.clone() };
                concerning.record(key, Some(claim.clone()));
            }
        }
        concerning
    }

    /// Connectors that are being removed, by who claims them: names and claims.
    pub fn begun_removals(&self) -> BTreeMap<&str, Vec<(&str, &ConnectorClaim)>> {
        let mut begun: BTreeMap<&str, Vec<(&str, &ConnectorClaim)>> = BTreeMap::new();
        for (name, owners) in self.claims.get(&ClaimKind::Connector).into_iter().flatten() {
            for (owner, claim) in owners {
                if let (ClaimState::Deleting, Claimed::Connector(connector)) = (claim.state, &claim.of) {
                    begun.entry(owner).or_default().push((name, connector));
                }
            }
        }
        begun
    }

    /// The claim of `owner` on a thing, in whatever state.
    pub fn claim(&self, kind: ClaimKind, name: &str, owner: &str) -> Option<&Claim> {
        self.claims.get(&kind)?.get(name)?.get(owner)
    }

    /// Who else holds the thing with a claim that beats one made by `owner` at `since_ms` (None: not yet made).
    pub fn rival(&self, kind: ClaimKind, name: &str, owner: &str, since_ms: Option<u64>) -> Option<&str> {
        self.claims
            .get(&kind)?
            .get(name)?
            .iter()
            .filter(|(other, claim)| other.as_str() != owner && claim.state != ClaimState::Released)
            .find(|(other, claim)| {
                since_ms.is_none_or(|ours| (claim.since_ms, other.as_str()) < (ours, owner))
            })
            .map(|(other, _)| other.as_str())
    }

    /// All claims of `owner` on things of one kind, by name.
    pub fn of_owner<'a>(
        &'a self,
        kind: ClaimKind,
        owner: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Claim)> + 'a {
        let names = self.owned.get(owner).and_then(|kinds| kinds.get(&kind)).into_iter().flatten();
        names.filter_map(move |name| Some((name.as_str(), self.claim(kind, name, owner)?)))
    }
}

/// Takes something out of what `map` has at `key`, and that itself once nothing is left in it.
fn remove<K: Ord, V>(map: &mut BTreeMap<K, V>, key: &K, take_out: impl FnOnce(&mut V) -> bool) {
    if map.get_mut(key).is_some_and(take_out) {
        map.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(since_ms: u64) -> Claim {
        Claim {
            since_ms,
            state: ClaimState::Held,
            of: Claimed::Topic(TopicClaim {
                id: None,
                keys: BTreeSet::new(),
                deletion_policy: DeletionPolicy::Retain,
                stage: None,
                groups: BTreeSet::new(),
            }),
        }
    }

    fn key(owner: &str) -> ClaimKey {
        ClaimKey { kind: ClaimKind::Topic, name: "t".into(), owner: owner.into() }
    }

    #[test]
    fn the_older_of_two_claims_wins() {
        let mut ownership = Ownership::default();
        ownership.record(key("c/n/late"), Some(held(20)));
        ownership.record(key("c/n/early"), Some(held(10)));
        assert_eq!(ownership.rival(ClaimKind::Topic, "t", "c/n/late", Some(20)), Some("c/n/early"));
        assert_eq!(ownership.rival(ClaimKind::Topic, "t", "c/n/early", Some(10)), None);
        assert!(ownership.rival(ClaimKind::Topic, "t", "c/n/new", None).is_some());
    }

    #[test]
    fn a_released_or_removed_claim_stands_in_nobodys_way() {
        let mut ownership = Ownership::default();
        ownership.record(key("c/n/a"), Some(Claim { state: ClaimState::Released, ..held(10) }));
        ownership.record(key("c/n/b"), Some(held(5)));
        ownership.record(key("c/n/b"), None);
        assert_eq!(ownership.rival(ClaimKind::Topic, "t", "c/n/new", None), None);
        assert_eq!(ownership.of_owner(ClaimKind::Topic, "c/n/a").count(), 1);
    }

    #[test]
    fn what_concerns_an_owner_is_its_own_and_everybodys_claims_on_what_it_has_or_names() {
        let mut all = Ownership::default();
        let on = |name: &str, owner: &str| ClaimKey { name: name.into(), ..key(owner) };
        for (name, owner) in [("mine", "me"), ("mine", "rival"), ("named", "rival"), ("theirs", "rival")] {
            all.record(on(name, owner), Some(held(1)));
        }
        let mut expected = all.clone();
        expected.record(on("theirs", "rival"), None);
        let named = || [(ClaimKind::Topic, "named"), (ClaimKind::Connector, "named")].into_iter();
        assert_eq!(all.concerning("me", named()), expected);
        all.record(on("mine", "me"), None);
        assert_eq!(all.concerning("me", named()).of_owner(ClaimKind::Topic, "rival").count(), 1);
    }

    #[test]
    fn a_claim_of_a_version_that_knew_neither_stage_nor_groups_is_read_and_written_as_it_was() {
        let text = r#"{"sinceMs":10,"state":"held","of":{"topic":{"keys":[],"deletionPolicy":"retain"}}}"#;
        assert_eq!(serde_json::from_str::<Claim>(text).unwrap(), held(10));
        assert_eq!(serde_json::to_string(&held(10)).unwrap(), text);
    }

    #[test]
    fn a_key_is_read_back() {
        let key = key("local/default/shop");
        assert_eq!(key.to_text(), "topic/t/local/default/shop");
        assert_eq!(ClaimKey::from_text(&key.to_text()), Some(key));
        assert_eq!(ClaimKey::from_text("something else"), None);
    }
}
