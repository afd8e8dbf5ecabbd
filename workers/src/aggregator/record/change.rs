//! What a record of a table does to its row.

use std::borrow::Cow;

use super::envelope::{Event, event};
use super::plan::{RecordPlan, Table};
use super::{Rejected, Scratch, group};
use crate::expression::{Value, View};
use crate::record::RecordView;

/// What a record of a table does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'r> {
    /// The row is as the record says: what it contributed before is taken back, and
    /// [`RecordPlan::read`] says what it contributes now.
    Put {
        /// Which row: bytes that are equal for equal keys.
        key: Cow<'r, [u8]>,
        /// The row was read, not changed: snapshots come in no order of time.
        is_snapshot: bool,
    },
    /// The row is gone.
    Remove {
        /// Which row.
        key: Cow<'r, [u8]>,
    },
    /// All rows of the table are gone.
    Truncate,
    /// It says nothing of any row.
    Skip,
}

impl RecordPlan {
    /// What a record of a table does to its row; [`Change::Skip`] where the aggregation reads no table.
    ///
    /// # Errors
    /// The record doesn't say, or doesn't say which row.
    pub fn change<'r>(&self, record: &RecordView<'r>, scratch: &mut Scratch) -> Result<Change<'r>, Rejected> {
        match &self.table {
            Table::None => Ok(Change::Skip),
            Table::Changes => match event(record.value, &mut scratch.record)? {
                Event::Put { is_snapshot, .. } => {
                    Ok(Change::Put { key: Cow::Borrowed(key(record)?), is_snapshot })
                }
                Event::Remove => Ok(Change::Remove { key: Cow::Borrowed(key(record)?) }),
                Event::Truncate => Ok(Change::Truncate),
                Event::Message => Ok(Change::Skip),
            },
            Table::Latest { paths, by } => {
                let fields = paths
                    .read(record.value, &mut scratch.record)
                    .map_err(|error| Rejected::new(error.to_string()))?;
                let view = View { record, fields, documents: &[] };
                let value = by.evaluate_view(&view).map_err(|error| Rejected::at("latestBy", error))?;
                if matches!(value, Value::Null | Value::Absent) {
                    let cause =
                        format!("`{}` is {}, so there is no telling which row", by.text(), value.kind());
                    return Err(Rejected::at("latestBy", cause));
                }
                let mut key = Vec::new();
                group::scalar(&value, &mut key)
                    .map_err(|problem| Rejected::at("latestBy", format!("`{}` {problem}", by.text())))?;
                Ok(Change::Put { key: Cow::Owned(key), is_snapshot: false })
            }
        }
    }
}

fn key<'r>(record: &RecordView<'r>) -> Result<&'r [u8], Rejected> {
    record.key.ok_or_else(|| {
        Rejected::new(
            "the record has no key, so there is no telling which row changed; give the source table a primary key",
        )
    })
}
