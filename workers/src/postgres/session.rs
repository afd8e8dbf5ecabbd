//! A session in which every value travels as text: for roles that know a table only from its catalogue.

use std::time::Duration;

use acequia_crds::pipeline::store::Postgres;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::catalogue::{self, CatalogueTable};
use super::connect::connect;
use super::fault::PostgresError;
use crate::secrets::SecretsFolder;

/// A row of a result: each column as text, `None` for NULL.
pub type TextRow = Vec<Option<String>>;

/// A connection that sends and gets text. After an error it may be in the middle of something: open a new one,
/// unless the server refused a statement and a `ROLLBACK` went through.
pub struct Session {
    connection: PgConnection,
}

impl Session {
    /// Connects to a store.
    pub async fn open(
        store: &Postgres,
        secrets: &SecretsFolder,
        application: &str,
    ) -> Result<Self, PostgresError> {
        Ok(Self { connection: connect(store, secrets, application).await? })
    }

    /// Runs one statement whose columns are all of type text; `call` says in messages what is being done.
    pub async fn rows(
        &mut self,
        call: &str,
        sql: String,
        values: &[Option<String>],
        deadline: Duration,
    ) -> Result<Vec<TextRow>, PostgresError> {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in values {
            query = query.bind(value.as_deref());
        }
        let rows = async { query.fetch_all(&mut self.connection).await.map_err(PostgresError::during(call)) };
        let rows = within(call, deadline, rows).await?;
        rows.iter().map(text_row).collect::<Result<_, _>>().map_err(PostgresError::during(call))
    }

    /// Runs any number of statements, without values and without a result.
    pub async fn script(&mut self, call: &str, sql: String, deadline: Duration) -> Result<(), PostgresError> {
        let script = sqlx::raw_sql(AssertSqlSafe(sql));
        let run = async { script.execute(&mut self.connection).await.map_err(PostgresError::during(call)) };
        within(call, deadline, run).await.map(|_| ())
    }

    /// Looks a table up on the search path; `None` when there is none.
    pub async fn table(
        &mut self,
        name: &str,
        deadline: Duration,
    ) -> Result<Option<CatalogueTable>, PostgresError> {
        let call = format!("reading the catalogue for table {name}");
        within(&call, deadline, catalogue::table(&mut self.connection, None, name)).await
    }

    /// Says goodbye to the server; it would notice the end anyway, only later.
    pub async fn close(self, deadline: Duration) {
        let _ = tokio::time::timeout(deadline, self.connection.close()).await;
    }
}

fn text_row(row: &PgRow) -> Result<TextRow, sqlx::Error> {
    (0..row.len()).map(|column| row.try_get(column)).collect()
}

/// Gives a call of a server a deadline.
pub async fn within<T>(
    call: &str,
    deadline: Duration,
    work: impl Future<Output = Result<T, PostgresError>>,
) -> Result<T, PostgresError> {
    match tokio::time::timeout(deadline, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(PostgresError::Deadline { call: call.to_owned(), after: deadline }),
    }
}
