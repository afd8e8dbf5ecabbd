//! Connectors: create once their topics and tables are there, reconfigure, restart what failed, remove.

use std::collections::BTreeSet;
use std::net::IpAddr;

use acequia_crds::names::ConnectorName;
use acequia_crds::pipeline::store::Postgres;

use crate::debezium::normalise;
use crate::model::desired::{ConnectorTarget, DeletionPolicy, Desired, DesiredConnector};
use crate::model::observed::{ConnectorState, Observed, ObservedConnector};
use crate::model::ownership::{Claim, ClaimKey, ClaimKind, ClaimState, Claimed, ConnectorClaim};
use crate::model::plan::{Change, Plan};

/// How a removal that waits begins.
pub(super) const REMOVAL: &str = "removal of connector";

/// Longest time between two restarts.
const BACKOFF_CAP_MINUTES: u64 = 60;

/// Time between two restarts when the cause lies outside and a restart does no harm.
const RETRY_MS: u64 = 15_000;

/// Time between the restart number `count` and the next one: 0, 2, 6, 12, 20 … minutes, at most 60.
pub fn restart_backoff_ms(count: u32) -> u64 {
    let n = u64::from(count);
    n.saturating_mul(n + 1).min(BACKOFF_CAP_MINUTES) * 60_000
}

/// Connectors of the manifest.
pub(super) fn kept(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    for (name, connector) in &desired.connectors {
        let one = One { name, connector, desired, observed };
        match observed.connectors.get(name) {
            None => one.wait(plan, "a first look at Kafka Connect"),
            Some(Err(unreachable)) => one.wait(plan, &unreachable.to_string()),
            Some(Ok(None)) => one.create(plan),
            Some(Ok(Some(existing))) => one.keep(existing, plan),
        }
    }
}

/// Connectors that were ours and are no longer in the manifest.
pub(super) fn removed(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let Ok(ownership) = &observed.ownership else { return };
    let owner = desired.identity.to_string();
    for (name, claim) in ownership.of_owner(ClaimKind::Connector, &owner) {
        let name = ConnectorName::from_text(name);
        let Claimed::Connector(recorded) = &claim.of else { continue };
        if desired.connectors.contains_key(&name) || claim.state == ClaimState::Released {
            continue;
        }
        let is_begun = claim.state == ClaimState::Deleting;
        if desired.only_begun && !is_begun {
            continue;
        }
        if desired.stages.is_empty() && !observed.stages.is_empty() && !desired.namespace_goes {
            plan.wait(format!("{REMOVAL} {name}"), "the stages to stop".to_owned());
            continue;
        }
        match observed.connectors.get(&name) {
            Some(Ok(_)) => plan.changes.push(Change::RemoveConnector {
                name,
                claim: recorded.clone(),
                since_ms: claim.since_ms,
            }),
            Some(Err(unreachable)) => {
                // The Pipeline may be let go before Connect is back, and this operator be gone then.
                if desired.is_nothing() && !is_begun {
                    let key = ClaimKey::of_connector(&name, owner.clone());
                    let claim = Some(Claim { state: ClaimState::Deleting, ..claim.clone() });
                    plan.changes.push(Change::Record { key, claim });
                }
                plan.wait(format!("{REMOVAL} {name}"), unreachable.to_string());
            }
            None => plan.wait(format!("{REMOVAL} {name}"), "a first look at Kafka Connect".to_owned()),
        }
    }
}

/// A connector of ours hasn't got its new configuration yet, or nobody knows whether it has.
pub(super) fn may_write_elsewhere(desired: &Desired, observed: &Observed) -> bool {
    let mut all =
        desired.connectors.iter().map(|(name, connector)| One { name, connector, desired, observed });
    all.any(|one| one.may_write_elsewhere())
}

/// What is on record of a connector.
const fn recorded(held: Option<&Claim>) -> Option<&ConnectorClaim> {
    match held {
        Some(Claim { of: Claimed::Connector(connector), .. }) => Some(connector),
        _ => None,
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// It gave up, and only a restart gets it going again. One that has a fault and still tries needs none.
fn has_failed(connector: &ObservedConnector) -> bool {
    let tasks = connector.tasks.iter().map(|task| task.state);
    tasks.chain([connector.state]).any(|state| state == ConnectorState::Failed)
}

/// One connector of the manifest.
struct One<'a> {
    name: &'a ConnectorName,
    connector: &'a DesiredConnector,
    desired: &'a Desired,
    observed: &'a Observed,
}

impl One<'_> {
    fn create(&self, plan: &mut Plan) {
        let held = match &self.observed.ownership {
            Ok(_) => self.held(),
            Err(unreachable) => return self.wait(plan, &unreachable.to_string()),
        };
        if let Some(removal) = self.begun_removal(held) {
            plan.changes.push(removal);
            return;
        }
        if let Some(elsewhere) = recorded(held).filter(|claim| claim.url != self.connector.url) {
            let what = format!("the connector `{}` at {}", self.name, self.connector.url);
            let why = format!("it is recorded at {}, where it would go on", elsewhere.url);
            let fix = "put spec.connect.url back, take the source out, and add it again with the new url";
            plan.refuse(self.connector.field.clone(), what, why, fix.to_owned());
            return;
        }
        if let Some(missing) = self.missing(plan) {
            return self.wait(plan, &missing);
        }
        self.put(held, BTreeSet::new(), plan);
    }

    /// A removal that was begun, when it wasn't in the manifest, is seen through first: its offsets may be gone already, and
    /// whoever is still dropping its slot would drop the new one. A slot that can't be dropped, since its database is gone, can
    /// be left; the offsets go even so, since nobody knows whether the slot still is where they are.
    fn begun_removal(&self, held: Option<&Claim>) -> Option<Change> {
        let held = held.filter(|held| held.state == ClaimState::Deleting)?;
        let mut claim = recorded(Some(held))?.clone();
        if self.connector.deletion_policy == DeletionPolicy::Retain {
            claim.release = None;
        }
        Some(Change::RemoveConnector { name: self.name.clone(), claim, since_ms: held.since_ms })
    }

    fn keep(&self, existing: &ObservedConnector, plan: &mut Plan) {
        if let Err(unreachable) = &self.observed.ownership {
            return self.wait(plan, &unreachable.to_string());
        }
        let Some(held) = self.held() else {
            plan.refuse(
                self.connector.field.clone(),
                format!("the connector `{}`", self.name),
                "one of this name exists and isn't recorded as created by this Pipeline".to_owned(),
                "delete it in Kafka Connect, or give the source another name".to_owned(),
            );
            return;
        };
        if let Some(removal) = self.begun_removal(Some(held)) {
            plan.changes.push(removal);
            return;
        }
        let changed = self.changed(existing);
        if let Some((from, to)) = self.another_database(held) {
            plan.refuse(
                format!("{}.debezium.store", self.connector.field),
                format!("the database {to} instead of {from} for the connector `{}`", self.name),
                "its position is one in the database before, so rows would be lost without a word".to_owned(),
                "give the source another name, so that the old one is removed and the new one starts with a snapshot"
                    .to_owned(),
            );
        } else if !changed.is_empty() {
            match self.missing(plan) {
                Some(missing) => self.wait(plan, &missing),
                None => self.put(Some(held), changed, plan),
            }
        } else if *held != self.claim(Some(held)) {
            plan.changes.push(Change::Record { key: self.key(), claim: Some(self.claim(Some(held))) });
        }
        self.steer(existing, plan);
    }

    /// Host, port and database on record and in the manifest, if they are not the same.
    fn another_database(&self, held: &Claim) -> Option<(String, String)> {
        let from = &recorded(Some(held))?.release.as_ref()?.store;
        let to = &self.connector.release.as_ref()?.store;
        // Loopback addresses are where `--addresses` has put a server on this machine, and such a port moves without
        // the server being another one. There only the database's name tells.
        let local = is_loopback(&from.host) || is_loopback(&to.host);
        let same_server = local || (&from.host, from.port) == (&to.host, to.port);
        let text = |store: &Postgres| format!("{}:{}/{}", store.host, store.port, store.database);
        (!same_server || from.database != to.database).then(|| (text(from), text(to)))
    }

    /// It is ours and may still write into topics that the manifest no longer gives it.
    fn may_write_elsewhere(&self) -> bool {
        if self.held().is_none() {
            return false;
        }
        match self.observed.connectors.get(self.name) {
            None | Some(Err(_)) => true,
            Some(Ok(None)) => false,
            Some(Ok(Some(existing))) => {
                let stops = self.connector.target == ConnectorTarget::Stopped;
                !self.changed(existing).is_empty() || stops && !existing.is_at_rest()
            }
        }
    }

    /// Running, stopped, or restarted.
    fn steer(&self, existing: &ObservedConnector, plan: &mut Plan) {
        let (name, url) = (self.name.clone(), self.connector.url.clone());
        let idle = matches!(existing.state, ConnectorState::Stopped | ConnectorState::Paused);
        match self.connector.target {
            ConnectorTarget::Stopped if !existing.is_at_rest() || !existing.was_stopped() => {
                plan.changes.push(Change::StopConnector { name, url });
            }
            ConnectorTarget::Running if idle => plan.changes.push(Change::ResumeConnector { name, url }),
            ConnectorTarget::Running if has_failed(existing) => self.restart(existing, plan),
            _ => {}
        }
    }

    fn restart(&self, existing: &ObservedConnector, plan: &mut Plan) {
        // Connect restarts a connector by itself when it gets another configuration.
        let reconfigured = plan
            .changes
            .iter()
            .any(|change| matches!(change, Change::PutConnector { name, .. } if name == self.name));
        if reconfigured {
            return;
        }
        let (done, preconditions) = (&existing.restarts, self.preconditions());
        let attempt = done.count.saturating_add(1);
        let heals_outside = existing.fault.as_ref().is_some_and(|fault| fault.heals_outside);
        let pause_ms = if heals_outside { RETRY_MS } else { restart_backoff_ms(done.count) };
        let due_ms = done.last_ms.saturating_add(pause_ms);
        if done.count > 0 && self.observed.at_ms < due_ms && done.preconditions == preconditions {
            return self
                .wait(plan, &format!("its restart {attempt}, {} s after the one before", pause_ms / 1_000));
        }
        plan.changes.push(Change::RestartConnector {
            name: self.name.clone(),
            url: self.connector.url.clone(),
            attempt,
            preconditions,
        });
    }

    fn put(&self, held: Option<&Claim>, changed: BTreeSet<String>, plan: &mut Plan) {
        plan.changes.push(Change::PutConnector {
            name: self.name.clone(),
            url: self.connector.url.clone(),
            config: self.connector.config.clone(),
            changed,
            claim: self.claim(held),
            stopped: self.connector.target == ConnectorTarget::Stopped,
        });
    }

    /// Settings that differ.
    fn changed(&self, existing: &ObservedConnector) -> BTreeSet<String> {
        let (wanted, echoed) = (&self.connector.config, normalise(&existing.config));
        let keys: BTreeSet<&String> = wanted.keys().chain(echoed.keys()).collect();
        keys.into_iter().filter(|key| wanted.get(*key) != echoed.get(*key)).cloned().collect()
    }

    /// The first precondition that doesn't hold.
    fn missing(&self, plan: &Plan) -> Option<String> {
        let topics = match &self.observed.topics {
            Ok(topics) => topics,
            Err(unreachable) => return Some(unreachable.to_string()),
        };
        if let Some(topic) = self.connector.after.topics.iter().find(|topic| !topics.contains_key(*topic)) {
            return Some(format!("topic {topic} to be created"));
        }
        let refused = |topic: &String| {
            let field = self.desired.topics.get(topic).map(|topic| format!("{}.name", topic.field));
            plan.refused.iter().any(|refusal| Some(&refusal.field) == field.as_ref())
        };
        if let Some(topic) = self.connector.after.topics.iter().find(|topic| refused(topic)) {
            return Some(format!("topic {topic}, which is refused"));
        }
        let waits_for = self.connector.after.setup.iter().find(|stage| !self.setup_done(stage))?;
        Some(format!("{waits_for} to run its setup"))
    }

    fn setup_done(&self, stage: &acequia_crds::names::StageId) -> bool {
        self.observed.stages.get(stage).is_some_and(|stage| {
            stage.replicas.iter().any(|one| one.report.as_ref().is_some_and(|report| report.setup_done))
        })
    }

    /// What the preconditions look like; when it changes, a failed connector is worth another try at once.
    fn preconditions(&self) -> String {
        let mut text = String::new();
        if let Ok(topics) = &self.observed.topics {
            for name in &self.connector.after.topics {
                text.push_str(topics.get(name).map_or("-", |topic| topic.id.as_str()));
                text.push(' ');
            }
        }
        for stage in &self.connector.after.setup {
            text.push(if self.setup_done(stage) { 'y' } else { 'n' });
        }
        text
    }

    fn held(&self) -> Option<&Claim> {
        let ownership = self.observed.ownership.as_ref().ok()?;
        ownership.claim(ClaimKind::Connector, self.name.as_str(), &self.desired.identity.to_string())
    }

    fn claim(&self, held: Option<&Claim>) -> Claim {
        Claim {
            since_ms: held.map_or(self.observed.at_ms, |claim| claim.since_ms),
            state: ClaimState::Held,
            of: Claimed::Connector(ConnectorClaim {
                url: self.connector.url.clone(),
                deletion_policy: self.connector.deletion_policy,
                release: self.connector.release.clone(),
                workers: Box::new(self.connector.workers.clone()),
            }),
        }
    }

    fn key(&self) -> ClaimKey {
        ClaimKey::of_connector(self.name, self.desired.identity.to_string())
    }

    fn wait(&self, plan: &mut Plan, until: &str) {
        plan.wait(format!("connector {}", self.name), until.to_owned());
    }
}
