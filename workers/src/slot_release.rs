//! The role `slot-release`: drops a replication slot and a publication that nobody reads any more, once.
//!
//! A slot without a reader keeps the database's log for ever and fills its disk. Kafka Connect leaves both behind, so
//! when a Debezium source goes, this runs after its connector is gone. Running it again is harmless.

use std::io::Write as _;
use std::time::{Duration, Instant};

use acequia_crds::stage::{SlotRelease, StageConfig, Work};
use serde::Serialize;

use crate::postgres::fault::PostgresError;
use crate::postgres::quote::identifier;
use crate::postgres::session::Session;
use crate::secrets::SecretsFolder;

/// How long one statement may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long the slot's reader gets to go by itself, before it is ended.
const READER_GRACE: Duration = Duration::from_secs(10);
/// How long all of it may take.
const GIVE_UP_AFTER: Duration = Duration::from_secs(40);
/// Pause before the slot is looked at again.
const PAUSE: Duration = Duration::from_millis(250);

/// SQLSTATE.
const NO_SUCH_DATABASE: &str = "3D000";

/// Why a slot could not be released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The configuration is another role's.
    #[error("stage `{0}` holds the work of another role than `slot-release`")]
    OtherRole(String),
    /// The database refused, or isn't there.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// Someone keeps reading the slot.
    #[error(
        "replication slot `{slot}` is still read by process {reader} of the database server after {} s; end whoever reads it, \
         then try again",
        GIVE_UP_AFTER.as_secs()
    )]
    StillRead {
        /// The slot.
        slot: String,
        /// Process id of the reader on the database server.
        reader: String,
    },
    /// The result could not be printed.
    #[error("cannot print the result: {0}")]
    Output(#[from] std::io::Error),
}

/// What was done, printed as one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    /// The slot.
    pub slot: String,
    /// Whether it was dropped now; otherwise it wasn't there.
    pub slot_dropped: bool,
    /// Whether its reader had to be ended.
    pub reader_ended: bool,
    /// The publication.
    pub publication: String,
    /// Whether it was dropped now; otherwise it wasn't there.
    pub publication_dropped: bool,
}

/// Drops the slot and the publication and prints what was done to standard output.
///
/// # Errors
/// The server isn't there, refuses, or the slot's reader can't be ended; trying again is safe.
pub async fn run(config: &StageConfig, secrets: &SecretsFolder) -> Result<(), ReleaseError> {
    let Work::SlotRelease(work) = &config.work else {
        return Err(ReleaseError::OtherRole(config.stage.clone()));
    };
    let application = format!("acequia {}/{}", config.pipeline, config.stage);
    let released = match Session::open(&work.store, secrets, &application).await {
        Ok(mut session) => {
            let released = release(&mut session, work).await?;
            session.close(DEADLINE).await;
            released
        }
        // A database that is gone took its slots and publications with it.
        Err(error) if error.sqlstate().as_deref() == Some(NO_SUCH_DATABASE) => Released {
            slot: work.slot.clone(),
            slot_dropped: false,
            reader_ended: false,
            publication: work.publication.clone(),
            publication_dropped: false,
        },
        Err(error) => return Err(error.into()),
    };
    let line = serde_json::to_string(&released).map_err(std::io::Error::other)?;
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

async fn release(session: &mut Session, work: &SlotRelease) -> Result<Released, ReleaseError> {
    let (slot_dropped, reader_ended) = drop_slot(session, &work.slot).await?;
    let publication_dropped = drop_publication(session, &work.publication).await?;
    Ok(Released {
        slot: work.slot.clone(),
        slot_dropped,
        reader_ended,
        publication: work.publication.clone(),
        publication_dropped,
    })
}

/// Returns whether the slot was there, and whether its reader had to be ended.
async fn drop_slot(session: &mut Session, slot: &str) -> Result<(bool, bool), ReleaseError> {
    let began = Instant::now();
    let mut reader_ended = false;
    loop {
        let Some(reader) = reader_of(session, slot).await? else { return Ok((false, reader_ended)) };
        match reader {
            None => match drop_unread_slot(session, slot).await {
                Ok(()) => return Ok((true, reader_ended)),
                // Somebody began to read it in between (55006), or dropped it (42704).
                Err(error) if matches!(error.sqlstate().as_deref(), Some("55006" | "42704")) => {}
                Err(error) => return Err(error.into()),
            },
            Some(reader) if began.elapsed() > GIVE_UP_AFTER => {
                return Err(ReleaseError::StillRead { slot: slot.to_owned(), reader });
            }
            Some(_) if began.elapsed() > READER_GRACE => reader_ended |= end_reader(session, slot).await?,
            Some(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// `None`: no such slot in this database; `Some(None)`: nobody reads it.
async fn reader_of(session: &mut Session, slot: &str) -> Result<Option<Option<String>>, PostgresError> {
    let sql = "SELECT active_pid::text FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database()";
    let mut rows = session
        .rows(&format!("looking for slot `{slot}`"), sql.to_owned(), &[Some(slot.to_owned())], DEADLINE)
        .await?;
    Ok(rows.pop().and_then(|mut row| row.pop()))
}

async fn drop_unread_slot(session: &mut Session, slot: &str) -> Result<(), PostgresError> {
    let sql = "SELECT pg_drop_replication_slot($1::name)::text";
    let call = format!("dropping slot `{slot}`");
    session.rows(&call, sql.to_owned(), &[Some(slot.to_owned())], DEADLINE).await.map(|_| ())
}

async fn end_reader(session: &mut Session, slot: &str) -> Result<bool, PostgresError> {
    // Asked and ended in one statement: a process id that was read before may be somebody else's by now.
    let sql = "SELECT pg_terminate_backend(active_pid)::text FROM pg_replication_slots \
               WHERE slot_name = $1 AND database = current_database() AND active_pid IS NOT NULL";
    let call = format!("ending the reader of slot `{slot}`");
    let rows = session.rows(&call, sql.to_owned(), &[Some(slot.to_owned())], DEADLINE).await?;
    Ok(rows.iter().flatten().any(|ended| ended.as_deref() == Some("true")))
}

async fn drop_publication(session: &mut Session, publication: &str) -> Result<bool, PostgresError> {
    let sql = "SELECT pubname::text FROM pg_publication WHERE pubname = $1";
    let call = format!("dropping publication `{publication}`");
    let found = session.rows(&call, sql.to_owned(), &[Some(publication.to_owned())], DEADLINE).await?;
    let drop = format!("DROP PUBLICATION IF EXISTS {}", identifier(publication));
    session.script(&call, drop, DEADLINE).await?;
    Ok(!found.is_empty())
}
