//! Records that can't be written: where they came from, why, and their bytes, in the same transaction as the rest.

use sqlx::postgres::PgConnection;

use super::batch::{Part, PartitionId};
use crate::postgres::fault::PostgresError;

/// Bytes of a key or value that are kept; the origin finds the rest in the topic.
const MAX_BYTES: usize = 64 * 1024;

/// A record that can't be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its offset.
    pub offset: i64,
    /// Its key, cut.
    pub key: Option<Vec<u8>>,
    /// Its value, cut.
    pub value: Option<Vec<u8>>,
    /// Bytes of the whole value.
    pub value_bytes: i64,
    /// Why it can't be written.
    pub cause: String,
}

impl DeadLetter {
    /// Of a record with these bytes.
    pub fn new(offset: i64, key: Option<&[u8]>, value: Option<&[u8]>, cause: String) -> Self {
        let cut = |bytes: &[u8]| bytes.get(..bytes.len().min(MAX_BYTES)).unwrap_or_default().to_vec();
        Self {
            offset,
            key: key.map(cut),
            value: value.map(cut),
            value_bytes: value.map_or(0, <[u8]>::len) as i64,
            cause,
        }
    }
}

impl DeadLetter {
    /// Bytes that it holds.
    pub fn size_bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        length(&self.key) + length(&self.value) + self.cause.len()
    }
}

/// The table; `value_bytes` tells when `value` was cut.
pub const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS acequia_dead_letters (
    pipeline text NOT NULL, stage text NOT NULL, topic_id text NOT NULL, partition integer NOT NULL,
    \"offset\" bigint NOT NULL, topic text NOT NULL, key bytea, value bytea, value_bytes bigint NOT NULL,
    cause text NOT NULL, at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline, stage, topic_id, partition, \"offset\"))";

const INSERT: &str = "INSERT INTO acequia_dead_letters
    (pipeline, stage, topic, topic_id, partition, \"offset\", key, value, value_bytes, cause)
    SELECT $1, $2, $3, $4, $5, o, k, v, n, c
    FROM unnest($6::bigint[], $7::bytea[], $8::bytea[], $9::bigint[], $10::text[]) AS d(o, k, v, n, c)
    ON CONFLICT DO NOTHING";

/// Writes the dead letters of one partition in the transaction that is open.
pub async fn write(
    connection: &mut PgConnection,
    (pipeline, stage): (&str, &str),
    partition: &PartitionId,
    letters: &[DeadLetter],
) -> Result<(), PostgresError> {
    if letters.is_empty() {
        return Ok(());
    }
    // PostgreSQL's text can't hold a NUL; a cause may quote one.
    let causes: Vec<String> = letters.iter().map(|letter| letter.cause.replace('\0', "\\0")).collect();
    sqlx::query(INSERT)
        .bind(pipeline)
        .bind(stage)
        .bind(partition.topic.as_ref())
        .bind(partition.topic_id.as_ref())
        .bind(partition.partition)
        .bind(letters.iter().map(|letter| letter.offset).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| letter.key.as_deref()).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| letter.value.as_deref()).collect::<Vec<_>>())
        .bind(letters.iter().map(|letter| letter.value_bytes).collect::<Vec<_>>())
        .bind(causes)
        .execute(connection)
        .await
        .map_err(PostgresError::during(format!("writing dead letters of {partition}")))?;
    Ok(())
}

/// Dead letters in all parts.
pub fn count(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.rejected.len() as u64).sum()
}
