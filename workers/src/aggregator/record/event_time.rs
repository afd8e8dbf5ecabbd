//! Times of records, in milliseconds since 1970.

use rust_decimal::prelude::ToPrimitive;

use crate::calendar::{days_in, days_since_1970};
use crate::expression::Value;

/// The first and the last millisecond of the years -9999 to 9999, which is what calendars here know.
const RANGE_MS: std::ops::RangeInclusive<i64> = -377_705_023_201_000..=253_402_207_200_999;
const DAY_MS: i64 = 86_400_000;

/// The time that a value stands for; none for null and what isn't there. A text is ISO 8601, in UTC where it has no
/// offset; a number is whole milliseconds since 1970. Fractions of a millisecond are cut off, towards the past.
///
/// # Errors
/// It is no time; the rest of a sentence that begins with the expression.
pub(super) fn millis(value: &Value<'_>) -> Result<Option<i64>, String> {
    let ms = match value {
        Value::Absent | Value::Null => return Ok(None),
        Value::Timestamp(micros) => Some(micros.div_euclid(1000)),
        Value::Text(text) => match usual(text.as_bytes()).or_else(|| by_calendar(text)) {
            Some(ms) => Some(ms),
            None => return Err(format!("is `{}`, which is no time: {EXPECTED}", cut(text))),
        },
        Value::Number(text) => text.parse().ok().or_else(|| whole(text)),
        Value::Int(number) => Some(*number),
        Value::Decimal(number) => number.is_integer().then(|| number.to_i64()).flatten(),
        Value::Double(number) => whole(&number.to_string()),
        Value::Bool(_) | Value::Json(_) | Value::Bytes(_) => {
            return Err(format!("is {}, which is no time: {EXPECTED}", value.kind()));
        }
    };
    match ms {
        Some(ms) if RANGE_MS.contains(&ms) => Ok(Some(ms)),
        Some(ms) => Err(format!("is {ms}, which as milliseconds since 1970 is beyond the year 9999")),
        None => Err(format!("is a number that isn't whole, which is no time: {EXPECTED}")),
    }
}

/// The time that a checked JSON text of a usual shape stands for; none: [`millis`] knows.
pub(super) fn usual_millis(json: &str) -> Option<i64> {
    let ms = match json.as_bytes() {
        [b'"', text @ .., b'"'] => usual(text)?,
        _ => json.parse().ok()?,
    };
    RANGE_MS.contains(&ms).then_some(ms)
}

const EXPECTED: &str = "write RFC 3339 (`2026-11-22T10:00:00Z`) or whole milliseconds since 1970";

fn whole(text: &str) -> Option<i64> {
    let number = crate::expression::parse_decimal(text).ok()?;
    number.is_integer().then(|| number.to_i64()).flatten()
}

/// Any text that is a time.
fn by_calendar(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_microsecond().div_euclid(1000));
    }
    // The name of a zone would be ignored.
    if text.contains('[') {
        return None;
    }
    let civil = text.parse::<jiff::civil::DateTime>().ok()?;
    let time = jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()?;
    Some(time.as_microsecond().div_euclid(1000))
}

/// The usual shape: `2026-11-22T10:00:00`, a fraction or none, `Z`, `+01:00` or nothing.
fn usual(text: &[u8]) -> Option<i64> {
    let (head, mut rest) = text.split_first_chunk::<19>()?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't' | b' ', h1, h2, b':', n1, n2, b':', s1, s2] =
        *head
    else {
        return None;
    };
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let (month, day) = (two(m1, m2)?, two(d1, d2)?);
    let (hour, minute, second) = (two(h1, h2)?, two(n1, n2)?, two(s1, s2)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut ms = 0;
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        let digit = |at: usize| if at < digits { i64::from(fraction[at] - b'0') } else { 0 };
        ms = digit(0) * 100 + digit(1) * 10 + digit(2);
        rest = &fraction[digits..];
    }
    let offset_minutes = match *rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 60 + minutes;
            if sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let minutes = hour * 60 + minute - offset_minutes;
    Some(days_since_1970(year, month, day) * DAY_MS + (minutes * 60 + second) * 1000 + ms)
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

/// Enough of a text for a message.
fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_text(text: &str) -> Result<Option<i64>, String> {
        millis(&Value::Text(text.into()))
    }

    fn of_number(text: &str) -> Result<Option<i64>, String> {
        millis(&Value::Number(text.into()))
    }

    #[test]
    fn texts_are_iso_8601_and_utc_where_they_have_no_offset() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01 00:00:00", 0),
            ("1970-01-01", 0),
            ("1970-01-01T00:00", 0),
            ("1970-01-01T00:00:00.0015Z", 1),
            ("2026-11-22T10:00:00.123456Z", 1_795_341_600_123),
            ("2026-11-22T10:00:00.123456", 1_795_341_600_123),
            ("2026-11-22T10:00:00.123456789Z", 1_795_341_600_123),
            ("2026-11-22T10:00:00+01:00", 1_795_338_000_000),
            ("2026-11-22T10:00:00.5-05:30", 1_795_361_400_500),
            ("2026-11-22t10:00:00z", 1_795_341_600_000),
            ("2026-11-22T10:00:00+01", 1_795_338_000_000),
            ("2024-02-29T23:59:59Z", 1_709_251_199_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ] {
            assert_eq!(of_text(text), Ok(Some(ms)), "{text}");
        }
    }

    #[test]
    fn before_1970_a_part_of_a_millisecond_is_cut_off_towards_the_past() {
        assert_eq!(of_text("1969-12-31T23:59:59.9999Z"), Ok(Some(-1)));
        assert_eq!(by_calendar("1969-12-31T23:59:59.9999Z"), Some(-1));
        assert_eq!(millis(&Value::Timestamp(-1)), Ok(Some(-1)));
    }

    #[test]
    fn numbers_are_whole_milliseconds() {
        assert_eq!(of_number("1763805600000"), Ok(Some(1_763_805_600_000)));
        assert_eq!(of_number("-1"), Ok(Some(-1)));
        assert_eq!(of_number("1.763805600000e12"), Ok(Some(1_763_805_600_000)));
        assert_eq!(millis(&Value::Int(5)), Ok(Some(5)));
        assert_eq!(millis(&Value::Double(5.0)), Ok(Some(5)));
        assert_eq!(millis(&Value::Decimal("5.00".parse().unwrap())), Ok(Some(5)));
        assert!(of_number("1.5").is_err());
        assert!(millis(&Value::Double(f64::NAN)).is_err());
    }

    #[test]
    fn microseconds_in_a_number_are_refused_as_beyond_the_calendar() {
        let message = of_number("1763805600000000").unwrap_err();
        assert!(message.ends_with("is beyond the year 9999"), "{message}");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T10:60:00Z",
            "2026-11-22T10:00:00.Z",
            "2026-11-22T10:00:00Zz",
            "2026-11-22T10:00:00+26:00",
            "2026-11-22T10:00:00[Europe/Madrid]",
            "1763805600000",
            "\u{0663}026-11-22T10:00:00Z",
        ] {
            assert!(of_text(text).is_err(), "{text}");
        }
        assert!(millis(&Value::Bool(true)).is_err());
        assert!(millis(&Value::Json("[]".into())).is_err());
    }

    #[test]
    fn null_and_nothing_are_no_time() {
        assert_eq!(millis(&Value::Null), Ok(None));
        assert_eq!(millis(&Value::Absent), Ok(None));
    }

    #[test]
    fn the_usual_shapes_are_read_from_json_as_from_a_value() {
        for json in [
            "5",
            "-1500",
            "1.5",
            "1e3",
            "null",
            "true",
            "\"1970-01-01T00:00:00Z\"",
            "\"9999-12-31T23:59:59Z\"",
            "\"1970\\u002d01-01T00:00:00Z\"",
            "9223372036854775807",
            "\"5\"",
            "[5]",
        ] {
            if let Some(ms) = usual_millis(json) {
                assert_eq!(millis(&Value::of_json(json).unwrap()), Ok(Some(ms)), "{json}");
            }
        }
        assert_eq!(usual_millis("\"1970-01-01T00:00:01Z\""), Some(1000));
        assert_eq!(usual_millis("-1500"), Some(-1500));
    }

    proptest! {
        #[test]
        fn the_short_way_agrees_with_the_calendar(
            micros in -377_705_000_000_000_000_i64..253_402_200_000_000_000,
            minutes in -1439_i64..1440,
            digits in 0_usize..8,
        ) {
            let time = jiff::Timestamp::from_microsecond(micros).unwrap();
            let plain = time.to_string();
            prop_assert_eq!(of_text(&plain), Ok(Some(micros.div_euclid(1000))), "{}", plain);
            let offset = jiff::tz::Offset::from_seconds((minutes * 60) as i32).unwrap();
            let local = jiff::fmt::temporal::DateTimePrinter::new()
                .precision(Some(digits as u8))
                .timestamp_with_offset_to_string(&time, offset);
            if let Some(short) = usual(local.as_bytes()) {
                prop_assert_eq!(Some(short), by_calendar(&local), "{}", local);
            }
        }

        #[test]
        fn no_text_is_a_time_by_the_short_way_alone(
            text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-5][0-9](\\.[0-9]{1,3})?(Z|[+-][0-2][0-9]:[0-9]{2})?",
        ) {
            if let Some(ms) = usual(text.as_bytes()).filter(|ms| RANGE_MS.contains(ms)) {
                prop_assert_eq!(by_calendar(&text), Some(ms), "{}", text);
            }
        }
    }
}
