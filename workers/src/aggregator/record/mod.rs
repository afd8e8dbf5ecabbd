//! From one record to what it contributes: its time, its groups, and what it gives to each measure. Pure.

mod change;
mod day;
mod envelope;
mod event_time;
mod group;
mod input;
mod lookup;
mod plan;
mod read;
mod reading;
#[cfg(test)]
mod tests;

pub use change::Change;
pub use lookup::{Found, Lookups, lookup_key, lookup_row};
pub use plan::RecordPlan;
pub use reading::{Contribution, Reading};

use crate::expression::FieldSpans;

/// A record that can't be read: it goes to the dead letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct Rejected {
    /// Why, as a sentence without its full stop.
    pub cause: String,
}

impl Rejected {
    fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into() }
    }

    /// With the field of the aggregation before it.
    fn at(field: &str, cause: impl std::fmt::Display) -> Self {
        Self { cause: format!("{field}: {cause}") }
    }
}

/// Why a record contributes nothing, for now or for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It can't be read.
    Rejected(Rejected),
    /// A row that it needs isn't there yet.
    Missing {
        /// Which of the aggregation's `lookups`.
        lookup: usize,
        /// The row's key, as [`lookup_key`] spells it.
        key: String,
    },
}

impl From<Rejected> for Unread {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

/// Memory that is kept from record to record, so that reading allocates nothing. Made by [`RecordPlan::scratch`] for
/// one plan; nothing in it changes what is read.
#[derive(Clone, Debug)]
pub struct Scratch {
    record: FieldSpans,
    rest: Rest,
}

/// What is needed beside the fields of the record itself.
#[derive(Clone, Debug)]
struct Rest {
    /// One a document.
    documents: Vec<FieldSpans>,
    /// The day last seen, one a measure.
    days: Vec<day::KnownDay>,
    key: Vec<u8>,
}
