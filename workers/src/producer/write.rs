//! Carrying a transaction out.

use std::time::Duration;

use super::catalogue::{Catalogue, typed};
use super::plan::{Statement, Transaction};
use super::sql::{Columns, render};
use super::value::Value;
use crate::postgres::fault::PostgresError;
use crate::postgres::session::{Session, TextRow};

/// How long a statement of a round may take, waiting for locks included.
const DEADLINE: Duration = Duration::from_secs(10);

/// The server's own limits: a generator that is frozen or cut off must not hold its locks for long.
pub const SESSION_LIMITS: &str =
    "SET statement_timeout = '60s'; SET idle_in_transaction_session_timeout = '30s'";

/// What became of a transaction.
#[derive(Debug)]
pub enum Written {
    /// Committed; for each statement the rows it returned.
    Committed(Vec<Vec<Vec<Value>>>),
    /// Rolled back: the values don't fit what is in the database.
    Conflict(PostgresError),
}

/// Writes a transaction. An error means that the session is of no use any more.
pub async fn write(
    session: &mut Session,
    transaction: &Transaction,
    catalogue: &Catalogue,
) -> Result<Written, PostgresError> {
    session.script(&call(transaction, "beginning a transaction"), "BEGIN".to_owned(), DEADLINE).await?;
    let result = match statements(session, transaction, catalogue).await {
        // Deferred constraints are checked only here.
        Ok(rows) => session
            .script(&call(transaction, "committing"), "COMMIT".to_owned(), DEADLINE)
            .await
            .map(|()| rows),
        Err(error) => Err(error),
    };
    match result {
        Ok(rows) => Ok(Written::Committed(rows)),
        Err(error) if is_conflict(&error) => {
            session.script(&call(transaction, "rolling back"), "ROLLBACK".to_owned(), DEADLINE).await?;
            Ok(Written::Conflict(error))
        }
        Err(error) => Err(error),
    }
}

async fn statements(
    session: &mut Session,
    transaction: &Transaction,
    catalogue: &Catalogue,
) -> Result<Vec<Vec<Vec<Value>>>, PostgresError> {
    let unknown = Columns::new();
    let mut returned: Vec<Vec<Vec<Value>>> = Vec::with_capacity(transaction.statements.len());
    for statement in &transaction.statements {
        let columns = catalogue.get(&statement.table).unwrap_or(&unknown);
        let rendered =
            render(statement, columns, |column| parent_value(transaction, statement, &returned, column));
        let what = format!("{} of `{}`", statement.operation.as_str(), statement.table.name);
        let rows: Vec<TextRow> =
            session.rows(&call(transaction, &what), rendered.sql, &rendered.values, DEADLINE).await?;
        returned.push(rows.into_iter().map(|row| typed(&statement.returning, columns, row)).collect());
    }
    Ok(returned)
}

fn parent_value(
    transaction: &Transaction,
    child: &Statement,
    returned: &[Vec<Vec<Value>>],
    column: &str,
) -> Value {
    let found = || {
        let parent = child.parent?;
        let place = transaction.statements.get(parent)?.returning.iter().position(|name| name == column)?;
        returned.get(parent)?.first()?.get(place).cloned()
    };
    found().unwrap_or(Value::Null)
}

fn call(transaction: &Transaction, what: &str) -> String {
    format!("{what} in store `{}`", transaction.store)
}

/// Values that don't fit (22), constraints (23), and transactions that met another one (40).
fn is_conflict(error: &PostgresError) -> bool {
    let code = error.sqlstate().unwrap_or_default();
    matches!(error, PostgresError::Statement { .. }) && matches!(code.get(..2), Some("22" | "23" | "40"))
}
