//! No password is in anything that a run produces, also when passwords are wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use acequia_kafka::admin::Admin;
use acequia_kafka::log::read_range;
use acequia_tests::leak::{Canary, leaks};
use acequia_tests::small_pipeline::{Run, SmallPipeline};
use acequia_tests::stack::{KAFKA_DEADLINE, Stack, unique};
use acequia_tests::wait::until;
use acequia_tests::worker::http_get;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(90);
/// The least rows that must have been moved before anything is looked at.
const FEWEST_ROWS: i64 = 20;

const STORES: [&str; 2] = ["source", "dwh"];

/// Something that the run produced, and a word that must be in it: reading nothing would show nothing.
struct Product {
    what: String,
    bytes: Vec<u8>,
}

impl Product {
    fn new(what: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { what: what.into(), bytes: bytes.into() }
    }

    fn file(path: &Path) -> Self {
        Self::new(path.display().to_string(), std::fs::read(path).unwrap())
    }
}

fn with_generator(pipeline: &SmallPipeline) -> String {
    let generator = "  generators:\n    - name: shop\n      interval: 50ms\n      templates:\n        \
         - {name: order, rows: [{store: source, table: orders, values: {note: {const: bought}}}]}\n";
    format!("{}{generator}", pipeline.manifest())
}

fn canaries(pipeline: &SmallPipeline) -> Vec<Canary> {
    let canary = |name: &str, text: String| {
        assert!(text.len() >= 12, "{name} is too short to be told from chance");
        Canary { name: name.to_owned(), text }
    };
    vec![
        canary("password of instashop", pipeline.postgres.secret("instashop-db", "password")),
        canary("password of dwh", pipeline.postgres.secret("dwh-db", "password")),
        canary("wrong password of the source", unique("canary_source")),
        canary("wrong password of the warehouse", unique("canary_warehouse")),
    ]
}

/// The command line and the environment of `acequia` and of its workers.
fn processes(run: &Run) -> Vec<Product> {
    let status = run.status();
    let stages = status["stages"].as_array().unwrap();
    let workers = stages.iter().flat_map(|stage| stage["pids"].as_array().unwrap()).filter_map(Value::as_u64);
    let pids: Vec<u64> = workers.chain([u64::from(run.process.id())]).collect();
    assert_eq!(pids.len(), 3, "acequia, the generator and the sink: {status}");
    let parts = pids.iter().flat_map(|pid| ["cmdline", "environ"].map(|part| format!("/proc/{pid}/{part}")));
    parts.map(|path| Product::file(Path::new(&path))).collect()
}

/// What Kafka Connect says of the connector.
fn connect(pipeline: &SmallPipeline) -> Vec<Product> {
    let (address, connector) = (pipeline.stack.address("connect:8083"), pipeline.connector());
    let paths =
        ["", "/config", "/status", "/tasks", "/offsets"].map(|rest| format!("/connectors/{connector}{rest}"));
    let all = paths.into_iter().chain(["/connectors?expand=info&expand=status".to_owned()]);
    all.map(|path| {
        let answer = || http_get(address, &path);
        let body = until(&format!("Connect answers {path}"), DEADLINE, answer, Option::is_some).unwrap();
        Product::new(format!("Connect's {path}"), body)
    })
    .collect()
}

/// All files of the state folder, the log of the commands, and the log of Kafka Connect.
fn files(pipeline: &SmallPipeline) -> Vec<Product> {
    let mut products =
        vec![Product::file(&pipeline.log()), Product::file(&pipeline.stack.logs().join("connect.log"))];
    let mut folders = vec![pipeline.state()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                products.push(Product::file(&path));
            }
        }
    }
    products
}

/// All records of the Pipeline's topics, of Acequia's and of Connect's own.
fn topics(pipeline: &SmallPipeline) -> Vec<Product> {
    let kafka = pipeline.stack.kafka();
    let names = Admin::connect(&kafka, "acequia tests").unwrap().list_topics(KAFKA_DEADLINE).unwrap();
    let ours = names.into_iter().filter(|name| {
        let is_internal = name.starts_with("_connect-") || name == "acequia.ownership";
        is_internal || name.contains(&pipeline.topic()) || name.contains(pipeline.name())
    });
    ours.map(|name| {
        let records = read_range(&kafka, &name, KAFKA_DEADLINE).unwrap();
        let parts = records.into_iter().flat_map(|record| [record.key, record.value]).flatten();
        Product::new(
            format!("topic {name}"),
            parts.flat_map(|part| [part, vec![b'\n']].concat()).collect::<Vec<_>>(),
        )
    })
    .collect()
}

/// Acequia's tables in the warehouse, and the mirror.
fn tables(pipeline: &SmallPipeline) -> Vec<Product> {
    let mut dwh = pipeline.postgres.open("dwh_db");
    let tables = ["acequia_offsets", "acequia_dead_letters", "orders"];
    tables
        .map(|table| {
            let rows = dwh.rows(&format!("SELECT * FROM {table}"));
            let text: Vec<String> = rows.into_iter().flatten().flatten().collect();
            Product::new(format!("table {table}"), text.join("\n"))
        })
        .into()
}

/// Makes the password of a store wrong, and ends the connections of its role so that it is asked for.
fn make_wrong(pipeline: &SmallPipeline, store: &str, role: &str, wrong: &Canary) {
    pipeline.put_secret(store, "password", &wrong.text);
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
    pipeline.postgres.open_as_superuser().run(&end);
}

/// Waits until the status says, in the error of one of a list, that its password is refused.
fn wait_until_refused(run: &Run, list: &str, key: &str, id: &str, words: &str) {
    let says_so = |status: &Value| {
        let all = status[list].as_array().into_iter().flatten();
        let mut errors = all.filter(|one| one[key] == id).filter_map(|one| one["error"].as_str());
        errors.any(|error| error.contains(words))
    };
    until(&format!("{id} is refused"), DEADLINE, || run.status(), says_so);
}

fn assert_clean(products: &[Product], canaries: &[Canary]) {
    for product in products {
        assert_eq!(leaks(&product.bytes, canaries), Vec::<String>::new(), "in {}", product.what);
    }
}

/// The products that show that something was looked at, each with a word that it must hold.
fn assert_looked_at(products: &[Product], pipeline: &SmallPipeline) {
    let topic = pipeline.topic();
    for (what, word) in [
        ("acequia.log", "sink-dwh"),
        ("connect.log", pipeline.name()),
        ("logs/sink-dwh-0.log", "password authentication failed"),
        ("logs/generator-shop-0.log", "password authentication failed"),
        ("run/sink-dwh-0.yaml", pipeline.name()),
        ("run/generator-shop-0.yaml", pipeline.name()),
        ("status.json", "sink-dwh"),
        ("/cmdline", "acequia-worker"),
        ("/environ", "RUST_LOG"),
        ("/status", "RUNNING"),
        ("/config", "${dir:"),
        ("topic _connect-configs", pipeline.name()),
        ("topic _connect-status", pipeline.name()),
        ("topic acequia.ownership", pipeline.name()),
        (topic.as_str(), "bought"),
        ("table acequia_offsets", pipeline.name()),
        ("table acequia_dead_letters", "no event"),
        ("table orders", "bought"),
    ] {
        let found = products.iter().filter(|product| product.what.ends_with(what)).any(|product| {
            // A dead letter's bytes are shown in hexadecimal.
            let hex = word.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
            let text = String::from_utf8_lossy(&product.bytes);
            text.contains(word) || text.contains(&hex)
        });
        let all: Vec<&str> = products.iter().map(|product| product.what.as_str()).collect();
        assert!(found, "nothing that is called …{what} holds {word}: {all:#?}");
    }
}

#[test]
fn no_password_is_in_anything_that_a_run_produces() {
    let pipeline = SmallPipeline::new(&Stack::up(), "canary");
    let canaries = canaries(&pipeline);
    for store in STORES {
        pipeline.put_right_secret(store);
    }
    let table = "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)";
    pipeline.postgres.open("instashop").run(table);
    pipeline.write_manifest(&with_generator(&pipeline));
    // More is logged than by default.
    let mut run = pipeline.run(&[("RUST_LOG", "debug")]);
    let is_ready = |status: &Value| status["ready"] == true;
    until("everything runs", DEADLINE, || run.status(), is_ready);
    let mut products = processes(&run);
    pipeline.stack.produce(&pipeline.topic(), &[(0, None, Some(b"no event".to_vec()))]);

    make_wrong(&pipeline, "dwh", "dwh", &canaries[3]);
    wait_until_refused(&run, "stages", "id", "sink-dwh", "password authentication failed");
    make_wrong(&pipeline, "source", "instashop", &canaries[2]);
    wait_until_refused(&run, "stages", "id", "generator-shop", "password authentication failed");
    wait_until_refused(&run, "connectors", "stage", "source-orders", "refuses name or password");
    products.extend(connect(&pipeline));
    products.extend(files(&pipeline));
    for store in STORES {
        pipeline.put_right_secret(store);
    }
    until("everything runs again", DEADLINE, || run.status(), is_ready);

    let mut dwh = pipeline.postgres.open("dwh_db");
    let count = || dwh.number("SELECT count(*) FROM orders");
    until("enough rows were moved", DEADLINE, count, |rows| *rows >= FEWEST_ROWS);
    products.extend(processes(&run));
    products.extend(connect(&pipeline));
    assert!(run.process.stop().success());
    products.extend(files(&pipeline));
    products.extend(topics(&pipeline));
    products.extend(tables(&pipeline));
    products.push(Product::new("acequia plan", pipeline.plan(&with_generator(&pipeline)).1));
    assert_looked_at(&products, &pipeline);
    assert_clean(&products, &canaries);
    pipeline.delete();
    assert_clean(&files(&pipeline), &canaries);
}
