//! Exact numbers: up to 28 digits, and an error where that isn't enough; never a rounded result, except that a
//! quotient is rounded to 28 digits.

use rust_decimal::Decimal;

/// Why there is no exact result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// The text isn't a number.
    #[error("`{0}` isn't a decimal number")]
    NotANumber(String),
    /// More digits than a decimal holds.
    #[error("{0} needs more than 28 digits, which is more than a decimal holds")]
    TooLong(String),
    /// Division by zero.
    #[error("division of {0} by zero")]
    DivisionByZero(Decimal),
}

/// Reads a number as JSON or a person writes it: `19.99`, `-3`, `1.5e3`.
pub fn parse(text: &str) -> Result<Decimal, DecimalError> {
    match short(text) {
        Some(value) => Ok(value),
        None => parse_any(text),
    }
}

/// The usual case: at most 18 digits and a point, no exponent.
fn short(text: &str) -> Option<Decimal> {
    const DIGITS: usize = 18;
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes.split_first()? {
        (b'-', digits) => (true, digits),
        _ => (false, bytes),
    };
    // One more for the point.
    if digits.len() > DIGITS + 1 || !digits.first()?.is_ascii_digit() {
        return None;
    }
    // In 64 bits without a sign, 19 digits fit as well.
    let mut mantissa = 0_u64;
    let mut point = None;
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => mantissa = mantissa * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let scale = match point {
        None if digits.len() > DIGITS => return None,
        None => 0,
        Some(at) => digits.len() - 1 - at,
    };
    // A point without digits behind it is for the long way to judge.
    if point.is_some() && scale == 0 {
        return None;
    }
    let mantissa = i64::try_from(mantissa).ok()?;
    Decimal::try_new(if negative { -mantissa } else { mantissa }, scale as u32).ok()
}

fn parse_any(text: &str) -> Result<Decimal, DecimalError> {
    let wrong = || DecimalError::NotANumber(cut(text));
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        None => (text, 0),
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| wrong())?),
    };
    let digits = mantissa.strip_prefix('-').unwrap_or(mantissa);
    if !digits.starts_with(|first: char| first.is_ascii_digit())
        || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Err(wrong());
    }
    let value = Decimal::from_str_exact(mantissa).map_err(|error| match error {
        rust_decimal::Error::ErrorString(_) => wrong(),
        _ => DecimalError::TooLong(cut(text)),
    })?;
    shifted(value, exponent).ok_or_else(|| DecimalError::TooLong(cut(text)))
}

/// The value times ten to the power of `exponent`.
fn shifted(value: Decimal, exponent: i32) -> Option<Decimal> {
    if exponent == 0 || value.is_zero() {
        return Some(value);
    }
    let mut value = value.normalize();
    let scale = i32::try_from(value.scale()).ok()?.checked_sub(exponent)?;
    if scale >= 0 {
        value.set_scale(u32::try_from(scale).ok()?).ok()?;
        return Some(value);
    }
    value.set_scale(0).ok()?;
    let factor = 10_i128.checked_pow(u32::try_from(-scale).ok()?)?;
    Decimal::try_from_i128_with_scale(value.mantissa().checked_mul(factor)?, 0).ok()
}

/// The exact sum.
pub fn add(left: Decimal, right: Decimal) -> Result<Decimal, DecimalError> {
    exact(left, right, "+", Decimal::checked_add, |left, right| left.scale().max(right.scale()))
}

/// The exact difference.
pub fn subtract(left: Decimal, right: Decimal) -> Result<Decimal, DecimalError> {
    add(left, -right).map_err(|_| too_long(left, right, "-"))
}

/// The exact product.
pub fn multiply(left: Decimal, right: Decimal) -> Result<Decimal, DecimalError> {
    exact(left, right, "*", Decimal::checked_mul, |left, right| left.scale() + right.scale())
}

/// The quotient, rounded to 28 digits where it doesn't come out.
pub fn divide(left: Decimal, right: Decimal) -> Result<Decimal, DecimalError> {
    if right.is_zero() {
        return Err(DecimalError::DivisionByZero(left));
    }
    left.checked_div(right).ok_or_else(|| too_long(left, right, "/"))
}

/// The remainder, with the sign of the left side.
pub fn remainder(left: Decimal, right: Decimal) -> Result<Decimal, DecimalError> {
    if right.is_zero() {
        return Err(DecimalError::DivisionByZero(left));
    }
    left.checked_rem(right).ok_or_else(|| too_long(left, right, "%"))
}

/// The result of an operation that gives up digits when it runs out of them: then its scale isn't the one it should
/// be. Zeros at the end of the operands are worth another try without them.
fn exact(
    left: Decimal,
    right: Decimal,
    operator: &str,
    operation: impl Fn(Decimal, Decimal) -> Option<Decimal>,
    scale: impl Fn(Decimal, Decimal) -> u32,
) -> Result<Decimal, DecimalError> {
    let attempt = |left: Decimal, right: Decimal| {
        operation(left, right)
            .filter(|result| result.scale() == scale(left, right) || left.is_zero() || right.is_zero())
    };
    attempt(left, right)
        .or_else(|| attempt(left.normalize(), right.normalize()))
        .ok_or_else(|| too_long(left, right, operator))
}

fn too_long(left: Decimal, right: Decimal, operator: &str) -> DecimalError {
    DecimalError::TooLong(format!("{left} {operator} {right}"))
}

/// Enough of a text for a message.
fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}
