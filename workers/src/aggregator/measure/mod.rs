//! Measures: what is computed of the records of a group, and how values are put together.

mod total;

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::codec::{Reader, Unreadable, Write};
use crate::expression::DecimalError;
pub use total::Total;

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

/// What a group's records come to so far, or what some of them add to that.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Records, whatever the measures took of them.
    pub rows: i64,
    /// One value a measure.
    pub values: Vec<Value>,
}

/// The value of one measure.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of all records.
    Whole(Total),
    /// By day. Days without anything are absent.
    Daily(BTreeMap<i32, Total>),
}

/// How the values of an aggregation are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its measures.
    pub measures: Vec<Measure>,
    /// Records can be taken back: they are rows of a table.
    pub is_table: bool,
}

impl Shape {
    /// Nothing.
    pub fn empty(&self) -> Group {
        let value = |measure: &Measure| {
            if measure.daily { Value::Daily(BTreeMap::new()) } else { Value::Whole(self.nothing(measure)) }
        };
        Group { rows: 0, values: self.measures.iter().map(value).collect() }
    }

    fn nothing(&self, measure: &Measure) -> Total {
        match measure.kind {
            MeasureKind::Count => Total::Count(0),
            MeasureKind::Sum => Total::Sum(Decimal::ZERO),
            MeasureKind::Avg => Total::Avg(Decimal::ZERO, 0),
            MeasureKind::Min | MeasureKind::Max if self.is_table => Total::Values(BTreeMap::new()),
            MeasureKind::Min | MeasureKind::Max => Total::Extreme(None),
        }
    }

    /// Adds what one record gives, or takes it back where `sign` is -1.
    ///
    /// # Errors
    /// A sum with more digits than there are; the group may then be half changed.
    pub fn fold(&self, group: &mut Group, inputs: &[Option<Input>], sign: i64) -> Result<(), DecimalError> {
        group.rows += sign;
        for ((measure, value), input) in self.measures.iter().zip(&mut group.values).zip(inputs) {
            let Some(input) = input else { continue };
            match value {
                Value::Whole(total) => total.fold(measure.kind, input.value, sign)?,
                Value::Daily(days) => {
                    let total = days.entry(input.day).or_insert_with(|| self.nothing(measure));
                    total.fold(measure.kind, input.value, sign)?;
                    if total.is_nothing() {
                        days.remove(&input.day);
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds what other records come to.
    ///
    /// # Errors
    /// As for [`Self::fold`].
    pub fn merge(&self, group: &mut Group, other: &Group) -> Result<(), DecimalError> {
        group.rows += other.rows;
        let values = group.values.iter_mut().zip(&other.values);
        for (measure, (value, other)) in self.measures.iter().zip(values) {
            match (value, other) {
                (Value::Whole(total), Value::Whole(other)) => total.merge(measure.kind, other)?,
                (Value::Daily(days), Value::Daily(others)) => {
                    for (day, other) in others {
                        let total = days.entry(*day).or_insert_with(|| self.nothing(measure));
                        total.merge(measure.kind, other)?;
                        if total.is_nothing() {
                            days.remove(day);
                        }
                    }
                }
                // Both come from the same shape.
                _ => {}
            }
        }
        Ok(())
    }

    /// The numbers that outputs get; `today` chooses the day of daily measures.
    pub fn results(&self, group: &Group, today: i32) -> Vec<Option<Decimal>> {
        let of = |(measure, value): (&Measure, &Value)| match value {
            Value::Whole(total) => total.result(measure.kind),
            Value::Daily(days) => match days.get(&today) {
                Some(total) => total.result(measure.kind),
                None => self.nothing(measure).result(measure.kind),
            },
        };
        self.measures.iter().zip(&group.values).map(of).collect()
    }

    /// Whether any measure is kept by day.
    pub fn is_daily(&self) -> bool {
        self.measures.iter().any(|measure| measure.daily)
    }

    /// Drops the days before `first`, which no output shows any more; returns whether there were any.
    pub fn forget_days(&self, group: &mut Group, first: i32) -> bool {
        let mut forgot = false;
        for value in &mut group.values {
            if let Value::Daily(days) = value {
                let kept = days.split_off(&first);
                forgot |= !days.is_empty();
                *days = kept;
            }
        }
        forgot
    }

    /// Appends the bytes of a group's values.
    pub fn write(&self, group: &Group, bytes: &mut Vec<u8>) {
        bytes.signed(group.rows.into());
        for value in &group.values {
            match value {
                Value::Whole(total) => total.write(bytes),
                Value::Daily(days) => {
                    bytes.unsigned(days.len() as u128);
                    for (day, total) in days {
                        bytes.signed((*day).into());
                        total.write(bytes);
                    }
                }
            }
        }
    }

    /// Reads what [`Self::write`] wrote.
    pub fn read(&self, reader: &mut Reader<'_>) -> Result<Group, Unreadable> {
        let mut group = self.empty();
        group.rows = reader.signed64()?;
        for (measure, value) in self.measures.iter().zip(&mut group.values) {
            match value {
                Value::Whole(total) => total.read(reader)?,
                Value::Daily(days) => {
                    for _ in 0..reader.count()? {
                        let day = reader.signed32()?;
                        let mut total = self.nothing(measure);
                        total.read(reader)?;
                        days.insert(day, total);
                    }
                }
            }
        }
        Ok(group)
    }
}

impl Group {
    /// Bytes that it takes in memory, about.
    pub fn size_bytes(&self) -> usize {
        // A node of a B-tree holds up to eleven entries, so an entry costs more than its own size.
        const ENTRY: usize = 64;
        let entries = self.values.iter().map(|value| match value {
            Value::Whole(Total::Values(values)) => values.len(),
            Value::Whole(_) => 0,
            Value::Daily(days) => days
                .values()
                .map(|total| if let Total::Values(values) = total { 1 + values.len() } else { 1 })
                .sum(),
        });
        size_of::<Self>() + self.values.len() * size_of::<Value>() + entries.sum::<usize>() * ENTRY
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(is_table: bool) -> Shape {
        use MeasureKind::{Avg, Count, Max, Min, Sum};
        let measures = [(Count, false), (Sum, false), (Avg, false), (Min, false), (Max, true), (Sum, true)];
        let measure = |(kind, daily)| Measure { name: String::new(), kind, daily };
        Shape { measures: measures.into_iter().map(measure).collect(), is_table }
    }

    fn inputs() -> impl Strategy<Value = Vec<Option<Input>>> {
        let input = (-500_i64..500, 0_u32..3, 0_i32..3)
            .prop_map(|(mantissa, scale, day)| Input { value: Decimal::new(mantissa, scale), day });
        prop::collection::vec(prop::option::weighted(0.8, input), 6)
    }

    fn folded(shape: &Shape, records: &[Vec<Option<Input>>]) -> Group {
        let mut group = shape.empty();
        for inputs in records {
            shape.fold(&mut group, inputs, 1).unwrap();
        }
        group
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_records_are_split_or_ordered(
            records in prop::collection::vec(inputs(), 0..12), split in 0_usize..12, is_table: bool,
        ) {
            let shape = shape(is_table);
            let (one, other) = records.split_at(split.min(records.len()));
            let mut merged = folded(&shape, other);
            shape.merge(&mut merged, &folded(&shape, one)).unwrap();
            for today in 0..3 {
                prop_assert_eq!(shape.results(&merged, today), shape.results(&folded(&shape, &records), today));
            }
        }

        #[test]
        fn rows_that_are_taken_back_leave_no_trace(
            kept in prop::collection::vec(inputs(), 0..8), gone in prop::collection::vec(inputs(), 0..8),
        ) {
            let shape = shape(true);
            let mut group = folded(&shape, &gone);
            shape.merge(&mut group, &folded(&shape, &kept)).unwrap();
            for inputs in &gone {
                shape.fold(&mut group, inputs, -1).unwrap();
            }
            prop_assert_eq!(group.rows, kept.len() as i64);
            for today in 0..3 {
                prop_assert_eq!(shape.results(&group, today), shape.results(&folded(&shape, &kept), today));
            }
        }

        #[test]
        fn a_group_is_read_back(records in prop::collection::vec(inputs(), 0..12), is_table: bool) {
            let shape = shape(is_table);
            let group = folded(&shape, &records);
            let mut bytes = Vec::new();
            shape.write(&group, &mut bytes);
            prop_assert_eq!(shape.read(&mut Reader::new(&bytes)), Ok(group));
        }
    }

    #[test]
    fn nothing_has_a_count_and_a_sum_and_nothing_else() {
        let shape = shape(false);
        let results = shape.results(&shape.empty(), 0);
        assert_eq!(results[..2], [Some(Decimal::ZERO), Some(Decimal::ZERO)]);
        assert_eq!(results[2..5], [None, None, None]);
    }

    #[test]
    fn days_that_nobody_shows_any_more_are_forgotten() {
        let shape = shape(false);
        let one = Some(Input { value: Decimal::ONE, day: 4 });
        let mut group = folded(&shape, &[vec![one; 6]]);
        assert!(!shape.forget_days(&mut group, 4));
        assert!(shape.forget_days(&mut group, 5));
        assert_eq!(shape.results(&group, 4)[5], Some(Decimal::ZERO));
    }

    #[test]
    fn a_sum_that_has_too_many_digits_is_an_error_and_no_rounded_value() {
        let shape = shape(false);
        let input = |value| vec![Some(Input { value, day: 0 }); 6];
        let mut group = folded(&shape, &[input(Decimal::MAX)]);
        assert!(shape.fold(&mut group, &input("0.01".parse().unwrap()), 1).is_err());
    }
}
