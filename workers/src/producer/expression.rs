//! A field that is computed from other fields of its row.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::value::Value;
use crate::expression::{FieldExpression, Value as Computed};

/// A checked expression over the fields of a row.
#[derive(Clone, Debug)]
pub struct Expression {
    fields: Vec<String>,
    program: FieldExpression,
}

impl Expression {
    /// Checks an expression; the error is the rest of a sentence that begins with the field's path.
    pub fn compile(text: &str) -> Result<Self, String> {
        let parsed = acequia_crds::expression::Expression::parse(text)
            .map_err(|error| format!("is no expression: {error}"))?;
        let program = FieldExpression::new(&parsed).map_err(|error| format!("can't be computed: {error}"))?;
        let fields = parsed.variables().iter().map(|variable| variable.name.clone()).collect();
        Ok(Self { fields, program })
    }

    /// The fields it refers to.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(String::as_str)
    }

    /// Its value for these fields.
    pub fn evaluate(&self, fields: &BTreeMap<String, Value>) -> Result<Value, String> {
        let needed = |name: &String| Some((name.clone(), to_json(fields.get(name)?)));
        let values = self.fields.iter().filter_map(needed).collect();
        self.program.evaluate(&values).map_err(|error| error.to_string()).and_then(from_computed)
    }
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(bool) => (*bool).into(),
        Value::Int(int) => (*int).into(),
        Value::Decimal(decimal) => decimal_to_json(*decimal),
        Value::Text(text) => text.as_str().into(),
    }
}

/// A number where that loses nothing, so that it can be compared; otherwise a text, which `decimal()` reads exactly.
fn decimal_to_json(decimal: Decimal) -> serde_json::Value {
    let text = decimal.to_string();
    let number = text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    match number {
        Some(number) if number.to_string().parse() == Ok(decimal) => number.into(),
        _ => text.into(),
    }
}

fn from_computed(computed: Computed<'_>) -> Result<Value, String> {
    Ok(match computed {
        Computed::Absent | Computed::Null => Value::Null,
        Computed::Bool(bool) => Value::Bool(bool),
        Computed::Int(int) => Value::Int(int),
        Computed::Double(double) => Value::Text(double.to_string()),
        Computed::Decimal(decimal) => Value::Decimal(decimal),
        Computed::Number(text) => Value::from_column("numeric", Some(text.into_owned())),
        Computed::Text(text) | Computed::Json(text) => Value::Text(text.into_owned()),
        Computed::Timestamp(microseconds) => Value::Text(
            Timestamp::from_microsecond(microseconds).map_err(|error| error.to_string())?.to_string(),
        ),
        Computed::Bytes(_) => return Err("yields bytes, which no column takes; yield a text".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(text: &str, fields: &[(&str, Value)]) -> Result<Value, String> {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Expression::compile(text)?.evaluate(&fields)
    }

    #[test]
    fn money_is_exact() {
        let price = || ("price", Value::Decimal("0.10".parse().unwrap()));
        let quantity = ("quantity", Value::Int(3));
        let total = evaluate("decimal(price) * quantity", &[price(), quantity]).unwrap();
        assert_eq!(total.text().unwrap().parse::<Decimal>().unwrap(), Decimal::new(30, 2));
        let long = ("price", Value::Decimal("12345678901234567890.01".parse().unwrap()));
        let total = evaluate("decimal(price) * 2", &[long]).unwrap();
        assert_eq!(total.text().as_deref(), Some("24691357802469135780.02"));
        assert_eq!(evaluate("price > 0.05", &[price()]).unwrap(), Value::Bool(true));
    }

    #[test]
    fn texts_can_be_joined_and_the_fields_are_known() {
        let name = ("name", Value::Text("Ada".into()));
        assert_eq!(evaluate("name + \"!\"", &[name]).unwrap(), Value::Text("Ada!".into()));
        let expression = Expression::compile("a > 1 ? b : c").unwrap();
        assert_eq!(expression.fields().collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn what_has_no_value_says_why() {
        assert!(Expression::compile("price *").unwrap_err().starts_with("is no expression: "));
        assert!(evaluate("price / 0", &[("price", Value::Int(1))]).is_err());
    }
}
