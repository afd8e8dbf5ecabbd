//! The tables a sink writes: what the manifest and the source's catalogue ask for, and what is there.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::column_type::ColumnType;
use acequia_crds::pipeline::sink::{PostgresSink, WriteMode};
use acequia_crds::stage::{CapturedTable, SinkWork};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::mirror::{ColumnKind, MirrorColumn, MirrorTable};
use super::step::Step;
use super::{dead_letters, offsets};
use crate::postgres::catalogue::{self, CatalogueTable};
use crate::postgres::connect::connect;
use crate::postgres::fault::PostgresError;
use crate::postgres::quote::identifier;
use crate::postgres::row_plan::RowPlan;
use crate::secrets::SecretsFolder;

/// Why the tables aren't ready. The worker says so, waits, and tries again.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// The server failed.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The source has no such table.
    #[error(
        "the source table {table} isn't in database {database}; create it, or mend the source's `tables`"
    )]
    NoSourceTable {
        /// `schema.table`.
        table: String,
        /// Where it should be.
        database: String,
    },
    /// A mirror needs to know rows apart.
    #[error(
        "the source table {table} has no primary key, so its rows can't be mirrored; add one (ALTER TABLE … ADD PRIMARY KEY), or use mode append"
    )]
    NoPrimaryKey {
        /// `schema.table`.
        table: String,
    },
    /// What is there isn't what is asked for.
    #[error(
        "table {table} exists with another shape: {difference}; drop or rename it, or mend the sink's columns"
    )]
    OtherShape {
        /// The table.
        table: String,
        /// What differs.
        difference: String,
    },
    /// The table was filled before and is gone; its offsets aren't.
    #[error(
        "the mirror table {table} is gone, but its offsets are not: filled from here on it would lack all that came \
         before; bring it back, or delete the rows of topic {topic} in acequia_offsets if the topic still holds it all"
    )]
    Gone {
        /// The table.
        table: String,
        /// Its topic.
        topic: String,
    },
    /// The sink's columns can't be used.
    #[error("{0}")]
    Columns(String),
}

/// What is known of each topic.
pub type Topics = BTreeMap<String, TopicFacts>;

/// A topic as it was when the worker began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    /// Its id, in Kafka's text form.
    pub id: String,
    /// The number of its partitions.
    pub partitions: usize,
}

/// Fields of events that the catalogue was asked about, by topic.
pub type UnknownFields = BTreeMap<String, BTreeSet<String>>;

/// Creates what is missing and returns the step that turns records into rows of these tables.
///
/// `unknown` are fields seen in events: those that the source's catalogue
/// has become columns, the others are ignored from now on.
pub async fn prepare(
    connection: &mut PgConnection,
    identity: (&str, &str),
    work: &SinkWork,
    secrets: &SecretsFolder,
    topics: &Topics,
    unknown: &UnknownFields,
) -> Result<Step, NotReady> {
    run_ddl(connection, &[offsets::CREATE_TABLE.to_owned(), dead_letters::CREATE_TABLE.to_owned()]).await?;
    let mut statements = Vec::new();
    let step = match work.postgres.mode {
        WriteMode::Append => {
            let (step, sql) = append_step(&work.postgres)?;
            statements.push(sql);
            step
        }
        WriteMode::Upsert => {
            return Err(NotReady::Columns("mode upsert is not available in this version".into()));
        }
        WriteMode::Mirror => {
            let mut tables = BTreeMap::new();
            for topic in &work.topics {
                let mut table = match &topic.captured {
                    Some(captured) => captured_table(captured, secrets, &work.postgres).await?,
                    None => declared_table(&topic.name, &work.postgres)?,
                };
                let facts = topics.get(&topic.name);
                table.partitions = facts.map_or(1, |facts| facts.partitions);
                if let Some(facts) = facts {
                    refuse_to_start_over(connection, identity, &table.name, &topic.name, &facts.id).await?;
                }
                if let Some(fields) = unknown.get(&topic.name) {
                    table.ignored =
                        fields.iter().filter(|field| table.column(field).is_none()).cloned().collect();
                }
                statements.push(create_sql(&table));
                tables.insert(topic.name.clone(), table);
            }
            Step::Mirror { tables }
        }
    };
    run_ddl(connection, &statements).await?;
    match &step {
        Step::Append { plan, table, .. } => check_append(connection, table, plan).await?,
        Step::Mirror { tables } => {
            for table in tables.values() {
                add_missing_columns(connection, table).await?;
            }
        }
    }
    Ok(step)
}

/// An empty mirror with offsets of a full one would lack every row that came before.
async fn refuse_to_start_over(
    connection: &mut PgConnection,
    identity: (&str, &str),
    table: &str,
    topic: &str,
    topic_id: &str,
) -> Result<(), NotReady> {
    let is_there = catalogue::table(connection, None, table).await?.is_some();
    if !is_there && offsets::any(connection, identity, topic_id).await? {
        return Err(NotReady::Gone { table: table.to_owned(), topic: topic.to_owned() });
    }
    Ok(())
}

fn append_step(sink: &PostgresSink) -> Result<(Step, String), NotReady> {
    let table = sink.table.clone().ok_or_else(|| NotReady::Columns("mode append needs `table`".into()))?;
    let plan = RowPlan::new(&sink.columns).map_err(|error| NotReady::Columns(error.to_string()))?;
    let columns: Vec<String> = plan
        .columns()
        .map(|column| {
            let not_null = if column.optional { "" } else { " NOT NULL" };
            format!("{} {}{not_null}", identifier(column.name), column.type_sql)
        })
        .collect();
    let create = format!("CREATE TABLE IF NOT EXISTS {} ({})", identifier(&table), columns.join(", "));
    let names: Vec<String> = plan.columns().map(|column| identifier(column.name)).collect();
    let copy_sql = format!("COPY {} ({}) FROM STDIN (FORMAT binary)", identifier(&table), names.join(", "));
    Ok((Step::Append { plan, table, copy_sql }, create))
}

async fn captured_table(
    captured: &CapturedTable,
    secrets: &SecretsFolder,
    sink: &PostgresSink,
) -> Result<MirrorTable, NotReady> {
    let name = format!("{}.{}", captured.schema, captured.table);
    let mut source = connect(&captured.store, secrets, "acequia catalogue").await?;
    let found = catalogue::table(&mut source, Some(&captured.schema), &captured.table).await?;
    // The catalogue has been read: whether the goodbye arrives doesn't matter.
    let _ = source.close().await;
    let found = found.ok_or_else(|| NotReady::NoSourceTable {
        table: name.clone(),
        database: captured.store.database.clone(),
    })?;
    if found.key.is_empty() {
        return Err(NotReady::NoPrimaryKey { table: name });
    }
    let columns = found
        .columns
        .into_iter()
        .map(|column| MirrorColumn {
            kind: kind_of(&column.type_sql),
            name: column.name,
            type_sql: column.type_sql,
        })
        .collect();
    let target = sink.table.clone().unwrap_or_else(|| captured.table.clone());
    Ok(MirrorTable::new(target, columns, &found.key, 1))
}

fn declared_table(topic: &str, sink: &PostgresSink) -> Result<MirrorTable, NotReady> {
    if sink.columns.is_empty() || sink.key.is_empty() {
        return Err(NotReady::Columns(format!(
            "no Debezium source of this Pipeline writes topic {topic}, so a mirror of it needs `columns` and `key`"
        )));
    }
    let columns = sink
        .columns
        .iter()
        .map(|column| {
            let column_type = ColumnType::parse(&column.type_name).map_err(|error| {
                NotReady::Columns(format!("column {}: {}; {}", column.name, error.message, error.fix))
            })?;
            let type_sql = column_type.sql();
            Ok(MirrorColumn { name: column.name.clone(), kind: kind_of(&type_sql), type_sql })
        })
        .collect::<Result<Vec<_>, NotReady>>()?;
    Ok(MirrorTable::new(sink.table.clone().unwrap_or_else(|| topic.to_owned()), columns, &sink.key, 1))
}

fn kind_of(type_sql: &str) -> ColumnKind {
    match type_sql {
        "bytea" => ColumnKind::Bytes,
        array if array.ends_with("[]") => ColumnKind::Array,
        _ => ColumnKind::Scalar,
    }
}

fn create_sql(table: &MirrorTable) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| format!("{} {}", identifier(&column.name), column.type_sql))
        .collect();
    let key: Vec<String> = table.key_columns().map(|column| identifier(&column.name)).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({}))",
        identifier(&table.name),
        columns.join(", "),
        key.join(", ")
    )
}

/// DDL in a transaction of its own: it takes heavy locks, and must not wait long for them.
async fn run_ddl(connection: &mut PgConnection, statements: &[String]) -> Result<(), PostgresError> {
    let during = || PostgresError::during("creating tables");
    let mut transaction = connection.begin().await.map_err(during())?;
    // CREATE … IF NOT EXISTS of two workers at once can collide in the catalogue; one after the other it can't.
    sqlx::raw_sql("SET LOCAL lock_timeout = '5s'; SELECT pg_advisory_xact_lock(hashtext('acequia tables'))")
        .execute(&mut *transaction)
        .await
        .map_err(during())?;
    for sql in statements {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(&mut *transaction).await.map_err(during())?;
    }
    transaction.commit().await.map_err(during())
}

/// Binary COPY trusts its types: eight bytes of a bigint would be taken for a double.
async fn check_append(connection: &mut PgConnection, table: &str, plan: &RowPlan) -> Result<(), NotReady> {
    let found = found_table(connection, table).await?;
    for column in plan.columns() {
        let type_there =
            found.columns.iter().find(|there| there.name == column.name).map(|there| &there.type_sql);
        if type_there.is_none_or(|there| *there != column.type_sql) {
            return Err(other_shape(table, column.name, &column.type_sql, type_there.map(String::as_str)));
        }
    }
    Ok(())
}

async fn add_missing_columns(connection: &mut PgConnection, table: &MirrorTable) -> Result<(), NotReady> {
    let found = found_table(connection, &table.name).await?;
    let key: BTreeSet<&str> = table.key_columns().map(|column| column.name.as_str()).collect();
    let found_key: BTreeSet<&str> = found.key.iter().map(String::as_str).collect();
    if key != found_key {
        let difference =
            format!("its primary key is ({}), the source's is ({})", join(&found_key), join(&key));
        return Err(NotReady::OtherShape { table: table.name.clone(), difference });
    }
    let mut statements = Vec::new();
    for column in &table.columns {
        match found.columns.iter().find(|there| there.name == column.name) {
            None => statements.push(format!(
                "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}",
                identifier(&table.name),
                identifier(&column.name),
                column.type_sql
            )),
            Some(there) if there.type_sql != column.type_sql => {
                return Err(other_shape(&table.name, &column.name, &column.type_sql, Some(&there.type_sql)));
            }
            Some(_) => {}
        }
    }
    if !statements.is_empty() {
        run_ddl(connection, &statements).await?;
    }
    Ok(())
}

async fn found_table(connection: &mut PgConnection, table: &str) -> Result<CatalogueTable, NotReady> {
    catalogue::table(connection, None, table).await?.ok_or_else(|| NotReady::OtherShape {
        table: table.to_owned(),
        difference: "it went away while being looked at".to_owned(),
    })
}

fn other_shape(table: &str, column: &str, wanted: &str, there: Option<&str>) -> NotReady {
    let difference = match there {
        Some(there) => format!("column {column} is {there}, the sink writes {wanted}"),
        None => format!("it has no column {column} ({wanted})"),
    };
    NotReady::OtherShape { table: table.to_owned(), difference }
}

fn join(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}
