//! The only place that builds SQL identifiers and array literals out of names and values.

/// A name as it stands in SQL: in double quotes, whatever it holds.
///
/// Names come from manifests, whose schema bounds them, or from a catalogue; a NUL, which no identifier can hold and
/// neither can produce, becomes U+FFFD: a name of nothing rather than of another object.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "\u{fffd}").replace('"', "\"\""))
}

/// An object in a schema: `"schema"."name"`.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// Names in a list: `"a", "b"`.
pub fn identifiers<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(identifier).collect::<Vec<_>>().join(", ")
}

/// A JSON value that no array literal stands for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArray {
    /// The value isn't an array.
    #[error("{found} stands where an array is needed")]
    NotAnArray {
        /// What it is.
        found: &'static str,
    },
    /// PostgreSQL's texts hold no NUL.
    #[error("an element holds a NUL character, which PostgreSQL can't store")]
    Nul,
}

/// An array as PostgreSQL reads it from a text: `{"a","b",NULL,{"c"}}`. To be bound as a value and cast to the array's
/// type. Elements that are objects are their JSON text; arrays in arrays are further dimensions.
///
/// # Errors
/// The value isn't an array, or an element can't be stored.
pub fn array_literal(value: &serde_json::Value) -> Result<String, InvalidArray> {
    use serde_json::Value;

    let found = match value {
        Value::Array(elements) => {
            let mut literal = String::new();
            write_array(elements, &mut literal)?;
            return Ok(literal);
        }
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Object(_) => "an object",
    };
    Err(InvalidArray::NotAnArray { found })
}

/// An array of texts as PostgreSQL reads it from a text, `None` for NULL. To be bound as a value and cast to the array's
/// type. A NUL, which PostgreSQL's texts can't hold, becomes U+FFFD.
pub fn text_array(values: impl IntoIterator<Item = Option<String>>) -> String {
    let mut literal = String::from("{");
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            literal.push(',');
        }
        match value {
            None => literal.push_str("NULL"),
            Some(text) => {
                // Without a NUL every text is an element.
                let _ = write_element(&text.replace('\0', "\u{fffd}"), &mut literal);
            }
        }
    }
    literal.push('}');
    literal
}

fn write_array(elements: &[serde_json::Value], literal: &mut String) -> Result<(), InvalidArray> {
    literal.push('{');
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            literal.push(',');
        }
        match element {
            serde_json::Value::Null => literal.push_str("NULL"),
            serde_json::Value::Array(inner) => write_array(inner, literal)?,
            serde_json::Value::String(text) => write_element(text, literal)?,
            other => write_element(&other.to_string(), literal)?,
        }
    }
    literal.push('}');
    Ok(())
}

/// In quotes always: without them `NULL`, an empty text and white space would mean something else.
fn write_element(text: &str, literal: &mut String) -> Result<(), InvalidArray> {
    literal.push('"');
    for character in text.chars() {
        match character {
            '\0' => return Err(InvalidArray::Nul),
            '"' | '\\' => literal.extend(['\\', character]),
            other => literal.push(other),
        }
    }
    literal.push('"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_whatever_they_hold() {
        assert_eq!(identifier("orders"), "\"orders\"");
        assert_eq!(identifier("a\"; DROP TABLE x; --"), "\"a\"\"; DROP TABLE x; --\"");
        assert_eq!(qualified("public", "Order Details"), "\"public\".\"Order Details\"");
        assert_eq!(identifiers(["a", "b"]), "\"a\", \"b\"");
    }

    #[test]
    fn a_nul_never_reaches_the_server() {
        assert_eq!(identifier("a\0b"), "\"a\u{fffd}b\"");
    }

    #[test]
    fn arrays_keep_their_elements_apart() {
        let literal = |value| array_literal(&value).unwrap();
        assert_eq!(literal(serde_json::json!([])), "{}");
        assert_eq!(
            literal(serde_json::json!(["a,b", "NULL", null, "", "q\"\\", 1.5, true])),
            r#"{"a,b","NULL",NULL,"","q\"\\","1.5","true"}"#
        );
        assert_eq!(literal(serde_json::json!([[1, 2], [3, null]])), r#"{{"1","2"},{"3",NULL}}"#);
        assert_eq!(literal(serde_json::json!([{"a": "b"}])), r#"{"{\"a\":\"b\"}"}"#);
        assert_eq!(array_literal(&serde_json::json!(["a\0"])), Err(InvalidArray::Nul));
        let texts = ["a,\"b", "NULL", "", "x\0y"].map(|text| Some(text.to_owned()));
        let literal = text_array(texts.into_iter().chain([None]));
        assert_eq!(literal, "{\"a,\\\"b\",\"NULL\",\"\",\"x\u{fffd}y\",NULL}");
        assert_eq!(array_literal(&serde_json::json!("a")), Err(InvalidArray::NotAnArray { found: "a text" }));
    }
}
