//! What Connect says of its connectors.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::redact::redact;
use super::trace;

/// One connector, as Connect sees it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connector {
    /// Its configuration as it was given: secrets are still references.
    pub config: BTreeMap<String, String>,
    /// What the connector itself is doing; its tasks have states of their own.
    pub state: State,
    /// Why the connector itself failed: the causes of its trace, at most [`trace::MAX_CHARS`] characters.
    pub trace: Option<String>,
    /// The Connect worker (`host:port`) that runs it. Empty while none does.
    pub worker: String,
    /// Its tasks, by id. A stopped connector has none.
    pub tasks: Vec<Task>,
}

/// One task of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its number, from 0.
    pub id: u32,
    /// What it is doing.
    pub state: State,
    /// Why it failed: the causes of its trace, at most [`trace::MAX_CHARS`] characters, free of secrets.
    pub trace: Option<String>,
    /// The Connect worker (`host:port`) that runs it.
    pub worker: String,
}

/// What a connector or a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// No Connect worker runs it yet: it was just made, or the workers share out their work anew.
    Unassigned,
    /// At work.
    Running,
    /// Stands still and keeps its tasks.
    Paused,
    /// Stands still without tasks; its offsets can be changed.
    Stopped,
    /// Gave up; stays so until it is restarted.
    Failed,
    /// On its way down or up.
    Restarting,
    /// Removed.
    Destroyed,
    /// A state that this version doesn't know.
    #[serde(other)]
    Unknown,
}

/// A connector class that the Connect workers have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Plugin {
    /// The Java class.
    pub class: String,
    /// `source`, `sink`, `converter`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its version. Example: `3.7.0.Final`.
    #[serde(default)]
    pub version: Option<String>,
}

impl Connector {
    /// The connector and all of its tasks run, and there is at least one task.
    pub fn is_running(&self) -> bool {
        self.state == State::Running
            && !self.tasks.is_empty()
            && self.tasks.iter().all(|task| task.state == State::Running)
    }

    /// It was stopped and has no task any more. One that failed to start (its Secret may be gone) stays failed, though it
    /// takes the call.
    pub const fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Stopped | State::Failed) && self.tasks.is_empty()
    }

    /// The first failure: of the connector, or of a task. The text is empty when Connect gives no trace.
    pub fn failure(&self) -> Option<&str> {
        if self.state == State::Failed {
            return Some(self.trace.as_deref().unwrap_or_default());
        }
        let failed = self.tasks.iter().find(|task| task.state == State::Failed)?;
        Some(failed.trace.as_deref().unwrap_or_default())
    }
}

/// `GET /connectors/<name>/status`, and the `status` half of the expanded list.
#[derive(Deserialize)]
pub(super) struct StatusAnswer {
    connector: StatePart,
    #[serde(default)]
    tasks: Vec<TaskPart>,
}

/// `GET /connectors/<name>`, and the `info` half of the expanded list.
#[derive(Deserialize)]
pub(super) struct InfoAnswer {
    #[serde(default)]
    config: BTreeMap<String, Option<String>>,
}

/// One entry of the expanded list.
#[derive(Deserialize)]
pub(super) struct ListEntry {
    pub(super) info: InfoAnswer,
    pub(super) status: StatusAnswer,
}

#[derive(Deserialize)]
struct StatePart {
    state: State,
    #[serde(default)]
    worker_id: String,
    #[serde(default)]
    trace: Option<String>,
}

#[derive(Deserialize)]
struct TaskPart {
    id: u32,
    state: State,
    #[serde(default)]
    worker_id: String,
    #[serde(default)]
    trace: Option<String>,
}

impl Connector {
    /// Puts both halves together. `status` is absent for a moment after a connector was made.
    pub(super) fn new(info: InfoAnswer, status: Option<StatusAnswer>) -> Self {
        let config = info.config.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let Some(status) = status else {
            return Self {
                config,
                state: State::Unassigned,
                trace: None,
                worker: String::new(),
                tasks: vec![],
            };
        };
        let mut tasks: Vec<Task> = status.tasks.into_iter().map(Task::from).collect();
        tasks.sort_by_key(|task| task.id);
        Self {
            config,
            state: status.connector.state,
            trace: status.connector.trace.as_deref().map(safe),
            worker: status.connector.worker_id,
            tasks,
        }
    }
}

impl From<TaskPart> for Task {
    fn from(part: TaskPart) -> Self {
        Self {
            id: part.id,
            state: part.state,
            trace: part.trace.as_deref().map(safe),
            worker: part.worker_id,
        }
    }
}

fn safe(trace: &str) -> String {
    redact(&trace::causes(trace))
}
