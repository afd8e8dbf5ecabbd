//! Exact numbers of any length as PostgreSQL sends them: digits of base 10,000, straight from their text.

use acequia_crds::column_type::Precision;

/// Highest decimal position before the point, and number of digits behind it, that a `numeric` holds.
const HIGHEST: i32 = 131_071;
const MAX_SCALE: i32 = 16_383;

/// Why a text isn't a `numeric` of some precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumericError {
    /// It isn't a number.
    NotANumber,
    /// It has too many digits before the point.
    OutOfRange,
}

/// A number as it is written.
#[derive(Clone, Copy)]
struct Written<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i32,
}

/// Appends the number, rounded half away from zero to the scale of `precision`, as the server would.
pub(super) fn encode(
    text: &str,
    precision: Option<Precision>,
    out: &mut Vec<u8>,
) -> Result<(), NumericError> {
    if text == "NaN" {
        out.extend([0, 0, 0, 0, 0xc0, 0, 0, 0]);
        return Ok(());
    }
    let number = Written::parse(text).ok_or(NumericError::NotANumber)?;
    if number.exponent.abs() > 2 * HIGHEST {
        return if number.highest().is_none() {
            encode("0", precision, out)
        } else {
            Err(NumericError::OutOfRange)
        };
    }
    let Some(precision) = precision else {
        let scale = number.scale();
        return number.emit(scale, -scale, HIGHEST, out);
    };
    let scale = i32::from(precision.scale);
    let highest_allowed = i32::from(precision.digits) - scale - 1;
    if number.digit(-scale - 1) >= 5 {
        let digits = number.rounded_up(scale);
        let rounded = Written { negative: number.negative, whole: &digits, fraction: &[], exponent: -scale };
        return rounded.emit(scale, -scale, highest_allowed, out);
    }
    number.emit(scale, -scale, highest_allowed, out)
}

impl<'a> Written<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (text, exponent) = match text.split_once(['e', 'E']) {
            None => (text, 0),
            Some((text, exponent)) => {
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                // Far out of range either way.
                let cap = if exponent.starts_with('-') { i32::MIN / 2 } else { i32::MAX / 2 };
                (text, exponent.parse().unwrap_or(cap).clamp(i32::MIN / 2, i32::MAX / 2))
            }
        };
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let valid = !whole.is_empty() && digits(whole) && digits(fraction);
        valid.then_some(Self { negative, whole: whole.as_bytes(), fraction: fraction.as_bytes(), exponent })
    }

    /// The digit at a decimal position: 0 is the ones, −1 the tenths.
    fn digit(&self, position: i32) -> u8 {
        let position = position - self.exponent;
        let index = if position >= 0 {
            let from_the_end = position as usize;
            let Some(index) = self.whole.len().checked_sub(from_the_end + 1) else { return 0 };
            return self.whole[index] - b'0';
        } else {
            (-position - 1) as usize
        };
        self.fraction.get(index).map_or(0, |digit| digit - b'0')
    }

    /// Digits behind the point.
    fn scale(&self) -> i32 {
        (self.fraction.len() as i32 - self.exponent).max(0)
    }

    /// The position of the first digit that isn't zero.
    fn highest(&self) -> Option<i32> {
        let digits = self.whole.iter().chain(self.fraction);
        let zeros = digits.take_while(|digit| **digit == b'0').count() as i32;
        let all = (self.whole.len() + self.fraction.len()) as i32;
        (zeros < all).then(|| self.whole.len() as i32 - 1 - zeros + self.exponent)
    }

    /// All digits down to `scale` behind the point, and one more of the last of them.
    fn rounded_up(&self, scale: i32) -> Vec<u8> {
        let top = self.highest().unwrap_or(0).max(-scale) + 1;
        let mut digits: Vec<u8> = (-scale..=top).rev().map(|position| self.digit(position) + b'0').collect();
        for digit in digits.iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
        digits
    }

    /// Appends the digits down to the position `floor`, shown with `scale` digits behind the point.
    fn emit(
        &self,
        scale: i32,
        floor: i32,
        highest_allowed: i32,
        out: &mut Vec<u8>,
    ) -> Result<(), NumericError> {
        if scale > MAX_SCALE {
            return Err(NumericError::OutOfRange);
        }
        let highest = self.highest().filter(|highest| *highest >= floor);
        if highest.is_some_and(|highest| highest > highest_allowed) {
            return Err(NumericError::OutOfRange);
        }
        let head = out.len();
        let sign: u16 = if self.negative && highest.is_some() { 0x4000 } else { 0 };
        let weight = highest.map_or(0, |highest| highest.div_euclid(4));
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(weight as i16).to_be_bytes());
        out.extend_from_slice(&sign.to_be_bytes());
        out.extend_from_slice(&(scale as u16).to_be_bytes());
        if highest.is_none() {
            return Ok(());
        }
        let mut end = out.len();
        for group in (floor.div_euclid(4)..=weight).rev() {
            let digit = |position: i32| if position < floor { 0 } else { u16::from(self.digit(position)) };
            let value = (0..4).rev().fold(0, |value, place| value * 10 + digit(group * 4 + place));
            out.extend_from_slice(&value.to_be_bytes());
            if value != 0 {
                end = out.len();
            }
        }
        // Groups of zeros at the end aren't sent.
        out.truncate(end);
        let groups = ((end - head - 8) / 2) as u16;
        out[head..head + 2].copy_from_slice(&groups.to_be_bytes());
        Ok(())
    }
}
