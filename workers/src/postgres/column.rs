//! One value into one column: checked as the server would check it, then in the form the server receives.

use std::borrow::Cow;

pub use acequia_crds::column_type::{ColumnType, Precision, UnknownColumnType};

use super::column_numeric::{self, NumericError};
use super::column_time;
use crate::expression::{EvaluationError, Oddities, Value};

/// Why a column can't hold a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The record has no such field, and the column needs one.
    #[error("the value is missing, and the column isn't `optional`")]
    Missing,
    /// The value is null, and the column needs one.
    #[error("the value is null, and the column isn't `optional`")]
    Null,
    /// The value is of another kind.
    #[error("{found} doesn't fit into {column_type}")]
    Mismatch {
        /// What it is.
        found: &'static str,
        /// The type of the column.
        column_type: ColumnType,
    },
    /// The text or number doesn't stand for a value of the type.
    #[error("`{text}` isn't a value of {column_type}")]
    Malformed {
        /// The text, cut.
        text: String,
        /// The type of the column.
        column_type: ColumnType,
    },
    /// The type holds no number or time that large.
    #[error("`{text}` is out of the range of {column_type}")]
    OutOfRange {
        /// The text, cut.
        text: String,
        /// The type of the column.
        column_type: ColumnType,
    },
    /// More characters than the type holds.
    #[error("a text of {length} characters doesn't fit into {column_type}")]
    TooLong {
        /// Characters of the text.
        length: usize,
        /// The type of the column.
        column_type: ColumnType,
    },
    /// PostgreSQL's texts hold no NUL.
    #[error("the text holds a NUL character, which PostgreSQL can't store")]
    Nul,
    /// JSON that `jsonb` doesn't take.
    #[error("the JSON holds {what}, which jsonb can't store")]
    Unstorable {
        /// What it holds.
        what: &'static str,
    },
    /// The column's expression has no value.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
}

/// Appends a value that is neither absent nor null, without its length.
pub(super) fn encode(value: &Value<'_>, column_type: ColumnType, out: &mut Vec<u8>) -> Result<(), Cause> {
    let target = Target { value, column_type };
    match column_type {
        ColumnType::Bool => out.push(u8::from(target.boolean()?)),
        ColumnType::SmallInt => out.extend_from_slice(&target.whole::<i16>()?.to_be_bytes()),
        ColumnType::Integer => out.extend_from_slice(&target.whole::<i32>()?.to_be_bytes()),
        ColumnType::BigInt => out.extend_from_slice(&target.whole::<i64>()?.to_be_bytes()),
        ColumnType::Real => out.extend_from_slice(&target.real()?.to_be_bytes()),
        ColumnType::Double => out.extend_from_slice(&target.double()?.to_be_bytes()),
        ColumnType::Numeric(precision) => target.numeric(precision, out)?,
        ColumnType::Text => out.extend_from_slice(target.text(None)?.as_bytes()),
        ColumnType::Varchar(limit) => out.extend_from_slice(target.text(limit)?.as_bytes()),
        ColumnType::Char(limit) => out.extend_from_slice(target.text(Some(limit))?.as_bytes()),
        ColumnType::Uuid => out.extend(uuid(target.written()?).ok_or_else(|| target.malformed())?),
        ColumnType::Date => out.extend_from_slice(&target.date()?.to_be_bytes()),
        ColumnType::Time => {
            let micros = column_time::time(target.written()?.trim()).ok_or_else(|| target.malformed())?;
            out.extend_from_slice(&micros.to_be_bytes());
        }
        ColumnType::Timestamp | ColumnType::Timestamptz => {
            out.extend_from_slice(&target.instant()?.to_be_bytes());
        }
        ColumnType::Json | ColumnType::Jsonb => {
            let text = target.json()?;
            json(&text, Oddities::of(&text), column_type, out)?;
        }
        ColumnType::Bytea => target.bytes(out)?,
    }
    Ok(())
}

/// Appends a checked JSON text, in which `found` was found, into a JSON column.
pub(super) fn json(
    text: &str,
    found: Oddities,
    column_type: ColumnType,
    out: &mut Vec<u8>,
) -> Result<(), Cause> {
    if column_type == ColumnType::Jsonb {
        let what = if found.nul {
            Some("a NUL character")
        } else if found.half_character {
            Some("half a character (a surrogate without its other half)")
        } else {
            found.huge_number.then_some("a number of more digits than a numeric")
        };
        if let Some(what) = what {
            return Err(Cause::Unstorable { what });
        }
        // The version of the format.
        out.push(1);
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// A value on its way into a column.
struct Target<'a, 'r> {
    value: &'a Value<'r>,
    column_type: ColumnType,
}

impl Target<'_, '_> {
    fn mismatch(&self) -> Cause {
        Cause::Mismatch { found: self.value.kind(), column_type: self.column_type }
    }

    fn malformed(&self) -> Cause {
        Cause::Malformed { text: self.shown(), column_type: self.column_type }
    }

    fn out_of_range(&self) -> Cause {
        Cause::OutOfRange { text: self.shown(), column_type: self.column_type }
    }

    /// Enough of the value for a message.
    fn shown(&self) -> String {
        let text = match self.value {
            Value::Number(text) | Value::Text(text) | Value::Json(text) => Cow::Borrowed(text.as_ref()),
            Value::Int(number) => number.to_string().into(),
            Value::Double(number) => number.to_string().into(),
            Value::Decimal(number) => number.to_string().into(),
            Value::Timestamp(micros) => format!("{micros} microseconds since 1970").into(),
            other => other.kind().into(),
        };
        text.chars().take(60).collect()
    }

    /// A text or a number as it is written.
    fn written(&self) -> Result<&str, Cause> {
        match self.value {
            Value::Number(text) | Value::Text(text) => Ok(text),
            _ => Err(self.mismatch()),
        }
    }

    fn boolean(&self) -> Result<bool, Cause> {
        match self.value {
            Value::Bool(value) => Ok(*value),
            Value::Text(text) => match text.as_ref() {
                "true" | "t" => Ok(true),
                "false" | "f" => Ok(false),
                _ => Err(self.malformed()),
            },
            _ => Err(self.mismatch()),
        }
    }

    fn whole<T: TryFrom<i64> + std::str::FromStr>(&self) -> Result<T, Cause> {
        let wide = match self.value {
            Value::Number(text) | Value::Text(text) => match text.parse::<T>() {
                Ok(number) => return Ok(number),
                Err(_) => whole_of(text.trim()).map_err(|error| match error {
                    NumericError::NotANumber => self.malformed(),
                    NumericError::OutOfRange => self.out_of_range(),
                })?,
            },
            Value::Int(number) => *number,
            Value::Decimal(number) if number.fract().is_zero() => {
                i64::try_from(*number).map_err(|_| self.out_of_range())?
            }
            Value::Double(number) if number.fract() == 0.0 => {
                // Beyond it, neighbouring whole numbers are the same double.
                let exact = number.abs() <= 9_007_199_254_740_992.0;
                if exact { *number as i64 } else { return Err(self.out_of_range()) }
            }
            Value::Decimal(_) | Value::Double(_) => return Err(self.malformed()),
            _ => return Err(self.mismatch()),
        };
        T::try_from(wide).map_err(|_| self.out_of_range())
    }

    fn double(&self) -> Result<f64, Cause> {
        match self.value {
            Value::Number(text) => self.finite(text),
            Value::Text(text) => match text.trim() {
                "NaN" => Ok(f64::NAN),
                "Infinity" => Ok(f64::INFINITY),
                "-Infinity" => Ok(f64::NEG_INFINITY),
                // Rust reads `inf` and `.5` too; a number begins with a digit.
                text if text.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit()) => {
                    self.finite(text)
                }
                _ => Err(self.malformed()),
            },
            Value::Int(number) => Ok(*number as f64),
            Value::Double(number) => Ok(*number),
            Value::Decimal(number) => self.finite(&number.to_string()),
            _ => Err(self.mismatch()),
        }
    }

    fn finite(&self, text: &str) -> Result<f64, Cause> {
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) => Err(self.out_of_range()),
            Err(_) => Err(self.malformed()),
        }
    }

    fn real(&self) -> Result<f32, Cause> {
        let double = self.double()?;
        let real = double as f32;
        if real.is_finite() == double.is_finite() { Ok(real) } else { Err(self.out_of_range()) }
    }

    fn numeric(&self, precision: Option<Precision>, out: &mut Vec<u8>) -> Result<(), Cause> {
        let text = match self.value {
            Value::Number(text) => Cow::Borrowed(text.as_ref()),
            Value::Text(text) => Cow::Borrowed(text.trim()),
            Value::Int(number) => number.to_string().into(),
            Value::Decimal(number) => number.to_string().into(),
            Value::Double(number) if number.is_finite() => number.to_string().into(),
            Value::Double(_) => return Err(self.out_of_range()),
            _ => return Err(self.mismatch()),
        };
        column_numeric::encode(&text, precision, out).map_err(|error| match error {
            NumericError::NotANumber => self.malformed(),
            NumericError::OutOfRange => self.out_of_range(),
        })
    }

    fn text(&self, limit: Option<u32>) -> Result<Cow<'_, str>, Cause> {
        let text = match self.value {
            Value::Text(text) | Value::Number(text) | Value::Json(text) => Cow::Borrowed(text.as_ref()),
            Value::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Value::Int(_) | Value::Double(_) | Value::Decimal(_) => Cow::Owned(self.shown()),
            Value::Timestamp(micros) => {
                let time = jiff::Timestamp::from_microsecond(*micros).map_err(|_| self.out_of_range())?;
                Cow::Owned(time.to_string())
            }
            Value::Absent | Value::Null | Value::Bytes(_) => return Err(self.mismatch()),
        };
        if text.as_bytes().contains(&0) {
            return Err(Cause::Nul);
        }
        match limit {
            // No text has more characters than bytes.
            Some(limit) if text.len() > limit as usize => {
                // As in SQL, spaces at the end don't count; the server cuts them.
                let length = text.trim_end_matches(' ').chars().count();
                if length > limit as usize {
                    return Err(Cause::TooLong { length, column_type: self.column_type });
                }
                Ok(text)
            }
            _ => Ok(text),
        }
    }

    fn date(&self) -> Result<i32, Cause> {
        column_time::date(self.written()?.trim()).ok_or_else(|| self.malformed())
    }

    /// Numbers are milliseconds since 1970.
    fn instant(&self) -> Result<i64, Cause> {
        let from_unix =
            |micros: Option<i64>| micros.and_then(column_time::instant).ok_or_else(|| self.out_of_range());
        match self.value {
            Value::Text(text) => column_time::timestamp(text.trim()).ok_or_else(|| self.malformed()),
            Value::Timestamp(micros) => from_unix(Some(*micros)),
            Value::Int(millis) => from_unix(millis.checked_mul(1000)),
            Value::Number(_) | Value::Double(_) | Value::Decimal(_) => {
                if let Ok(millis) = self.whole::<i64>() {
                    return from_unix(millis.checked_mul(1000));
                }
                let micros = (self.double()? * 1000.0).round();
                from_unix((micros.abs() < 9.2e18).then_some(micros as i64))
            }
            _ => Err(self.mismatch()),
        }
    }

    fn json(&self) -> Result<Cow<'_, str>, Cause> {
        match self.value {
            Value::Json(text) | Value::Number(text) => Ok(Cow::Borrowed(text)),
            Value::Text(text) => Ok(Cow::Owned(serde_json::Value::from(text.as_ref()).to_string())),
            Value::Bool(_) | Value::Int(_) | Value::Decimal(_) => self.text(None),
            Value::Double(number) if number.is_finite() => self.text(None),
            Value::Double(_) => Err(self.out_of_range()),
            Value::Timestamp(_) => Ok(Cow::Owned(format!("\"{}\"", self.text(None)?))),
            Value::Absent | Value::Null | Value::Bytes(_) => Err(self.mismatch()),
        }
    }

    /// A text is base64, or hexadecimal after `\x`.
    fn bytes(&self, out: &mut Vec<u8>) -> Result<(), Cause> {
        use base64::Engine as _;

        match self.value {
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            Value::Text(text) => match text.strip_prefix("\\x") {
                Some(hex) => out.extend(hexadecimal(hex.as_bytes()).ok_or_else(|| self.malformed())?),
                None => base64::engine::general_purpose::STANDARD
                    .decode_vec(text.as_bytes(), out)
                    .map_err(|_| self.malformed())?,
            },
            _ => return Err(self.mismatch()),
        }
        Ok(())
    }
}

/// A whole number that is written with a fraction of zeros or an exponent.
fn whole_of(text: &str) -> Result<i64, NumericError> {
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits(text.strip_prefix('-').unwrap_or(text)) {
        return text.parse().map_err(|_| NumericError::OutOfRange);
    }
    let number = crate::expression::parse_decimal(text).map_err(|error| match error {
        crate::expression::DecimalError::NotANumber(_) => NumericError::NotANumber,
        _ => NumericError::OutOfRange,
    })?;
    if !number.fract().is_zero() {
        return Err(NumericError::NotANumber);
    }
    i64::try_from(number).map_err(|_| NumericError::OutOfRange)
}

/// With hyphens in their places or with none.
fn uuid(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let digits: Vec<u8> = match bytes.len() {
        32 => bytes.to_vec(),
        36 if [8, 13, 18, 23].iter().all(|at| bytes[*at] == b'-') => {
            bytes.iter().copied().filter(|byte| *byte != b'-').collect()
        }
        _ => return None,
    };
    hexadecimal(&digits).filter(|bytes| bytes.len() == 16)
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    digits.chunks(2).map(pair).collect()
}
