//! What a generator asks the database: columns and their types, samples of rows, values looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::known::SAMPLE_ROWS;
use super::plan::Lookup;
use super::sql::Columns;
use super::templates::Table;
use super::value::Value;
use crate::postgres::fault::PostgresError;
use crate::postgres::quote::identifier;
use crate::postgres::session::Session;

/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// A sample may read a large table once.
const SAMPLE_DEADLINE: Duration = Duration::from_mins(1);

/// The columns of every table that the templates name.
pub type Catalogue = BTreeMap<Table, Columns>;

/// Reads the columns of a table; none when there is no such table.
pub async fn read_columns(session: &mut Session, table: &Table) -> Result<Columns, PostgresError> {
    let sql = "SELECT attname::text, format_type(atttypid, -1) FROM pg_attribute \
               WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
    let call = format!("reading the columns of `{}` in store `{}`", table.name, table.store);
    let rows = session.rows(&call, sql.to_owned(), &[Some(identifier(&table.name))], DEADLINE).await?;
    let pair = |row: Vec<Option<String>>| {
        let mut row = row.into_iter();
        Some((row.next()??, row.next()??))
    };
    Ok(rows.into_iter().filter_map(pair).collect())
}

/// The first table or column that is named and isn't there, as a sentence.
pub fn missing(named: &BTreeMap<Table, BTreeSet<String>>, catalogue: &Catalogue) -> Option<String> {
    let nothing = Columns::new();
    named.iter().find_map(|(table, columns)| {
        let found = catalogue.get(table).unwrap_or(&nothing);
        let Table { store, name } = table;
        if found.is_empty() {
            return Some(format!(
                "store `{store}` has no table `{name}` that its user can see; create it in the generator's setup, \
                 or mend the name"
            ));
        }
        let absent: Vec<&str> =
            columns.iter().map(String::as_str).filter(|column| !found.contains_key(*column)).collect();
        (!absent.is_empty()).then(|| {
            let all: Vec<&str> = found.keys().map(String::as_str).collect();
            format!(
                "table `{name}` of store `{store}` has no column {}; its columns are {}",
                absent.join(", "),
                all.join(", ")
            )
        })
    })
}

/// Takes a sample of rows without NULLs; returns it with the number of rows it stands for, roughly.
pub async fn sample(
    session: &mut Session,
    table: &Table,
    columns: &[String],
    types: &Columns,
    seed: u64,
) -> Result<(Vec<Vec<Value>>, u64), PostgresError> {
    let call = format!("reading rows of `{}` in store `{}`", table.name, table.store);
    let table_sql = identifier(&table.name);
    let size = format!(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM {table_sql} LIMIT {SAMPLE_ROWS} + 1) AS counted)::text, \
         greatest(reltuples::bigint, pg_relation_size(oid) / 200)::text FROM pg_class WHERE oid = to_regclass($1)"
    );
    let size = session.rows(&call, size, &[Some(table_sql.clone())], SAMPLE_DEADLINE).await?;
    let size = |column: usize| -> u64 {
        size.first().and_then(|row| row.get(column)?.as_deref()?.parse().ok()).unwrap_or_default()
    };
    let is_small = size(0) <= SAMPLE_ROWS as u64;
    let total = if is_small { size(0) } else { size(1).max(size(0)) };
    let names: Vec<String> = columns.iter().map(|column| identifier(column)).collect();
    let texts: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
    let filled: Vec<String> = names.iter().map(|name| format!("{name} IS NOT NULL")).collect();
    let from = if is_small {
        table_sql
    } else {
        // A little less than wanted, because the number is of chance and what is cut off is always of one end.
        let percent = (SAMPLE_ROWS as f64 * 97.0 / total as f64).min(100.0);
        format!("{table_sql} TABLESAMPLE BERNOULLI ({percent}) REPEATABLE ({seed})")
    };
    // In one order everywhere: the same numbers have to draw the same rows.
    let sql = format!(
        "SELECT {} FROM {from} WHERE {} ORDER BY {} LIMIT {SAMPLE_ROWS}",
        texts.join(", "),
        filled.join(" AND "),
        (1..=columns.len()).map(|place| place.to_string()).collect::<Vec<_>>().join(", "),
    );
    let rows = session.rows(&call, sql, &[], SAMPLE_DEADLINE).await?;
    Ok((rows.into_iter().map(|row| typed(columns, types, row)).collect(), total))
}

/// Reads the value that a lookup asks for; `None` when there is no such row.
pub async fn look_up(
    session: &mut Session,
    lookup: &Lookup,
    types: &Columns,
) -> Result<Option<Value>, PostgresError> {
    let Lookup { table, column, key, value } = lookup;
    let call = format!("looking up `{column}` in `{}` of store `{}`", table.name, table.store);
    let sql = format!(
        "SELECT {}::text FROM {} WHERE {} = $1::{} LIMIT 1",
        identifier(column),
        identifier(&table.name),
        identifier(key),
        type_of(types, key),
    );
    let mut rows = session.rows(&call, sql, &[value.text()], DEADLINE).await?;
    Ok(rows.pop().and_then(|mut row| row.pop()).map(|text| Value::from_column(type_of(types, column), text)))
}

/// The texts that the server gave for `columns`, as values.
pub fn typed(columns: &[String], types: &Columns, row: Vec<Option<String>>) -> Vec<Value> {
    columns.iter().zip(row).map(|(column, text)| Value::from_column(type_of(types, column), text)).collect()
}

fn type_of<'a>(types: &'a Columns, column: &str) -> &'a str {
    types.get(column).map_or("text", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_there_is() {
        let table = Table { store: "shop".into(), name: "product".into() };
        let named = BTreeMap::from([(table.clone(), BTreeSet::from(["id".to_owned(), "prize".to_owned()]))]);
        assert!(
            missing(&named, &Catalogue::new()).unwrap().starts_with("store `shop` has no table `product`")
        );
        let columns = ["id", "price"].map(|name| (name.to_owned(), "integer".to_owned()));
        let mut catalogue = Catalogue::from([(table.clone(), Columns::from(columns))]);
        assert_eq!(
            missing(&named, &catalogue).unwrap(),
            "table `product` of store `shop` has no column prize; its columns are id, price"
        );
        catalogue.get_mut(&table).unwrap().insert("prize".into(), "text".into());
        assert_eq!(missing(&named, &catalogue), None);
    }
}
