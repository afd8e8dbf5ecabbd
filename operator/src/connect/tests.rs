use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

const DEADLINE: Duration = Duration::from_millis(300);

fn client(server: &MockServer) -> Client {
    Client::new(&server.uri(), DEADLINE, None).unwrap()
}

fn answer(status: u16, message: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({"error_code": status, "message": message}))
}

async fn server(verb: &str, at: &str, response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method(verb)).and(path(at)).respond_with(response).mount(&server).await;
    server
}

fn config() -> BTreeMap<String, String> {
    BTreeMap::from([("connector.class".to_owned(), "io.x.C".to_owned())])
}

#[tokio::test]
async fn the_list_has_names_states_and_causes() {
    let server = MockServer::start().await;
    let entry = json!({
        "info": {"name": "a", "config": {"name": "a", "slot.name": "s"}, "tasks": [], "type": "source"},
        "status": {"name": "a", "connector": {"state": "RUNNING", "worker_id": "w:1"},
            "tasks": [{"id": 0, "state": "FAILED", "worker_id": "w:1",
                "trace": "x.Y: outer\n\tat z\nCaused by: q.R: login with password=c4n4ry refused\n"}]},
    });
    Mock::given(method("GET"))
        .and(path("/connectors"))
        .and(query_param("expand", "info"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"a": entry})))
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(path("/connectors"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!(["a", "young", "gone"])))
        .mount(&server)
        .await;
    let young = ResponseTemplate::new(200).set_body_json(json!({"name": "young", "config": {"k": "v"}}));
    Mock::given(method("GET")).and(path("/connectors/young")).respond_with(young).mount(&server).await;

    let list = client(&server).list().await.unwrap();

    let a = &list["a"];
    assert_eq!((a.state, a.worker.as_str(), a.config["slot.name"].as_str()), (State::Running, "w:1", "s"));
    assert_eq!(a.failure(), Some("outer ← login with password=[redacted] refused"));
    assert!(!a.is_running());
    // The expanded list leaves out what has no status yet.
    assert_eq!(list["young"].state, State::Unassigned);
    assert!(!list.contains_key("gone"));
}

#[tokio::test]
async fn a_call_that_hangs_ends_at_its_deadline() {
    let late = ResponseTemplate::new(200).set_delay(Duration::from_mins(1));
    let server = server("GET", "/connector-plugins", late).await;
    let started = Instant::now();
    let error = client(&server).plugins().await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(error.is_transient());
    assert!(started.elapsed() < DEADLINE * 5, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_change_that_was_made_although_its_answer_was_late_can_be_repeated() {
    let server = MockServer::start().await;
    let late = ResponseTemplate::new(201).set_delay(Duration::from_mins(1)).set_body_json(json!({}));
    let put = Mock::given(method("PUT")).and(path("/connectors/a/config"));
    put.respond_with(late).up_to_n_times(1).mount(&server).await;
    let put = Mock::given(method("PUT")).and(path("/connectors/a/config"));
    put.respond_with(ResponseTemplate::new(200).set_body_json(json!({}))).mount(&server).await;

    let client = client(&server);
    assert!(matches!(client.put_config("a", &config()).await, Err(Error::Timeout { .. })));
    client.put_config("a", &config()).await.unwrap();

    let bodies: Vec<Vec<u8>> =
        server.received_requests().await.unwrap().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0], bodies[1]);
}

#[tokio::test]
async fn a_rebalance_is_told_from_a_failure() {
    let conflict = answer(409, "Cannot complete request momentarily due to stale configuration");
    let server = server("POST", "/connectors/a/restart", conflict).await;
    assert_eq!(client(&server).restart_failed("a").await, Err(Error::Rebalancing));
}

#[tokio::test]
async fn a_failure_says_why_without_the_secret_in_it() {
    let server =
        server("PUT", "/connectors/a/pause", answer(500, "x.Y: no: token=c4n4ry\n\tat a.b(C)")).await;
    let error = client(&server).pause("a").await.unwrap_err();
    assert_eq!(error.to_string(), "Kafka Connect failed (status 500): no: token=[redacted]");
}

#[tokio::test]
async fn what_is_not_connect_is_said_to_be_so() {
    let page = ResponseTemplate::new(200).set_body_string("<html>c4n4ry</html>");
    let server = server("GET", "/connector-plugins", page).await;
    let error = client(&server).plugins().await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    assert!(!error.to_string().contains("c4n4ry"), "{error}");
    let nowhere = client(&server).stop("a").await.unwrap_err();
    assert_eq!(nowhere, Error::NotFound { name: "a".to_owned() });
}

#[tokio::test]
async fn nothing_at_the_address_is_unreachable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::new(&format!("http://{free}/"), DEADLINE, None).unwrap();
    let error = client.health().await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { reason, .. } if reason.contains("refused")), "{error}");
}

#[test]
fn an_address_that_cannot_be_one_is_refused_without_its_login() {
    for url in ["connect:8083", "", "http://", "ftp://connect", "http://user:c4n4ry@connect:8083"] {
        let error = Client::new(url, DEADLINE, None).unwrap_err();
        assert!(matches!(error, Error::InvalidUrl { .. }), "{url}");
        assert!(!error.to_string().contains("c4n4ry"), "{error}");
    }
}

#[tokio::test]
async fn a_refused_configuration_names_its_fields() {
    let server =
        server("PUT", "/connectors/a/config", answer(400, "Connector configuration is invalid …")).await;
    let validated = json!({"name": "io.x.C", "error_count": 1, "configs": [
        {"definition": {}, "value": {"name": "database.hostname", "value": "c4n4ry", "errors": ["no such host"]}},
        {"definition": {}, "value": {"name": "tasks.max", "value": "1", "errors": []}},
    ]});
    Mock::given(method("PUT"))
        .and(path("/connector-plugins/io.x.C/config/validate"))
        .respond_with(ResponseTemplate::new(200).set_body_json(validated))
        .mount(&server)
        .await;
    let error = client(&server).put_config("a", &config()).await.unwrap_err();
    assert_eq!(error.to_string(), "Kafka Connect refuses the configuration: database.hostname: no such host");
}

#[tokio::test]
async fn a_refused_login_is_explained_instead_of_blamed_on_a_field() {
    let server =
        server("PUT", "/connectors/a/config", answer(400, "Connector configuration is invalid …")).await;
    let complaint =
        "Error while validating connector config: FATAL: password authentication failed for user \"shop\"";
    let validated = json!({"name": "io.x.C", "error_count": 1, "configs": [
        {"definition": {}, "value": {"name": "database.hostname", "value": "db", "errors": [complaint]}},
    ]});
    Mock::given(method("PUT"))
        .and(path("/connector-plugins/io.x.C/config/validate"))
        .respond_with(ResponseTemplate::new(200).set_body_json(validated))
        .mount(&server)
        .await;
    let error = client(&server).put_config("a", &config()).await.unwrap_err().to_string();
    assert!(error.contains("refuses name or password") && error.contains("credentialsSecret"), "{error}");
}

#[tokio::test]
async fn a_class_that_is_not_installed_is_named_with_those_that_are() {
    let message = "Failed to find any class that implements Connector and which name matches io.x.C, available \
        connectors are: PluginDesc{klass=class io.A, name='io.A', version='1'}, PluginDesc{klass=class io.B, name='io.B'}";
    let server = server("PUT", "/connectors/a/config", answer(400, message)).await;
    let error = client(&server).put_config("a", &config()).await.unwrap_err();
    let installed = vec!["io.A".to_owned(), "io.B".to_owned()];
    assert_eq!(error, Error::MissingPlugin { class: "io.x.C".to_owned(), installed });
}

#[tokio::test]
async fn the_login_is_read_from_files_and_sent() {
    let folder = tempfile::tempdir().unwrap();
    let login =
        LoginFiles { username: folder.path().join("username"), password: folder.path().join("password") };
    let server = MockServer::start().await;
    Mock::given(wiremock::matchers::basic_auth("ops", "s3cret"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .mount(&server)
        .await;
    let client = Client::new(&server.uri(), DEADLINE, Some(login.clone())).unwrap();
    assert!(matches!(client.plugins().await, Err(Error::Login { .. })));
    std::fs::write(&login.username, "ops\n").unwrap();
    std::fs::write(&login.password, "s3cret").unwrap();
    assert_eq!(client.plugins().await, Ok(vec![]));
    assert!(!format!("{client:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_name_with_odd_characters_stays_one_path_segment() {
    let server = MockServer::start().await;
    let _ = client(&server).delete("a/../b c?").await;
    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests[0].url.path(), "/connectors/a%2F..%2Fb%20c%3F");
}

#[tokio::test]
async fn deleting_what_is_not_there_is_fine() {
    let server = MockServer::start().await;
    assert_eq!(client(&server).delete("a").await, Ok(()));
}

fn debezium() -> Connector {
    let class = acequia_crds::debezium_keys::CONNECTOR_CLASS.to_owned();
    let config = BTreeMap::from([
        ("connector.class".to_owned(), class),
        ("database.hostname".to_owned(), "db".to_owned()),
        ("database.port".to_owned(), "5432".to_owned()),
    ]);
    let task = Task { id: 0, state: State::Running, trace: None, worker: String::new() };
    Connector { config, state: State::Running, trace: None, worker: String::new(), tasks: vec![task] }
}

async fn validating(errors: &[&str]) -> MockServer {
    let field = json!({"definition": {}, "value": {"name": "database.hostname", "errors": errors}});
    let at = format!("/connector-plugins/{}/config/validate", acequia_crds::debezium_keys::CONNECTOR_CLASS);
    server("PUT", &at, ResponseTemplate::new(200).set_body_json(json!({"configs": [field]}))).await
}

#[tokio::test]
async fn a_database_that_is_gone_is_seen_although_the_connector_is_called_running() {
    let server =
        validating(&["Connection to db:5432 refused. Check that the hostname and port are correct"]).await;
    let client = client(&server);
    let connectors = BTreeMap::from([("a".to_owned(), debezium())]);
    for _ in 0..3 {
        let told = client.diagnose(&connectors).await;
        assert_eq!(told["a"].fault, explain::Fault::DatabaseUnreachable);
        assert!(told["a"].sentence.contains("db:5432"), "{}", told["a"].sentence);
    }
    // One login serves for a while: each one costs the database a connection and Connect's log a page.
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_connector_without_a_task_is_said_to_start() {
    let server = validating(&[]).await;
    let connectors = BTreeMap::from([
        ("well".to_owned(), debezium()),
        ("young".to_owned(), Connector { tasks: vec![], ..debezium() }),
        ("stopped".to_owned(), Connector { tasks: vec![], state: State::Stopped, ..debezium() }),
    ]);
    let told = client(&server).diagnose(&connectors).await;
    assert_eq!(told.keys().collect::<Vec<_>>(), ["young"]);
    assert_eq!(told["young"].fault, explain::Fault::Starting);
}
