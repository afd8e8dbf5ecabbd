//! How a record becomes a row: which columns there are, and where each one's value comes from.

#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod tests;

use acequia_crds::expression::{Expression, InvalidExpression};
use acequia_crds::pipeline::sink::Column;

use super::column::{self, Cause, ColumnType, UnknownColumnType};
use super::copy::{self, CopyBuffer};
use crate::expression::{FieldPaths, Fields, Format, Oddities, Program, Uncompilable, Undecodable, Value};
use crate::record::RecordView;

/// The columns of a table and what fills them.
#[derive(Clone, Debug)]
pub struct RowPlan {
    columns: Vec<PlannedColumn>,
    paths: FieldPaths,
}

#[derive(Clone, Debug)]
struct PlannedColumn {
    name: String,
    column_type: ColumnType,
    optional: bool,
    program: Program,
}

/// A column of the table, for DDL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDefinition<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type as PostgreSQL's catalogue shows it.
    pub type_sql: String,
    /// Whether it may be NULL.
    pub optional: bool,
}

/// A column that can't be filled by any record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column `{column}`: {cause}")]
pub struct InvalidColumn {
    /// Its name.
    pub column: String,
    /// What is wrong.
    #[source]
    pub cause: ColumnFault,
}

/// What is wrong with a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColumnFault {
    /// There is no such type.
    #[error(transparent)]
    Type(#[from] UnknownColumnType),
    /// The value isn't an expression.
    #[error(transparent)]
    Expression(#[from] InvalidExpression),
    /// The expression can't be evaluated here.
    #[error(transparent)]
    Uncompilable(#[from] Uncompilable),
}

/// A record that is no row of the table: it goes to the dead letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// Its value isn't JSON.
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    /// A column can't hold what the record has for it.
    #[error("column `{column}`: {cause}")]
    Column {
        /// Name of the column.
        column: String,
        /// Why not.
        #[source]
        cause: Cause,
    },
}

impl RowPlan {
    /// A plan for these columns; a column without `value` takes the field of its name.
    ///
    /// # Errors
    /// A type or an expression is wrong.
    pub fn new(columns: &[Column]) -> Result<Self, InvalidColumn> {
        let mut paths = FieldPaths::default();
        let columns = columns
            .iter()
            .map(|column| {
                PlannedColumn::new(column, &mut paths)
                    .map_err(|cause| InvalidColumn { column: column.name.clone(), cause })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { columns, paths })
    }

    /// The columns, in the order in which rows hold them.
    pub fn columns(&self) -> impl Iterator<Item = ColumnDefinition<'_>> {
        self.columns.iter().map(|column| ColumnDefinition {
            name: &column.name,
            type_sql: column.column_type.sql(),
            optional: column.optional,
        })
    }

    /// Appends the row of a record; on an error the buffer is as before.
    ///
    /// # Errors
    /// The record is no row of the table.
    pub fn encode(&self, record: &RecordView<'_>, out: &mut CopyBuffer) -> Result<(), Rejected> {
        let start = out.begin(self.columns.len() as u16);
        let fields = match self.paths.read(record.value, &mut out.spans) {
            Ok(fields) => fields,
            Err(undecodable) => {
                out.abandon(start);
                return Err(undecodable.into());
            }
        };
        let bytes = &mut out.bytes;
        let encoded = self.columns.iter().try_for_each(|column| {
            column
                .encode(record, &fields, bytes)
                .map_err(|cause| Rejected::Column { column: column.name.clone(), cause })
        });
        match encoded {
            Ok(()) => out.finish(start),
            Err(_) => out.abandon(start),
        }
        encoded
    }
}

impl PlannedColumn {
    fn new(column: &Column, paths: &mut FieldPaths) -> Result<Self, ColumnFault> {
        let column_type = ColumnType::parse(&column.type_name)?;
        let default = || format!("event.{}", column.name);
        let expression = Expression::parse(&column.value.clone().unwrap_or_else(default))?;
        let program = Program::new(&expression, Format::Json, paths)?;
        Ok(Self { name: column.name.clone(), column_type, optional: column.optional, program })
    }

    fn encode(
        &self,
        record: &RecordView<'_>,
        fields: &Fields<'_, '_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Cause> {
        let is_json = matches!(self.column_type, ColumnType::Json | ColumnType::Jsonb);
        // JSON goes into a JSON column as it stands.
        if is_json
            && let Some(text) = self.program.json(fields)
            && text != "null"
        {
            // Mostly nothing odd is in the whole value, so nothing is in a part of it.
            let found = if fields.oddities.any() { Oddities::of(text) } else { fields.oddities };
            return copy::field(out, |out| column::json(text, found, self.column_type, out));
        }
        let value = self.program.evaluate(record, fields)?;
        match value {
            Value::Absent | Value::Null if self.optional => {
                copy::null(out);
                Ok(())
            }
            Value::Absent => Err(Cause::Missing),
            Value::Null => Err(Cause::Null),
            value => copy::field(out, |out| column::encode(&value, self.column_type, out)),
        }
    }
}
