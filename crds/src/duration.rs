//! Durations as users write them: `100ms`, `10s`, `2m`, `1h`, `1d`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The units, largest first, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A whole number of milliseconds, written as a number and one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    ms: u64,
}

/// Why a text is not a duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidDuration {
    /// A bare number: nobody can know the unit.
    #[error("`{0}` has no unit; write `{0}s` for seconds (units: ms, s, m, h, d)")]
    NoUnit(String),
    /// Not a number with a unit at all.
    #[error(
        "`{0}` is not a duration; write a whole number and a unit, for example `10s` (units: ms, s, m, h, d)"
    )]
    Malformed(String),
    /// More milliseconds than fit.
    #[error("`{0}` is too long")]
    TooLong(String),
}

impl Duration {
    /// How one looks, for schemas.
    pub const PATTERN: &str = "^[0-9]{1,9}(ms|[smhd])$";

    /// From whole milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self { ms }
    }

    /// In milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.ms
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        Self::from_millis(duration.ms)
    }
}

impl FromStr for Duration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(InvalidDuration::Malformed(text.to_owned()));
        }
        if unit.is_empty() {
            return Err(InvalidDuration::NoUnit(text.to_owned()));
        }
        let Some((_, unit_ms)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(InvalidDuration::Malformed(text.to_owned()));
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(*unit_ms))
            .map(Self::from_ms)
            .ok_or_else(|| InvalidDuration::TooLong(text.to_owned()))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, unit_ms) = UNITS
            .iter()
            .find(|(_, unit_ms)| self.ms >= *unit_ms && self.ms.is_multiple_of(*unit_ms))
            .unwrap_or(&("ms", 1));
        write!(f, "{}{unit}", self.ms / unit_ms)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationVisitor)
    }
}

/// Takes bare numbers too, so that the message can name the fix.
struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration, for example `10s`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Duration, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Duration, E> {
        Err(E::custom(InvalidDuration::NoUnit(number.to_string())))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Duration, E> {
        Err(E::custom(InvalidDuration::Malformed(number.to_string())))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Duration, E> {
        Err(E::custom(InvalidDuration::Malformed(number.to_string())))
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": Duration::PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["100ms", "10s", "2m", "1h", "1d", "0ms"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
        assert_eq!("1500ms".parse::<Duration>().unwrap().as_ms(), 1_500);
        assert_eq!("60s".parse::<Duration>().unwrap().to_string(), "1m");
    }

    #[test]
    fn a_bare_number_names_the_fix() {
        let message = "10".parse::<Duration>().unwrap_err().to_string();
        assert_eq!(message, "`10` has no unit; write `10s` for seconds (units: ms, s, m, h, d)");
    }

    #[test]
    fn a_bare_number_in_json_or_yaml_names_the_fix_too() {
        let message = serde_json::from_str::<Duration>("10").unwrap_err().to_string();
        assert!(message.starts_with("`10` has no unit; write `10s`"), "{message}");
        let message = serde_yaml::from_str::<Duration>("10").unwrap_err().to_string();
        assert!(message.contains("`10` has no unit; write `10s`"), "{message}");
        assert_eq!(serde_yaml::from_str::<Duration>("10s").unwrap().as_ms(), 10_000);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "s", "1.5s", "10 s", "-1s", "10sec", "99999999999999999999s"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
