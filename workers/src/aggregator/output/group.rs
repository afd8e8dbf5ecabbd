//! The values of a group, taken out of its canonical JSON.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// The scalars of a group, each as its JSON text. A group that is no JSON array of values has none.
pub(super) fn scalars(group: &[u8]) -> Vec<&str> {
    let values: Vec<&RawValue> = serde_json::from_slice(group).unwrap_or_default();
    values.into_iter().map(RawValue::get).collect()
}

/// A scalar as it stands in keys and columns: a text without its quotes, `null` and everything else as in JSON.
pub(super) fn text(scalar: &str) -> Cow<'_, str> {
    match scalar.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        None => Cow::Borrowed(scalar),
        Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
        Some(_) => serde_json::from_str(scalar).map_or(Cow::Borrowed(scalar), Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_taken_apart_without_losing_a_digit() {
        let group = br#"["a\"b","",null,true,12345678901234567890.0000000001]"#;
        let found = scalars(group);
        assert_eq!(found, [r#""a\"b""#, r#""""#, "null", "true", "12345678901234567890.0000000001"]);
        let texts: Vec<_> = found.into_iter().map(text).collect();
        assert_eq!(texts, ["a\"b", "", "null", "true", "12345678901234567890.0000000001"]);
        assert!(scalars(b"[]").is_empty());
    }
}
