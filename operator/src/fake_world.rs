//! A world without servers: an observation, and what carrying out a change does to it.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::names::{ConnectorName, PipelineId, StageId, StageKind};
use acequia_crds::pipeline::kafka::Kafka;
use acequia_crds::pipeline::workers::Workers;
use acequia_crds::stage::{GeneratorWork, StageConfig, Work};
use acequia_crds::stage_report::{StageReport, StageState};

use crate::diff::diff;
use crate::model::desired::{
    ConnectorTarget, DeletionPolicy, Desired, DesiredConnector, DesiredStage, DesiredTopic, Hold,
    Preconditions, Reads, Role, RunPolicy,
};
use crate::model::observed::{
    ConnectorState, GroupLag, Observed, ObservedConnector, ObservedReplica, ObservedStage, ObservedTask,
    ObservedTopic, ReplicaState, Restarts, Unreachable,
};
use crate::model::ownership::{
    Claim, ClaimKey, ClaimKind, ClaimState, Claimed, ConnectorClaim, Ownership, TopicClaim,
};
use crate::model::plan::{Change, Plan};

pub(crate) const OWNER: &str = "local/default/shop";
const URL: &str = "http://connect:8083";

pub(crate) fn empty_desired() -> Desired {
    Desired {
        identity: PipelineId { cluster: "local".into(), namespace: "default".into(), name: "shop".into() },
        kafka: Kafka { bootstrap_servers: "kafka:9092".into(), tls: None, sasl: None },
        connect_urls: BTreeSet::from([URL.to_owned()]),
        topics: BTreeMap::new(),
        connectors: BTreeMap::new(),
        stages: BTreeMap::new(),
        retired_groups: BTreeSet::new(),
        retains_state: false,
        only_begun: false,
        namespace_goes: false,
    }
}

pub(crate) fn topic(partitions: u32) -> DesiredTopic {
    DesiredTopic {
        field: "spec.topics[0]".into(),
        partitions: Some(partitions),
        replication_factor: None,
        config: BTreeMap::new(),
        deletion_policy: DeletionPolicy::Retain,
        hold: Hold::Own,
        keyed: false,
        allow_rekey: false,
        stage: None,
        groups: BTreeSet::new(),
    }
}

pub(crate) fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn connector(topics: &[&str], setup: &[StageId]) -> DesiredConnector {
    DesiredConnector {
        stage: StageId::new(StageKind::Source, "crm"),
        field: "spec.sources[0]".into(),
        url: URL.into(),
        config: settings(&[("connector.class", "C")]),
        after: Preconditions {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            setup: setup.iter().cloned().collect(),
        },
        target: ConnectorTarget::Running,
        release: None,
        deletion_policy: DeletionPolicy::Delete,
        workers: Workers::default(),
    }
}

pub(crate) fn connector_name(source: &str) -> ConnectorName {
    empty_desired().identity.connector(source)
}

pub(crate) fn stage(kind: StageKind, name: &str) -> (StageId, DesiredStage) {
    let id = StageId::new(kind, name);
    let generator = serde_json::from_str(r#"{"name": "g", "templates": []}"#).unwrap();
    let config = StageConfig {
        pipeline: OWNER.into(),
        stage: id.to_string(),
        kafka: empty_desired().kafka,
        work: Work::Generator(GeneratorWork { generator, stores: BTreeMap::new(), setup: BTreeMap::new() }),
    };
    let reads =
        Reads { group: format!("acequia.default.shop.{id}"), topics: BTreeSet::from(["orders".to_owned()]) };
    let stage = DesiredStage {
        kind,
        name: name.into(),
        config,
        text: String::new(),
        hash: "v1".into(),
        replicas: 1,
        workers: Workers::default(),
        role: if kind == StageKind::Sink { Role::Consumer } else { Role::Producer },
        secrets: BTreeSet::new(),
        reads: if kind == StageKind::Sink { vec![reads] } else { Vec::new() },
        run: RunPolicy::Always,
    };
    (id, stage)
}

/// Nothing there yet, everything answers.
pub(crate) fn empty_world() -> Observed {
    Observed {
        at_ms: 1_000_000,
        topics: Ok(BTreeMap::new()),
        ownership: Ok(Ownership::default()),
        connectors: BTreeMap::new(),
        stages: BTreeMap::new(),
        lag: BTreeMap::new(),
    }
}

pub(crate) fn unreachable(what: &str) -> Unreachable {
    Unreachable { what: what.to_owned(), why: "connection refused".to_owned() }
}

/// Diff and carry out, round after round, as the loop does. Ends with the first plan without changes.
pub(crate) fn converge(desired: &Desired, world: &mut Observed) -> Plan {
    for _ in 0..12 {
        look_for_connectors(desired, world);
        let plan = diff(desired, world);
        assert_eq!(plan, diff(desired, world), "the same observation gives the same plan");
        if plan.changes.is_empty() {
            return plan;
        }
        for change in &plan.changes {
            carry_out(change, desired, world);
        }
    }
    panic!("no end: {:#?}", diff(desired, world).changes);
}

/// `observe` asks for the connectors of the manifest and for those on record.
pub(crate) fn look_for_connectors(desired: &Desired, world: &mut Observed) {
    let Ok(ownership) = &world.ownership else { return };
    let mut names: Vec<ConnectorName> = desired.connectors.keys().cloned().collect();
    names.extend(
        ownership.of_owner(ClaimKind::Connector, OWNER).map(|(name, _)| ConnectorName::from_text(name)),
    );
    for name in names {
        world.connectors.entry(name).or_insert(Ok(None));
    }
}

pub(crate) fn carry_out(change: &Change, desired: &Desired, world: &mut Observed) {
    world.at_ms += 1;
    match change {
        Change::StartStage { .. }
        | Change::ReplaceStage { .. }
        | Change::ScaleStage { .. }
        | Change::StopStage { .. } => carry_out_stage(change, desired, world),
        Change::PutConnector { .. }
        | Change::RestartConnector { .. }
        | Change::StopConnector { .. }
        | Change::ResumeConnector { .. }
        | Change::RemoveConnector { .. } => carry_out_connector(change, world),
        _ => carry_out_topic(change, world),
    }
}

fn carry_out_topic(change: &Change, world: &mut Observed) {
    let id = format!("id-{}", world.at_ms);
    let (Ok(topics), Ok(ownership)) = (&mut world.topics, &mut world.ownership) else {
        panic!("changed blindly")
    };
    match change {
        Change::CreateTopic { name, partitions, replication_factor, config, claim } => {
            let created = ObservedTopic {
                id: id.clone(),
                partitions: partitions.unwrap_or(1),
                replication_factor: replication_factor.unwrap_or(1),
                config: config.clone(),
            };
            assert!(topics.insert(name.clone(), created).is_none(), "created twice");
            let mut claim = claim.clone();
            if let Claimed::Topic(topic) = &mut claim.of {
                topic.id = Some(id);
            }
            ownership.record(topic_key(name), Some(claim));
        }
        Change::AddPartitions { name, to, .. } => topics.get_mut(name).unwrap().partitions = *to,
        Change::ConfigureTopic { name, set, unset, claim } => {
            let config = &mut topics.get_mut(name).unwrap().config;
            config.extend(set.clone());
            config.retain(|key, _| !unset.contains(key));
            ownership.record(topic_key(name), Some(claim.clone()));
        }
        Change::Record { key, claim } => ownership.record(key.clone(), claim.clone()),
        Change::DeleteTopic { name, id } => {
            assert_eq!(topics.remove(name).unwrap().id, *id, "deleted somebody else's topic");
            ownership.record(topic_key(name), None);
        }
        Change::DeleteGroup { name } => {
            world.lag.remove(name);
        }
        other => unreachable!("{other:?}"),
    }
}

fn carry_out_connector(change: &Change, world: &mut Observed) {
    let Ok(ownership) = &mut world.ownership else { panic!("changed blindly") };
    match change {
        Change::PutConnector { name, config, claim, stopped, .. } => {
            ownership.record(connector_key(name), Some(claim.clone()));
            let mut config = config.clone();
            config.insert("name".into(), name.to_string());
            let state = if *stopped { ConnectorState::Stopped } else { ConnectorState::Running };
            world.connectors.insert(name.clone(), Ok(Some(ObservedConnector { config, ..running(state) })));
        }
        Change::RestartConnector { name, attempt, preconditions, .. } => {
            let Some(Ok(Some(connector))) = world.connectors.get_mut(name) else {
                panic!("no such connector")
            };
            let config = connector.config.clone();
            let restarts = Restarts {
                count: *attempt,
                last_ms: world.at_ms,
                preconditions: preconditions.clone(),
                stopped: false,
            };
            *connector = ObservedConnector { config, restarts, ..running(ConnectorState::Running) };
        }
        Change::StopConnector { name, .. } => steer(world, name, ConnectorState::Stopped),
        Change::ResumeConnector { name, .. } => steer(world, name, ConnectorState::Running),
        Change::RemoveConnector { name, .. } => {
            ownership.record(connector_key(name), None);
            world.connectors.insert(name.clone(), Ok(None));
        }
        other => unreachable!("{other:?}"),
    }
}

fn carry_out_stage(change: &Change, desired: &Desired, world: &mut Observed) {
    match change {
        Change::StartStage { id, .. } | Change::ReplaceStage { id } | Change::ScaleStage { id, .. } => {
            let stage = &desired.stages[id];
            let one = ObservedReplica { config_hash: stage.hash.clone(), ..replica() };
            let replicas = (0..stage.replicas).map(|_| one.clone()).collect();
            world.stages.insert(
                id.clone(),
                ObservedStage { hash: stage.hash.clone(), wanted: stage.replicas, replicas, fault: None },
            );
            for reads in &stage.reads {
                world.lag.entry(reads.group.clone()).or_insert(Ok(GroupLag {
                    records: 0,
                    members: stage.replicas,
                    is_shared: false,
                }));
            }
        }
        Change::StopStage { id } => {
            world.stages.remove(id);
        }
        other => unreachable!("{other:?}"),
    }
    let reads = |group: &String| {
        let mut running = world.stages.keys().filter_map(|id| desired.stages.get(id));
        running.any(|stage| stage.reads.iter().any(|reads| reads.group == *group))
    };
    for (_, lag) in world.lag.iter_mut().filter(|(group, _)| !reads(group)) {
        *lag = lag.clone().map(|lag| GroupLag { members: 0, ..lag });
    }
}

fn steer(world: &mut Observed, name: &ConnectorName, state: ConnectorState) {
    let Some(Ok(Some(connector))) = world.connectors.get_mut(name) else { panic!("no such connector") };
    *connector = ObservedConnector { config: connector.config.clone(), ..running(state) };
}

pub(crate) fn running(state: ConnectorState) -> ObservedConnector {
    let tasks = if state == ConnectorState::Stopped { vec![] } else { vec![ObservedTask { id: 0, state }] };
    ObservedConnector { config: BTreeMap::new(), state, fault: None, tasks, restarts: Restarts::default() }
}

pub(crate) fn replica() -> ObservedReplica {
    let report = StageReport {
        state: StageState::Running,
        error: None,
        lag: None,
        records: 0,
        rate: 0.0,
        dead_letters: 0,
        config_hash: "v1".into(),
        setup_done: true,
        aggregation: None,
    };
    ObservedReplica {
        state: ReplicaState::Running,
        config_hash: "v1".into(),
        pid: Some(1),
        pod: None,
        address: None,
        restarts: 0,
        last_exit: None,
        report: Some(report),
    }
}

pub(crate) fn topic_key(name: &str) -> ClaimKey {
    ClaimKey { kind: ClaimKind::Topic, name: name.to_owned(), owner: OWNER.to_owned() }
}

pub(crate) fn connector_key(name: &ConnectorName) -> ClaimKey {
    ClaimKey { kind: ClaimKind::Connector, name: name.as_str().to_owned(), owner: OWNER.to_owned() }
}

pub(crate) fn topic_claim(id: Option<&str>, since_ms: u64) -> Claim {
    let of = Claimed::Topic(TopicClaim {
        id: id.map(str::to_owned),
        keys: BTreeSet::new(),
        deletion_policy: DeletionPolicy::Retain,
        stage: None,
        groups: BTreeSet::new(),
    });
    Claim { since_ms, state: ClaimState::Held, of }
}

pub(crate) fn connector_claim() -> Claim {
    let of = Claimed::Connector(ConnectorClaim {
        url: URL.into(),
        deletion_policy: DeletionPolicy::Delete,
        release: None,
        workers: Box::default(),
    });
    Claim { since_ms: 1, state: ClaimState::Held, of }
}

pub(crate) fn existing(id: &str, partitions: u32, config: &[(&str, &str)]) -> ObservedTopic {
    ObservedTopic { id: id.into(), partitions, replication_factor: 1, config: settings(config) }
}

impl Observed {
    pub(crate) fn add_topic(&mut self, name: &str, topic: ObservedTopic) {
        self.topics.as_mut().unwrap().insert(name.to_owned(), topic);
    }

    pub(crate) fn add_claim(&mut self, key: ClaimKey, claim: Claim) {
        self.ownership.as_mut().unwrap().record(key, Some(claim));
    }
}
