//! The two kinds of numbers CEL doesn't have: an exact decimal, and a number of a record that still has its text.

use std::any::Any;
use std::cmp::Ordering;
use std::sync::LazyLock;

use cel::common::types::{CelDouble, CelInt, CelUInt, DOUBLE_TYPE, Type};
use cel::common::value::{StaticVal, Val};
use rust_decimal::Decimal;

use super::decimal;

static DECIMAL_TYPE: LazyLock<Type> = LazyLock::new(decimal_type);

/// The type of decimals, as functions are declared for it.
pub(super) fn decimal_type() -> Type {
    Type::new_opaque_type("decimal")
}

/// What `decimal(..)` yields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DecimalValue(pub Decimal);

impl Val for DecimalValue {
    fn get_type(&self) -> &Type {
        &DECIMAL_TYPE
    }

    fn cel_type() -> &'static Type {
        &DECIMAL_TYPE
    }

    fn equals(&self, other: &dyn Val) -> bool {
        compare(self, other) == Some(Ordering::Equal)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for DecimalValue {}

/// A number that isn't whole, as it stood in the record or in the expression: a `double` to everything but
/// `decimal(..)` and decimals, which read its text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WrittenNumber {
    pub text: Box<str>,
    pub double: f64,
}

impl WrittenNumber {
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), double: text.parse().unwrap_or(f64::NAN) }
    }
}

impl Val for WrittenNumber {
    fn get_type(&self) -> &Type {
        &DOUBLE_TYPE
    }

    fn cel_type() -> &'static Type {
        &DOUBLE_TYPE
    }

    fn equals(&self, other: &dyn Val) -> bool {
        compare(self, other) == Some(Ordering::Equal)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for WrittenNumber {}

/// A number of any kind.
#[derive(Clone, Debug)]
pub(super) enum Number<'a> {
    Int(i64),
    UInt(u64),
    Double(f64),
    Written(&'a WrittenNumber),
    Decimal(Decimal),
}

impl<'a> Number<'a> {
    pub fn of(value: &'a (dyn Val + '_)) -> Option<Self> {
        if let Some(number) = value.downcast_ref::<CelInt>() {
            return Some(Self::Int(*number.inner()));
        }
        if let Some(number) = value.downcast_ref::<CelDouble>() {
            return Some(Self::Double(*number.inner()));
        }
        if let Some(number) = value.downcast_ref::<WrittenNumber>() {
            return Some(Self::Written(number));
        }
        if let Some(number) = value.downcast_ref::<DecimalValue>() {
            return Some(Self::Decimal(number.0));
        }
        value.downcast_ref::<CelUInt>().map(|number| Self::UInt(*number.inner()))
    }

    pub fn is_decimal(&self) -> bool {
        matches!(self, Self::Decimal(_))
    }

    /// The exact value; a double that was computed has none worth the name.
    pub fn exact(&self) -> Result<Decimal, String> {
        match self {
            Self::Int(number) => Ok(Decimal::from(*number)),
            Self::UInt(number) => Ok(Decimal::from(*number)),
            Self::Written(number) => decimal::parse(&number.text).map_err(|error| error.to_string()),
            Self::Decimal(number) => Ok(*number),
            Self::Double(number) => Err(format!(
                "a double ({number}) isn't exact, so it doesn't mix with decimals: put `decimal(..)` around what it is \
                 computed from"
            )),
        }
    }

    /// The nearest double; none for a decimal, which would lose digits.
    pub fn double(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::UInt(number) => Some(*number as f64),
            Self::Double(number) => Some(*number),
            Self::Written(number) => Some(number.double),
            Self::Decimal(_) => None,
        }
    }
}

/// How two numbers compare; none where they can't be compared.
pub(super) fn compare(left: &dyn Val, right: &dyn Val) -> Option<Ordering> {
    let (left, right) = (Number::of(left)?, Number::of(right)?);
    if left.is_decimal() || right.is_decimal() {
        return Some(left.exact().ok()?.cmp(&right.exact().ok()?));
    }
    match (&left, &right) {
        (Number::Int(left), Number::Int(right)) => Some(left.cmp(right)),
        (Number::UInt(left), Number::UInt(right)) => Some(left.cmp(right)),
        (left, right) => left.double()?.partial_cmp(&right.double()?),
    }
}
