//! What an expression yields.

use std::borrow::Cow;

use rust_decimal::Decimal;

/// A value, borrowed from the record where it can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'r> {
    /// The record has no such field.
    Absent,
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number that was computed.
    Int(i64),
    /// A binary floating-point number that was computed.
    Double(f64),
    /// An exact number that was computed.
    Decimal(Decimal),
    /// A number as it stands in the record: its text, nothing lost.
    Number(Cow<'r, str>),
    /// A text.
    Text(Cow<'r, str>),
    /// An object or an array: its JSON text.
    Json(Cow<'r, str>),
    /// An instant, in microseconds since 1970 (UTC).
    Timestamp(i64),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A text with half a character in it (a surrogate without its other half).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text holds half a character (a surrogate without its other half)")]
pub struct HalfCharacter;

impl<'r> Value<'r> {
    /// The value that a checked JSON text stands for.
    ///
    /// # Errors
    /// It is a text that no sequence of characters stands for.
    pub fn of_json(text: &'r str) -> Result<Self, HalfCharacter> {
        Ok(match text.as_bytes().first() {
            Some(b'"') => Self::Text(unquoted(text)?),
            Some(b'{' | b'[') => Self::Json(Cow::Borrowed(text)),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            Some(_) => Self::Number(Cow::Borrowed(text)),
            None => Self::Absent,
        })
    }

    /// The same value without anything borrowed.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Absent => Value::Absent,
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Double(value) => Value::Double(value),
            Self::Decimal(value) => Value::Decimal(value),
            Self::Number(text) => Value::Number(Cow::Owned(text.into_owned())),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Json(text) => Value::Json(Cow::Owned(text.into_owned())),
            Self::Timestamp(value) => Value::Timestamp(value),
            Self::Bytes(value) => Value::Bytes(value),
        }
    }

    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Double(_) | Self::Decimal(_) | Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Json(_) => "an object or array",
            Self::Timestamp(_) => "a time",
            Self::Bytes(_) => "bytes",
        }
    }
}

/// What is between the quotes of a checked JSON text that is a text without escapes.
pub fn plain_text(json: &str) -> Option<&str> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.as_bytes().contains(&b'\\')).then_some(inner)
}

/// The characters between the quotes of a checked JSON text.
fn unquoted(quoted: &str) -> Result<Cow<'_, str>, HalfCharacter> {
    match quoted.get(1..quoted.len() - 1) {
        Some(inner) if !inner.as_bytes().contains(&b'\\') => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str::<String>(quoted).map(Cow::Owned).map_err(|_| HalfCharacter),
    }
}
