//! What the operator remembers of restarts, from one observation to the next.

use std::collections::BTreeMap;

use acequia_crds::names::ConnectorName;

use crate::model::observed::{ConnectorState, Observed, Restarts};
use crate::model::plan::Change;

/// A connector that ran this long since its last restart counts as healthy.
const HEALTHY_AFTER_MS: u64 = 120_000;

/// Restarts of each connector since it was last healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartMemory {
    connectors: BTreeMap<ConnectorName, Restarts>,
}

impl RestartMemory {
    /// Those of one connector.
    pub fn of(&self, name: &ConnectorName) -> Restarts {
        self.connectors.get(name).cloned().unwrap_or_default()
    }

    /// Remembers a restart that was done at `at_ms`.
    pub fn done(&mut self, change: &Change, at_ms: u64) {
        match change {
            Change::RestartConnector { name, attempt, preconditions, .. } => {
                let connector = self.connectors.entry(name.clone()).or_default();
                (connector.count, connector.last_ms) = (*attempt, at_ms);
                connector.preconditions.clone_from(preconditions);
            }
            Change::StopConnector { name, .. } => self.stopped(name, true),
            Change::ResumeConnector { name, .. } => self.stopped(name, false),
            // Another configuration deserves a fresh start.
            Change::PutConnector { name, stopped, .. } => {
                self.connectors.remove(name);
                self.stopped(name, *stopped);
            }
            Change::RemoveConnector { name, .. } => {
                self.connectors.remove(name);
            }
            _ => {}
        }
    }

    fn stopped(&mut self, name: &ConnectorName, stopped: bool) {
        self.connectors.entry(name.clone()).or_default().stopped = stopped;
    }

    /// Forgets the restarts of what has been running since.
    pub fn forgive(&mut self, observed: &Observed) {
        self.connectors.retain(|name, restarts| {
            let Some(Ok(Some(connector))) = observed.connectors.get(name) else { return true };
            let runs = connector.fault.is_none()
                && connector.state == ConnectorState::Running
                && !connector.tasks.is_empty()
                && connector.tasks.iter().all(|task| task.state == ConnectorState::Running);
            !runs || observed.at_ms.saturating_sub(restarts.last_ms) < HEALTHY_AFTER_MS
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::observed::{ObservedConnector, ObservedTask};

    fn restart(attempt: u32) -> Change {
        Change::RestartConnector {
            name: ConnectorName::from_text("c"),
            url: "http://connect:8083".into(),
            attempt,
            preconditions: "p".into(),
        }
    }

    fn running_at(at_ms: u64) -> Observed {
        let connector = ObservedConnector {
            config: BTreeMap::new(),
            state: ConnectorState::Running,
            fault: None,
            tasks: vec![ObservedTask { id: 0, state: ConnectorState::Running }],
            restarts: Restarts::default(),
        };
        Observed {
            at_ms,
            topics: Ok(BTreeMap::new()),
            ownership: Ok(crate::model::ownership::Ownership::default()),
            connectors: BTreeMap::from([(ConnectorName::from_text("c"), Ok(Some(connector)))]),
            stages: BTreeMap::new(),
            lag: BTreeMap::new(),
        }
    }

    #[test]
    fn restarts_are_counted_until_the_connector_has_been_healthy_for_two_minutes() {
        let name = ConnectorName::from_text("c");
        let mut memory = RestartMemory::default();
        memory.done(&restart(3), 1_000);
        memory.forgive(&running_at(1_000 + HEALTHY_AFTER_MS - 1));
        assert_eq!(memory.of(&name).count, 3, "it may still fail for the same reason");
        memory.forgive(&running_at(1_000 + HEALTHY_AFTER_MS));
        assert_eq!(memory.of(&name), Restarts::default());
    }
}
