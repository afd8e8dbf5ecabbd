//! What rows become in PostgreSQL: the statements for a table, and the arrays that they take.
//!
//! Every value travels as text and is cast by the server, one array a column. A removed group leaves the table; its
//! version stays in `acequia_removed`. Which incarnation a table belongs to is in `acequia_outputs`.

use std::collections::BTreeMap;

use super::document::number;
use super::{Row, Span, group};
use crate::postgres::catalogue::CatalogueTable;
use crate::postgres::quote::{identifier, identifiers, text_array};

/// The tables beside the outputs' own. `window_start_ms` is 0 in those without windows.
pub(super) const CREATE_OWN_TABLES: &str = "CREATE TABLE IF NOT EXISTS acequia_outputs (
    table_name text PRIMARY KEY, incarnation text COLLATE \"C\" NOT NULL, birth bigint NOT NULL);
CREATE TABLE IF NOT EXISTS acequia_removed (
    table_name text NOT NULL, window_start_ms bigint NOT NULL, acequia_group text COLLATE \"C\" NOT NULL,
    acequia_birth bigint NOT NULL, acequia_offset bigint NOT NULL, acequia_sequence bigint NOT NULL,
    removed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, window_start_ms, acequia_group))";

const WINDOW_COLUMNS: [&str; 2] = ["window_start", "window_end"];
const GROUP_COLUMN: &str = "acequia_group";
const TIME: &str = "timestamp with time zone";
/// Acequia's own columns, with what rows have in them that were there before the column.
const OWN_COLUMNS: [(&str, &str, &str); 7] = [
    (GROUP_COLUMN, "text", "''"),
    ("acequia_final", "boolean", "false"),
    ("acequia_revision", "bigint", "0"),
    ("acequia_incarnation", "text", "''"),
    ("acequia_birth", "bigint", "0"),
    ("acequia_offset", "bigint", "0"),
    ("acequia_sequence", "bigint", "0"),
];
const VERSION: &str = "acequia_birth, acequia_offset, acequia_sequence";

/// A table of one aggregation and the statements for it.
#[derive(Clone, Debug)]
pub(super) struct TablePlan {
    pub table: String,
    pub incarnation: String,
    /// Creates the table.
    pub create: String,
    /// Writes rows; takes [`Arrays::upsert`], the incarnation and the table's name.
    pub upsert: String,
    /// Removes rows and keeps their versions; takes [`Arrays::remove`] and the table's name.
    pub remove: String,
    /// The length in milliseconds of the longest window of other incarnations, NULL when they have no rows; takes the
    /// incarnation.
    pub longest_other: String,
    /// Deletes what other incarnations have in the windows that are written; takes [`Arrays::windows`], the
    /// incarnation and, with windows, the length of their longest one.
    pub clear: String,
    /// Whether there are windows at all.
    pub windowed: bool,
    groups: usize,
    measures: usize,
    columns: Vec<Column>,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    type_sql: &'static str,
    /// What comes after the type in a definition.
    constraint: String,
}

/// The arguments of the statements for a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrays {
    /// Of the rows that have values; empty when none has.
    pub upsert: Vec<String>,
    /// Of the rows that are removed; empty when none is.
    pub remove: Vec<String>,
    /// Starts and ends of all windows, each once; empty without windows.
    pub windows: Vec<String>,
    /// The latest birth.
    pub birth_ms: i64,
}

impl TablePlan {
    /// The plan of a table; `measures` are names and whether they count.
    pub fn new(
        table: &str,
        windowed: bool,
        groups: Vec<String>,
        measures: Vec<(String, bool)>,
        incarnation: &str,
    ) -> Self {
        let not_null = || " NOT NULL".to_owned();
        let window = WINDOW_COLUMNS.iter().filter(|_| windowed);
        let window = window.map(|name| (name.to_string(), TIME, not_null()));
        let (group_count, measure_count) = (groups.len(), measures.len());
        let of_group = groups.into_iter().map(|name| (name, "text", String::new()));
        let of_measure = measures
            .into_iter()
            .map(|(name, counts)| (name, if counts { "bigint" } else { "numeric" }, String::new()));
        let own = OWN_COLUMNS.iter().map(|(name, type_sql, default)| {
            (name.to_string(), *type_sql, format!(" NOT NULL DEFAULT {default}"))
        });
        let columns = window.chain(of_group).chain(of_measure).chain(own);
        let columns: Vec<Column> =
            columns.map(|(name, type_sql, constraint)| Column { name, type_sql, constraint }).collect();
        let mut plan = Self {
            table: table.to_owned(),
            incarnation: incarnation.to_owned(),
            create: String::new(),
            upsert: String::new(),
            remove: String::new(),
            longest_other: String::new(),
            clear: String::new(),
            windowed,
            groups: group_count,
            measures: measure_count,
            columns,
        };
        plan.create = plan.create_sql();
        plan.upsert = plan.upsert_sql();
        plan.remove = plan.remove_sql();
        plan.longest_other = plan.longest_other_sql();
        plan.clear = plan.clear_sql();
        plan
    }

    /// The statements that add what a table lacks; on an error how it differs, in half a sentence.
    pub fn missing_columns(&self, found: &CatalogueTable) -> Result<Vec<String>, String> {
        let key = self.key();
        let mut found_key: Vec<&str> = found.key.iter().map(String::as_str).collect();
        found_key.sort_unstable_by_key(|name| key.iter().position(|wanted| wanted == name));
        if found_key != key {
            return Err(format!(
                "its primary key is ({}), this output's is ({})",
                found.key.join(", "),
                key.join(", ")
            ));
        }
        let mut statements = Vec::new();
        for column in &self.columns {
            match found.columns.iter().find(|there| there.name == column.name) {
                None => statements.push(format!(
                    "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {}",
                    identifier(&self.table),
                    column.definition()
                )),
                Some(there) if there.type_sql != column.type_sql => {
                    return Err(format!(
                        "column {} is {}, this output writes {}",
                        column.name, there.type_sql, column.type_sql
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(statements)
    }

    fn key(&self) -> Vec<&'static str> {
        WINDOW_COLUMNS.iter().copied().take(usize::from(self.windowed)).chain([GROUP_COLUMN]).collect()
    }

    fn create_sql(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(Column::definition).collect();
        format!(
            "CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY ({}))",
            identifier(&self.table),
            columns.join(", "),
            identifiers(self.key())
        )
    }

    fn upsert_sql(&self) -> String {
        // Every column but the incarnation is an array.
        let in_arrays: Vec<&Column> =
            self.columns.iter().filter(|column| column.name != "acequia_incarnation").collect();
        let array_type = |column: &Column| if column.type_sql == TIME { "bigint" } else { column.type_sql };
        let arrays: Vec<String> = in_arrays
            .iter()
            .enumerate()
            .map(|(at, column)| format!("${}::{}[]", at + 1, array_type(column)))
            .collect();
        let names = identifiers(in_arrays.iter().map(|column| column.name.as_str()));
        let (incarnation, table) = (in_arrays.len() + 1, in_arrays.len() + 2);
        let values: Vec<String> = in_arrays
            .iter()
            .map(|column| {
                let name = format!("i.{}", identifier(&column.name));
                if column.type_sql == TIME { instant(&name) } else { name }
            })
            .collect();
        let set: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("{0} = excluded.{0}", identifier(&column.name)))
            .collect();
        let window_start = if self.windowed { "i.window_start" } else { "0" };
        format!(
            "INSERT INTO {table_name} AS t ({names}, acequia_incarnation) \
             SELECT {values}, ${incarnation} FROM unnest({arrays}) AS i({names}) \
             WHERE NOT EXISTS (SELECT FROM acequia_removed d WHERE d.table_name = ${table} \
             AND d.window_start_ms = {window_start} AND d.acequia_group = i.acequia_group \
             AND ({removed}) >= ({new})) \
             ON CONFLICT ({key}) DO UPDATE SET {set} WHERE ({there}) < ({excluded})",
            table_name = identifier(&self.table),
            values = values.join(", "),
            arrays = arrays.join(", "),
            removed = version_of("d"),
            new = version_of("i"),
            key = identifiers(self.key()),
            set = set.join(", "),
            there = version_of("t"),
            excluded = version_of("excluded"),
        )
    }

    fn remove_sql(&self) -> String {
        let same_window = if self.windowed {
            format!("t.window_start = {} AND ", instant("i.window_start_ms"))
        } else {
            String::new()
        };
        format!(
            "WITH i AS (SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) \
             AS i(window_start_ms, acequia_group, {VERSION})), \
             kept AS (INSERT INTO acequia_removed AS d (table_name, window_start_ms, acequia_group, {VERSION}) \
             SELECT $6, i.* FROM i ON CONFLICT (table_name, window_start_ms, acequia_group) DO UPDATE \
             SET acequia_birth = excluded.acequia_birth, acequia_offset = excluded.acequia_offset, \
             acequia_sequence = excluded.acequia_sequence, removed_at = excluded.removed_at \
             WHERE ({there}) < ({excluded})) \
             DELETE FROM {table} t USING i WHERE {same_window}t.acequia_group = i.acequia_group \
             AND ({row}) < ({new})",
            there = version_of("d"),
            excluded = version_of("excluded"),
            table = identifier(&self.table),
            row = version_of("t"),
            new = version_of("i"),
        )
    }

    fn longest_other_sql(&self) -> String {
        let length = if self.windowed { "extract(epoch FROM window_end - window_start) * 1000" } else { "0" };
        format!(
            "SELECT max({length})::bigint::text FROM {} WHERE acequia_incarnation <> $1",
            identifier(&self.table)
        )
    }

    fn clear_sql(&self) -> String {
        let table = identifier(&self.table);
        if !self.windowed {
            return format!("DELETE FROM {table} WHERE acequia_incarnation <> $1");
        }
        // The lower bound lets the server find them by the primary key.
        format!(
            "DELETE FROM {table} t USING unnest($1::bigint[], $2::bigint[]) AS w(first, last) \
             WHERE t.acequia_incarnation <> $3 AND t.window_start < {last} AND t.window_end > {first} \
             AND t.window_start > {earliest}",
            last = instant("w.last"),
            first = instant("w.first"),
            earliest = instant("(w.first - $4::bigint)"),
        )
    }

    /// The arguments for the rows of a batch: of each group of a window the newest.
    pub fn arrays(&self, rows: &[Row]) -> Arrays {
        let newest = newest(rows);
        let (removed, live): (Vec<&Row>, Vec<&Row>) =
            newest.into_iter().partition(|row| row.measures.is_none());
        let mut windows: Vec<Span> = rows.iter().filter_map(|row| row.window).collect();
        windows.sort_unstable();
        windows.dedup();
        Arrays {
            upsert: if live.is_empty() { Vec::new() } else { self.upsert_arrays(&live) },
            remove: if removed.is_empty() { Vec::new() } else { remove_arrays(&removed) },
            windows: if self.windowed {
                vec![numbers(&windows, |window| window.start_ms), numbers(&windows, |window| window.end_ms)]
            } else {
                Vec::new()
            },
            birth_ms: rows.iter().map(|row| row.version.birth_ms).max().unwrap_or_default(),
        }
    }

    fn upsert_arrays(&self, rows: &[&Row]) -> Vec<String> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        if self.windowed {
            arrays.push(numbers(rows, |row| start_ms(row)));
            arrays.push(numbers(rows, |row| row.window.map_or(0, |window| window.end_ms)));
        }
        let scalars: Vec<Vec<&str>> = rows.iter().map(|row| group::scalars(&row.group)).collect();
        for at in 0..self.groups {
            let value = |scalars: &Vec<&str>| {
                let scalar = scalars.get(at).filter(|scalar| **scalar != "null")?;
                Some(group::text(scalar).into_owned())
            };
            arrays.push(text_array(scalars.iter().map(value)));
        }
        for at in 0..self.measures {
            let value = |row: &&Row| row.measures.as_deref()?.get(at).copied().flatten().map(number);
            arrays.push(text_array(rows.iter().map(value)));
        }
        arrays.push(text_array(rows.iter().map(|row| Some(group_text(row)))));
        arrays.push(text_array(rows.iter().map(|row| Some(row.is_final.to_string()))));
        arrays.push(numbers(rows, |row| i64::try_from(row.revision).unwrap_or(i64::MAX)));
        arrays.extend(versions(rows));
        arrays
    }
}

impl Column {
    fn definition(&self) -> String {
        format!("{} {}{}", identifier(&self.name), self.type_sql, self.constraint)
    }
}

fn remove_arrays(rows: &[&Row]) -> Vec<String> {
    let group = text_array(rows.iter().map(|row| Some(group_text(row))));
    [numbers(rows, |row| start_ms(row)), group].into_iter().chain(versions(rows)).collect()
}

/// Of each group of a window the newest row, in the order of windows and groups.
fn newest(rows: &[Row]) -> Vec<&Row> {
    let mut newest: BTreeMap<(Option<Span>, &[u8]), &Row> = BTreeMap::new();
    for row in rows {
        let there = newest.entry((row.window, &row.group)).or_insert(row);
        if there.version < row.version {
            *there = row;
        }
    }
    newest.into_values().collect()
}

fn start_ms(row: &Row) -> i64 {
    row.window.map_or(0, |window| window.start_ms)
}

fn group_text(row: &Row) -> String {
    String::from_utf8_lossy(&row.group).into_owned()
}

fn versions(rows: &[&Row]) -> [String; 3] {
    [
        numbers(rows, |row| row.version.birth_ms),
        numbers(rows, |row| row.version.offset),
        numbers(rows, |row| row.version.sequence),
    ]
}

fn numbers<T>(values: &[T], number: impl Fn(&T) -> i64) -> String {
    text_array(values.iter().map(|value| Some(number(value).to_string())))
}

fn version_of(alias: &str) -> String {
    format!("{alias}.acequia_birth, {alias}.acequia_offset, {alias}.acequia_sequence")
}

/// An instant, exactly: milliseconds since 1970 as SQL of a bigint.
fn instant(ms: &str) -> String {
    format!("('epoch'::timestamptz + {ms} * interval '1 millisecond')")
}
