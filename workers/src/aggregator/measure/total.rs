//! What some inputs come to.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::MeasureKind;
use crate::aggregator::codec::{Reader, Unreadable, Write};
use crate::expression::{DecimalError, add_decimal, divide_decimal};

/// What some inputs come to. Totals of disjoint sets of inputs can be added in any order.
#[derive(Clone, Debug, PartialEq)]
pub enum Total {
    /// Their number.
    Count(i64),
    /// Their sum.
    Sum(Decimal),
    /// Their sum and their number.
    Avg(Decimal, i64),
    /// The least, or the greatest: of records that are never taken back, nothing else is needed.
    Extreme(Option<Decimal>),
    /// How often there is each value, where records can be taken back.
    Values(BTreeMap<Decimal, i64>),
}

impl Total {
    pub(super) fn fold(&mut self, kind: MeasureKind, value: Decimal, sign: i64) -> Result<(), DecimalError> {
        let signed = |value: Decimal| if sign < 0 { -value } else { value };
        match self {
            Self::Count(count) => *count += sign,
            Self::Sum(sum) => *sum = add_decimal(*sum, signed(value))?,
            Self::Avg(sum, count) => {
                *sum = add_decimal(*sum, signed(value))?;
                *count += sign;
            }
            Self::Extreme(extreme) => *extreme = Some(extreme.map_or(value, |old| better(kind, old, value))),
            Self::Values(values) => balance(values, value, sign),
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, kind: MeasureKind, other: &Self) -> Result<(), DecimalError> {
        match (self, other) {
            (Self::Count(count), Self::Count(other)) => *count += other,
            (Self::Sum(sum), Self::Sum(other)) => *sum = add_decimal(*sum, *other)?,
            (Self::Avg(sum, count), Self::Avg(other, others)) => {
                *sum = add_decimal(*sum, *other)?;
                *count += others;
            }
            (Self::Extreme(extreme), Self::Extreme(Some(other))) => {
                *extreme = Some(extreme.map_or(*other, |old| better(kind, old, *other)));
            }
            (Self::Values(values), Self::Values(others)) => {
                for (value, times) in others {
                    balance(values, *value, *times);
                }
            }
            // Both come from the same shape.
            _ => {}
        }
        Ok(())
    }

    /// As good as absent. Only where records can be taken back do totals come to nothing again.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Self::Count(count) => *count == 0,
            // A sum of zero may be that of many records; it costs little to keep.
            Self::Sum(_) | Self::Extreme(_) => false,
            Self::Avg(sum, count) => *count == 0 && sum.is_zero(),
            Self::Values(values) => values.is_empty(),
        }
    }

    pub(super) fn result(&self, kind: MeasureKind) -> Option<Decimal> {
        match self {
            Self::Count(count) => Some((*count).into()),
            Self::Sum(sum) => Some(sum.normalize()),
            Self::Avg(sum, count) => Some(divide_decimal(*sum, (*count).into()).ok()?.normalize()),
            Self::Extreme(extreme) => extreme.map(|value| value.normalize()),
            Self::Values(values) => {
                let mut there =
                    values.iter().filter(|(_, times)| **times > 0).map(|(value, _)| value.normalize());
                if kind == MeasureKind::Min { there.next() } else { there.next_back() }
            }
        }
    }

    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Count(count) => bytes.signed((*count).into()),
            Self::Sum(sum) => bytes.decimal(*sum),
            Self::Avg(sum, count) => {
                bytes.decimal(*sum);
                bytes.signed((*count).into());
            }
            Self::Extreme(extreme) => {
                bytes.push(extreme.is_some().into());
                if let Some(value) = extreme {
                    bytes.decimal(*value);
                }
            }
            Self::Values(values) => {
                bytes.unsigned(values.len() as u128);
                for (value, times) in values {
                    bytes.decimal(*value);
                    bytes.signed((*times).into());
                }
            }
        }
    }

    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Unreadable> {
        match self {
            Self::Count(count) => *count = reader.signed64()?,
            Self::Sum(sum) => *sum = reader.decimal()?,
            Self::Avg(sum, count) => (*sum, *count) = (reader.decimal()?, reader.signed64()?),
            Self::Extreme(extreme) => {
                *extreme = if reader.byte()? == 1 { Some(reader.decimal()?) } else { None }
            }
            Self::Values(values) => {
                for _ in 0..reader.count()? {
                    let value = reader.decimal()?;
                    values.insert(value, reader.signed64()?);
                }
            }
        }
        Ok(())
    }
}

fn better(kind: MeasureKind, old: Decimal, new: Decimal) -> Decimal {
    if kind == MeasureKind::Min { old.min(new) } else { old.max(new) }
}

/// A value is there `times` more often. Partial values may take back what another partition's added, so a number
/// below zero is kept.
fn balance(values: &mut BTreeMap<Decimal, i64>, value: Decimal, times: i64) {
    let balance = values.entry(value).or_default();
    *balance += times;
    if *balance == 0 {
        values.remove(&value);
    }
}
