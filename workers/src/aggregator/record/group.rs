//! Scalars as canonical JSON: equal values have equal bytes, so that bytes can be compared instead of values.

use std::io::Write as _;

use crate::expression::{Value, plain_text};

/// Appends a value as canonical JSON. A text is escaped as `serde_json` does it; of a number only its value counts:
/// `1.0` is `1`. What isn't there is null.
///
/// # Errors
/// It is no scalar, or a number beyond reason; the rest of a sentence that begins with the expression. Something may
/// have been appended then.
pub(super) fn scalar(value: &Value<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Value::Absent | Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Text(text) => quoted(text, out),
        Value::Number(text) => return number(text, out),
        // Writing to memory cannot fail.
        Value::Int(number) => _ = write!(out, "{number}"),
        Value::Decimal(value) => return number(&value.to_string(), out),
        Value::Double(value) => return number(&format!("{value:e}"), out),
        Value::Timestamp(micros) => match jiff::Timestamp::from_microsecond(*micros) {
            Ok(time) => _ = write!(out, "\"{time}\""),
            Err(_) => return Err("is a time beyond the calendar".to_owned()),
        },
        Value::Json(_) | Value::Bytes(_) => {
            return Err(format!("is {}, where a text, number, boolean or null is needed", value.kind()));
        }
    }
    Ok(())
}

/// Whether a checked JSON text is canonical already, as most are: a text without escapes, a short whole number.
pub(super) fn is_canonical(json: &str) -> bool {
    plain_text(json).is_some() || is_plain(json)
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        // A text always has a JSON form, and writing to memory cannot fail.
        let _ = serde_json::to_writer(out, text);
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends a number, given as JSON writes it, in the one form that its value has.
pub(super) fn number(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    if is_plain(text) {
        out.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    match normal(text) {
        Some(normal) => out.extend_from_slice(normal.as_bytes()),
        None => return Err(format!("is {}, which is no number to compare", cut(text))),
    }
    Ok(())
}

/// A whole number that already has its canonical form, as most have.
pub(super) fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    digits.len() <= 18
        && digits.first().is_some_and(|first| matches!(first, b'1'..=b'9'))
        && digits.iter().all(u8::is_ascii_digit)
}

/// How many zeros a number may have beside its digits before it is written with an exponent.
const ZEROS: i64 = 40;

fn normal(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        None => (text, 0),
        Some((mantissa, exponent)) => (mantissa, i64::from(exponent.parse::<i32>().ok()?)),
    };
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, fraction].concat();
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let kept = all.trim_end_matches('0');
    let digits = kept.trim_start_matches('0');
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    // The value is digits · 10^power.
    let power = exponent - fraction.len() as i64 + (all.len() - kept.len()) as i64;
    let point = digits.len() as i64 + power;
    Some(if !(-ZEROS..=ZEROS).contains(&power) {
        format!("{sign}{digits}e{power}")
    } else if power >= 0 {
        format!("{sign}{digits}{}", "0".repeat(power as usize))
    } else if point > 0 {
        let (whole, fraction) = digits.split_at(point as usize);
        format!("{sign}{whole}.{fraction}")
    } else {
        format!("{sign}0.{}{digits}", "0".repeat(-point as usize))
    })
}

/// Enough of a text for a message.
fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(value: &Value<'_>) -> String {
        let mut out = Vec::new();
        scalar(value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn of_number(text: &str) -> String {
        canonical(&Value::Number(text.into()))
    }

    #[test]
    fn equal_numbers_are_equal_however_they_are_written() {
        for (text, expected) in [
            ("1", "1"),
            ("1.0", "1"),
            ("1e0", "1"),
            ("10E-1", "1"),
            ("-1.50", "-1.5"),
            ("0", "0"),
            ("-0.00", "0"),
            ("0e99999999", "0"),
            ("0.05", "0.05"),
            ("5e-2", "0.05"),
            ("1e3", "1000"),
            ("12345678901234567890.10", "12345678901234567890.1"),
            ("1234567890123456789000", "1234567890123456789000"),
            ("1e50", "1e50"),
            ("10e49", "1e50"),
            ("1e-50", "1e-50"),
        ] {
            assert_eq!(of_number(text), expected, "{text}");
        }
        assert_eq!(canonical(&Value::Int(-7)), "-7");
        assert_eq!(canonical(&Value::Double(20.0)), "20");
        assert_eq!(canonical(&Value::Double(0.1)), "0.1");
        assert_eq!(canonical(&Value::Decimal("1.10".parse().unwrap())), "1.1");
    }

    #[test]
    fn a_number_and_the_text_of_it_are_not_equal() {
        assert_eq!(canonical(&Value::Text("1".into())), "\"1\"");
        assert_eq!(canonical(&Value::Text("a\"\\\n\u{1}é".into())), "\"a\\\"\\\\\\n\\u0001é\"");
    }

    #[test]
    fn what_isnt_there_is_null() {
        assert_eq!(canonical(&Value::Absent), "null");
        assert_eq!(canonical(&Value::Null), "null");
        assert_eq!(canonical(&Value::Bool(false)), "false");
    }

    #[test]
    fn what_is_canonical_already_is_left_as_it_is() {
        for json in ["\"abc\"", "\"é\"", "\"\"", "5", "-5", "123456789012345678"] {
            assert!(is_canonical(json), "{json}");
            assert_eq!(canonical(&Value::of_json(json).unwrap()), json);
        }
        for json in ["\"a\\u0062\"", "5.0", "0", "-0", "1e3", "{}", "[1]", "null", "1234567890123456789"] {
            assert!(!is_canonical(json), "{json}");
        }
    }

    #[test]
    fn a_time_is_a_text() {
        assert_eq!(canonical(&Value::Timestamp(1_500_000)), "\"1970-01-01T00:00:01.5Z\"");
    }

    #[test]
    fn lists_and_numbers_beyond_reason_are_refused() {
        let mut out = Vec::new();
        assert!(scalar(&Value::Json("[]".into()), &mut out).is_err());
        assert!(scalar(&Value::Double(f64::NAN), &mut out).is_err());
        assert!(scalar(&Value::Number("1e99999999999".into()), &mut out).is_err());
    }

    proptest! {
        #[test]
        fn texts_are_written_as_serde_json_writes_them(text in any::<String>()) {
            prop_assert_eq!(canonical(&Value::Text(text.as_str().into())), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn a_number_moved_by_its_exponent_stays_the_same(
            mantissa in any::<i64>(), zeros in 0_usize..30, shift in 0_usize..30,
        ) {
            let plain = of_number(&mantissa.to_string());
            let longer = format!("{mantissa}{}e-{zeros}", "0".repeat(zeros));
            prop_assert_eq!(&of_number(&longer), &plain);
            let pointed = format!("{mantissa}.{}", "0".repeat(zeros + 1));
            prop_assert_eq!(&of_number(&pointed), &plain);
            let moved = format!("{mantissa}e{shift}");
            let written = format!("{mantissa}{}", "0".repeat(shift));
            prop_assert_eq!(of_number(&moved), of_number(&written));
            prop_assert_eq!(&plain, &mantissa.to_string());
        }

        #[test]
        fn different_numbers_stay_different(left in any::<i64>(), right in any::<i64>(), scale in 0..12_i32) {
            let (one, two) = (of_number(&format!("{left}e-{scale}")), of_number(&format!("{right}e-{scale}")));
            prop_assert_eq!(one == two, left == right);
        }

        #[test]
        fn canonical_numbers_are_json(mantissa in any::<i64>(), exponent in -200..200_i32) {
            let text = of_number(&format!("{mantissa}e{exponent}"));
            prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok(), "{}", text);
            prop_assert_eq!(&of_number(&text), &text);
        }
    }
}
