//! Windows of events: what Redis, PostgreSQL and the late topic end up with.

use std::collections::BTreeMap;
use std::time::Duration;

use acequia_crds::stage_report::StageReport;
use acequia_tests::aggregation::Aggregation;
use acequia_tests::database::Database;
use acequia_tests::stack::{Record, Stack, unique};
use acequia_tests::wait::until;
use redis::Commands as _;

const DEADLINE: Duration = Duration::from_secs(60);

/// An order at a second of the first minutes of 2026.
fn order(partition: i32, second: i64, category: &str, cents: i64) -> Record {
    let (minute, second) = (second / 60, second % 60);
    let value = format!(
        r#"{{"at":"2026-01-01T00:{minute:02}:{second:02}Z","category":"{category}","price":{}.{:02}}}"#,
        cents / 100,
        cents % 100
    );
    (partition, None, Some(value.into_bytes()))
}

/// Both partitions pass 00:00:40, so the first window is final; then one record comes too late, and one is no JSON.
fn orders() -> Vec<Record> {
    vec![
        order(0, 1, "Toys", 1050),
        order(1, 2, "Toys", 250),
        order(1, 29, "Books", 999),
        order(0, 31, "Toys", 100),
        order(0, 41, "Toys", 100),
        order(1, 45, "Toys", 100),
        order(0, 5, "Toys", 77700),
        (1, None, Some(b"no JSON".to_vec())),
    ]
}

#[test]
fn windows_of_events_are_in_redis_and_postgres_and_late_ones_in_the_late_topic() {
    let stack = Stack::up();
    let name = unique("windows");
    stack.create_topic(&name, 2);
    let yaml = format!(
        r#"
name: test
from: ["{name}"]
eventTime: event.at
watermark: 10s
window: {{tumbling: 30s}}
groupBy: [{{name: category, value: event.category}}]
measures: [{{name: orders, count: {{}}}}, {{name: revenue, sum: event.price}}]
emit: {{every: 200ms}}
to:
  - {{store: metrics, redis: {{key: "{name}:{{window.start}}", as: hash, ttl: 1h}}}}
  - {{store: dwh, postgres: {{table: {name}}}}}
"#
    );
    let aggregation = Aggregation::new(&stack, &name, &yaml);
    let worker = aggregation.start("a", &[]);
    stack.produce(&name, &orders());
    let mut dwh = Database::open(&stack, "dwh_db");
    until("the table", DEADLINE, || dwh.has_table(&name), |exists| *exists);
    let query = format!(
        "SELECT extract(epoch FROM window_start)::int % 60 AS second, category, orders, revenue, acequia_final AS final \
         FROM \"{name}\" ORDER BY window_start, category"
    );
    let expected = [
        r#"{"second":0,"category":"Books","orders":1,"revenue":9.99,"final":true}"#,
        r#"{"second":0,"category":"Toys","orders":2,"revenue":13,"final":true}"#,
        r#"{"second":30,"category":"Toys","orders":3,"revenue":3,"final":false}"#,
    ];
    let expected: Vec<_> = expected.iter().map(|row| vec![Some((*row).to_owned())]).collect();
    until("the first window to be final", DEADLINE, || dwh.rows(&query), |rows| *rows == expected);
    let mut redis = stack.redis();
    let expected =
        [("Books:orders", "1"), ("Books:revenue", "9.99"), ("Toys:orders", "2"), ("Toys:revenue", "13")];
    let expected: BTreeMap<_, _> = expected.map(|(field, value)| (field.to_owned(), value.to_owned())).into();
    let key = format!("{name}:2026-01-01T00:00:00Z");
    let hash = || redis.hgetall::<_, BTreeMap<String, String>>(&key).unwrap();
    until("the same in Redis", DEADLINE, hash, |hash| *hash == expected);
    let late = |report: &StageReport| report.aggregation.as_ref().map(|aggregation| aggregation.late);
    until(
        "the late record and the dead letter to be told",
        DEADLINE,
        || worker.report(),
        |report| report.as_ref().is_some_and(|report| late(report) == Some(1) && report.dead_letters == 1),
    );
}
