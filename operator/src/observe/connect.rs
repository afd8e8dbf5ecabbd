//! Connectors of one Kafka Connect cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use acequia_crds::names::{ConnectorName, INTERNAL_PREFIX};
use tokio::time::Instant;

use crate::connect::explain::Explanation;
use crate::connect::{Client, Connector, Error, State, Task};
use crate::model::observed::{
    ConnectorFault, ConnectorState, ObservedConnector, ObservedTask, Part, Restarts, Unreachable,
};

/// How long one call may take. Connect logs in to the database before it answers some.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// How long a look may take; longer, and Connect counts as away.
const LOOK_DEADLINE: Duration = Duration::from_secs(10);
/// Between two questions to a Connect whose workers share out their connectors anew.
const REBALANCING_PAUSE: Duration = Duration::from_millis(500);

/// All connectors there. The operator's own memory ([`Restarts`]) is not filled in.
pub async fn look(url: &str, client: &Client) -> Part<BTreeMap<ConnectorName, ObservedConnector>> {
    let unreachable = |why: String| Unreachable { what: format!("Kafka Connect at {url}"), why };
    let connectors = list(client, LOOK_DEADLINE).await.map_err(unreachable)?;
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

/// The list; asked for again while Connect rebalances, which passes within seconds and is no reason to call it away.
async fn list(client: &Client, within: Duration) -> Result<BTreeMap<String, Connector>, String> {
    let deadline = Instant::now() + within;
    loop {
        match tokio::time::timeout_at(deadline, client.list()).await {
            Err(_) => return Err(format!("no answer within {} s", within.as_secs())),
            Ok(Err(Error::Rebalancing)) if Instant::now() + REBALANCING_PAUSE < deadline => {
                tokio::time::sleep(REBALANCING_PAUSE).await;
            }
            Ok(answer) => return answer.map_err(|error| error.to_string()),
        }
    }
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

#[cfg(test)]
mod tests {
    use wiremock::matchers::{method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    async fn answers(server: &MockServer, status: u16, times: Option<u64>) {
        let body =
            if status == 200 { "{}" } else { r#"{"error_code": 409, "message": "stale configuration"}"# };
        let response = ResponseTemplate::new(status).set_body_raw(body, "application/json");
        let mock = Mock::given(method("GET")).and(path("/connectors")).respond_with(response);
        if let Some(times) = times { mock.up_to_n_times(times) } else { mock }.mount(server).await;
    }

    async fn names(server: &MockServer, within: Duration) -> Result<usize, String> {
        let client = Client::new(&server.uri(), CALL_DEADLINE, None).expect("a client");
        list(&client, within).await.map(|connectors| connectors.len())
    }

    #[tokio::test]
    async fn a_connect_that_rebalances_is_asked_again() {
        let server = MockServer::start().await;
        answers(&server, 409, Some(2)).await;
        let empty = ResponseTemplate::new(200).set_body_raw("[]", "application/json");
        let expanded = wiremock::matchers::query_param("expand", "info");
        let objects = ResponseTemplate::new(200).set_body_raw("{}", "application/json");
        Mock::given(method("GET"))
            .and(path("/connectors"))
            .and(expanded)
            .respond_with(objects)
            .mount(&server)
            .await;
        Mock::given(method("GET")).and(path("/connectors")).respond_with(empty).mount(&server).await;
        assert_eq!(names(&server, LOOK_DEADLINE).await, Ok(0));
        assert_eq!(server.received_requests().await.map(|requests| requests.len()), Some(4));
    }

    #[tokio::test]
    async fn one_that_never_stops_is_said_to_rebalance() {
        let server = MockServer::start().await;
        answers(&server, 409, None).await;
        let before = Instant::now();
        let why = names(&server, Duration::from_secs(1)).await.expect_err("it never answers");
        assert!(why.contains("rebalanc") || why.contains("anew"), "{why}");
        assert!(before.elapsed() <= Duration::from_secs(1), "{:?}", before.elapsed());
    }
}
