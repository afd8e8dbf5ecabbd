//! Rows into a table of PostgreSQL: one transaction a batch, one writer of a table at a time.
//!
//! The lock is what makes a comparison with what isn't there right: a group that was removed, an incarnation that has
//! no row in this window yet. It is an advisory one, gone with its transaction; the server ends the session of a writer
//! that was frozen in between.

use std::time::Duration;

use acequia_crds::pipeline::store::Postgres;

use super::Row;
use super::table::{Arrays, CREATE_OWN_TABLES, TablePlan};
use super::task::{Look, OutputError};
use crate::crash;
use crate::postgres::fault::PostgresError;
use crate::postgres::quote::identifier;
use crate::postgres::session::{Session as TextSession, TextRow};
use crate::secrets::SecretsFolder;

/// How long one statement may take.
const DEADLINE: Duration = Duration::from_secs(65);
/// Shorter than [`DEADLINE`], so that it is the server that gives up.
const SETTINGS: &str = "SET statement_timeout = '60s'; SET lock_timeout = '15s'; \
                        SET idle_in_transaction_session_timeout = '10s'";
/// Nobody is frozen that long and goes on: by then the log that a writer reads is gone.
const FORGET_REMOVED: &str =
    "DELETE FROM acequia_removed WHERE table_name = $1 AND removed_at < now() - interval '8 days'";
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('acequia outputs'), hashtext($1))::text";
const OWNER: &str = "SELECT incarnation, birth::text FROM acequia_outputs WHERE table_name = $1";
const OWN: &str = "INSERT INTO acequia_outputs AS o (table_name, incarnation, birth) VALUES ($1, $2, $3::bigint) \
                   ON CONFLICT (table_name) DO UPDATE SET incarnation = excluded.incarnation, birth = excluded.birth";
/// Another table, or one that was truncated, has another one.
const MARK: &str =
    "SELECT concat(oid, ' ', pg_relation_filenode(oid)) FROM pg_class WHERE oid = to_regclass($1)";
const WRITING: &str = "writing a batch";

/// A connection for one table. After an error it may be in the middle of a transaction: open a new one.
pub(super) struct Session {
    connection: TextSession,
    /// The table had to be created, and nobody has been told.
    is_new: bool,
    others: Others,
}

/// The rows of other incarnations in the table. They only get fewer: once this one owns the table, an earlier one is
/// refused, and a later one refuses this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Unknown,
    None,
    /// There are some; their longest window, in milliseconds.
    Some(i64),
}

impl Session {
    /// Connects, and creates what is missing.
    pub async fn open(
        store: &Postgres,
        plan: &TablePlan,
        secrets: &SecretsFolder,
        application: &str,
    ) -> Result<Self, OutputError> {
        let mut connection = TextSession::open(store, secrets, application).await?;
        connection.script("opening a session", SETTINGS.to_owned(), DEADLINE).await?;
        let mut session = Self { connection, is_new: false, others: Others::Unknown };
        session.prepare(plan).await?;
        Ok(session)
    }

    /// Looks whether the table is still the one that was written, and creates it where it is gone.
    pub async fn look(&mut self, plan: &TablePlan) -> Result<Look, OutputError> {
        let mut mark = self.mark(plan).await?;
        if mark.is_none() {
            self.prepare(plan).await?;
            mark = self.mark(plan).await?;
        }
        Ok(Look { mark: mark.unwrap_or_default(), is_new: std::mem::take(&mut self.is_new) })
    }

    /// Writes rows in one transaction; false: the table belongs to a later incarnation, and nothing was written.
    pub async fn write(&mut self, plan: &TablePlan, rows: &[Row]) -> Result<bool, OutputError> {
        let arrays = plan.arrays(rows);
        self.connection.script(WRITING, "BEGIN".to_owned(), DEADLINE).await?;
        self.run(LOCK, &[&plan.table]).await?;
        if !self.own(plan, arrays.birth_ms).await? {
            self.connection.script(WRITING, "ROLLBACK".to_owned(), DEADLINE).await?;
            return Ok(false);
        }
        self.clear_others(plan, &arrays).await?;
        if !arrays.remove.is_empty() {
            self.run(&plan.remove, &with(&arrays.remove, &[&plan.table])).await?;
        }
        if !arrays.upsert.is_empty() {
            self.run(&plan.upsert, &with(&arrays.upsert, &[&plan.incarnation, &plan.table])).await?;
        }
        crash::point("inside a batch for PostgreSQL");
        self.connection.script(WRITING, "COMMIT".to_owned(), DEADLINE).await?;
        Ok(true)
    }

    /// Makes the table this incarnation's, unless it is a later one's.
    async fn own(&mut self, plan: &TablePlan, birth_ms: i64) -> Result<bool, OutputError> {
        let found = self.run(OWNER, &[&plan.table]).await?;
        let owner = found.first().and_then(|row| match &row[..] {
            [Some(incarnation), Some(birth)] => Some((birth.parse::<i64>().ok()?, incarnation.as_str())),
            _ => None,
        });
        let this = (birth_ms, plan.incarnation.as_str());
        match owner {
            Some((birth, incarnation)) if incarnation == plan.incarnation && birth >= birth_ms => Ok(true),
            Some(owner) if owner.1 != plan.incarnation && owner > this => Ok(false),
            _ => {
                self.run(OWN, &[&plan.table, &plan.incarnation, &birth_ms.to_string()]).await?;
                Ok(true)
            }
        }
    }

    /// What earlier incarnations have in the windows that are written goes; the rest stays as history.
    async fn clear_others(&mut self, plan: &TablePlan, arrays: &Arrays) -> Result<(), OutputError> {
        if self.others == Others::Unknown {
            let found = self.run(&plan.longest_other, &[&plan.incarnation]).await?;
            let longest = found.into_iter().next().and_then(|row| row.into_iter().next().flatten());
            self.others = longest.and_then(|longest| longest.parse().ok()).map_or(Others::None, Others::Some);
        }
        if let Others::Some(longest) = self.others {
            let longest = longest.to_string();
            let mut values = with(&arrays.windows, &[&plan.incarnation]);
            values.extend(plan.windowed.then_some(&longest));
            self.run(&plan.clear, &values).await?;
        }
        Ok(())
    }

    async fn prepare(&mut self, plan: &TablePlan) -> Result<(), OutputError> {
        let before = self.connection.table(&plan.table, DEADLINE).await?;
        self.ddl(&[CREATE_OWN_TABLES.to_owned(), plan.create.clone()]).await?;
        self.is_new |= before.is_none();
        self.others = Others::Unknown;
        let other_shape =
            |difference: String| OutputError::OtherShape { table: plan.table.clone(), difference };
        let found = self.connection.table(&plan.table, DEADLINE).await?;
        let found = found.ok_or_else(|| other_shape("it went away while being looked at".to_owned()))?;
        let missing = plan.missing_columns(&found).map_err(other_shape)?;
        if !missing.is_empty() {
            self.ddl(&missing).await?;
        }
        self.run(FORGET_REMOVED, &[&plan.table]).await?;
        Ok(())
    }

    /// DDL in a transaction of its own: it takes heavy locks, and must not wait long for them.
    async fn ddl(&mut self, statements: &[String]) -> Result<(), PostgresError> {
        // CREATE … IF NOT EXISTS of two workers at once can collide in the catalogue; one after the other it can't.
        let script = format!(
            "BEGIN; SET LOCAL lock_timeout = '5s'; SELECT pg_advisory_xact_lock(hashtext('acequia tables')); {}; COMMIT",
            statements.join("; ")
        );
        self.connection.script("creating tables", script, DEADLINE).await
    }

    async fn mark(&mut self, plan: &TablePlan) -> Result<Option<String>, PostgresError> {
        let values = [Some(identifier(&plan.table))];
        let call = format!("looking for table {}", plan.table);
        let rows = self.connection.rows(&call, MARK.to_owned(), &values, DEADLINE).await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    async fn run(&mut self, sql: &str, values: &[&String]) -> Result<Vec<TextRow>, PostgresError> {
        let values: Vec<Option<String>> = values.iter().map(|value| Some((*value).clone())).collect();
        self.connection.rows(WRITING, sql.to_owned(), &values, DEADLINE).await
    }
}

fn with<'a>(arrays: &'a [String], more: &[&'a String]) -> Vec<&'a String> {
    arrays.iter().chain(more.iter().copied()).collect()
}
