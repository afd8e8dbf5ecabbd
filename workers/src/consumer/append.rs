//! Append: each record adds a row.
//!
//! All rows of a flush go in one binary COPY. When the server rejects it because of a row, the rows are halved
//! under savepoints until the bad ones are found: O(log n) tries for each.

use sqlx::postgres::PgConnection;

use super::batch::{Chunk, Part, Rows};
use super::dead_letters::DeadLetter;
use crate::postgres::copy::{CopyBuffer, HEADER, TRAILER};
use crate::postgres::fault::{Meaning, PostgresError};

/// The rows of one part, encoded, and where each came from.
#[derive(Debug, Default)]
pub struct AppendRows {
    /// The rows.
    pub buffer: CopyBuffer,
    /// One a row.
    pub origins: Vec<Origin>,
}

/// Where the bytes of a record are: a batch of the chunk, and its place there.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The record's offset.
    pub offset: i64,
    /// Index of the batch in the chunk.
    pub batch: u32,
    /// Index of the record in the batch.
    pub record: u32,
}

/// A row of a chunk: its part and its place there.
type Place = (usize, usize);

/// Adds the rows of all parts in the transaction that is open; returns the rejected ones, each with its part.
pub async fn write(
    connection: &mut PgConnection,
    copy_sql: &str,
    chunk: &Chunk,
) -> Result<Vec<(usize, DeadLetter)>, PostgresError> {
    let places: Vec<Place> = chunk
        .parts
        .iter()
        .enumerate()
        .filter_map(|(part, content)| rows_of(content).map(|rows| (part, rows)))
        .flat_map(|(part, rows)| (0..rows.origins.len()).map(move |row| (part, row)))
        .collect();
    if places.is_empty() {
        return Ok(Vec::new());
    }
    savepoint(connection, "SAVEPOINT acequia_rows").await?;
    let Err(error) = copy(connection, copy_sql, chunk, &places).await else { return Ok(Vec::new()) };
    if error.meaning() != Meaning::Poison {
        return Err(error);
    }
    let mut rejected = Vec::new();
    // Depth first and in order; the stack holds at most one half a level.
    let mut untried = vec![(places.as_slice(), Some(error))];
    while let Some((rows, failure)) = untried.pop() {
        let failure = match failure {
            Some(failure) => failure,
            None => match copy(connection, copy_sql, chunk, rows).await {
                Ok(()) => {
                    savepoint(connection, "RELEASE SAVEPOINT acequia_rows; SAVEPOINT acequia_rows").await?;
                    continue;
                }
                Err(error) if error.meaning() == Meaning::Poison => error,
                Err(error) => return Err(error),
            },
        };
        savepoint(connection, "ROLLBACK TO SAVEPOINT acequia_rows").await?;
        match rows {
            [place] => rejected.extend(dead_letter(chunk, *place, &failure)),
            _ => {
                let (first, second) = rows.split_at(rows.len() / 2);
                untried.push((second, None));
                untried.push((first, None));
            }
        }
    }
    Ok(rejected)
}

fn rows_of(part: &Part) -> Option<&AppendRows> {
    match &part.rows {
        Rows::Append(rows) => Some(rows),
        Rows::Mirror(_) => None,
    }
}

async fn copy(
    connection: &mut PgConnection,
    copy_sql: &str,
    chunk: &Chunk,
    places: &[Place],
) -> Result<(), PostgresError> {
    let during = || PostgresError::during("adding rows");
    let mut copy = connection.copy_in_raw(copy_sql).await.map_err(during())?;
    copy.send(HEADER).await.map_err(during())?;
    for run in places.chunk_by(|(part, row), (next_part, next_row)| part == next_part && row + 1 == *next_row)
    {
        let (Some((part, first)), Some((_, last))) = (run.first(), run.last()) else { continue };
        let Some(rows) = chunk.parts.get(*part).and_then(rows_of) else { continue };
        copy.send(rows.buffer.rows(*first, last + 1)).await.map_err(during())?;
        crate::crash::point("inside COPY");
    }
    copy.send(TRAILER).await.map_err(during())?;
    copy.finish().await.map_err(during())?;
    Ok(())
}

async fn savepoint(connection: &mut PgConnection, sql: &'static str) -> Result<(), PostgresError> {
    sqlx::raw_sql(sql)
        .execute(connection)
        .await
        .map_err(PostgresError::during("looking for rejected rows"))?;
    Ok(())
}

fn dead_letter(chunk: &Chunk, (part, row): Place, failure: &PostgresError) -> Option<(usize, DeadLetter)> {
    let origin = chunk.parts.get(part).and_then(rows_of)?.origins.get(row)?;
    let batch = chunk.batches.get(origin.batch as usize)?;
    let record = batch.get(origin.record as usize)?;
    Some((part, DeadLetter::new(origin.offset, record.key, record.value, failure.to_string())))
}
