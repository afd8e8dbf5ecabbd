//! What PostgreSQL's catalogue says of a table.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::fault::PostgresError;
use super::quote::{identifier, qualified};

/// A table as the catalogue has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueTable {
    /// Its columns, in their order.
    pub columns: Vec<CatalogueColumn>,
    /// The columns of its primary key; none when it has no such key.
    pub key: Vec<String>,
}

/// A column as the catalogue has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueColumn {
    /// Its name.
    pub name: String,
    /// Its type in PostgreSQL's words. A domain's is that of its base; a type that isn't built in (an enum, an
    /// extension's), a geometric or a bit string type and an array of `bytea` are `text`, which holds any value's
    /// text form. Generated columns are left out: PostgreSQL doesn't publish them.
    pub type_sql: String,
}

const COLUMNS: &str = "SELECT a.attname::text,
    CASE WHEN b.typtype = 'b' AND n.nspname = 'pg_catalog' AND (b.typelem = 0 OR b.typlen <> -1 OR e.typtype = 'b')
        AND b.typcategory NOT IN ('G', 'V') AND b.oid <> 'bytea[]'::regtype
        THEN CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod)
            ELSE format_type(a.atttypid, a.atttypmod) END
        ELSE 'text' END,
    coalesce(a.attnum = ANY(i.indkey), false)
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
    JOIN pg_namespace n ON n.oid = b.typnamespace
    LEFT JOIN pg_type e ON e.oid = b.typelem
    LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    ORDER BY a.attnum";

/// Looks a table up, in `schema` or, without one, on the search path; `None` when there is none.
pub async fn table(
    connection: &mut PgConnection,
    schema: Option<&str>,
    name: &str,
) -> Result<Option<CatalogueTable>, PostgresError> {
    let during = || PostgresError::during(format!("reading the catalogue for table {name}"));
    let quoted = schema.map_or_else(|| identifier(name), |schema| qualified(schema, name));
    let rows = sqlx::query(COLUMNS).bind(quoted).fetch_all(connection).await.map_err(during())?;
    let mut found = CatalogueTable { columns: Vec::with_capacity(rows.len()), key: Vec::new() };
    for row in rows {
        let name: String = row.try_get(0).map_err(during())?;
        let type_sql: String = row.try_get(1).map_err(during())?;
        if row.try_get(2).map_err(during())? {
            found.key.push(name.clone());
        }
        found.columns.push(CatalogueColumn { name, type_sql });
    }
    Ok((!found.columns.is_empty()).then_some(found))
}
