//! What a record gives to a measure: an exact number.

use rust_decimal::Decimal;

use crate::expression::{Value, parse_decimal, plain_text};

/// The exact number that a value stands for; none for null and what isn't there. A text that is a number counts, as
/// Debezium sends decimals so; a double is taken as its shortest decimal text.
///
/// # Errors
/// It is no number, or has more than 28 digits; the rest of a sentence that begins with the expression.
pub(super) fn number(value: &Value<'_>) -> Result<Option<Decimal>, String> {
    let parsed = match value {
        Value::Absent | Value::Null => return Ok(None),
        Value::Number(text) | Value::Text(text) => parse_decimal(text),
        Value::Int(number) => return Ok(Some(Decimal::from(*number))),
        Value::Decimal(number) => return Ok(Some(*number)),
        Value::Double(number) => parse_decimal(&format!("{number:e}")),
        Value::Bool(_) | Value::Json(_) | Value::Timestamp(_) | Value::Bytes(_) => {
            return Err(format!("is {}, where a number is needed", value.kind()));
        }
    };
    parsed.map(Some).map_err(|error| format!("is no number: {error}"))
}

/// The number that a checked JSON text of a usual shape stands for; none: [`number`] knows.
pub(super) fn usual_number(json: &str) -> Option<Decimal> {
    match json.as_bytes().first()? {
        b'-' | b'0'..=b'9' => parse_decimal(json).ok(),
        b'"' => parse_decimal(plain_text(json)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(value: &Value<'_>) -> String {
        number(value).unwrap().map_or("nothing".to_owned(), |number| number.to_string())
    }

    #[test]
    fn numbers_are_exact_whatever_holds_them() {
        assert_eq!(read(&Value::Number("19.99".into())), "19.99");
        assert_eq!(read(&Value::Number("-1.5e-3".into())), "-0.0015");
        assert_eq!(read(&Value::Text("12.34".into())), "12.34");
        assert_eq!(read(&Value::Int(-3)), "-3");
        assert_eq!(read(&Value::Double(0.1)), "0.1");
        assert_eq!(read(&Value::Double(1e21)), "1000000000000000000000");
        assert_eq!(read(&Value::Decimal("0.10".parse().unwrap())), "0.10");
        let long = "1234567890123456789.12345";
        assert_eq!(read(&Value::Number(long.into())), long);
    }

    #[test]
    fn null_and_nothing_give_nothing() {
        assert_eq!(number(&Value::Null), Ok(None));
        assert_eq!(number(&Value::Absent), Ok(None));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for value in [
            Value::Text("".into()),
            Value::Text("12,34".into()),
            Value::Text("NaN".into()),
            Value::Text("-".into()),
            Value::Text("1.2.3".into()),
            Value::Text(" 1".into()),
            Value::Bool(true),
            Value::Json("[1]".into()),
            Value::Timestamp(0),
            Value::Double(f64::INFINITY),
            Value::Number("1234567890123456789012345678901".into()),
        ] {
            assert!(number(&value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn the_usual_shapes_are_read_from_json_as_from_a_value() {
        for json in
            ["1.50", "-0", "1e3", "1e99", "\"1.50\"", "\"1\\u0030\"", "\"\"", "null", "true", "[1]", "\"x\""]
        {
            if let Some(found) = usual_number(json) {
                assert_eq!(number(&Value::of_json(json).unwrap()), Ok(Some(found)), "{json}");
            }
        }
        assert_eq!(usual_number("\"1.50\"").unwrap().to_string(), "1.50");
    }

    proptest! {
        #[test]
        fn every_decimal_is_read_back(mantissa in any::<i64>(), scale in 0_u32..20) {
            let expected = Decimal::new(mantissa, scale);
            let read = number(&Value::Text(expected.to_string().into())).unwrap().unwrap();
            prop_assert_eq!(read, expected);
            prop_assert_eq!(read.scale(), expected.scale());
        }
    }
}
