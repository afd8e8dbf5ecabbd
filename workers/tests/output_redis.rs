//! Aggregations' keys in a real Redis. `ACEQUIA_TEST_REDIS` names one: `host:port`. Without it these tests do nothing;
//! those that empty or end a server start one of their own.

// All of it is for tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod outputs;

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use acequia_workers::aggregator::output::{OutputEvent, Row};
use acequia_workers::secrets::SecretsFolder;
use outputs::{DEADLINE, NOW_MS, Output, aggregation, is_failing, permutations, row, window};
use redis::{Connection, FromRedisValue};

/// Measures and groups of most tests.
const SALES: &str = "groupBy: [{name: category, value: event.category}]
measures: [{name: items, count: {}}, {name: revenue, sum: event.price}]\n";

fn server() -> Option<String> {
    let server = std::env::var("ACEQUIA_TEST_REDIS").ok();
    if server.is_none() {
        eprintln!("skipped: ACEQUIA_TEST_REDIS isn't set");
    }
    server
}

fn connect(address: &str) -> Connection {
    redis::Client::open(format!("redis://{address}/")).unwrap().get_connection().unwrap()
}

fn ask<T: FromRedisValue>(connection: &mut Connection, command: &str) -> T {
    let mut words = command.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query(connection).unwrap()
}

fn store(address: &str) -> String {
    format!("{{name: metrics, redis: {{address: \"{address}\"}}}}")
}

/// A prefix that no other test of any run has.
fn prefix(test: &str) -> String {
    format!("test:{}:{test}", std::process::id())
}

fn no_secrets() -> SecretsFolder {
    SecretsFolder::at("/nonexistent")
}

fn start(address: &str, lines: &str, incarnation: &str) -> Output {
    Output::start(&aggregation(lines), &store(address), &no_secrets(), incarnation)
}

/// The only output of `lines`.
fn to(key: &str, rest: &str) -> String {
    format!("to: [{{store: metrics, redis: {{key: \"{key}\"{rest}}}}}]\n")
}

fn hash(connection: &mut Connection, key: &str) -> BTreeMap<String, String> {
    ask(connection, &format!("HGETALL {key}"))
}

/// A Redis that a test may empty and end.
struct OwnRedis {
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl OwnRedis {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { folder: tempfile::tempdir().unwrap(), port, child: None };
        server.start();
        server
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// One that speaks TLS only; its authority's certificates are in `ca.crt` of the folder.
    fn with_tls() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { folder: tempfile::tempdir().unwrap(), port, child: None };
        let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=test \
             -keyout ca.key -out ca.crt && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
             -subj /CN=redis -keyout redis.key -out redis.csr && printf 'subjectAltName=IP:127.0.0.1' >san && \
             openssl x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 1 -extfile san -out redis.crt";
        let made =
            Command::new("sh").args(["-c", script]).current_dir(server.folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.run(
            &["--port", "0", "--tls-port", &port.to_string(), "--tls-cert-file", "redis.crt"],
            &["--tls-key-file", "redis.key", "--tls-ca-cert-file", "ca.crt", "--tls-auth-clients", "no"],
        );
        server
    }

    fn start(&mut self) {
        let port = self.port.to_string();
        self.run(&["--port", &port], &["--appendonly", "yes", "--appendfsync", "always"]);
    }

    fn run(&mut self, listen: &[&str], settings: &[&str]) {
        let mut command = Command::new("redis-server");
        command.current_dir(self.folder.path()).args(["--bind", "127.0.0.1"]).args(listen).args(settings);
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap());
        let until = Instant::now() + DEADLINE;
        while TcpStream::connect(self.address()).is_err() {
            assert!(Instant::now() < until, "redis-server doesn't come up");
            std::thread::yield_now();
        }
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// Five values of a group in the order of their versions, one of them its removal.
fn history(group: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = [(5, 9, 0), (5, 10, 0), (5, 10, 1), (5, 9_007_199_254_740_992, 0)]
        .into_iter()
        .enumerate()
        .map(|(index, version)| {
            let count = index.to_string();
            row(group, Some(&[Some(&count), Some("0.50")]), version)
        })
        .collect();
    // The same double as the one before: only exact numbers tell them apart.
    rows.push(row(group, Some(&[Some("4"), None]), (5, 9_007_199_254_740_993, 0)));
    rows[1].measures = None;
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn in_any_order_of_arrival_the_newest_value_stays_in_a_hash() {
    let Some(address) = server() else { return };
    let key = prefix("orders");
    let lines = format!(
        "window: {{tumbling: 30s}}\n{SALES}{}",
        to(&format!("{key}:{{window.start}}"), ", as: hash, ttl: 1h")
    );
    let mut output = start(&address, &lines, "one");
    let orders = permutations(5);
    for step in 0..5 {
        let rows = orders.iter().enumerate().map(|(number, order)| {
            let mut row = history(r#"["Toys"]"#).swap_remove(order[step]);
            row.window = Some(window(number as i64));
            row
        });
        output.write(rows.collect()).await;
    }
    let mut connection = connect(&address);
    for (number, order) in orders.iter().enumerate() {
        let start_ms = window(number as i64).start_ms;
        let start = jiff::Timestamp::from_millisecond(start_ms).unwrap();
        let found = hash(&mut connection, &format!("{key}:{start}"));
        let expected = BTreeMap::from([("Toys:items".to_owned(), "4".to_owned())]);
        assert_eq!(found, expected, "order {order:?}");
    }
    assert_eq!(orders.len(), 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_removed_stays_removed_whatever_comes_late() {
    let Some(address) = server() else { return };
    let key = prefix("removed");
    let lines = format!("window: {{global: {{}}}}\n{SALES}{}", to(&format!("{key}:{{category}}"), ""));
    let mut output = start(&address, &lines, "one");
    let group = r#"["Toys"]"#;
    let old = row(group, Some(&[Some("1"), Some("2")]), (5, 1, 0));
    output.write(vec![old.clone()]).await;
    let mut connection = connect(&address);
    let document: String = ask(&mut connection, &format!("GET {key}:Toys"));
    assert_eq!(
        document,
        r#"{"groups":{"category":"Toys"},"measures":{"items":1,"revenue":2},"final":false,"revision":1,"watermark":null}"#
    );
    output.write(vec![row(group, None, (5, 2, 0))]).await;
    output.write(vec![old]).await;
    assert_eq!(ask::<i64>(&mut connection, &format!("EXISTS {key}:Toys")), 0);
    assert_eq!(ask::<i64>(&mut connection, &format!("PTTL {{{key}:Toys}}:acequia")), -1, "its version stays");
    output.write(vec![row(group, Some(&[Some("3"), None]), (5, 3, 0))]).await;
    let document: String = ask(&mut connection, &format!("GET {key}:Toys"));
    assert!(document.contains(r#""measures":{"items":3,"revenue":null}"#), "{document}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_moves_no_expiry_and_what_has_expired_is_not_written() {
    let Some(address) = server() else { return };
    let key = prefix("expiry");
    let lines = format!(
        "window: {{tumbling: 30s}}\n{SALES}{}",
        to(&format!("{key}:{{window.start}}"), ", as: hash, ttl: 1h")
    );
    let mut output = start(&address, &lines, "one");
    let in_window = |number, changed_ms, offset| {
        let mut row = row(r#"["a"]"#, Some(&[Some("1"), Some("1")]), (5, offset, 0));
        (row.window, row.changed_ms) = (Some(window(number)), changed_ms);
        row
    };
    let (first, late) = (in_window(0, NOW_MS, 1), in_window(0, NOW_MS + 40_000, 2));
    let mut connection = connect(&address);
    let start = jiff::Timestamp::from_millisecond(NOW_MS).unwrap();
    let key = format!("{key}:{start}");
    let mut expiries = || -> [i64; 2] {
        [&key, &format!("{{{key}}}:acequia")].map(|key| ask(&mut connection, &format!("PEXPIRETIME {key}")))
    };
    output.write(vec![first.clone()]).await;
    assert_eq!(expiries(), [NOW_MS + 30_000 + 3_600_000; 2], "an hour after the window's end");
    output.write(vec![late.clone()]).await;
    assert_eq!(expiries(), [NOW_MS + 40_000 + 3_600_000; 2], "an hour after the late change");
    output.write(vec![first.clone()]).await;
    output.write(vec![first, late]).await;
    assert_eq!(expiries(), [NOW_MS + 40_000 + 3_600_000; 2], "a replay changes nothing");

    let mut past = in_window(0, 1_000_000, 9);
    past.window = Some(acequia_workers::aggregator::output::Span { start_ms: 0, end_ms: 30_000 });
    output.write(vec![past]).await;
    let past = key.replace(&start.to_string(), "1970-01-01T00:00:00Z");
    assert_eq!(ask::<i64>(&mut connection, &format!("EXISTS {past} {{{past}}}:acequia")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_incarnation_starts_a_key_anew_and_an_earlier_one_is_refused() {
    let Some(address) = server() else { return };
    let key = prefix("incarnations");
    let lines = format!("window: {{global: {{}}}}\n{SALES}{}", to(&key, ", as: hash"));
    let (mut before, mut after) = (start(&address, &lines, "before"), start(&address, &lines, "after"));
    let value = |group: &str, version| row(group, Some(&[Some("1"), None]), version);
    before.write(vec![value(r#"["gone"]"#, (10, 7, 0)), value(r#"["a"]"#, (11, 900, 0))]).await;
    after.write(vec![value(r#"["a"]"#, (20, 3, 0))]).await;
    let mut connection = connect(&address);
    let expected = BTreeMap::from([("a:items".to_owned(), "1".to_owned())]);
    assert_eq!(hash(&mut connection, &key), expected);
    before.write(vec![value(r#"["gone"]"#, (10, 8, 0)), value(r#"["a"]"#, (11, 901, 0))]).await;
    assert_eq!(hash(&mut connection, &key), expected, "a worker that was frozen changes nothing");
    after.write(vec![value(r#"["b"]"#, (19, 4, 0))]).await;
    assert_eq!(
        hash(&mut connection, &key).len(),
        2,
        "partitions of one incarnation begin at different times"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_emptied_is_noticed_once_each_time_and_filled_again() {
    if server().is_none() {
        return;
    }
    let server = OwnRedis::new();
    let lines = format!("window: {{global: {{}}}}\n{SALES}{}", to("k", ", as: hash"));
    let mut output = start(&server.address(), &lines, "one");
    let value = row(r#"["a"]"#, Some(&[Some("1"), None]), (5, 1, 0));
    let said = output.write(vec![value.clone()]).await;
    assert_eq!(said, [OutputEvent::Emptied, OutputEvent::Working], "there was no sentinel");
    let mut connection = connect(&server.address());
    for _ in 0..2 {
        ask::<()>(&mut connection, "FLUSHALL");
        assert_eq!(output.wait(|event| *event == OutputEvent::Emptied), []);
        assert_eq!(output.write(vec![value.clone()]).await, []);
        assert_eq!(hash(&mut connection, "k").len(), 1);
    }
    ask::<()>(&mut connection, "SCRIPT FLUSH");
    ask::<()>(&mut connection, "DEL k");
    assert_eq!(output.write(vec![value]).await, [], "without its script");
    assert_eq!(
        hash(&mut connection, "k").len(),
        1,
        "a key that somebody deleted comes back with the next write"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_worker_of_the_stage_notices_what_the_first_has_noticed() {
    if server().is_none() {
        return;
    }
    let server = OwnRedis::new();
    let lines = format!("window: {{global: {{}}}}\n{SALES}{}", to("k", ", as: hash"));
    let (mut first, mut second) =
        (start(&server.address(), &lines, "one"), start(&server.address(), &lines, "one"));
    first.write(Vec::new()).await;
    second.write(Vec::new()).await;
    ask::<()>(&mut connect(&server.address()), "FLUSHALL");
    for output in [&mut first, &mut second] {
        output.wait(|event| *event == OutputEvent::Emptied);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_down_the_batch_waits_and_a_server_that_came_back_is_written_anew() {
    if server().is_none() {
        return;
    }
    let mut server = OwnRedis::new();
    let lines = format!("window: {{global: {{}}}}\n{SALES}{}", to("k", ", as: hash"));
    let mut output = start(&server.address(), &lines, "one");
    let value = |offset| row(r#"["a"]"#, Some(&[Some(&format!("{offset}")), None]), (5, offset, 0));
    output.write(vec![value(1)]).await;
    server.kill();
    let number = output.send(vec![value(2)]).await;
    output.wait(is_failing);
    server.start();
    let said = output.wait(|event| *event == OutputEvent::Written { number });
    let said: Vec<_> = said.into_iter().filter(|event| !is_failing(event)).collect();
    // It kept its data, but it may have lost its last second.
    assert_eq!(said, [OutputEvent::Emptied, OutputEvent::Working]);
    let mut connection = connect(&server.address());
    assert_eq!(hash(&mut connection, "k"), BTreeMap::from([("a:items".to_owned(), "2".to_owned())]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_in_a_sentence_without_it() {
    if server().is_none() {
        return;
    }
    let server = OwnRedis::new();
    let mut connection = connect(&server.address());
    ask::<()>(&mut connection, "CONFIG SET requirepass right-one");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("login")).unwrap();
    std::fs::write(folder.path().join("login/password"), "wrong-one\n").unwrap();
    let lines = format!("window: {{global: {{}}}}\n{SALES}{}", to("k", ", as: hash"));
    let store =
        format!("{{name: metrics, redis: {{address: \"{}\", credentialsSecret: login}}}}", server.address());
    let secrets = SecretsFolder::at(folder.path());
    let mut output = Output::start(&aggregation(&lines), &store, &secrets, "one");
    let number = output.send(vec![row(r#"["a"]"#, Some(&[Some("1"), None]), (5, 1, 0))]).await;
    output.wait(|event| match event {
        OutputEvent::Failing { error } => {
            assert!(error.contains("check the store's credentialsSecret"), "{error}");
            assert!(!error.contains("wrong-one"), "{error}");
            true
        }
        _ => false,
    });
    std::fs::write(folder.path().join("login/password"), "right-one\n").unwrap();
    output.wait(|event| *event == OutputEvent::Written { number });
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_server_must_be_the_authority_s() {
    if server().is_none() {
        return;
    }
    let server = OwnRedis::with_tls();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("authority")).unwrap();
    std::fs::copy(server.folder.path().join("ca.crt"), folder.path().join("authority/ca.crt")).unwrap();
    let lines = format!("window: {{global: {{}}}}\n{SALES}{}", to("k", ", as: hash"));
    let store =
        |tls: &str| format!("{{name: metrics, redis: {{address: \"{}\", tls: {tls}}}}}", server.address());
    let secrets = SecretsFolder::at(folder.path());
    let value = row(r#"["a"]"#, Some(&[Some("1"), None]), (5, 1, 0));
    let named = store("{caSecret: {name: authority, key: ca.crt}}");
    Output::start(&aggregation(&lines), &named, &secrets, "one").write(vec![value.clone()]).await;
    let mut stranger = Output::start(&aggregation(&lines), &store("{}"), &secrets, "one");
    stranger.send(vec![value]).await;
    assert_eq!(stranger.wait(is_failing), [], "the system's authorities don't know it");
}
