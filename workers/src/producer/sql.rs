//! A statement as SQL: every value is bound as text and cast to its column's type, so that any type works.

use std::collections::BTreeMap;

use super::plan::{Cell, Operation, Statement};
use super::value::Value;
use crate::postgres::quote::identifier;

/// The columns of a table and their types, as `format_type` writes them.
pub type Columns = BTreeMap<String, String>;

/// SQL and the values to bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text; the same for the same statement of a template, so that the server plans it once.
    pub sql: String,
    /// `$1`, `$2`, …
    pub values: Vec<Option<String>>,
}

/// Renders a statement; `parent` gives the parent row's value of a column.
pub fn render(statement: &Statement, columns: &Columns, parent: impl Fn(&str) -> Value) -> Rendered {
    let mut writer = Writer { columns, parent, values: Vec::new() };
    let table = identifier(&statement.table.name);
    let sql = match statement.operation {
        Operation::Insert if statement.set.is_empty() => format!("INSERT INTO {table} DEFAULT VALUES"),
        Operation::Insert => {
            let names: Vec<String> = statement.set.iter().map(|(name, _)| identifier(name)).collect();
            let values: Vec<String> =
                statement.set.iter().map(|(name, cell)| writer.value(name, cell)).collect();
            format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "))
        }
        Operation::Update => {
            let set: Vec<String> = statement
                .set
                .iter()
                .map(|(name, cell)| format!("{} = {}", identifier(name), writer.value(name, cell)))
                .collect();
            format!("UPDATE {table} SET {} WHERE {}", set.join(", "), writer.conditions(statement))
        }
        Operation::Delete => format!("DELETE FROM {table} WHERE {}", writer.conditions(statement)),
    };
    // Something always comes back, so that the rows can be counted.
    let mut returning: Vec<String> =
        statement.returning.iter().map(|name| format!("{}::text", identifier(name))).collect();
    if returning.is_empty() {
        returning.push("''::text".to_owned());
    }
    Rendered { sql: format!("{sql} RETURNING {}", returning.join(", ")), values: writer.values }
}

struct Writer<'a, P> {
    columns: &'a Columns,
    parent: P,
    values: Vec<Option<String>>,
}

impl<P: Fn(&str) -> Value> Writer<'_, P> {
    fn value(&mut self, column: &str, cell: &Cell) -> String {
        match cell {
            Cell::Value(value) => self.bind(column, value),
            Cell::Parent(of) => {
                let value = (self.parent)(of);
                self.bind(column, &value)
            }
            Cell::Add(amount) => {
                format!("{} + {}", identifier(column), self.bind(column, &Value::Int(*amount)))
            }
        }
    }

    fn bind(&mut self, column: &str, value: &Value) -> String {
        self.values.push(value.text());
        let kind = self.columns.get(column).map_or("text", String::as_str);
        format!("${}::{kind}", self.values.len())
    }

    fn conditions(&mut self, statement: &Statement) -> String {
        let conditions: Vec<String> = statement
            .matching
            .iter()
            .map(|(name, cell)| match cell {
                Cell::Value(Value::Null) => format!("{} IS NULL", identifier(name)),
                _ => format!("{} = {}", identifier(name), self.value(name, cell)),
            })
            .collect();
        conditions.join(" AND ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::templates::Table;

    fn statement(operation: Operation) -> Statement {
        Statement {
            table: Table { store: "shop".into(), name: "stock".into() },
            operation,
            set: vec![
                ("quantity".into(), Cell::Add(-2)),
                ("order".into(), Cell::Parent("id".into())),
                ("note".into(), Cell::Value(Value::Null)),
            ],
            matching: vec![
                ("id".into(), Cell::Value(Value::Int(7))),
                ("note".into(), Cell::Value(Value::Null)),
            ],
            parent: None,
            returning: vec!["id".into()],
            drawn: Vec::new(),
        }
    }

    fn sql(statement: &Statement) -> Rendered {
        let columns = [("quantity", "integer"), ("order", "bigint"), ("id", "uuid"), ("note", "mood")];
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind.to_owned())).into_iter().collect();
        render(statement, &columns, |_| Value::Int(42))
    }

    #[test]
    fn values_are_bound_and_cast_to_their_columns_types() {
        let update = sql(&statement(Operation::Update));
        assert_eq!(
            update.sql,
            "UPDATE \"stock\" SET \"quantity\" = \"quantity\" + $1::integer, \"order\" = $2::bigint, \
             \"note\" = $3::mood WHERE \"id\" = $4::uuid AND \"note\" IS NULL RETURNING \"id\"::text"
        );
        assert_eq!(update.values, [Some("-2".into()), Some("42".into()), None, Some("7".into())]);
        let delete = sql(&statement(Operation::Delete));
        assert_eq!(
            delete.sql,
            "DELETE FROM \"stock\" WHERE \"id\" = $1::uuid AND \"note\" IS NULL RETURNING \"id\"::text"
        );
    }

    #[test]
    fn a_row_without_values_takes_the_defaults() {
        let mut insert = statement(Operation::Insert);
        insert.set.clear();
        insert.returning.clear();
        assert_eq!(sql(&insert).sql, "INSERT INTO \"stock\" DEFAULT VALUES RETURNING ''::text");
    }
}
