//! A row that is looked up and isn't there yet is waited for, but not for ever.

use std::time::Duration;

use acequia_tests::aggregation::Aggregation;
use acequia_tests::database::Database;
use acequia_tests::stack::{Record, Stack, unique};
use acequia_tests::wait::until;

const DEADLINE: Duration = Duration::from_secs(60);

fn sale(product: u32) -> Record {
    (0, None, Some(format!(r#"{{"product":{product}}}"#).into_bytes()))
}

fn product(id: u32, category: &str) -> Record {
    let value = format!(r#"{{"id":{id},"category":"{category}"}}"#);
    (0, Some(id.to_string().into_bytes()), Some(value.into_bytes()))
}

/// An aggregation of sales by the category of their product, and the topic of products. Product 1 is there.
fn aggregation(stack: &Stack, name: &str, wait: &str) -> (Aggregation, String) {
    let products = format!("{name}.products");
    stack.create_topic(name, 1);
    stack.create_topic_with(&products, 1, &[("cleanup.policy", "compact")]);
    stack.produce(&products, &[product(1, "Toys")]);
    let yaml = format!(
        r#"
name: test
from: ["{name}"]
lookups: [{{name: product, topic: "{products}", format: json, match: event.product, wait: {wait}}}]
window: {{global: {{}}}}
groupBy: [{{name: category, value: product.category}}]
measures: [{{name: sales, count: {{}}}}]
emit: {{every: 100ms}}
to: [{{store: dwh, postgres: {{table: {name}}}}}]
"#
    );
    (Aggregation::new(stack, name, &yaml), products)
}

/// Category and number of sales, `-` where there is no category; nothing while there is no table.
fn sales(database: &mut Database, table: &str) -> Vec<String> {
    if !database.has_table(table) {
        return Vec::new();
    }
    let sql = format!(
        "SELECT coalesce(category, '-') || ' ' || sales AS text FROM \"{table}\" ORDER BY category NULLS LAST"
    );
    let rows = database.rows(&sql).into_iter().map(|row| row[0].clone().unwrap());
    rows.map(|row| {
        serde_json::from_str::<serde_json::Value>(&row).unwrap()["text"].as_str().unwrap().to_owned()
    })
    .collect()
}

#[test]
fn a_row_that_comes_later_is_counted_under_it() {
    let stack = Stack::up();
    let name = unique("lookup_later");
    let (aggregation, products) = aggregation(&stack, &name, "10m");
    let mut worker = aggregation.start("a", &[]);
    let mut database = Database::open(&stack, "dwh_db");
    stack.produce(&name, &[sale(1), sale(2), sale(1)]);
    // What comes after the record that waits waits with it.
    until("what came before counts", DEADLINE, || sales(&mut database, &name), |s| *s == ["Toys 1"]);
    let report = until(
        "the rest waits",
        DEADLINE,
        || worker.report(),
        |report| report.as_ref().is_some_and(|report| report.lag == Some(2)),
    );
    assert_eq!(report.unwrap().aggregation.unwrap().lookups_missed, 0);
    // A worker that is killed while a record waits leaves nothing out.
    worker.process.kill();
    let mut worker = aggregation.start("a", &[]);
    stack.produce(&name, &[sale(2)]);
    until(
        "it waits again",
        DEADLINE,
        || worker.report(),
        |report| report.as_ref().is_some_and(|report| report.lag == Some(3)),
    );
    stack.produce(&products, &[product(2, "Books")]);
    until("all of it counts", DEADLINE, || sales(&mut database, &name), |s| *s == ["Books 2", "Toys 2"]);
    // As of processing: what was counted stays where it was.
    stack.produce(&products, &[product(1, "Games")]);
    stack.produce(&name, &[sale(2), sale(2)]);
    until("what follows counts", DEADLINE, || sales(&mut database, &name), |s| *s == ["Books 4", "Toys 2"]);
    let report = worker.wait_for_no_lag(DEADLINE);
    assert_eq!(report.aggregation.unwrap().lookups_missed, 0);
    assert!(worker.process.stop().success());
}

#[test]
fn a_row_that_never_comes_is_null_and_told() {
    let stack = Stack::up();
    let name = unique("lookup_never");
    let (aggregation, products) = aggregation(&stack, &name, "2s");
    let mut worker = aggregation.start("a", &[]);
    let mut database = Database::open(&stack, "dwh_db");
    stack.produce(&name, &[sale(1), sale(3), sale(3), sale(1)]);
    until("all of it counts", DEADLINE, || sales(&mut database, &name), |s| *s == ["Toys 2", "- 2"]);
    // Waited for once, not once a record.
    until(
        "it is told",
        DEADLINE,
        || worker.report(),
        |report| {
            report
                .as_ref()
                .and_then(|report| report.aggregation.as_ref())
                .is_some_and(|a| a.lookups_missed == 1)
        },
    );
    stack.produce(&products, &[product(3, "Books")]);
    until(
        "what comes after the row counts under it",
        DEADLINE,
        || {
            stack.produce(&name, &[sale(3)]);
            sales(&mut database, &name)
        },
        |sales| sales.first().is_some_and(|first| first.starts_with("Books ")),
    );
    assert!(worker.process.stop().success());
}
