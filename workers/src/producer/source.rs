//! Where the value of one field comes from: a checked `FieldValue`, ready to draw from.

use acequia_crds::pipeline::generator::{Choice, DecimalRange, FieldKind, FieldValue, IntRange};
use fastrand::Rng;
use rust_decimal::Decimal;

use super::expression::Expression;
use super::fake::Fake;
use super::value::Value;

/// A checked source of values.
#[derive(Clone, Debug)]
pub enum Source {
    /// Always this.
    Const(Value),
    /// The time of the round.
    Now,
    /// A random UUID.
    Uuid,
    /// Drawn from the random numbers, or from the value of another field.
    Drawn(Draw, Option<String>),
    /// A column of a row that exists in the same store.
    Existing {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column of the row that another field refers to.
    Lookup {
        /// The table.
        table: String,
        /// The column to take.
        column: String,
        /// The column that is referred to.
        key: String,
        /// The field that refers.
        by: String,
    },
    /// A column of the parent row.
    Parent(String),
    /// The old value plus a number between both.
    AddInt(i64, i64),
    /// Computed from other fields.
    Expression(Expression),
}

/// What random numbers are made into.
#[derive(Clone, Debug)]
pub enum Draw {
    /// A whole number between both, ends included.
    Int(i64, i64),
    /// A decimal number between both, ends included, counted in units of its last digit.
    Decimal {
        /// The least.
        low: i64,
        /// The greatest.
        high: i64,
        /// Digits after the point.
        scale: u32,
    },
    /// One of these, each with the sum of the weights up to and including its own.
    Choice(Vec<(u64, String)>),
    /// A made-up name.
    Fake(Fake),
}

impl Source {
    /// Checks what the manifest says; the error is the rest of a sentence that begins with the field's path.
    pub fn compile(field: &FieldValue) -> Result<Self, String> {
        let Some(kind) = field.kind() else {
            return Err(
                "has none or several kinds of value; give exactly one, for example `{const: created}`"
                    .to_owned(),
            );
        };
        let drawn = |draw: Draw| Self::Drawn(draw, kind.by().map(str::to_owned));
        Ok(match kind {
            FieldKind::Const(constant) => Self::Const(Value::from_json(constant)),
            FieldKind::Now => Self::Now,
            FieldKind::Uuid => Self::Uuid,
            FieldKind::Int(range) => drawn(int(range)?),
            FieldKind::Decimal(range) => drawn(decimal(range)?),
            FieldKind::Choice(list) => drawn(choice(list)?),
            FieldKind::Person(_) => drawn(Draw::Fake(Fake::Person)),
            FieldKind::Company(_) => drawn(Draw::Fake(Fake::Company)),
            FieldKind::Word(_) => drawn(Draw::Fake(Fake::Word)),
            FieldKind::Existing(existing) => {
                Self::Existing { table: existing.table.clone(), column: existing.column.clone() }
            }
            FieldKind::Lookup(lookup) => Self::Lookup {
                table: lookup.table.clone(),
                column: lookup.column.clone(),
                key: lookup.key.clone(),
                by: lookup.by.clone(),
            },
            FieldKind::Parent(column) => Self::Parent(column.to_owned()),
            FieldKind::AddInt(range) => add_int(range)?,
            FieldKind::Expression(text) => Self::Expression(Expression::compile(text)?),
        })
    }

    /// The fields of the same row that must be known first.
    pub fn needs(&self) -> Vec<&str> {
        match self {
            Self::Drawn(_, by) => by.iter().map(String::as_str).collect(),
            Self::Lookup { by, .. } => vec![by],
            Self::Expression(expression) => expression.fields().collect(),
            Self::Const(_)
            | Self::Now
            | Self::Uuid
            | Self::Existing { .. }
            | Self::Parent(_)
            | Self::AddInt(..) => Vec::new(),
        }
    }
}

impl Draw {
    /// Draws one value.
    pub fn draw(&self, rng: &mut Rng) -> Value {
        match self {
            Self::Int(min, max) => Value::Int(rng.i64(min..=max)),
            Self::Decimal { low, high, scale } => Value::Decimal(Decimal::new(rng.i64(low..=high), *scale)),
            Self::Choice(values) => Value::Text(weighted(values, rng).cloned().unwrap_or_default()),
            Self::Fake(fake) => Value::Text(fake.draw(rng)),
        }
    }
}

/// Random numbers that are the same for the same seed, field and value.
pub fn rng_by(seed: u64, field: &str, value: &Value) -> Rng {
    // FNV-1a: the standard library's hash may change with a release, and with it everybody's demo.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let text = value.text().unwrap_or_default();
    for byte in seed.to_be_bytes().into_iter().chain(field.bytes()).chain([0]).chain(text.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    Rng::with_seed(hash)
}

/// One of a list whose entries begin with the sum of the weights so far; `None` only from an empty list.
pub fn weighted<'a, T>(list: &'a [(u64, T)], rng: &mut Rng) -> Option<&'a T> {
    let (total, _) = list.last()?;
    let point = rng.u64(..(*total).max(1));
    list.iter().find(|(until, _)| point < *until).map(|(_, value)| value)
}

fn int(range: &IntRange) -> Result<Draw, String> {
    if range.min > range.max {
        return Err(format!("has min {} above max {}; swap them", range.min, range.max));
    }
    Ok(Draw::Int(range.min, range.max))
}

fn add_int(range: &IntRange) -> Result<Source, String> {
    if range.by.is_some() {
        return Err("has `by`, which addInt doesn't take; leave it out".to_owned());
    }
    int(range).map(|_| Source::AddInt(range.min, range.max))
}

fn decimal(range: &DecimalRange) -> Result<Draw, String> {
    let DecimalRange { min, max, scale, .. } = range;
    // The shortest text of a double is what the user wrote: 0.1 stays 0.1.
    let units = |bound: f64| {
        let exact: Decimal = bound.to_string().parse().ok()?;
        exact.checked_mul(Decimal::from(10_i64.checked_pow(*scale)?))
    };
    let fits = |units: Decimal| i64::try_from(units).ok();
    let low = units(*min).map(|units| units.ceil()).and_then(fits);
    let high = units(*max).map(|units| units.floor()).and_then(fits);
    match (low, high) {
        (Some(low), Some(high)) if low <= high => Ok(Draw::Decimal { low, high, scale: *scale }),
        (Some(_), Some(_)) => Err(format!(
            "has no decimal with {scale} digits after the point between min {min} and max {max}; swap or widen them"
        )),
        _ => Err(format!("has bounds that don't fit with {scale} digits after the point; make them smaller")),
    }
}

fn choice(choice: &Choice) -> Result<Draw, String> {
    let Choice { values, weights, .. } = choice;
    if values.is_empty() {
        return Err("has no values; list at least one".to_owned());
    }
    if !weights.is_empty() && weights.len() != values.len() {
        return Err(format!("has {} weights for {} values; give each its own", weights.len(), values.len()));
    }
    let mut total = 0;
    let sums: Vec<(u64, String)> = values
        .iter()
        .enumerate()
        .map(|(index, value)| {
            total += u64::from(weights.get(index).copied().unwrap_or(1));
            (total, value.clone())
        })
        .collect();
    if total == 0 {
        return Err("has weights that are all 0; make one of them positive".to_owned());
    }
    Ok(Draw::Choice(sums))
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;
    use proptest::prelude::*;

    use super::*;

    fn field(yaml: &str) -> FieldValue {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn draw(yaml: &str) -> Draw {
        match Source::compile(&field(yaml)).unwrap() {
            Source::Drawn(draw, _) => draw,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_field_has_exactly_one_kind() {
        for (yaml, message) in [
            ("{}", "none or several"),
            ("{now: {}, uuid: {}}", "none or several"),
            ("{int: {min: 2, max: 1}}", "min 2 above max 1"),
            ("{decimal: {min: 0.01, max: 0.09, scale: 1}}", "no decimal with 1 digits"),
            ("{decimal: {min: 0, max: 1e30}}", "don't fit"),
            ("{choice: {values: [a, b], weights: [1]}}", "1 weights for 2 values"),
            ("{choice: {values: [a], weights: [0]}}", "all 0"),
            ("{addInt: {min: 1, max: 2, by: id}}", "`by`"),
        ] {
            let error = Source::compile(&field(yaml)).unwrap_err();
            assert!(error.contains(message), "{yaml}: {error}");
        }
    }

    #[test]
    fn weights_are_honoured() {
        let draw = draw("{choice: {values: [completed, pending, failed], weights: [90, 10, 0]}}");
        let mut rng = Rng::with_seed(7);
        let drawn: Vec<Value> = (0..10_000).map(|_| draw.draw(&mut rng)).collect();
        let share = |text: &str| drawn.iter().filter(|value| **value == Value::Text(text.into())).count();
        assert!((8_800..9_200).contains(&share("completed")), "{}", share("completed"));
        assert_eq!(share("completed") + share("pending"), 10_000);
    }

    #[test]
    fn equal_keys_give_equal_values_and_other_fields_other_ones() {
        let draw = draw("{int: {min: 0, max: 1000000000, by: id}}");
        let of = |seed, field, key| draw.draw(&mut rng_by(seed, field, &Value::Int(key)));
        assert_eq!(of(7, "price", 3), of(7, "price", 3));
        assert_ne!(of(7, "price", 3), of(7, "price", 4));
        assert_ne!(of(7, "price", 3), of(7, "size", 3));
        assert_ne!(of(7, "price", 3), of(8, "price", 3));
    }

    proptest! {
        #[test]
        fn decimals_stay_in_range_and_scale(min in -1_000.0..1_000.0_f64, width in 1.0..500.0_f64, scale in 0..6_u32, seed: u64) {
            let max = min + width;
            let yaml = format!("{{decimal: {{min: {min}, max: {max}, scale: {scale}}}}}");
            let Value::Decimal(value) = draw(&yaml).draw(&mut Rng::with_seed(seed)) else { panic!() };
            prop_assert_eq!(value.scale(), scale);
            prop_assert!(value >= min.to_string().parse().unwrap(), "{} < {}", value, min);
            prop_assert!(value <= max.to_string().parse().unwrap(), "{} > {}", value, max);
        }

        #[test]
        fn whole_numbers_stay_in_range(min in -100..100_i64, width in 0..100_i64, seed: u64) {
            let drawn = draw(&format!("{{int: {{min: {min}, max: {}}}}}", min + width)).draw(&mut Rng::with_seed(seed));
            prop_assert!(matches!(drawn, Value::Int(value) if (min..=min + width).contains(&value)));
        }
    }
}
