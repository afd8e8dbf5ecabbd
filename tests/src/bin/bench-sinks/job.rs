//! What an engine is asked to do, and what an engine is.

use acequia_crds::pipeline::sink::WriteMode;
use acequia_tests::bench::events::Sum;
use acequia_tests::database::Database;
use anyhow::ensure;

/// Name and type of each column of both engines' tables.
pub const COLUMNS: [(&str, &str); 11] = [
    ("event_type", "text"),
    ("transaction_id", "text"),
    ("customer_id", "bigint"),
    ("product_id", "bigint"),
    ("category", "text"),
    ("price", "double precision"),
    ("quantity", "integer"),
    ("total_amount", "numeric(12,2)"),
    ("payment_method", "text"),
    ("status", "text"),
    ("timestamp", "timestamp with time zone"),
];
/// The column that identifies a row.
pub const KEY: &str = "transaction_id";

/// One topic into one table.
#[derive(Clone, Debug)]
pub struct Job {
    /// `Append` or `Mirror`.
    pub mode: WriteMode,
    /// The topic.
    pub topic: String,
    /// The table.
    pub table: String,
    /// What must be in the table at the end.
    pub expected: Sum,
}

impl Job {
    /// Creates the table anew: the same for both engines, and left alone by the server's own maintenance.
    pub fn create_table(&self, database: &mut Database) {
        let columns: Vec<String> = COLUMNS.iter().map(|(name, kind)| format!("\"{name}\" {kind}")).collect();
        let key =
            if self.mode == WriteMode::Mirror { format!(", PRIMARY KEY ({KEY})") } else { String::new() };
        self.drop_table(database);
        let table = &self.table;
        // It belongs to the role that both engines log in as.
        database.run(&format!(
            "CREATE TABLE \"{table}\" ({}{key}) WITH (autovacuum_enabled = off); ALTER TABLE \"{table}\" OWNER TO dwh",
            columns.join(", ")
        ));
    }

    /// Drops the table.
    pub fn drop_table(&self, database: &mut Database) {
        database.run(&format!("DROP TABLE IF EXISTS \"{}\"", self.table));
    }

    /// How many rows the table has.
    pub fn rows(&self, database: &mut Database) -> u64 {
        database.number(&format!("SELECT count(*) FROM \"{}\"", self.table)).cast_unsigned()
    }

    /// Fails unless the table holds what it must.
    pub fn check(&self, database: &mut Database) -> anyhow::Result<()> {
        let cents = database
            .number(&format!("SELECT coalesce(sum(total_amount) * 100, 0)::bigint FROM \"{}\"", self.table));
        let found = Sum { rows: self.rows(database), cents: cents.cast_unsigned() };
        ensure!(found == self.expected, "{} holds {found:?} instead of {:?}", self.table, self.expected);
        Ok(())
    }

    /// A number that is the same for the same rows in any order, over all columns.
    pub fn fingerprint(&self, database: &mut Database) -> i64 {
        database.number(&format!(
            "SELECT (sum(hashtextextended(t::text, 0)::numeric) % 9000000000000000000)::bigint FROM \"{}\" AS t",
            self.table
        ))
    }
}

/// Something that moves topics into tables.
pub trait Engine {
    /// Its name in the report.
    fn name(&self) -> &'static str;

    /// Its process, if there is one.
    fn pid(&self) -> Option<u32>;

    /// Begins a job; returns at once.
    fn start(&mut self, job: &Job) -> anyhow::Result<()>;

    /// Fails once the engine has failed.
    fn check(&mut self) -> anyhow::Result<()>;

    /// Ends the job that was begun.
    fn stop(&mut self) -> anyhow::Result<()>;
}
