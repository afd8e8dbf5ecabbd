//! Connectors of one Kafka Connect cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use acequia_crds::names::ConnectorName;
use tokio::time::Instant;

use crate::connect::explain::Explanation;
use crate::connect::{Client, Connector, Error, State, Task};
use crate::model::observed::{
    ConnectorFault, ConnectorState, ObservedConnector, ObservedTask, Part, Restarts, Unreachable,
};
use crate::single_flight::SingleFlight;

/// How long one call may take. Connect logs in to the database before it answers some.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// How long a look may take; longer, and Connect counts as away.
const LOOK_DEADLINE: Duration = Duration::from_secs(10);
/// Between two questions to a Connect whose workers share out their connectors anew.
const REBALANCING_PAUSE: Duration = Duration::from_millis(500);

/// One Connect cluster, for all Pipelines that use it.
pub struct Connect {
    /// Its calls.
    pub client: Client,
    /// Everybody wants the same list, of all connectors.
    list: SingleFlight<Result<Arc<BTreeMap<String, Connector>>, String>>,
}

/// What there is in a Connect cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectLook {
    all: Arc<BTreeMap<String, Connector>>,
    faults: BTreeMap<String, Explanation>,
}

impl Connect {
    /// Nothing is called yet.
    pub fn new(client: Client) -> Self {
        Self { client, list: SingleFlight::default() }
    }

    /// All connectors there, and what is wrong with `ours`. Somebody else's are not diagnosed, which would mean to log
    /// in to their databases.
    pub async fn look(&self, url: &str, ours: &BTreeSet<ConnectorName>) -> Part<ConnectLook> {
        let unreachable = |why: String| Unreachable { what: format!("Kafka Connect at {url}"), why };
        let question = async || list(&self.client, LOOK_DEADLINE).await.map(Arc::new);
        let all = self.list.ask(question).await.map_err(unreachable)?;
        // A database that is gone shows in no state of Connect's; diagnosing has a deadline of its own.
        let ours = ours.iter().filter_map(|name| all.get_key_value(name.as_str()));
        let ours = ours.map(|(name, connector)| (name.clone(), connector.clone())).collect();
        let faults = self.client.diagnose(&ours).await;
        Ok(ConnectLook { all, faults })
    }
}

impl ConnectLook {
    /// These connectors, none of which has a fault.
    #[cfg(test)]
    pub fn healthy(all: BTreeMap<String, Connector>) -> Self {
        Self { all: Arc::new(all), faults: BTreeMap::new() }
    }

    /// One connector; None: there is none of that name. The operator's own memory ([`Restarts`]) is not filled in.
    pub fn get(&self, name: &ConnectorName) -> Option<ObservedConnector> {
        let connector = self.all.get(name.as_str())?;
        Some(observed(connector, self.faults.get(name.as_str())))
    }
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

fn observed(connector: &Connector, explanation: Option<&Explanation>) -> ObservedConnector {
    let fault = explanation.map(|explanation| ConnectorFault {
        reason: explanation.fault.as_str().to_owned(),
        sentence: explanation.sentence.clone(),
        heals_outside: explanation.fault.heals_outside(),
    });
    ObservedConnector {
        config: connector.config.clone(),
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
