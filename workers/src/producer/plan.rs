//! One round, decided: which template, which rows, which values. Pure: time and randomness are arguments.

use std::collections::BTreeMap;

use fastrand::Rng;
use jiff::Timestamp;

use super::fields::Fields;
use super::known::Known;
use super::source::{Source, rng_by, weighted};
use super::templates::{Change, CheckedRow, CheckedTemplate, Child, Table, Templates};
use super::value::Value;

/// Statements that happen together or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The store.
    pub store: String,
    /// In this order.
    pub statements: Vec<Statement>,
}

/// One change to one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The table.
    pub table: Table,
    /// What happens to it.
    pub operation: Operation,
    /// The columns that are written.
    pub set: Vec<(String, Cell)>,
    /// What the rows must equal.
    pub matching: Vec<(String, Cell)>,
    /// The statement of the same transaction whose row is this one's parent.
    pub parent: Option<usize>,
    /// The columns to get back of each row: those that [`Known`] keeps, then those that children take.
    pub returning: Vec<String>,
    /// The rows that [`Known`] gave for `matching`.
    pub drawn: Vec<Vec<Value>>,
}

/// What happens to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// A new row.
    Insert,
    /// Other values.
    Update,
    /// Rows go.
    Delete,
}

impl Operation {
    /// The word in metrics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// What is written into a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// This.
    Value(Value),
    /// What the parent row got in this column.
    Parent(String),
    /// The old value plus this.
    Add(i64),
}

/// A value that only the database knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// The table.
    pub table: Table,
    /// The column to take.
    pub column: String,
    /// The column that is referred to.
    pub key: String,
    /// What it must equal.
    pub value: Value,
}

/// Why a round could not be decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplanned {
    /// This has to be looked up first.
    #[error("`{}` of table `{}` isn't known yet", .0.column, .0.table.name)]
    Lookup(Lookup),
    /// There is no row to draw from in this table.
    #[error("{path}: table `{}` of store `{}` has no rows to draw from; add some, for example in the setup", table.name, table.store)]
    NoRow {
        /// The field that draws.
        path: String,
        /// The table.
        table: Table,
    },
    /// The row that is referred to isn't there.
    #[error(
        "table `{}` of store `{}` has no row with `{}` = {}; somebody may have deleted it",
        .0.table.name, .0.table.store, .0.key, .0.value.text().unwrap_or_default()
    )]
    Vanished(Lookup),
    /// An expression has no value.
    #[error("{path}: {message}")]
    Expression {
        /// Where it stands.
        path: String,
        /// Why.
        message: String,
    },
}

/// Chooses the template of the next round, by weight.
pub fn choose<'a>(rng: &mut Rng, templates: &'a Templates) -> Option<&'a CheckedTemplate> {
    weighted(&templates.weighted, rng)
}

/// Decides a round: one transaction for each store, in the order of the template's rows.
///
/// When it says what has to be looked up first, call it again with the answer in `known` and the same numbers: a
/// clone of `rng` from before.
pub fn plan_round(
    rng: &mut Rng,
    seed: u64,
    template: &CheckedTemplate,
    known: &Known,
    now: Timestamp,
) -> Result<Vec<Transaction>, Unplanned> {
    let mut planner = Planner { rng, seed, known, now };
    let mut transactions: Vec<Transaction> = Vec::new();
    for row in &template.rows {
        let place = transactions.iter().position(|transaction| transaction.store == row.table.store);
        let place = place.unwrap_or_else(|| {
            transactions.push(Transaction { store: row.table.store.clone(), statements: Vec::new() });
            transactions.len() - 1
        });
        planner.row(row, &mut transactions[place].statements)?;
    }
    Ok(transactions)
}

struct Planner<'a> {
    rng: &'a mut Rng,
    seed: u64,
    known: &'a Known,
    now: Timestamp,
}

/// What is decided of one row so far.
#[derive(Default)]
struct Decided<'a> {
    values: BTreeMap<String, Value>,
    /// Rows drawn from a table, in the order they were drawn.
    drawn: Vec<(Table, &'a [Value])>,
    /// How often a column of a table was drawn.
    uses: BTreeMap<(Table, String), usize>,
}

impl<'a> Planner<'a> {
    fn row(&mut self, row: &CheckedRow, statements: &mut Vec<Statement>) -> Result<(), Unplanned> {
        let mut decided = Decided::default();
        let mut statement = self.empty_statement(&row.table, Operation::Insert);
        match &row.change {
            Change::Insert(values, children) => {
                statement.set = self.cells(row, &row.path, values, &mut decided, None)?;
                for column in row.parent_columns() {
                    if !decided.values.contains_key(column)
                        && !statement.returning.iter().any(|other| other == column)
                    {
                        statement.returning.push(column.to_owned());
                    }
                }
                let parent = statements.len();
                statements.push(statement);
                for child in children {
                    self.children(row, child, parent, &decided.values, statements)?;
                }
                return Ok(());
            }
            Change::Update { set, matching } => {
                statement.operation = Operation::Update;
                statement.matching = self.cells(row, &row.path, matching, &mut decided, None)?;
                statement.drawn = drawn_of(&row.table, &decided);
                statement.set = self.cells(row, &row.path, set, &mut decided, None)?;
            }
            Change::Delete(matching) => {
                statement.operation = Operation::Delete;
                statement.matching = self.cells(row, &row.path, matching, &mut decided, None)?;
                statement.drawn = drawn_of(&row.table, &decided);
            }
        }
        statements.push(statement);
        Ok(())
    }

    fn children(
        &mut self,
        row: &CheckedRow,
        child: &Child,
        parent: usize,
        parent_values: &BTreeMap<String, Value>,
        statements: &mut Vec<Statement>,
    ) -> Result<(), Unplanned> {
        for _ in 0..self.rng.u32(child.count.min..=child.count.max) {
            let mut statement = self.empty_statement(&child.table, Operation::Insert);
            statement.parent = Some(parent);
            let mut decided = Decided::default();
            statement.set = self.cells(row, &child.path, &child.values, &mut decided, Some(parent_values))?;
            statements.push(statement);
        }
        Ok(())
    }

    fn empty_statement(&self, table: &Table, operation: Operation) -> Statement {
        Statement {
            table: table.clone(),
            operation,
            set: Vec::new(),
            matching: Vec::new(),
            parent: None,
            returning: self.known.columns(table).to_vec(),
            drawn: Vec::new(),
        }
    }

    fn cells(
        &mut self,
        row: &CheckedRow,
        path: &str,
        fields: &Fields,
        decided: &mut Decided<'a>,
        parent: Option<&BTreeMap<String, Value>>,
    ) -> Result<Vec<(String, Cell)>, Unplanned> {
        let mut cells = Vec::new();
        for (name, source) in fields.iter() {
            let cell = match source {
                Source::AddInt(min, max) => Cell::Add(self.rng.i64(*min..=*max)),
                Source::Parent(column) => match parent.and_then(|parent| parent.get(column)) {
                    Some(value) => Cell::Value(value.clone()),
                    None => Cell::Parent(column.clone()),
                },
                _ => Cell::Value(self.value(&row.table.store, path, name, source, decided)?),
            };
            if let Cell::Value(value) = &cell {
                decided.values.insert(name.to_owned(), value.clone());
            }
            cells.push((name.to_owned(), cell));
        }
        Ok(cells)
    }

    fn value(
        &mut self,
        store: &str,
        path: &str,
        name: &str,
        source: &Source,
        decided: &mut Decided<'a>,
    ) -> Result<Value, Unplanned> {
        let of = |field: &str| decided.values.get(field).cloned().unwrap_or(Value::Null);
        match source {
            Source::Const(value) => Ok(value.clone()),
            Source::Now => Ok(Value::Text(microseconds(self.now).to_string())),
            Source::Uuid => Ok(Value::Text(uuid(self.rng.u128(..), self.now))),
            Source::Drawn(draw, None) => Ok(draw.draw(self.rng)),
            Source::Drawn(draw, Some(by)) => Ok(draw.draw(&mut rng_by(self.seed, name, &of(by)))),
            Source::Existing { table, column } => {
                let table = Table { store: store.to_owned(), name: table.clone() };
                self.existing(&table, column, decided)
                    .ok_or_else(|| Unplanned::NoRow { path: format!("{path}: {name}"), table })
            }
            Source::Lookup { table, column, key, by } => {
                let table = Table { store: store.to_owned(), name: table.clone() };
                self.lookup(Lookup { table, column: column.clone(), key: key.clone(), value: of(by) })
            }
            Source::Expression(expression) => expression
                .evaluate(&decided.values)
                .map_err(|message| Unplanned::Expression { path: format!("{path}: {name}"), message }),
            // `cells` has handled both: they are no values yet.
            Source::Parent(_) | Source::AddInt(..) => Ok(Value::Null),
        }
    }

    /// Different columns of one table come from one row, so that they fit together (as a key of two columns has
    /// to); a column that is drawn again comes from another row.
    fn existing(&mut self, table: &Table, column: &str, decided: &mut Decided<'a>) -> Option<Value> {
        let uses = decided.uses.entry((table.clone(), column.to_owned())).or_default();
        let before = decided.drawn.iter().filter(|(other, _)| other == table).nth(*uses).map(|(_, row)| *row);
        *uses += 1;
        let row = if let Some(row) = before {
            row
        } else {
            let row = self.known.pick(table, self.rng)?;
            decided.drawn.push((table.clone(), row));
            row
        };
        let place = self.known.columns(table).iter().position(|known| known == column)?;
        row.get(place).cloned()
    }

    fn lookup(&self, lookup: Lookup) -> Result<Value, Unplanned> {
        if lookup.value == Value::Null {
            return Ok(Value::Null);
        }
        match self.known.found(&lookup) {
            Some(Some(value)) => Ok(value.clone()),
            Some(None) => Err(Unplanned::Vanished(lookup)),
            None => Err(Unplanned::Lookup(lookup)),
        }
    }
}

fn drawn_of(table: &Table, decided: &Decided<'_>) -> Vec<Vec<Value>> {
    decided.drawn.iter().filter(|(other, _)| other == table).map(|(_, row)| row.to_vec()).collect()
}

/// PostgreSQL keeps microseconds; so does everything that is compared with it.
fn microseconds(now: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}

/// A random UUID (version 4). The time is mixed in: a generator that starts again draws the same numbers again, and
/// must not make the same identities.
fn uuid(random: u128, now: Timestamp) -> String {
    let spread = (now.as_nanosecond() as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let bits = ((random ^ spread) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests;
