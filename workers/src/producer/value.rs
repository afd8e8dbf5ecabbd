//! A value of a column, as far as a generator has to know it.

use rust_decimal::Decimal;

/// What a field of a row holds. PostgreSQL gets and gives all of them as text; the kinds are there for expressions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// An exact decimal number.
    Decimal(Decimal),
    /// Everything else, in PostgreSQL's own text form.
    Text(String),
}

impl Value {
    /// A constant from a manifest; lists and objects become their JSON text.
    pub fn from_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(bool) => Self::Bool(*bool),
            serde_json::Value::String(text) => Self::Text(text.clone()),
            serde_json::Value::Number(number) => Self::number(&number.to_string()),
            other => Self::Text(other.to_string()),
        }
    }

    /// What a column of the type `type_name` (as `format_type` writes it) holds, from its text form.
    pub fn from_column(type_name: &str, text: Option<String>) -> Self {
        let Some(text) = text else { return Self::Null };
        match type_name {
            "smallint" | "integer" | "bigint" | "numeric" => Self::number(&text),
            "boolean" => Self::Bool(text == "true"),
            _ => Self::Text(text),
        }
    }

    /// The text form that PostgreSQL reads; `None` is NULL.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Bool(bool) => Some(bool.to_string()),
            Self::Int(int) => Some(int.to_string()),
            Self::Decimal(decimal) => Some(decimal.to_string()),
            Self::Text(text) => Some(text.clone()),
        }
    }

    /// Numbers that fit neither kind (`NaN`, 40 digits, `1e300`) stay text: PostgreSQL can read them.
    fn number(text: &str) -> Self {
        if let Ok(int) = text.parse() {
            return Self::Int(int);
        }
        Decimal::from_str_exact(text).map_or_else(|_| Self::Text(text.to_owned()), Self::Decimal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_every_digit() {
        for text in ["7", "-3", "12.50", "0.1", "12345678901234567890123456789012345", "NaN"] {
            assert_eq!(Value::from_column("numeric", Some(text.into())).text().as_deref(), Some(text));
        }
        assert_eq!(
            Value::from_column("numeric", Some("12.50".into())),
            Value::Decimal(Decimal::new(1250, 2))
        );
    }

    #[test]
    fn text_that_looks_like_a_number_stays_text() {
        assert_eq!(Value::from_column("text", Some("007".into())), Value::Text("007".into()));
        assert_eq!(Value::from_json(&serde_json::json!("7")), Value::Text("7".into()));
    }

    #[test]
    fn null_is_not_a_text() {
        assert_eq!(Value::from_json(&serde_json::Value::Null).text(), None);
        assert_eq!(Value::from_column("text", None), Value::Null);
    }
}
