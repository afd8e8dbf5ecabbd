//! Releasing a replication slot of a real PostgreSQL; see `worker/mod.rs` for how to name one.

// All of it is for tests.
#![allow(clippy::unwrap_used)]

mod worker;

use std::process::{Command, Stdio};

use sqlx::postgres::PgConnectOptions;
use worker::{Database, Files, execute, number, password, server};

fn files(database: &Database, server: &PgConnectOptions) -> Files {
    let slot = &database.name;
    let config = format!(
        "pipeline: local/default/shop\nstage: release-shop\nkafka: {{bootstrapServers: \"127.0.0.1:1\"}}\nwork:\n  \
         slotRelease: {{store: {}, slot: {slot}, publication: \"Publication of {slot}\"}}\n",
        database.store()
    );
    Files::new(&config, server, &password())
}

fn released(files: &Files) -> serde_json::Value {
    let (code, printed) = files.run("slot-release");
    assert_eq!(code, Some(0), "{}", files.log());
    assert_eq!(printed.lines().count(), 1, "{printed}");
    serde_json::from_str(&printed).unwrap()
}

#[tokio::test]
async fn a_slot_and_its_publication_go_and_going_again_is_harmless() {
    let Some(server) = server() else { return };
    let database = Database::create(&server, "release").await;
    let slot = &database.name;
    let mut connection = database.connect().await;
    execute(&mut connection, &format!("CREATE PUBLICATION \"Publication of {slot}\"")).await;
    execute(&mut connection, &format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"))
        .await;
    let files = files(&database, &server);
    let result = released(&files);
    assert_eq!(
        (&result["slotDropped"], &result["publicationDropped"]),
        (&true.into(), &true.into()),
        "{result}"
    );
    let left = format!(
        "SELECT (SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}') + (SELECT count(*) FROM pg_publication)"
    );
    assert_eq!(number(&mut connection, &left).await, 0);
    let result = released(&files);
    assert_eq!(
        (&result["slotDropped"], &result["publicationDropped"]),
        (&false.into(), &false.into()),
        "{result}"
    );
    drop(connection);
    database.drop().await;
    let result = released(&files);
    assert_eq!(result["slotDropped"], false, "a database that is gone took them with it: {result}");
}

#[tokio::test]
async fn a_slot_that_is_still_read_is_freed_first() {
    let Some(server) = server() else { return };
    let database = Database::create(&server, "read_slot").await;
    let slot = &database.name;
    let mut connection = database.connect().await;
    execute(
        &mut connection,
        &format!("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')"),
    )
    .await;
    let Ok(mut reader) = Command::new("pg_recvlogical")
        .args(["-h", server.get_host(), "-p", &server.get_port().to_string(), "-U", server.get_username()])
        .args(["-d", slot, "-S", slot, "--start", "--no-loop", "-f", "-"])
        .env("PGPASSWORD", password())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    else {
        eprintln!("skipped: pg_recvlogical isn't installed");
        return database.drop().await;
    };
    let active = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}' AND active");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while number(&mut connection, &active).await == 0 {
        assert!(std::time::Instant::now() < until, "the reader doesn't read");
    }
    let result = released(&files(&database, &server));
    assert_eq!((&result["slotDropped"], &result["readerEnded"]), (&true.into(), &true.into()), "{result}");
    reader.wait().unwrap();
    drop(connection);
    database.drop().await;
}
