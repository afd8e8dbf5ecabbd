//! A generator's templates, checked once, so that a round needs no checks.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::pipeline::generator::{ChildTemplate, Count, RowKind, RowTemplate, Template};
use acequia_crds::stage::GeneratorWork;

use super::fields::{Fields, Surroundings};
use super::refused::Refused;
use super::source::Source;

/// A table of a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    /// The store.
    pub store: String,
    /// The table in it, as the search path finds it.
    pub name: String,
}

/// All templates of a generator.
#[derive(Clone, Debug)]
pub struct Templates {
    /// What makes equal keys give equal values.
    pub seed: u64,
    /// Each with the sum of the weights up to and including its own.
    pub weighted: Vec<(u64, CheckedTemplate)>,
}

/// One kind of round.
#[derive(Clone, Debug)]
pub struct CheckedTemplate {
    /// Its name.
    pub name: String,
    /// What to change.
    pub rows: Vec<CheckedRow>,
}

/// A change to one table.
#[derive(Clone, Debug)]
pub struct CheckedRow {
    /// Where it stands in the manifest.
    pub path: String,
    /// The table.
    pub table: Table,
    /// What to do there.
    pub change: Change,
}

/// What to do to a table.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new row and those that belong to it.
    Insert(Fields, Vec<Child>),
    /// Other values for the rows that match.
    Update {
        /// The new values.
        set: Fields,
        /// What the rows must equal.
        matching: Fields,
    },
    /// The rows that match go.
    Delete(Fields),
}

/// Rows that belong to the row before.
#[derive(Clone, Debug)]
pub struct Child {
    /// Where it stands in the manifest.
    pub path: String,
    /// The table, in the same store.
    pub table: Table,
    /// How many.
    pub count: Count,
    /// Their fields.
    pub values: Fields,
}

impl Templates {
    /// Checks a generator.
    pub fn compile(work: &GeneratorWork) -> Result<Self, Refused> {
        let generator = &work.generator;
        let mut total = 0;
        let mut weighted = Vec::with_capacity(generator.templates.len());
        for template in &generator.templates {
            total += u64::from(template.weight);
            let path = format!("generators[{}].templates[{}]", generator.name, template.name);
            weighted.push((total, compile_template(&path, template, work)?));
        }
        if total == 0 {
            return Err(Refused::new(
                format!("generators[{}].templates", generator.name),
                "has no template with a weight above 0; add one",
            ));
        }
        Ok(Self { seed: u64::from(generator.seed), weighted })
    }

    /// The tables that `existing` draws rows from, with the columns it takes.
    pub fn drawn_columns(&self) -> BTreeMap<Table, BTreeSet<String>> {
        let mut drawn: BTreeMap<Table, BTreeSet<String>> = BTreeMap::new();
        self.each_source(|at, _, source| {
            if let Source::Existing { table, column } = source {
                let table = Table { store: at.store.clone(), name: table.clone() };
                drawn.entry(table).or_default().insert(column.clone());
            }
        });
        drawn
    }

    /// Every table and column that the templates name.
    pub fn named_columns(&self) -> BTreeMap<Table, BTreeSet<String>> {
        let mut named = self.drawn_columns();
        self.each_source(|at, field, source| {
            named.entry(at.clone()).or_default().insert(field.to_owned());
            if let Source::Lookup { table, column, key, .. } = source {
                let table = Table { store: at.store.clone(), name: table.clone() };
                named.entry(table).or_default().extend([column.clone(), key.clone()]);
            }
        });
        for row in self.rows() {
            let columns = named.entry(row.table.clone()).or_default();
            columns.extend(row.parent_columns().map(str::to_owned));
        }
        named
    }

    fn rows(&self) -> impl Iterator<Item = &CheckedRow> {
        self.weighted.iter().flat_map(|(_, template)| &template.rows)
    }

    fn each_source(&self, mut visit: impl FnMut(&Table, &str, &Source)) {
        for row in self.rows() {
            let (fields, children): (Vec<&Fields>, &[Child]) = match &row.change {
                Change::Insert(values, children) => (vec![values], children),
                Change::Update { set, matching } => (vec![matching, set], &[]),
                Change::Delete(matching) => (vec![matching], &[]),
            };
            fields
                .iter()
                .flat_map(|fields| fields.iter())
                .for_each(|(name, source)| visit(&row.table, name, source));
            for child in children {
                child.values.iter().for_each(|(name, source)| visit(&child.table, name, source));
            }
        }
    }
}

impl CheckedRow {
    /// The columns of this row that its children take.
    pub fn parent_columns(&self) -> impl Iterator<Item = &str> {
        let children = match &self.change {
            Change::Insert(_, children) => children.as_slice(),
            Change::Update { .. } | Change::Delete(_) => &[],
        };
        children.iter().flat_map(|child| child.values.iter()).filter_map(|(_, source)| match source {
            Source::Parent(column) => Some(column.as_str()),
            _ => None,
        })
    }
}

fn compile_template(
    path: &str,
    template: &Template,
    work: &GeneratorWork,
) -> Result<CheckedTemplate, Refused> {
    if template.event.is_some() {
        return Err(Refused::new(format!("{path}.event"), "is not available in this version; write `rows`"));
    }
    if template.rows.is_empty() {
        return Err(Refused::new(format!("{path}.rows"), "is empty; add a row"));
    }
    let rows = template
        .rows
        .iter()
        .enumerate()
        .map(|(index, row)| compile_row(format!("{path}.rows[{index}]"), row, work))
        .collect::<Result<_, _>>()?;
    Ok(CheckedTemplate { name: template.name.clone(), rows })
}

fn compile_row(path: String, row: &RowTemplate, work: &GeneratorWork) -> Result<CheckedRow, Refused> {
    if !work.stores.contains_key(&row.store) {
        return Err(Refused::new(
            format!("{path}.store"),
            format!("names no PostgreSQL store: `{}`", row.store),
        ));
    }
    let plain = Surroundings::default();
    let matching = Fields::compile(&format!("{path}.where"), &row.matching, plain)?;
    let change = match row.kind() {
        Some(RowKind::Insert { values, children }) => {
            let values = Fields::compile(&format!("{path}.values"), values, plain)?;
            let children = compile_children(&path, row, children, &values)?;
            Change::Insert(values, children)
        }
        Some(RowKind::Update { set, .. }) => {
            let around = Surroundings { before: Some(&matching), has_old_value: true, ..plain };
            let set = Fields::compile(&format!("{path}.update"), set, around)?;
            if set.is_empty() {
                return Err(Refused::new(format!("{path}.update"), "sets no column; name one"));
            }
            Change::Update { set, matching }
        }
        Some(RowKind::Delete { .. }) => Change::Delete(matching),
        None => return Err(Refused::new(path, "needs exactly one of `values`, `update` and `delete`")),
    };
    check_shape(&path, row, &change)?;
    Ok(CheckedRow { table: Table { store: row.store.clone(), name: row.table.clone() }, path, change })
}

fn check_shape(path: &str, row: &RowTemplate, change: &Change) -> Result<(), Refused> {
    let inserts = matches!(change, Change::Insert(..));
    if inserts && !row.matching.is_empty() {
        return Err(Refused::new(format!("{path}.where"), "doesn't go with `values`; leave it out"));
    }
    if !inserts && row.matching.is_empty() {
        // Without it, one round would change or delete the whole table.
        return Err(Refused::new(
            format!("{path}.where"),
            "is empty; say which rows, for example by their id",
        ));
    }
    if !inserts && !row.children.is_empty() {
        return Err(Refused::new(format!("{path}.children"), "needs `values`: only a new row gets children"));
    }
    Ok(())
}

fn compile_children(
    path: &str,
    row: &RowTemplate,
    children: &[ChildTemplate],
    parent: &Fields,
) -> Result<Vec<Child>, Refused> {
    let compile = |(index, child): (usize, &ChildTemplate)| {
        let path = format!("{path}.children[{index}]");
        if child.count.min > child.count.max {
            return Err(Refused::new(format!("{path}.count"), "has min above max; swap them"));
        }
        let around = Surroundings { parent: Some(parent), ..Surroundings::default() };
        let values = Fields::compile(&format!("{path}.values"), &child.values, around)?;
        let table = Table { store: row.store.clone(), name: child.table.clone() };
        Ok(Child { path, table, count: child.count, values })
    };
    children.iter().enumerate().map(compile).collect()
}
