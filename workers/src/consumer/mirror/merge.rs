//! Writes the changes of a table in the transaction that is open.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use acequia_crds::stage_report::config_hash;
use sqlx::postgres::PgConnection;

use super::{Cell, MirrorRows, MirrorTable};
use crate::postgres::fault::PostgresError;
use crate::postgres::quote::identifier;

/// From this many rows on, COPY into a temporary table is faster than arrays as parameters.
const COPY_FROM_ROWS: usize = 2_000;

/// Deletes and puts rows; `parts` are changes of the same table, no key in two of them.
pub async fn merge(
    connection: &mut PgConnection,
    table: &MirrorTable,
    parts: &[&MirrorRows],
) -> Result<(), PostgresError> {
    let call = || format!("writing the mirror table `{}`", table.name);
    if parts.iter().any(|part| part.truncated) {
        let sql = format!("DELETE FROM {}", identifier(&table.name));
        execute(connection, sql, Vec::new()).await.map_err(PostgresError::during(call()))?;
    }
    let deletes: Vec<&[String]> = parts.iter().flat_map(|part| part.deletes()).collect();
    if !deletes.is_empty() {
        let arrays = (0..table.key.len())
            .map(|column| deletes.iter().map(|key| key.get(column).cloned()).collect())
            .collect();
        execute(connection, delete_sql(table), arrays).await.map_err(PostgresError::during(call()))?;
    }
    for (present, rows) in by_present_columns(table, parts) {
        if rows.len() >= COPY_FROM_ROWS && present.len() == table.columns.len() {
            copy_and_put(connection, table, &rows).await.map_err(PostgresError::during(call()))?;
        } else {
            let arrays =
                present.iter().map(|column| rows.iter().map(|row| text_of(row, *column)).collect()).collect();
            execute(connection, put_sql(table, &present), arrays)
                .await
                .map_err(PostgresError::during(call()))?;
        }
    }
    Ok(())
}

/// Rows that hold the same columns can share a statement.
fn by_present_columns<'r>(
    table: &MirrorTable,
    parts: &[&'r MirrorRows],
) -> BTreeMap<Vec<usize>, Vec<&'r [Cell]>> {
    let all: Vec<usize> = (0..table.columns.len()).collect();
    let mut groups: BTreeMap<Vec<usize>, Vec<&[Cell]>> = BTreeMap::new();
    for row in parts.iter().flat_map(|part| part.puts()) {
        let present = |column: &usize| row.get(*column).is_some_and(|cell| *cell != Cell::Unchanged);
        if all.iter().all(present) {
            groups.entry(all.clone()).or_default().push(row);
        } else {
            groups.entry(all.iter().copied().filter(present).collect()).or_default().push(row);
        }
    }
    groups
}

fn text_of(row: &[Cell], column: usize) -> Option<String> {
    match row.get(column) {
        Some(Cell::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

fn delete_sql(table: &MirrorTable) -> String {
    let name = identifier(&table.name);
    let (mut arrays, mut aliases, mut matches) = (Vec::new(), Vec::new(), Vec::new());
    for (index, column) in table.key_columns().enumerate() {
        arrays.push(format!("${}::text[]", index + 1));
        aliases.push(format!("k{index}"));
        matches.push(format!("t.{} = d.k{index}::{}", identifier(&column.name), column.type_sql));
    }
    format!(
        "DELETE FROM {name} t USING unnest({}) AS d({}) WHERE {}",
        arrays.join(", "),
        aliases.join(", "),
        matches.join(" AND ")
    )
}

fn put_sql(table: &MirrorTable, present: &[usize]) -> String {
    let (mut names, mut arrays, mut aliases, mut casts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (place, column) in present.iter().filter_map(|index| table.columns.get(*index)).enumerate() {
        names.push(identifier(&column.name));
        arrays.push(format!("${}::text[]", place + 1));
        aliases.push(format!("c{place}"));
        casts.push(format!("c{place}::{}", column.type_sql));
    }
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM unnest({}) AS d({}) {}",
        identifier(&table.name),
        names.join(", "),
        casts.join(", "),
        arrays.join(", "),
        aliases.join(", "),
        on_conflict(table, present)
    )
}

fn on_conflict(table: &MirrorTable, present: &[usize]) -> String {
    let key: Vec<String> = table.key_columns().map(|column| identifier(&column.name)).collect();
    let sets: Vec<String> = present
        .iter()
        .filter(|index| !table.key.contains(index))
        .filter_map(|index| table.columns.get(*index))
        .map(|column| format!("{0} = excluded.{0}", identifier(&column.name)))
        .collect();
    let action =
        if sets.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", sets.join(", ")) };
    format!("ON CONFLICT ({}) DO {action}", key.join(", "))
}

async fn copy_and_put(
    connection: &mut PgConnection,
    table: &MirrorTable,
    rows: &[&[Cell]],
) -> Result<(), sqlx::Error> {
    let target = identifier(&table.name);
    // A hash, because a long name with a prefix would be cut, and two tables could share one.
    let staging = identifier(&format!("acequia_staging_{}", config_hash(&table.name)));
    let columns = table.columns.iter().map(|column| identifier(&column.name)).collect::<Vec<_>>().join(", ");
    let create = format!(
        "CREATE TEMPORARY TABLE IF NOT EXISTS {staging} ON COMMIT DELETE ROWS AS SELECT {columns} FROM {target} WITH NO DATA"
    );
    execute(connection, create, Vec::new()).await?;
    let mut copy = connection.copy_in_raw(&format!("COPY {staging} ({columns}) FROM STDIN")).await?;
    copy.send(copy_text(rows).into_bytes()).await?;
    copy.finish().await?;
    let all: Vec<usize> = (0..table.columns.len()).collect();
    let put = format!(
        "INSERT INTO {target} ({columns}) SELECT {columns} FROM {staging} {}",
        on_conflict(table, &all)
    );
    execute(connection, put, Vec::new()).await
}

/// COPY's text format: <https://www.postgresql.org/docs/current/sql-copy.html>.
fn copy_text(rows: &[&[Cell]]) -> String {
    let mut text = String::with_capacity(rows.len() * 64);
    for row in rows {
        for (place, cell) in row.iter().enumerate() {
            if place > 0 {
                text.push('\t');
            }
            match cell {
                Cell::Text(value) => escape(value, &mut text),
                Cell::Null | Cell::Unchanged => text.push_str("\\N"),
            }
        }
        text.push('\n');
    }
    text
}

fn escape(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            other => {
                // Writing to a String cannot fail.
                let _ = out.write_char(other);
            }
        }
    }
}

async fn execute(
    connection: &mut PgConnection,
    sql: String,
    arrays: Vec<Vec<Option<String>>>,
) -> Result<(), sqlx::Error> {
    // The text is made of quoted identifiers and the catalogue's type names; values are bound.
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for array in arrays {
        query = query.bind(array);
    }
    query.execute(connection).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::{Change, ColumnKind, MirrorColumn};
    use super::*;

    fn table() -> MirrorTable {
        let column = |name: &str, type_sql: &str| MirrorColumn {
            name: name.into(),
            type_sql: type_sql.into(),
            kind: ColumnKind::Scalar,
        };
        MirrorTable::new(
            "order".into(),
            vec![column("id", "bigint"), column("note", "text"), column("price", "numeric(12,2)")],
            &["id".to_owned()],
            3,
        )
    }

    #[test]
    fn names_are_quoted_and_values_are_bound_and_cast() {
        assert_eq!(
            put_sql(&table(), &[0, 1, 2]),
            "INSERT INTO \"order\" (\"id\", \"note\", \"price\") SELECT c0::bigint, c1::text, c2::numeric(12,2) \
             FROM unnest($1::text[], $2::text[], $3::text[]) AS d(c0, c1, c2) \
             ON CONFLICT (\"id\") DO UPDATE SET \"note\" = excluded.\"note\", \"price\" = excluded.\"price\""
        );
        assert_eq!(
            delete_sql(&table()),
            "DELETE FROM \"order\" t USING unnest($1::text[]) AS d(k0) WHERE t.\"id\" = d.k0::bigint"
        );
    }

    #[test]
    fn a_column_that_is_left_out_is_left_alone() {
        let sql = put_sql(&table(), &[0, 2]);
        assert!(!sql.contains("note"), "{sql}");
        assert!(put_sql(&table(), &[0]).ends_with("DO NOTHING"));
    }

    #[test]
    fn rows_are_grouped_by_the_columns_they_hold() {
        let text = |value: &str| Cell::Text(value.to_owned());
        let mut rows = MirrorRows::default();
        for (id, note) in [("1", Cell::Null), ("2", Cell::Unchanged), ("3", text("x"))] {
            rows.add(Change::Put { key: vec![id.into()], cells: vec![text(id), note, text("1.00")] });
        }
        let groups = by_present_columns(&table(), &[&rows]);
        assert_eq!(
            groups.iter().map(|(columns, rows)| (columns.clone(), rows.len())).collect::<Vec<_>>(),
            [(vec![0, 1, 2], 2), (vec![0, 2], 1)]
        );
    }

    #[test]
    fn what_copy_would_misread_is_escaped() {
        let row = [Cell::Text("a\tb\nc\\N".into()), Cell::Null];
        assert_eq!(copy_text(&[&row]), "a\\tb\\nc\\\\N\t\\N\n");
    }
}
