//! The generator against a real PostgreSQL; see `worker/mod.rs` for how to name one.

// All of it is for tests.
#![allow(clippy::unwrap_used)]

mod worker;

use std::time::{Duration, Instant};

use acequia_crds::stage_report::StageState;
use worker::{Database, Files, execute, number, password, server};

/// Tables and base data of the store `shop`.
const SETUP: &str = "
CREATE TABLE customer (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE product (id integer PRIMARY KEY, price numeric(12,2) NOT NULL);
CREATE TYPE payment AS ENUM ('card', 'cash');
CREATE TABLE transaction (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id integer NOT NULL REFERENCES customer,
  status varchar(20) NOT NULL, paid_by payment NOT NULL, reference uuid NOT NULL UNIQUE, created_at timestamptz NOT NULL);
CREATE TABLE transactiondetail (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  transaction_id bigint NOT NULL REFERENCES transaction ON DELETE CASCADE, product_id integer NOT NULL REFERENCES product,
  quantity integer NOT NULL, price numeric(12,2) NOT NULL, total numeric(14,2) NOT NULL);
CREATE TABLE interaction (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, product_id integer NOT NULL, kind text NOT NULL);
INSERT INTO customer SELECT n, 'customer ' || n FROM generate_series(1, 50) AS n;
INSERT INTO product SELECT n, n * 1.25 FROM generate_series(1, 30) AS n;
";

/// Those of the store `erp`, which is in the same database.
const ERP_SETUP: &str = "CREATE TABLE stock (product_id integer PRIMARY KEY, quantity integer NOT NULL);
INSERT INTO stock SELECT n, 1000 FROM generate_series(1, 30) AS n;";

const TEMPLATES: &str = r"
      - name: sale
        weight: 70
        rows:
          - store: shop
            table: transaction
            values:
              customer_id: {existing: {table: customer, column: id}}
              status: {choice: {values: [completed, pending, failed], weights: [90, 6, 4]}}
              paid_by: {choice: {values: [card, cash]}}
              reference: {uuid: {}}
              created_at: {now: {}}
            children:
              - table: transactiondetail
                count: {min: 1, max: 4}
                values:
                  transaction_id: {parent: id}
                  product_id: {existing: {table: product, column: id}}
                  quantity: {int: {min: 1, max: 5}}
                  price: {lookup: {table: product, column: price, by: product_id}}
                  total: {expression: decimal(price) * quantity}
          - {store: erp, table: stock, update: {quantity: {addInt: {min: -3, max: 0}}}, where: {product_id: {existing: {table: stock, column: product_id}}}}
      - {name: behaviour, weight: 20, rows: [{store: shop, table: interaction, values: {product_id: {existing: {table: product, column: id}}, kind: {choice: {values: [click, view]}}}}]}
      - {name: correction, weight: 5, rows: [{store: shop, table: transaction, update: {status: {const: refunded}}, where: {id: {existing: {table: transaction, column: id}}}}]}
      - {name: erasure, weight: 5, rows: [{store: shop, table: transaction, delete: {}, where: {id: {existing: {table: transaction, column: id}}}}]}
";

fn config(database: &Database, setup: &str, templates: &str) -> String {
    let [setup, erp_setup] = [setup, ERP_SETUP].map(|sql| serde_json::to_string(sql).unwrap());
    let store = database.store();
    format!(
        "pipeline: local/default/shop\nstage: generator-shop\nkafka: {{bootstrapServers: \"127.0.0.1:1\"}}\nwork:\n  \
         generator:\n    generator:\n      name: shop\n      seed: 7\n      interval: 2ms\n      templates:{templates}\n    \
         stores: {{shop: {store}, erp: {store}}}\n    setup: {{shop: {setup}, erp: {erp_setup}}}\n"
    )
}

#[tokio::test]
async fn rows_appear_and_what_they_refer_to_exists_while_others_delete() {
    let Some(server) = server() else { return };
    let database = Database::create(&server, "rounds").await;
    let files = Files::new(&config(&database, SETUP, TEMPLATES), &server, &password());
    let mut worker = files.start("producer", &[]);
    worker.wait_for("set up and running", |report| report.setup_done && report.state == StageState::Running);
    let mut connection = database.connect().await;
    // Someone else takes away what the generator knows: customers with all they bought, and transactions.
    for id in 1..=10 {
        let sql = format!(
            "DELETE FROM transaction WHERE customer_id = {id} OR id % 10 = {id} - 1; DELETE FROM customer WHERE id = {id}"
        );
        // The customer may buy something at this very moment: then once more.
        let until = Instant::now() + Duration::from_secs(20);
        while sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(&mut connection).await.is_err() {
            assert!(Instant::now() < until, "customer {id} never stops buying");
        }
        let before = worker.report().unwrap().records;
        worker.wait_for("going on", |report| report.records > before + 150);
    }
    let report = worker.wait_for("running", |report| report.state == StageState::Running);
    assert_eq!(report.error, None);
    let metrics = worker.get("/metrics").unwrap();
    for operation in ["insert", "update", "delete"] {
        let of_transaction = format!("table=\"transaction\",operation=\"{operation}\"");
        assert!(metrics.contains(&of_transaction), "{operation} not in {metrics}");
    }
    assert!(
        metrics.contains("generator_conflicts_total{template=\"sale\"}"),
        "nobody got in the way: {metrics}"
    );
    assert_eq!(worker.stop(), Some(0));
    let mut count = async |sql: &str| number(&mut connection, sql).await;
    assert!(count("SELECT count(*) FROM transaction").await > 50);
    let childless = "SELECT count(*) FROM transaction AS t WHERE NOT EXISTS \
                     (SELECT FROM transactiondetail WHERE transaction_id = t.id)";
    assert_eq!(count(childless).await, 0, "a sale without items");
    let mispriced = "SELECT count(*) FROM transactiondetail AS d JOIN product AS p ON p.id = d.product_id \
                     WHERE d.price <> p.price OR d.total <> d.price * d.quantity";
    assert_eq!(count(mispriced).await, 0, "items whose price isn't the product's, or whose total is wrong");
    assert!(count("SELECT count(*) FROM transaction WHERE status = 'refunded'").await > 0);
    assert!(count("SELECT count(*) FROM stock WHERE quantity < 1000").await > 0);
    assert_eq!(
        count("SELECT count(*) FROM transaction WHERE abs(extract(epoch FROM created_at - now())) > 600")
            .await,
        0
    );
    database.drop().await;
}

#[tokio::test]
async fn the_same_seed_makes_the_same_rows() {
    let Some(server) = server() else { return };
    let mut made = Vec::new();
    for name in ["seed_a", "seed_b"] {
        let database = Database::create(&server, name).await;
        let files = Files::new(&config(&database, SETUP, TEMPLATES), &server, &password());
        let mut worker = files.start("producer", &[]);
        worker.wait_for("at work", |report| report.records > 600);
        assert_eq!(worker.stop(), Some(0));
        let mut connection = database.connect().await;
        let first = "SELECT string_agg(product_id || kind, ' ' ORDER BY id) FROM interaction WHERE id <= 30";
        let rows: String = sqlx::query_scalar(first).fetch_one(&mut connection).await.unwrap();
        assert_eq!(rows.split(' ').count(), 30);
        made.push(rows);
        drop(connection);
        database.drop().await;
    }
    assert_eq!(made[0], made[1]);
}

#[tokio::test]
async fn the_setup_is_run_once_whenever_the_worker_dies() {
    let Some(server) = server() else { return };
    let database = Database::create(&server, "setup").await;
    let files = Files::new(&config(&database, SETUP, TEMPLATES), &server, &password());
    let mut connection = database.connect().await;
    // At the first crash point a setup isn't committed, at the second it is; that of erp comes first.
    for (crash_at, stock, customer) in [("1", 0, 0), ("2", 1, 0), ("1", 1, 0), ("2", 1, 1)] {
        let mut worker = files.start("producer", &[("ACEQUIA_CRASH_AT", crash_at)]);
        assert_eq!(worker.exit_code(), None, "aborted at crash point {crash_at}");
        for (table, exists) in [("stock", stock), ("customer", customer)] {
            let sql = format!("SELECT count(to_regclass('{table}'))");
            assert_eq!(number(&mut connection, &sql).await, exists, "{table} at crash point {crash_at}");
        }
    }
    let mut rows = 0;
    for round in 0..3 {
        let mut worker = files.start("producer", &[]);
        worker.wait_for("at work", |report| report.setup_done && report.records > 50);
        worker.kill();
        let now = number(&mut connection, "SELECT count(*) FROM interaction").await;
        assert!(now > rows, "no new rows in round {round}");
        rows = now;
    }
    assert_eq!(number(&mut connection, "SELECT count(*) FROM customer").await, 50);
    assert_eq!(number(&mut connection, "SELECT count(*) FROM acequia_setup").await, 2);
    database.drop().await;
}

#[tokio::test]
async fn a_changed_setup_is_reported_and_not_run() {
    let Some(server) = server() else { return };
    let database = Database::create(&server, "changed").await;
    let files = Files::new(&config(&database, SETUP, TEMPLATES), &server, &password());
    let mut worker = files.start("producer", &[]);
    worker.wait_for("running", |report| report.records > 10);
    assert_eq!(worker.stop(), Some(0));
    let changed = format!("{SETUP} INSERT INTO customer VALUES (51, 'new');");
    files.write("config.yaml", &config(&database, &changed, TEMPLATES));
    let mut worker = files.start("producer", &[]);
    let report = worker.wait_for("telling", |report| report.error.is_some() && report.records > 10);
    assert_eq!(report.state, StageState::Running);
    assert!(report.setup_done);
    let error = report.error.unwrap();
    assert!(error.starts_with("the setup SQL of store `shop` has changed since it was run at"), "{error}");
    assert_eq!(number(&mut database.connect().await, "SELECT count(*) FROM customer").await, 50);
    worker.kill();
    database.drop().await;
}

#[tokio::test]
async fn what_is_missing_is_named_and_once_it_is_there_the_work_begins() {
    let Some(server) = server() else { return };
    let database = Database::create(&server, "waiting").await;
    let files = Files::new(&config(&database, "SELECT 1", TEMPLATES), &server, "wr0ng-passw0rd");
    let mut worker = files.start("producer", &[]);
    let waits = |worker: &mut worker::Worker, for_what: &str| {
        worker.wait_for(for_what, |report| {
            report.state == StageState::Waiting
                && report.error.as_ref().is_some_and(|error| error.contains(for_what))
        });
    };
    waits(&mut worker, "credentialsSecret");
    files.write("secrets/db/password", &password());
    waits(&mut worker, "has no table `customer`");
    let mut connection = database.connect().await;
    execute(&mut connection, &SETUP.replace("status varchar(20) NOT NULL, ", "")).await;
    waits(
        &mut worker,
        "table `transaction` of store `shop` has no column status; its columns are created_at,",
    );
    execute(&mut connection, "ALTER TABLE transaction ADD COLUMN status varchar(20)").await;
    worker.wait_for("running", |report| report.state == StageState::Running && report.records > 10);
    // What happens while it works: the table goes and comes back, the server throws everybody out.
    execute(&mut connection, "ALTER TABLE interaction RENAME TO gone").await;
    waits(&mut worker, "interaction");
    execute(&mut connection, "ALTER TABLE gone RENAME TO interaction").await;
    worker.wait_for("running again", |report| report.state == StageState::Running);
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    execute(&mut connection, others).await;
    let before = worker.report().unwrap().records;
    worker.wait_for("going on", |report| report.state == StageState::Running && report.records > before + 50);
    assert_eq!(worker.stop(), Some(0));
    let log = files.log();
    assert!(log.contains("has no table `customer`"), "the log tells it too");
    assert!(!log.contains("wr0ng-passw0rd") && !log.contains(&password()), "a password in the log");
    database.drop().await;
}

#[tokio::test]
async fn a_template_that_always_fails_is_told_while_the_others_go_on() {
    let Some(server) = server() else { return };
    let database = Database::create(&server, "trouble").await;
    let templates = format!(
        "{TEMPLATES}      - {{name: broken, weight: 20, rows: [{{store: shop, table: stock, \
         values: {{product_id: {{int: {{min: 1, max: 30}}}}, quantity: {{const: many}}}}}}]}}\n"
    );
    let files = Files::new(&config(&database, SETUP, &templates), &server, &password());
    let mut worker = files.start("producer", &[]);
    let report = worker.wait_for("telling", |report| report.error.is_some());
    let error = report.error.unwrap();
    assert!(
        error.starts_with("template `broken` fails again and again: insert of `stock` in store `shop`"),
        "{error}"
    );
    worker.wait_for("going on", |report| report.records > 300);
    assert_eq!(worker.stop(), Some(0));
    database.drop().await;
}

#[tokio::test]
async fn a_work_that_cannot_be_done_ends_with_its_path() {
    let Some(server) = server() else { return };
    let database = Database::create(&server, "refused").await;
    for (setup, templates, message) in [
        (
            "SELECT 1; COMMIT;",
            TEMPLATES.to_owned(),
            "generators[shop].setup has COMMIT in line 1 of `shop.sql`",
        ),
        (
            SETUP,
            TEMPLATES.replace("{now: {}}", "{now: {}, uuid: {}}"),
            "rows[0].values.created_at has none or several",
        ),
    ] {
        let files = Files::new(&config(&database, setup, &templates), &server, &password());
        let (code, _) = files.run("producer");
        assert_eq!(code, Some(2), "{message}");
        let told = std::fs::read_to_string(files.path().join("termination")).unwrap();
        assert!(told.contains(message), "{told}");
    }
    database.drop().await;
}
