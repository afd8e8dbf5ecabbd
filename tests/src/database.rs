//! Reading and changing the databases, by a connection of the test's own.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row as _};
use tokio::runtime::Runtime;

use crate::check::Row;
use crate::stack::Stack;

/// A connection to one database. Calls block: tests are plain functions.
#[derive(Debug)]
pub struct Database {
    runtime: Runtime,
    connection: PgConnection,
}

impl Database {
    /// Connects to a database of the stack.
    ///
    /// # Panics
    /// When it can't.
    pub fn open(stack: &Stack, database: &str) -> Self {
        let store = stack.store(database);
        let secret = |key: &str| {
            let path = stack.secrets().join(&store.credentials_secret).join(key);
            std::fs::read_to_string(path).expect("the stack's secret").trim_end().to_owned()
        };
        Self::connect(&store.host, store.port, database, &secret("username"), &secret("password"))
    }

    /// Connects as the superuser, who may create databases and drop what others left.
    ///
    /// # Panics
    /// When it can't.
    pub fn open_as_superuser(stack: &Stack) -> Self {
        Self::open_as_superuser_of(stack, "postgres")
    }

    /// The same, to a database, whoever owns what is in it.
    ///
    /// # Panics
    /// When it can't.
    pub fn open_as_superuser_of(stack: &Stack, database: &str) -> Self {
        let store = stack.store(database);
        let lines = std::fs::read_to_string(stack.pgpass()).expect("the stack's pgpass");
        let password = lines.lines().find_map(|line| line.split_once(":postgres:")).expect("a superuser").1;
        Self::connect(&store.host, store.port, &store.database, "postgres", password)
    }

    /// Connects to any database.
    ///
    /// # Panics
    /// When it can't.
    pub fn connect(host: &str, port: u16, database: &str, username: &str, password: &str) -> Self {
        let options = PgConnectOptions::new_without_pgpass()
            .host(host)
            .port(port)
            .database(database)
            .username(username)
            .password(password)
            .options([("timezone", "UTC")])
            .disable_statement_logging();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connection = runtime.block_on(options.connect()).expect("the database can be reached");
        Self { runtime, connection }
    }

    /// Runs any number of statements.
    ///
    /// # Panics
    /// When the server refuses one.
    pub fn run(&mut self, sql: &str) {
        let done =
            self.runtime.block_on(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.connection));
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The rows of a query, every column cast to text by the query itself or by this.
    ///
    /// # Panics
    /// When the server refuses it.
    pub fn rows(&mut self, query: &str) -> Vec<Row> {
        let sql = format!("SELECT row_to_json(q)::text FROM ({query}) AS q");
        let rows =
            self.runtime.block_on(sqlx::query(AssertSqlSafe(sql.clone())).fetch_all(&mut self.connection));
        rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
            .iter()
            .map(|row| vec![row.get::<Option<String>, _>(0)])
            .collect()
    }

    /// A number.
    ///
    /// # Panics
    /// When the query gives none.
    pub fn number(&mut self, query: &str) -> i64 {
        let row = self
            .runtime
            .block_on(sqlx::query(AssertSqlSafe(query.to_owned())).fetch_one(&mut self.connection));
        row.unwrap_or_else(|error| panic!("{query}: {error}")).get(0)
    }

    /// Milliseconds since 1970, by the server's clock.
    pub fn now_ms(&mut self) -> i64 {
        self.number("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    }

    /// Whether a table is there.
    pub fn has_table(&mut self, name: &str) -> bool {
        self.number(&format!("SELECT count(*) FROM pg_class WHERE oid = to_regclass('\"{name}\"')")) == 1
    }
}
