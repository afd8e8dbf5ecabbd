//! The latest look at each part of the outside, and the observation put together from them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use acequia_crds::names::{ConnectorName, StageId};

use super::restarts::RestartMemory;
use crate::model::desired::{Desired, RunPolicy};
use crate::model::observed::{Observed, ObservedConnector, ObservedStage, Part, Unreachable};
use crate::model::ownership::{ClaimKind, Claimed};
use crate::observe::connect::ConnectLook;
use crate::observe::kafka::KafkaLook;

/// Something that is looked at on its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartKey {
    /// Topics, claims, groups.
    Kafka,
    /// The Connect cluster at this URL.
    Connect(String),
    /// The processes.
    Stages,
}

/// What a look saw.
#[derive(Debug)]
pub enum Seen {
    /// Of Kafka.
    Kafka(Part<KafkaLook>),
    /// Of a Connect cluster.
    Connect(Part<ConnectLook>),
    /// Of the processes.
    Stages(BTreeMap<StageId, ObservedStage>),
}

struct Timed<T> {
    began: Instant,
    ended: Instant,
    value: T,
}

/// The latest looks.
#[derive(Default)]
pub struct Parts {
    kafka: Option<Timed<Part<KafkaLook>>>,
    /// A look at Kafka that began before this asked for something else.
    kafka_since: Option<Instant>,
    /// Connectors that nobody of ours has claimed, and when the first look ended that saw them so.
    unclaimed: BTreeMap<ConnectorName, Instant>,
    connects: BTreeMap<String, Timed<Part<ConnectLook>>>,
    stages: Option<Timed<BTreeMap<StageId, ObservedStage>>>,
    in_flight: BTreeSet<PartKey>,
    stale: BTreeSet<PartKey>,
    /// Since when all writers are seen stopped, while suspended.
    quiet_since: Option<Instant>,
}

impl Parts {
    /// The parts whose look is due; they count as being looked at from now on.
    pub fn due(
        &mut self,
        desired: &Desired,
        now: Instant,
        pause: impl Fn(&PartKey) -> Duration,
    ) -> Vec<PartKey> {
        let mut keys = vec![PartKey::Kafka, PartKey::Stages];
        keys.extend(self.connect_urls(desired).into_iter().map(PartKey::Connect));
        keys.retain(|key| {
            let fresh = self.began(key).is_some_and(|began| now.duration_since(began) < pause(key));
            !self.in_flight.contains(key) && (self.stale.contains(key) || !fresh)
        });
        for key in &keys {
            self.stale.remove(key);
            self.in_flight.insert(key.clone());
        }
        keys
    }

    /// Takes in what a look saw, and when it began and ended.
    pub fn take(&mut self, key: &PartKey, (began, ended): (Instant, Instant), seen: Seen) {
        self.in_flight.remove(key);
        match (key, seen) {
            (PartKey::Kafka, Seen::Kafka(value)) if self.kafka_since.is_none_or(|since| since <= began) => {
                self.kafka = Some(Timed { began, ended, value });
            }
            (PartKey::Connect(url), Seen::Connect(value)) => {
                self.connects.insert(url.clone(), Timed { began, ended, value });
            }
            (_, Seen::Stages(value)) => self.stages = Some(Timed { began, ended, value }),
            _ => {}
        }
    }

    /// The part has changed: it is looked at again at once.
    pub fn outdated(&mut self, key: PartKey) {
        self.stale.insert(key);
    }

    /// Another Kafka cluster, or other topics: what was seen before `now` says nothing about them and is forgotten,
    /// also when a look that is under way comes back with it.
    pub fn forget_kafka(&mut self, now: Instant) {
        self.kafka = None;
        self.kafka_since = Some(now);
        self.stale.insert(PartKey::Kafka);
    }

    /// Every part was looked at once.
    pub fn all_seen(&self, desired: &Desired) -> bool {
        let connects = || self.connect_urls(desired).into_iter().map(PartKey::Connect);
        [PartKey::Kafka, PartKey::Stages].into_iter().chain(connects()).all(|key| self.began(&key).is_some())
    }

    /// When the latest look at the part began.
    pub fn began(&self, key: &PartKey) -> Option<Instant> {
        match key {
            PartKey::Kafka => self.kafka.as_ref().map(|look| look.began),
            PartKey::Connect(url) => self.connects.get(url).map(|look| look.began),
            PartKey::Stages => self.stages.as_ref().map(|look| look.began),
        }
    }

    /// Everything put together; None until the processes were looked at.
    pub fn observed(&mut self, desired: &Desired, restarts: &RestartMemory, at_ms: u64) -> Option<Observed> {
        let stages = self.stages.as_ref()?.value.clone();
        let not_yet = || Unreachable {
            what: format!("Kafka at {}", desired.kafka.bootstrap_servers),
            why: "no answer yet".to_owned(),
        };
        let (topics, ownership, lag) = match self.kafka.as_ref().map(|look| &look.value) {
            Some(Ok(look)) => (Ok(look.topics.clone()), Ok(look.ownership.clone()), look.lag.clone()),
            Some(Err(unreachable)) => (Err(unreachable.clone()), Err(unreachable.clone()), BTreeMap::new()),
            None => (Err(not_yet()), Err(not_yet()), BTreeMap::new()),
        };
        let mut connectors = self.connectors(desired, restarts);
        self.doubt_strangers(desired, &mut connectors);
        let mut observed = Observed { at_ms, topics, ownership, connectors, stages, lag };
        self.distrust_early_lag(desired, &mut observed);
        Some(observed)
    }

    /// Where connectors of this Pipeline are, or were when they were recorded: name → URL.
    fn places(&self, desired: &Desired) -> BTreeMap<ConnectorName, String> {
        let mut places = BTreeMap::new();
        if let Some(Ok(look)) = self.kafka.as_ref().map(|look| &look.value) {
            let owner = desired.identity.to_string();
            for (name, claim) in look.ownership.of_owner(ClaimKind::Connector, &owner) {
                if let Claimed::Connector(connector) = &claim.of {
                    places.insert(ConnectorName::from_text(name), connector.url.clone());
                }
            }
        }
        places.extend(desired.connectors.iter().map(|(name, one)| (name.clone(), one.url.clone())));
        places
    }

    /// Connectors of this Pipeline in the Connect cluster at `url`.
    pub fn connectors_at(&self, desired: &Desired, url: &str) -> BTreeSet<ConnectorName> {
        self.places(desired).into_iter().filter(|(_, at)| at == url).map(|(name, _)| name).collect()
    }

    fn connect_urls(&self, desired: &Desired) -> BTreeSet<String> {
        self.places(desired).into_values().chain(desired.connect_urls.iter().cloned()).collect()
    }

    fn connectors(
        &self,
        desired: &Desired,
        restarts: &RestartMemory,
    ) -> BTreeMap<ConnectorName, Part<Option<ObservedConnector>>> {
        let see = |(name, url): (ConnectorName, String)| {
            let seen = match &self.connects.get(&url)?.value {
                Err(unreachable) => Err(unreachable.clone()),
                Ok(look) => Ok(look.get(&name).map(|mut connector| {
                    connector.restarts = restarts.of(&name);
                    connector
                })),
            };
            Some((name, seen))
        };
        self.places(desired).into_iter().filter_map(see).collect()
    }

    /// A connector is somebody else's only if there is still no claim on it after it was seen: Kafka and Connect are
    /// looked at independently, so the claim on one just created may be missing in an older look at Kafka.
    fn doubt_strangers(
        &mut self,
        desired: &Desired,
        connectors: &mut BTreeMap<ConnectorName, Part<Option<ObservedConnector>>>,
    ) {
        let Some(Timed { began, value: Ok(look), .. }) = &self.kafka else { return };
        let (began, owner) = (*began, desired.identity.to_string());
        let claimed = |name: &ConnectorName| {
            look.ownership.claim(ClaimKind::Connector, name.as_str(), &owner).is_some()
        };
        let strangers: BTreeMap<ConnectorName, Instant> = desired
            .connectors
            .iter()
            .filter(|(name, _)| matches!(connectors.get(*name), Some(Ok(Some(_)))) && !claimed(name))
            .filter_map(|(name, one)| {
                let ended = self.connects.get(&one.url)?.ended;
                Some((name.clone(), self.unclaimed.get(name).copied().unwrap_or(ended)))
            })
            .collect();
        self.unclaimed = strangers;
        let early: Vec<&ConnectorName> =
            self.unclaimed.iter().filter(|(_, seen)| began < **seen).map(|(name, _)| name).collect();
        if !early.is_empty() {
            self.stale.insert(PartKey::Kafka);
        }
        for name in early {
            connectors.remove(name);
        }
    }

    /// While suspended, a lag that was taken before the writers were seen stopped says nothing.
    fn distrust_early_lag(&mut self, desired: &Desired, observed: &mut Observed) {
        if desired.stages.values().all(|stage| stage.run != RunPolicy::UntilDrained) {
            self.quiet_since = None;
            return;
        }
        let generators = desired.stages.iter().filter(|(_, stage)| stage.run == RunPolicy::Never);
        let quiet = generators
            .map(|(id, _)| observed.stages.get(id))
            .all(|stage| stage.is_none_or(|stage| stage.replicas.is_empty()))
            && observed.connectors.values().all(|connector| match connector {
                Ok(Some(connector)) => connector.is_at_rest(),
                Ok(None) => true,
                Err(_) => false,
            });
        if !quiet {
            self.quiet_since = None;
        } else if self.quiet_since.is_none() {
            self.quiet_since = Some(Instant::now());
            self.outdated(PartKey::Kafka);
        }
        let trusted = match (self.quiet_since, self.began(&PartKey::Kafka)) {
            (Some(quiet_since), Some(began)) => began >= quiet_since,
            _ => false,
        };
        if !trusted {
            let why = "its lag was not read again since the sources stopped";
            for lag in observed.lag.values_mut() {
                *lag = Err(Unreachable { what: "the consumer group".to_owned(), why: why.to_owned() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::{Connector, State};
    use crate::fake_world::*;
    use crate::model::ownership::Ownership;

    fn look(topics: &[&str]) -> Seen {
        let topics = topics.iter().map(|name| ((*name).to_owned(), existing("x", 1, &[]))).collect();
        Seen::Kafka(Ok(KafkaLook { topics, ownership: Ownership::default(), lag: BTreeMap::new() }))
    }

    fn second(t0: Instant, number: u64) -> (Instant, Instant) {
        (t0 + Duration::from_millis(number * 1000), t0 + Duration::from_millis(number * 1000 + 500))
    }

    #[test]
    fn a_look_that_asked_for_other_topics_is_not_taken_in() {
        let (mut parts, t0) = (Parts::default(), Instant::now());
        parts.take(&PartKey::Kafka, second(t0, 0), look(&["a"]));
        parts.forget_kafka(second(t0, 2).0);
        assert!(parts.began(&PartKey::Kafka).is_none());
        parts.take(&PartKey::Kafka, second(t0, 1), look(&["a"]));
        assert!(parts.began(&PartKey::Kafka).is_none(), "it began before");
        parts.take(&PartKey::Kafka, second(t0, 3), look(&["a", "b"]));
        assert!(parts.began(&PartKey::Kafka).is_some());
    }

    #[test]
    fn a_connector_without_a_claim_is_a_stranger_only_when_kafka_was_asked_after_it_was_seen() {
        let (mut parts, t0) = (Parts::default(), Instant::now());
        let mut desired = empty_desired();
        let (name, wanted) = (connector_name("crm"), connector(&[], &[]));
        let url = wanted.url.clone();
        desired.connectors.insert(name.clone(), wanted);
        let there = Connector {
            config: BTreeMap::new(),
            state: State::Running,
            trace: None,
            worker: String::new(),
            tasks: vec![],
        };
        let all = BTreeMap::from([(name.as_str().to_owned(), there)]);
        let connects = || Seen::Connect(Ok(ConnectLook::healthy(all.clone())));
        let seen = |parts: &mut Parts| {
            let observed = parts.observed(&desired, &RestartMemory::default(), 0).unwrap();
            observed.connectors.contains_key(&name)
        };
        parts.take(&PartKey::Stages, second(t0, 0), Seen::Stages(BTreeMap::new()));
        parts.take(&PartKey::Kafka, second(t0, 0), look(&[]));
        parts.take(&PartKey::Connect(url.clone()), second(t0, 1), connects());
        assert!(!seen(&mut parts));
        assert!(parts.stale.contains(&PartKey::Kafka));
        parts.take(&PartKey::Kafka, second(t0, 2), look(&[]));
        assert!(seen(&mut parts));
        parts.take(&PartKey::Connect(url), second(t0, 3), connects());
        assert!(seen(&mut parts), "a further look changes nothing");
    }
}
