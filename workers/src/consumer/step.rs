//! The pure middle of a sink: one record in, a row, a change or a dead letter out.

use std::collections::{BTreeMap, BTreeSet};

use super::append::Origin;
use super::batch::{Part, Rows};
use super::dead_letters::DeadLetter;
use super::mirror::{self, MirrorTable, Undecodable};
use crate::postgres::row_plan::RowPlan;
use crate::record::RecordView;

/// What the sink does with records.
#[derive(Debug)]
pub enum Step {
    /// Each record adds a row.
    Append {
        /// How a record becomes a row.
        plan: RowPlan,
        /// The table.
        table: String,
        /// The COPY statement for it.
        copy_sql: String,
    },
    /// Change events are applied.
    Mirror {
        /// The table of each topic.
        tables: BTreeMap<String, MirrorTable>,
    },
}

/// Why a record stops its partition.
#[derive(Debug, PartialEq, Eq)]
pub enum Halt {
    /// The source's catalogue must be asked about these fields.
    UnknownFields(BTreeSet<String>),
    /// A person has to decide.
    Refused(String),
}

impl Step {
    /// Rows of the kind that this step makes.
    pub fn empty_rows(&self) -> Rows {
        match self {
            Self::Append { .. } => Rows::Append(super::append::AppendRows::default()),
            Self::Mirror { .. } => Rows::Mirror(mirror::MirrorRows::default()),
        }
    }

    /// Adds one record, which is no tombstone, to its part; `origin` is where its bytes stay. On `Err` the part is as before.
    pub fn take(&self, record: &RecordView<'_>, origin: Origin, part: &mut Part) -> Result<(), Halt> {
        match (self, &mut part.rows) {
            (Self::Append { plan, .. }, Rows::Append(rows)) => match plan.encode(record, &mut rows.buffer) {
                Ok(()) => rows.origins.push(origin),
                Err(rejected) => part.rejected.push(letter(record, rejected.to_string())),
            },
            (Self::Mirror { tables }, Rows::Mirror(rows)) => {
                let Some(table) = tables.get(record.topic) else { return Ok(()) };
                match mirror::decode(table, record.key, record.value) {
                    Ok(change) => rows.add(change),
                    Err(Undecodable::Malformed(cause)) => part.rejected.push(letter(record, cause)),
                    Err(Undecodable::UnknownFields(fields)) => return Err(Halt::UnknownFields(fields)),
                    Err(Undecodable::Refused(cause)) => {
                        return Err(Halt::Refused(format!(
                            "{}[{}] offset {}: {cause}",
                            record.topic, record.partition, record.offset
                        )));
                    }
                }
            }
            // A part's rows come from `empty_rows` of the same step.
            _ => {}
        }
        Ok(())
    }
}

fn letter(record: &RecordView<'_>, cause: String) -> DeadLetter {
    DeadLetter::new(record.offset, record.key, Some(record.value), cause)
}
