//! What holds for all texts and expressions.

use proptest::prelude::*;

use super::tests::{evaluate, interpreted, parsed};
use super::*;

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1_000_000..1_000_000_i32).prop_map(|number| (f64::from(number) / 8.0).into()),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map("[abc\"\\\\é]{1,2}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Expressions that plain CEL has an answer for.
fn arithmetic() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (-50..50_i64).prop_map(|number| format!("({number})")),
        (-50..50_i32).prop_map(|number| format!("({:?})", f64::from(number) / 4.0)),
        Just("event.i".to_owned()),
        Just("event.d".to_owned()),
        Just("event.s".to_owned()),
        Just("\"x\"".to_owned()),
        Just("true".to_owned()),
        Just("event.missing".to_owned()),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        let operator =
            prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone())
                .prop_map(|(left, operator, right)| format!("({left} {operator} {right})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(test, left, right)| format!("({test} ? {left} : {right})")),
            inner.clone().prop_map(|operand| format!("(!{operand})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} in [{right}, 1])")),
            inner.prop_map(|element| format!("[{element}, 2].exists(x, x == {element})")),
        ]
    })
}

proptest! {
    #[test]
    fn the_scanner_accepts_exactly_what_serde_json_accepts(value in json(), cut in 0.0..1.2_f64, noise in "[\\[\\]{}\":,0-9a-e\\\\ .+\u{1}\t-]{0,3}") {
        let whole = serde_json::to_string(&value).unwrap();
        let end = ((whole.len() as f64 * cut) as usize).min(whole.len());
        let end = (0..=end).rev().find(|end| whole.is_char_boundary(*end)).unwrap();
        let cut = format!("{}{noise}{}", &whole[..end], &whole[end..]);
        for text in [&whole, &cut, &whole[..end].to_owned()] {
            let mut paths = FieldPaths::default();
            let slot = paths.slot([]);
            let mut spans = FieldSpans::default();
            let read = paths.read(text.as_bytes(), &mut spans);
            // RawValue checks the same grammar without judging the size of numbers.
            let reference = serde_json::from_str::<&serde_json::value::RawValue>(text);
            prop_assert_eq!(read.is_ok(), reference.is_ok(), "{}", text);
            if let (Ok(read), Ok(reference)) = (read, reference) {
                prop_assert_eq!(read.get(slot), Some(reference.get()));
            }
        }
    }

    #[test]
    fn fields_are_the_ones_serde_json_finds(value in json()) {
        let text = serde_json::to_string(&value).unwrap();
        let mut paths = FieldPaths::default();
        let wanted = ["a", "b", "\"", "\\", "é", "aa"];
        let slots: Vec<_> = wanted.iter().map(|name| paths.slot([*name])).collect();
        let below = paths.slot(["a", "b"]);
        let mut spans = FieldSpans::default();
        let fields = paths.read(text.as_bytes(), &mut spans).unwrap();
        let reread = |slot| fields.get(slot).map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
        for (name, slot) in wanted.iter().zip(slots) {
            prop_assert_eq!(reread(slot), value.get(*name).cloned());
        }
        prop_assert_eq!(reread(below), value.get("a").and_then(|a| a.get("b")).cloned());
    }

    #[test]
    fn where_plain_cel_has_an_answer_ours_is_the_same(text in arithmetic()) {
        const RECORD: &str = r#"{"i": 7, "d": 2.5, "s": "x"}"#;
        let expression = parsed(&text);
        let mut context = cel::Context::default();
        let event = std::collections::HashMap::from([
            ("i", cel::Value::Int(7)), ("d", cel::Value::Float(2.5)), ("s", cel::Value::from("x")),
        ]);
        context.add_variable_from_value("event", event);
        let plain = cel::Value::resolve(expression.tree(), &context);
        if let Ok(plain) = plain {
            let expected = match plain {
                cel::Value::Int(value) => Value::Int(value),
                cel::Value::Float(value) => Value::Double(value),
                cel::Value::Bool(value) => Value::Bool(value),
                cel::Value::String(value) => Value::Text(value.to_string().into()),
                other => panic!("{other:?}"),
            };
            let ours = interpreted(&text, RECORD);
            prop_assert_eq!(format!("{:?}", Ok::<_, EvaluationError>(expected)), format!("{ours:?}"), "{}", text);
        }
    }

    #[test]
    fn exact_sums_and_products_agree_with_whole_numbers(a in -10_i64.pow(12)..10_i64.pow(12), b in -10_i64.pow(12)..10_i64.pow(12)) {
        let cents = |number: i64| rust_decimal::Decimal::new(number, 2);
        let text = format!("{{\"a\": {}, \"b\": {}}}", cents(a), cents(b));
        prop_assert_eq!(evaluate("decimal(event.a) + event.b", &text), Ok(Value::Decimal(cents(a + b))));
        prop_assert_eq!(evaluate("decimal(event.a) - event.b", &text), Ok(Value::Decimal(cents(a - b))));
        let product = rust_decimal::Decimal::from_i128_with_scale(i128::from(a) * i128::from(b), 4);
        prop_assert_eq!(evaluate("decimal(event.a) * event.b", &text), Ok(Value::Decimal(product)));
    }
}
