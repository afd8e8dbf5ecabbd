//! The truth about how far a sink has come, in the store itself, and the fence around it.
//!
//! One row a partition: an epoch that each claim raises, and the next offset to read. A flush writes only where
//! both are what it expects, so a writer that was replaced changes nothing. A writer that is frozen inside a
//! transaction holds the row's lock, and neither `statement_timeout` nor a cancel ends a backend that waits for its
//! client inside COPY; so the claimer ends that backend, which it may as the same role.

use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};

use super::batch::PartitionId;
use crate::postgres::fault::{Meaning, PostgresError};

/// How long a claim waits for another writer's transaction before it ends that writer's backend.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// Tries to end the backend in the way; each waits [`LOCK_TIMEOUT`].
const MAX_EVICTIONS: u32 = 5;

/// The table.
pub const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS acequia_offsets (
    pipeline text NOT NULL, stage text NOT NULL, topic_id text NOT NULL, partition integer NOT NULL,
    topic text NOT NULL, epoch bigint NOT NULL, next_offset bigint NOT NULL,
    backend_pid integer NOT NULL, backend_start timestamptz NOT NULL,
    PRIMARY KEY (pipeline, stage, topic_id, partition))";

const CLAIM: &str = "INSERT INTO acequia_offsets AS o
    (pipeline, stage, topic_id, partition, topic, epoch, next_offset, backend_pid, backend_start)
    SELECT $1, $2, $3, $4, $5, 1, $6, pg_backend_pid(), backend_start
    FROM pg_stat_activity WHERE pid = pg_backend_pid()
    ON CONFLICT (pipeline, stage, topic_id, partition) DO UPDATE
    SET epoch = o.epoch + 1, backend_pid = excluded.backend_pid, backend_start = excluded.backend_start
    RETURNING epoch, next_offset";

const END_BACKEND: &str = "SELECT pg_terminate_backend(a.pid)
    FROM acequia_offsets o JOIN pg_stat_activity a ON a.pid = o.backend_pid AND a.backend_start = o.backend_start
    WHERE o.pipeline = $1 AND o.stage = $2 AND o.topic_id = $3 AND o.partition = $4
    AND a.usename = current_user AND a.pid <> pg_backend_pid()";

const ADVANCE: &str = "UPDATE acequia_offsets o SET next_offset = b.until
    FROM unnest($3::text[], $4::integer[], $5::bigint[], $6::bigint[], $7::bigint[])
        AS b(topic_id, partition, epoch, since, until)
    WHERE o.pipeline = $1 AND o.stage = $2 AND o.topic_id = b.topic_id AND o.partition = b.partition
    AND o.epoch = b.epoch AND o.next_offset = b.since
    RETURNING o.topic_id, o.partition";

/// A right to write one partition's rows, as long as nobody raises the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The epoch of this claim.
    pub epoch: i64,
    /// The offset to go on from.
    pub next_offset: i64,
}

/// The step that a flush makes in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The partition.
    pub partition: PartitionId,
    /// The epoch under which it was read.
    pub epoch: i64,
    /// Where the part before ended.
    pub from: i64,
    /// Where to go on from.
    pub to: i64,
}

/// Raises the epoch of a partition and reads where to go on from; `start_at` where nobody has been yet.
///
/// Waits for a writer that is about to commit, and ends the backend of one that doesn't.
pub async fn claim(
    connection: &mut PgConnection,
    (pipeline, stage): (&str, &str),
    partition: &PartitionId,
    start_at: i64,
) -> Result<Claim, PostgresError> {
    for _ in 0..MAX_EVICTIONS {
        match try_claim(connection, (pipeline, stage), partition, start_at).await {
            Err(error) if error.meaning() == Meaning::Locked => {
                tracing::warn!(%partition, "another writer holds this partition and doesn't commit: ending its backend");
                sqlx::query(END_BACKEND)
                    .bind(pipeline)
                    .bind(stage)
                    .bind(partition.topic_id.as_ref())
                    .bind(partition.partition)
                    .execute(&mut *connection)
                    .await
                    .map_err(PostgresError::during(format!("ending the writer before us of {partition}")))?;
            }
            outcome => return outcome,
        }
    }
    try_claim(connection, (pipeline, stage), partition, start_at).await
}

async fn try_claim(
    connection: &mut PgConnection,
    (pipeline, stage): (&str, &str),
    partition: &PartitionId,
    start_at: i64,
) -> Result<Claim, PostgresError> {
    let call = || format!("claiming {partition} in acequia_offsets");
    let mut transaction = connection.begin().await.map_err(PostgresError::during(call()))?;
    // A claim must outlive a crash of the server; what it guards needs not.
    let settings =
        format!("SET LOCAL lock_timeout = {}; SET LOCAL synchronous_commit = on", LOCK_TIMEOUT.as_millis());
    sqlx::raw_sql(sqlx::AssertSqlSafe(settings))
        .execute(&mut *transaction)
        .await
        .map_err(PostgresError::during(call()))?;
    let row: PgRow = sqlx::query(CLAIM)
        .bind(pipeline)
        .bind(stage)
        .bind(partition.topic_id.as_ref())
        .bind(partition.partition)
        .bind(partition.topic.as_ref())
        .bind(start_at)
        .fetch_one(&mut *transaction)
        .await
        .map_err(PostgresError::during(call()))?;
    let claim = Claim {
        epoch: row.try_get(0).map_err(PostgresError::during(call()))?,
        next_offset: row.try_get(1).map_err(PostgresError::during(call()))?,
    };
    transaction.commit().await.map_err(PostgresError::during(call()))?;
    Ok(claim)
}

/// Whether a stage has an offset in any partition of a topic.
pub async fn any(
    connection: &mut PgConnection,
    (pipeline, stage): (&str, &str),
    topic_id: &str,
) -> Result<bool, PostgresError> {
    let during = || PostgresError::during("looking into acequia_offsets");
    let sql =
        "SELECT EXISTS (SELECT FROM acequia_offsets WHERE pipeline = $1 AND stage = $2 AND topic_id = $3)";
    let row: PgRow = sqlx::query(sql)
        .bind(pipeline)
        .bind(stage)
        .bind(topic_id)
        .fetch_one(connection)
        .await
        .map_err(during())?;
    row.try_get(0).map_err(during())
}

/// Advances the offsets in the transaction that is open; returns the partitions that somebody else has claimed, or
/// whose offset isn't where it should be. When there are any, the transaction must be rolled back.
pub async fn advance(
    connection: &mut PgConnection,
    (pipeline, stage): (&str, &str),
    advances: &[Advance],
) -> Result<Vec<PartitionId>, PostgresError> {
    let call = || "advancing acequia_offsets".to_owned();
    let rows = sqlx::query(ADVANCE)
        .bind(pipeline)
        .bind(stage)
        .bind(advances.iter().map(|advance| advance.partition.topic_id.to_string()).collect::<Vec<_>>())
        .bind(advances.iter().map(|advance| advance.partition.partition).collect::<Vec<_>>())
        .bind(advances.iter().map(|advance| advance.epoch).collect::<Vec<_>>())
        .bind(advances.iter().map(|advance| advance.from).collect::<Vec<_>>())
        .bind(advances.iter().map(|advance| advance.to).collect::<Vec<_>>())
        .fetch_all(connection)
        .await
        .map_err(PostgresError::during(call()))?;
    let mut reached = Vec::with_capacity(rows.len());
    for row in rows {
        let topic_id: String = row.try_get(0).map_err(PostgresError::during(call()))?;
        let partition: i32 = row.try_get(1).map_err(PostgresError::during(call()))?;
        reached.push((topic_id, partition));
    }
    let is_reached = |advance: &&Advance| {
        reached.iter().any(|(id, partition)| {
            **id == *advance.partition.topic_id && *partition == advance.partition.partition
        })
    };
    Ok(advances
        .iter()
        .filter(|advance| !is_reached(advance))
        .map(|advance| advance.partition.clone())
        .collect())
}
