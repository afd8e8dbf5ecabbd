//! What to do: the difference between `Desired` and `Observed` as a list of values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use acequia_crds::names::{ConnectorName, StageId};
use serde::Serialize;

use super::desired::DeletionPolicy;
use super::ownership::{Claim, ClaimKey, ClaimState, ConnectorClaim};

/// Everything that follows from one observation.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// What to do now, in order.
    pub changes: Vec<Change>,
    /// What can't be done, and why. Never retried until the manifest or the outside changes.
    pub refused: Vec<Refusal>,
    /// What comes later, and what it waits for.
    pub waiting: Vec<Waiting>,
    /// What a person should know of the changes before they are made.
    pub notes: Vec<Note>,
    /// The stages that shall have processes now.
    pub run: BTreeSet<StageId>,
}

impl Plan {
    /// Nothing to do, nothing refused, nothing waited for.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.refused.is_empty() && self.waiting.is_empty()
    }
}

/// One change outside.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Records a claim, then creates the topic, then records its ID.
    CreateTopic {
        /// Its name.
        name: String,
        /// None: the broker's default.
        partitions: Option<u32>,
        /// None: the broker's default.
        replication_factor: Option<u32>,
        /// Its settings.
        config: BTreeMap<String, String>,
        /// The claim without the ID.
        claim: Claim,
    },
    /// Adds partitions.
    AddPartitions {
        /// Topic.
        name: String,
        /// How many there are.
        from: u32,
        /// How many there shall be.
        to: u32,
    },
    /// Sets and unsets settings of a topic; others stay as they are.
    ConfigureTopic {
        /// Topic.
        name: String,
        /// Setting → value.
        set: BTreeMap<String, String>,
        /// Settings that go back to the broker's default.
        unset: BTreeSet<String>,
        /// The claim while it happens: it names the old and the new settings.
        claim: Claim,
    },
    /// Records a claim; nothing else changes.
    Record {
        /// On what, and whose.
        key: ClaimKey,
        /// None: it is taken back.
        claim: Option<Claim>,
    },
    /// Deletes a topic if it still has this ID.
    DeleteTopic {
        /// Topic.
        name: String,
        /// The ID that was recorded as ours.
        id: String,
    },
    /// Records a claim, then creates the connector or replaces its configuration.
    PutConnector {
        /// Its name.
        name: ConnectorName,
        /// Base URL of Connect.
        url: String,
        /// The whole configuration without `name`.
        config: BTreeMap<String, String>,
        /// Settings that differ from what is there. Empty: there is none yet.
        changed: BTreeSet<String>,
        /// The claim.
        claim: Claim,
        /// Create it without starting it.
        stopped: bool,
    },
    /// Restarts what has failed.
    RestartConnector {
        /// Its name.
        name: ConnectorName,
        /// Base URL of Connect.
        url: String,
        /// Which restart since it was last healthy, from 1.
        attempt: u32,
        /// What the preconditions look like now.
        preconditions: String,
    },
    /// Takes its tasks away; its offsets stay.
    StopConnector {
        /// Its name.
        name: ConnectorName,
        /// Base URL of Connect.
        url: String,
    },
    /// Lets a stopped or paused connector run.
    ResumeConnector {
        /// Its name.
        name: ConnectorName,
        /// Base URL of Connect.
        url: String,
    },
    /// Stops it, deletes its offsets (by policy), deletes it, drops slot and publication (by policy).
    RemoveConnector {
        /// Its name.
        name: ConnectorName,
        /// Everything needed for it.
        claim: ConnectorClaim,
        /// The record, for its final removal.
        since_ms: u64,
    },
    /// Starts the processes of a stage.
    StartStage {
        /// Which.
        id: StageId,
        /// How many.
        replicas: u32,
    },
    /// Replaces the processes of a stage by ones with another configuration.
    ReplaceStage {
        /// Which.
        id: StageId,
    },
    /// Starts or stops processes.
    ScaleStage {
        /// Which.
        id: StageId,
        /// How many there are.
        from: u32,
        /// How many there shall be.
        to: u32,
    },
    /// Stops the processes of a stage.
    StopStage {
        /// Which.
        id: StageId,
    },
    /// Deletes a consumer group without members.
    DeleteGroup {
        /// Its name.
        name: String,
    },
}

/// Changes of one lane are carried out in order; lanes don't wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Lane {
    /// Everything in Kafka.
    Topics,
    /// One connector.
    Connector(ConnectorName),
    /// The processes.
    Stages,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topics => f.write_str("topics"),
            Self::Connector(name) => write!(f, "connector {name}"),
            Self::Stages => f.write_str("stages"),
        }
    }
}

impl Change {
    /// The lane it belongs to.
    pub fn lane(&self) -> Lane {
        match self {
            Self::CreateTopic { .. }
            | Self::AddPartitions { .. }
            | Self::ConfigureTopic { .. }
            | Self::Record { .. }
            | Self::DeleteTopic { .. }
            | Self::DeleteGroup { .. } => Lane::Topics,
            Self::PutConnector { name, .. }
            | Self::RestartConnector { name, .. }
            | Self::StopConnector { name, .. }
            | Self::ResumeConnector { name, .. }
            | Self::RemoveConnector { name, .. } => Lane::Connector(name.clone()),
            Self::StartStage { .. }
            | Self::ReplaceStage { .. }
            | Self::ScaleStage { .. }
            | Self::StopStage { .. } => Lane::Stages,
        }
    }
}

/// Something the manifest asks for that can't be done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refusal {
    /// Where in the manifest. Example: `spec.topics[0].partitions`.
    pub field: String,
    /// What is refused.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}; {}", self.field, self.what, self.why, self.fix)
    }
}

/// Something that comes later.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Waiting {
    /// What. Example: `connector acequia.default.shop.source-crm`.
    pub what: String,
    /// What it waits for. Example: `topic customer to exist`.
    pub until: String,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} waits for {}", self.what, self.until)
    }
}

/// What a person should know of a change to a stage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    /// The stage.
    pub stage: StageId,
    /// What to know. Example: `rebuild from the log's start, since …`.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.text)
    }
}

/// What it does, for people.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTopic { name, partitions, config, .. } => {
                write!(f, "create topic {name}")?;
                match partitions {
                    Some(1) => f.write_str(" (1 partition")?,
                    Some(count) => write!(f, " ({count} partitions")?,
                    None => f.write_str(" (the broker's number of partitions")?,
                }
                config.iter().try_for_each(|(key, value)| write!(f, ", {key}={value}"))?;
                f.write_str(")")
            }
            Self::AddPartitions { name, from, to } => {
                write!(f, "add partitions to topic {name}: {from} become {to}")
            }
            Self::ConfigureTopic { name, set, unset, .. } => {
                let set = set.iter().map(|(key, value)| format!("set {key}={value}"));
                let all: Vec<String> = set.chain(unset.iter().map(|key| format!("unset {key}"))).collect();
                write!(f, "configure topic {name}: {}", all.join(", "))
            }
            Self::Record { key, claim: None } => write!(f, "forget {} {}", key.kind.as_str(), key.name),
            Self::Record { key, claim: Some(claim) } => {
                let word = if claim.state == ClaimState::Released { "release" } else { "record" };
                write!(f, "{word} {} {}", key.kind.as_str(), key.name)
            }
            Self::DeleteTopic { name, id } => write!(f, "delete topic {name} (ID {id})"),
            Self::DeleteGroup { name } => write!(f, "delete consumer group {name}"),
            Self::PutConnector { name, changed, .. } if changed.is_empty() => {
                write!(f, "create connector {name}")
            }
            Self::PutConnector { name, changed, .. } => {
                let keys: Vec<&str> = changed.iter().map(String::as_str).collect();
                write!(f, "reconfigure connector {name}: {}", keys.join(", "))
            }
            Self::RestartConnector { name, attempt, .. } => {
                write!(f, "restart connector {name} (restart {attempt})")
            }
            Self::StopConnector { name, .. } => write!(f, "stop connector {name}"),
            Self::ResumeConnector { name, .. } => write!(f, "resume connector {name}"),
            Self::RemoveConnector { name, claim, .. } => match claim.deletion_policy {
                DeletionPolicy::Delete if claim.release.is_none() => {
                    write!(f, "remove connector {name} and its offsets")
                }
                DeletionPolicy::Delete => {
                    write!(f, "remove connector {name}, its offsets, slot and publication")
                }
                DeletionPolicy::Retain => {
                    write!(f, "remove connector {name}; offsets, slot and publication stay")
                }
            },
            Self::StartStage { id, replicas } => write!(f, "start {id} ({replicas} x)"),
            Self::ReplaceStage { id } => write!(f, "replace {id}: its configuration has changed"),
            Self::ScaleStage { id, from, to } => write!(f, "scale {id}: {from} become {to}"),
            Self::StopStage { id } => write!(f, "stop {id}"),
        }
    }
}
