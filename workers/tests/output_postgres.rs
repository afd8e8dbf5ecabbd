//! Aggregations' tables in a real PostgreSQL; see `worker/mod.rs` for how to name one.

// All of it is for tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod outputs;
mod worker;

use acequia_workers::aggregator::output::{OutputEvent, Row, Span};
use acequia_workers::secrets::SecretsFolder;
use outputs::{NOW_MS, Output, aggregation, is_failing, permutations, row, window};
use sqlx::{AssertSqlSafe, PgConnection};
use worker::{Database, execute, number, password, server};

const MEASURES: &str = "groupBy: [{name: category, value: event.category}]
measures: [{name: items, count: {}}, {name: revenue, sum: event.price}]
to: [{store: dwh, postgres: {table: sales}}]\n";

/// A database of its own, and the login for it.
struct Setup {
    database: Database,
    folder: tempfile::TempDir,
}

impl Setup {
    async fn new(name: &str) -> Option<Self> {
        let server = server()?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("db")).unwrap();
        std::fs::write(folder.path().join("db/username"), server.get_username()).unwrap();
        std::fs::write(folder.path().join("db/password"), password()).unwrap();
        Some(Self { database: Database::create(&server, name).await, folder })
    }

    fn start(&self, window: &str, incarnation: &str) -> Output {
        let aggregation = aggregation(&format!("window: {window}\n{MEASURES}"));
        let store = format!("{{name: dwh, postgres: {}}}", self.database.store());
        Output::start(&aggregation, &store, &SecretsFolder::at(self.folder.path()), incarnation)
    }
}

async fn text(connection: &mut PgConnection, sql: &str) -> String {
    let sql = format!("SELECT coalesce(string_agg(line, ' | ' ORDER BY line), '') FROM ({sql}) AS q(line)");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await.unwrap()
}

const ROWS: &str = "SELECT concat_ws(',', extract(epoch FROM window_start)::bigint - 4102444800, category, items, revenue) FROM sales";

fn in_window(number: i64, mut row: Row) -> Row {
    row.window = Some(window(number));
    row
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_as_they_were_meant() {
    let Some(setup) = Setup::new("rows").await else { return };
    let mut output = setup.start("{tumbling: 30s}", "one");
    let exact = "1234567890123456789012345.678";
    let mut first = in_window(0, row(r#"["it's \"a\",\\b"]"#, Some(&[Some("3"), Some(exact)]), (5, 1, 0)));
    (first.is_final, first.revision) = (true, 7);
    let nothing = in_window(1, row("[null]", Some(&[Some("0"), None]), (5, 2, 20_000)));
    let nul = in_window(1, row(r#"["\u0000"]"#, Some(&[Some("1"), Some("0.10")]), (5, 3, 0)));
    let said = output.write(vec![first, nothing, nul]).await;
    assert_eq!(said, [OutputEvent::Emptied, OutputEvent::Working], "it was created");
    let mut connection = setup.database.connect().await;
    let all = "SELECT to_json(s)::text FROM sales s ORDER BY 1";
    let expected = [
        r#"{"window_start":"2100-01-01T00:00:00+00:00","window_end":"2100-01-01T00:00:30+00:00","category":"it's \"a\",\\b","items":3,"revenue":1234567890123456789012345.678,"acequia_group":"[\"it's \\\"a\\\",\\\\b\"]","acequia_final":true,"acequia_revision":7,"acequia_incarnation":"one","acequia_birth":5,"acequia_offset":1,"acequia_sequence":0}"#,
        r#"{"window_start":"2100-01-01T00:00:30+00:00","window_end":"2100-01-01T00:01:00+00:00","category":"�","items":1,"revenue":0.1,"acequia_group":"[\"\\u0000\"]","acequia_final":false,"acequia_revision":1,"acequia_incarnation":"one","acequia_birth":5,"acequia_offset":3,"acequia_sequence":0}"#,
        r#"{"window_start":"2100-01-01T00:00:30+00:00","window_end":"2100-01-01T00:01:00+00:00","category":null,"items":0,"revenue":null,"acequia_group":"[null]","acequia_final":false,"acequia_revision":1,"acequia_incarnation":"one","acequia_birth":5,"acequia_offset":2,"acequia_sequence":20000}"#,
    ];
    execute(&mut connection, "SET timezone = 'UTC'").await;
    let found = text(&mut connection, all).await;
    let mut found: Vec<&str> = found.split(" | ").collect();
    found.sort_unstable();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
    drop((connection, output));
    setup.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_any_order_of_arrival_the_newest_value_stays() {
    let Some(setup) = Setup::new("orders").await else { return };
    let versions = [(5, 9, 0), (5, 10, 0), (5, 10, 1), (5, i64::MAX, 0)];
    let orders = permutations(versions.len());
    for removed_at in [1, 3] {
        let mut output = setup.start("{tumbling: 30s}", "one");
        for step in 0..versions.len() {
            let rows = orders.iter().enumerate().map(|(number, order)| {
                let at = order[step];
                let count = at.to_string();
                let values = [Some(count.as_str()), None];
                let values = (at != removed_at).then_some(&values[..]);
                in_window(number as i64, row(r#"["Toys"]"#, values, versions[at]))
            });
            output.write(rows.collect()).await;
        }
        let mut connection = setup.database.connect().await;
        let there = number(&mut connection, "SELECT count(*) FROM sales WHERE items = 3").await;
        let in_all = number(&mut connection, "SELECT count(*) FROM sales").await;
        let expected = if removed_at == 3 { 0 } else { orders.len() as i64 };
        assert_eq!((there, in_all), (expected, expected), "removed by version {removed_at}");
        execute(&mut connection, "DROP TABLE sales, acequia_removed").await;
        drop(output);
    }
    setup.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_versions_in_one_batch_the_newer_is_written() {
    let Some(setup) = Setup::new("batch").await else { return };
    let mut output = setup.start("{global: {}}", "one");
    let value = |items: &str, offset| row(r#"["a"]"#, Some(&[Some(items), None]), (5, offset, 0));
    output.write(vec![value("1", 1), value("3", 3), value("2", 2), row(r#"["b"]"#, None, (5, 4, 0))]).await;
    let mut connection = setup.database.connect().await;
    assert_eq!(text(&mut connection, "SELECT concat(category, items) FROM sales").await, "a3");
    drop((connection, output));
    setup.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_incarnation_replaces_what_overlaps_and_an_earlier_one_is_refused() {
    let Some(setup) = Setup::new("incarnations").await else { return };
    let mut before = setup.start("{tumbling: 30s}", "before");
    let value = |group: &str, version| row(group, Some(&[Some("1"), None]), version);
    let old = |number, offset| in_window(number, value(r#"["a"]"#, (10, offset, 0)));
    before.write(vec![old(0, 1), old(1, 2), old(2, 3), in_window(3, value(r#"["x"]"#, (11, 3, 0)))]).await;
    let mut after = setup.start("{tumbling: 1m}", "after");
    let mut first = value(r#"["b"]"#, (20, 1, 0));
    first.window = Some(Span { start_ms: NOW_MS + 60_000, end_ms: NOW_MS + 120_000 });
    after.write(vec![first]).await;
    let mut connection = setup.database.connect().await;
    let expected = "0,a,1 | 30,a,1 | 60,b,1";
    assert_eq!(text(&mut connection, ROWS).await, expected, "history outside of what was rebuilt stays");
    before.write(vec![old(0, 8), old(2, 9)]).await;
    assert_eq!(text(&mut connection, ROWS).await, expected, "a worker that was frozen changes nothing");
    let mut second = value(r#"["b"]"#, (19, 2, 0));
    second.window = Some(Span { start_ms: NOW_MS, end_ms: NOW_MS + 60_000 });
    after.write(vec![second]).await;
    assert_eq!(text(&mut connection, ROWS).await, "0,b,1 | 60,b,1");
    drop((connection, before, after));
    setup.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_incarnation_of_a_global_window_replaces_everything() {
    let Some(setup) = Setup::new("global").await else { return };
    let value = |group: &str, version| row(group, Some(&[Some("1"), None]), version);
    let mut before = setup.start("{global: {}}", "before");
    before.write(vec![value(r#"["a"]"#, (10, 1, 0)), value(r#"["b"]"#, (10, 2, 0))]).await;
    let mut after = setup.start("{global: {}}", "after");
    after.write(vec![value(r#"["a"]"#, (20, 1, 0))]).await;
    before.write(vec![value(r#"["b"]"#, (10, 3, 0))]).await;
    let mut connection = setup.database.connect().await;
    assert_eq!(text(&mut connection, "SELECT concat(category, acequia_birth) FROM sales").await, "a20");
    drop((connection, before, after));
    setup.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_or_truncated_is_noticed_and_filled_again() {
    let Some(setup) = Setup::new("dropped").await else { return };
    let mut output = setup.start("{global: {}}", "one");
    let mut other = setup.start("{global: {}}", "one");
    let value = row(r#"["a"]"#, Some(&[Some("1"), None]), (5, 1, 0));
    output.write(vec![value.clone()]).await;
    other.write(vec![value.clone()]).await;
    let mut connection = setup.database.connect().await;
    for sql in ["DROP TABLE sales", "TRUNCATE sales"] {
        execute(&mut connection, sql).await;
        for output in [&mut output, &mut other] {
            output.wait(|event| *event == OutputEvent::Emptied);
        }
        output.write(vec![value.clone()]).await;
        assert_eq!(number(&mut connection, "SELECT count(*) FROM sales").await, 1, "after {sql}");
    }
    drop((connection, output, other));
    setup.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_gets_the_columns_it_lacks_and_one_of_another_shape_is_refused() {
    let Some(setup) = Setup::new("shape").await else { return };
    let mut connection = setup.database.connect().await;
    execute(
        &mut connection,
        "CREATE TABLE sales (acequia_group text PRIMARY KEY, items bigint, note text);
         INSERT INTO sales VALUES ('[\"mine\"]', 5, 'kept')",
    )
    .await;
    let mut output = setup.start("{tumbling: 30s}", "one");
    output.wait(|event| match event {
        OutputEvent::Failing { error } => {
            assert!(
                error.contains(
                    "its primary key is (acequia_group), this output's is (window_start, acequia_group)"
                ),
                "{error}"
            );
            true
        }
        _ => false,
    });
    let mut output = setup.start("{global: {}}", "one");
    output.write(vec![row(r#"["a"]"#, Some(&[Some("1"), Some("2.5")]), (5, 1, 0))]).await;
    // Those of another origin are an earlier incarnation's.
    assert_eq!(text(&mut connection, "SELECT concat(category, items, revenue) FROM sales").await, "a12.5");
    execute(&mut connection, "ALTER TABLE sales ALTER items TYPE integer").await;
    let mut output = setup.start("{global: {}}", "one");
    output.wait(|event| match event {
        OutputEvent::Failing { error } => {
            assert!(
                error.contains("column items is integer, this output writes bigint; drop or rename it"),
                "{error}"
            );
            true
        }
        _ => false,
    });
    drop((connection, output));
    setup.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_while_somebody_holds_the_table_and_is_written_after_a_broken_connection() {
    let Some(setup) = Setup::new("broken").await else { return };
    let mut output = setup.start("{global: {}}", "one");
    let value = |items: &str, offset| row(r#"["a"]"#, Some(&[Some(items), None]), (5, offset, 0));
    output.write(vec![value("1", 1)]).await;
    let mut connection = setup.database.connect().await;
    execute(&mut connection, "BEGIN; LOCK TABLE sales").await;
    let sent = output.send(vec![value("2", 2)]).await;
    let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                   WHERE NOT l.granted AND a.application_name LIKE 'acequia%' AND a.datname = current_database()";
    while number(&mut connection, waiting).await == 0 {}
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE application_name LIKE 'acequia%' AND datname = current_database()";
    assert!(number(&mut connection, end).await > 0);
    output.wait(is_failing);
    execute(&mut connection, "COMMIT").await;
    let said = output.wait(|event| *event == OutputEvent::Written { number: sent });
    assert!(!said.contains(&OutputEvent::Emptied) && said.contains(&OutputEvent::Working), "{said:?}");
    assert_eq!(number(&mut connection, "SELECT items FROM sales").await, 2);
    drop((connection, output));
    setup.database.drop().await;
}
