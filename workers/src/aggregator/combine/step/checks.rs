//! Why a record isn't counted.

use crate::aggregator::codec::Unreadable;
use crate::aggregator::combine::step::Held;
use crate::aggregator::measure::Input;
use crate::aggregator::record::{Rejected, Unread};
use crate::aggregator::window::Window;
use crate::expression::DecimalError;

/// More decimals than this, or as many digits before them, aren't summed: sums must have room.
const MAX_SCALE: u32 = 12;
const MAX_NUMBER: i128 = 1_000_000_000_000_000;
/// An event that claims to be further ahead of its record's own time than this is taken for a fault of its clock.
pub const MAX_AHEAD_MS: i64 = 3_600_000;

pub(super) enum Refused {
    Held(Held),
    Rejected(Rejected),
}

impl Refused {
    pub(super) fn unreadable(id: &str, error: &Unreadable) -> Self {
        Self::Held(Held::Stopped(format!("{id}: the changelog of its rows holds {error}")))
    }
}

impl From<Rejected> for Refused {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl From<Unread> for Refused {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Rejected(rejected) => Self::Rejected(rejected),
            Unread::Missing { lookup, key } => Self::Held(Held::Waits { lookup, key }),
        }
    }
}

impl From<DecimalError> for Refused {
    fn from(error: DecimalError) -> Self {
        Self::Held(Held::Stopped(format!("a sum has become too long: {error}; count in larger units")))
    }
}
pub(super) fn check_time(window: &Window, event_ms: i64, timestamp_ms: i64) -> Result<(), Rejected> {
    if *window == Window::Global || event_ms <= timestamp_ms.saturating_add(MAX_AHEAD_MS) {
        return Ok(());
    }
    let ahead_s = event_ms.saturating_sub(timestamp_ms) / 1000;
    let cause = format!(
        "its event time is {ahead_s} s ahead of the record's own time; mend the clock or the time zone"
    );
    Err(Rejected { cause })
}

pub(super) fn check_numbers(inputs: &[Option<Input>]) -> Result<(), Rejected> {
    for Input { value, .. } in inputs.iter().flatten() {
        let fits = value.scale() <= MAX_SCALE && value.mantissa().abs() < MAX_NUMBER;
        if !fits && !fits_normalized(*value) {
            let cause = format!(
                "{value} has more digits than can be summed exactly: 15 before the point and 12 after"
            );
            return Err(Rejected { cause });
        }
    }
    Ok(())
}

fn fits_normalized(value: rust_decimal::Decimal) -> bool {
    value.normalize().scale() <= MAX_SCALE && value.trunc().mantissa().abs() < MAX_NUMBER
}

pub(super) fn too_late(event_ms: i64) -> String {
    format!("its window has closed (event time {event_ms} ms)")
}
