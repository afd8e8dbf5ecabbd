//! Measures: what is computed of the records of a group.

use rust_decimal::Decimal;

/// What a measure computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasureKind {
    /// Number of records.
    Count,
    /// Exact total.
    Sum,
    /// Exact total over number.
    Avg,
    /// Least value.
    Min,
    /// Greatest value.
    Max,
}

/// A measure of an aggregation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Its name in every output.
    pub name: String,
    /// What it computes.
    pub kind: MeasureKind,
    /// Only the current day counts: values are kept by day.
    pub daily: bool,
}

/// What one record gives to one measure; a record whose `where` is false or whose value is null gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// The number; 1 for a count.
    pub value: Decimal,
    /// Days since 1970 in the aggregation's time zone; 0 in a measure that isn't daily.
    pub day: i32,
}
