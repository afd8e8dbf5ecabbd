//! Events: one for each kind of external change a turn makes, from a closed list of reasons.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};

use crate::kubernetes::{Error, FIELD_MANAGER, bounded};
use crate::model::plan::Change;

/// The API server refuses longer notes.
const NOTE_MAX_CHARS: usize = 1_000;

/// After this long the same is told again.
const NEWS_AGAIN: Duration = Duration::from_mins(1);

/// Why there is an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Topics are created.
    TopicCreated,
    /// Topics get other settings or more partitions.
    TopicChanged,
    /// Topics are deleted.
    TopicDeleted,
    /// Consumer groups are deleted.
    GroupDeleted,
    /// Connectors are created or get another configuration.
    ConnectorConfigured,
    /// Failed connectors are restarted.
    ConnectorRestarted,
    /// Connectors are stopped, or go on.
    ConnectorSteered,
    /// Connectors are removed, with offsets, slot and publication where the policy says so.
    ConnectorRemoved,
    /// Stages are started.
    StageStarted,
    /// Stages are replaced or scaled.
    StageChanged,
    /// Stages are stopped.
    StageStopped,
    /// The spec can't be carried out.
    InvalidSpec,
    /// A change can't be made.
    Refused,
    /// The Pipeline was let go, and something of it is still there.
    LeftBehind,
}

impl Reason {
    /// Something that a person should know.
    pub const fn is_warning(self) -> bool {
        matches!(self, Self::InvalidSpec | Self::Refused | Self::LeftBehind)
    }

    /// The word in the Event.
    pub fn word(self) -> String {
        format!("{self:?}")
    }
}

/// The reason of a change; None: book-keeping.
pub const fn reason(change: &Change) -> Option<Reason> {
    Some(match change {
        Change::Record { .. } => return None,
        Change::CreateTopic { .. } => Reason::TopicCreated,
        Change::AddPartitions { .. } | Change::ConfigureTopic { .. } => Reason::TopicChanged,
        Change::DeleteTopic { .. } => Reason::TopicDeleted,
        Change::DeleteGroup { .. } => Reason::GroupDeleted,
        Change::PutConnector { .. } => Reason::ConnectorConfigured,
        Change::RestartConnector { .. } => Reason::ConnectorRestarted,
        Change::StopConnector { .. } | Change::ResumeConnector { .. } => Reason::ConnectorSteered,
        Change::RemoveConnector { .. } => Reason::ConnectorRemoved,
        Change::StartStage { .. } => Reason::StageStarted,
        Change::ReplaceStage { .. } | Change::ScaleStage { .. } => Reason::StageChanged,
        Change::StopStage { .. } => Reason::StageStopped,
    })
}

/// What is to be told of the changes of one turn: one note a reason.
pub fn of_changes(changes: &[Change]) -> BTreeMap<Reason, String> {
    let mut notes: BTreeMap<Reason, Vec<String>> = BTreeMap::new();
    for change in changes {
        if let Some(reason) = reason(change) {
            notes.entry(reason).or_default().push(change.to_string());
        }
    }
    notes.into_iter().map(|(reason, notes)| (reason, notes.join("; "))).collect()
}

/// What was told last of each reason. What is tried again after a failure is no news.
#[derive(Default)]
pub struct Told(BTreeMap<Reason, (String, Instant)>);

impl Told {
    /// Whether this is to be told now; if so, it counts as told.
    pub fn is_news(&mut self, reason: Reason, note: &str, now: Instant) -> bool {
        let is_known = |(last, at): &(String, Instant)| last == note && now.duration_since(*at) < NEWS_AGAIN;
        if self.0.get(&reason).is_some_and(is_known) {
            return false;
        }
        self.0.insert(reason, (note.to_owned(), now));
        true
    }
}

/// The pod that this is, if the chart has said so.
pub fn own_pod() -> Option<ObjectReference> {
    let says = |name: &str| std::env::var(name).ok();
    Some(ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(says("POD_NAME")?),
        namespace: Some(says("POD_NAMESPACE")?),
        uid: says("POD_UID"),
        ..ObjectReference::default()
    })
}

/// Tells it, in the namespace of what it is about.
///
/// # Errors
/// The API server refused, for example because the namespace is going.
pub async fn publish(
    client: &Client,
    about: &ObjectReference,
    related: Option<&ObjectReference>,
    reason: Reason,
    note: &str,
) -> Result<(), Error> {
    let now = Timestamp::now();
    let name = about.name.clone().unwrap_or_default();
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}.{}", now.as_nanosecond(), reason.word().to_lowercase())),
            namespace: about.namespace.clone(),
            ..ObjectMeta::default()
        },
        action: Some("Reconcile".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(note.chars().take(NOTE_MAX_CHARS).collect()),
        reason: Some(reason.word()),
        regarding: Some(about.clone()),
        related: related.cloned(),
        reporting_controller: Some(format!("acequia.dev/{FIELD_MANAGER}")),
        reporting_instance: Some(
            own_pod().and_then(|pod| pod.name).unwrap_or_else(|| FIELD_MANAGER.to_owned()),
        ),
        type_: Some(if reason.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    };
    let namespace = about.namespace.clone().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    bounded(format!("publish an Event about {name}"), api.create(&PostParams::default(), &event)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_one_kind_are_one_event_and_book_keeping_is_none() {
        let group = |name: &str| Change::DeleteGroup { name: name.to_owned() };
        let id = acequia_crds::names::StageId::new(acequia_crds::names::StageKind::Sink, "dwh");
        let notes = of_changes(&[group("a"), group("b"), Change::StopStage { id }]);
        assert_eq!(notes[&Reason::GroupDeleted], "delete consumer group a; delete consumer group b");
        assert_eq!(notes[&Reason::StageStopped], "stop sink-dwh");
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn what_is_tried_again_is_told_once_a_minute() {
        let (mut told, t0) = (Told::default(), Instant::now());
        let mut at =
            |seconds, note| told.is_news(Reason::GroupDeleted, note, t0 + Duration::from_secs(seconds));
        assert!(at(0, "delete a"));
        assert!(!at(59, "delete a") && at(60, "delete a"));
        assert!(at(61, "delete b") && at(62, "delete a"));
        assert!(told.is_news(Reason::StageStopped, "delete a", t0));
    }
}
