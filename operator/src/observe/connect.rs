//! Connectors of one Kafka Connect cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use acequia_crds::names::{ConnectorName, INTERNAL_PREFIX};

use crate::connect::explain::Explanation;
use crate::connect::{Client, Connector, State, Task};
use crate::model::observed::{
    ConnectorFault, ConnectorState, ObservedConnector, ObservedTask, Part, Restarts, Unreachable,
};

/// How long one call may take. Connect logs in to the database before it answers some.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// How long a look may take; longer, and Connect counts as away.
const LOOK_DEADLINE: Duration = Duration::from_secs(10);

/// All connectors there. The operator's own memory ([`Restarts`]) is not filled in.
pub async fn look(url: &str, client: &Client) -> Part<BTreeMap<ConnectorName, ObservedConnector>> {
    let unreachable = |why: String| Unreachable { what: format!("Kafka Connect at {url}"), why };
    let listed = tokio::time::timeout(LOOK_DEADLINE, client.list()).await;
    let connectors = listed
        .map_err(|_| unreachable(format!("no answer within {} s", LOOK_DEADLINE.as_secs())))?
        .map_err(|error| unreachable(error.to_string()))?;
    // A database that is gone shows in no state of Connect's; diagnosing has a deadline of its own.
    // Somebody else's are left alone: a diagnosis logs in to their databases.
    let ours = connectors.iter().filter(|(name, _)| name.starts_with(INTERNAL_PREFIX));
    let ours = ours.map(|(name, connector)| (name.clone(), connector.clone())).collect();
    let mut faults = client.diagnose(&ours).await;
    Ok(connectors
        .into_iter()
        .map(|(name, connector)| {
            let fault = faults.remove(&name);
            (ConnectorName::from_text(name), observed(connector, fault))
        })
        .collect())
}

fn observed(connector: Connector, explanation: Option<Explanation>) -> ObservedConnector {
    let fault = explanation.map(|explanation| ConnectorFault {
        reason: explanation.fault.as_str().to_owned(),
        sentence: explanation.sentence,
        heals_outside: explanation.fault.heals_outside(),
    });
    ObservedConnector {
        config: connector.config,
        state: state(connector.state),
        tasks: connector.tasks.iter().map(task).collect(),
        fault,
        restarts: Restarts::default(),
    }
}

fn task(task: &Task) -> ObservedTask {
    ObservedTask { id: task.id, state: state(task.state) }
}

const fn state(state: State) -> ConnectorState {
    match state {
        State::Unassigned => ConnectorState::Unassigned,
        State::Running => ConnectorState::Running,
        State::Paused => ConnectorState::Paused,
        State::Stopped => ConnectorState::Stopped,
        State::Failed => ConnectorState::Failed,
        State::Restarting => ConnectorState::Restarting,
        State::Destroyed | State::Unknown => ConnectorState::Unknown,
    }
}
