//! Records that step one passes on: dead letters with origin and cause, late records as they came.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::step::Passed;

/// Bytes of a key or value that are kept; the origin finds the rest in the topic.
const MAX_BYTES: usize = 64 * 1024;

/// A dead letter: a JSON object with `topic`, `partition`, `offset`, `timestamp` (milliseconds since 1970), `cause`, and
/// `key` and `value` as text, or as `keyBase64` and `valueBase64` where they are none. `valueBytes` tells when it was cut.
pub fn dead_letter(passed: &Passed) -> Vec<u8> {
    let mut letter = Map::new();
    letter.insert("topic".into(), passed.source.topic.clone().into());
    letter.insert("partition".into(), passed.source.partition.into());
    letter.insert("offset".into(), passed.offset.into());
    letter.insert("timestamp".into(), passed.timestamp_ms.into());
    letter.insert("cause".into(), passed.cause.clone().into());
    if let Some(key) = &passed.key {
        insert(&mut letter, "key", key);
    }
    insert(&mut letter, "value", &passed.value);
    letter.insert("valueBytes".into(), json!(passed.value.len()));
    Value::Object(letter).to_string().into_bytes()
}

fn insert(letter: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    let cut = bytes.get(..bytes.len().min(MAX_BYTES)).unwrap_or_default();
    match str::from_utf8(cut) {
        Ok(text) => letter.insert(name.to_owned(), text.into()),
        Err(_) => letter.insert(format!("{name}Base64"), STANDARD.encode(cut).into()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::partial::SourcePartition;

    #[test]
    fn a_dead_letter_tells_where_it_came_from_and_why() {
        let passed = Passed {
            source: SourcePartition { topic: "orders".into(), partition: 2 },
            offset: 7,
            timestamp_ms: 5,
            key: Some(b"k".to_vec()),
            value: vec![0xff, 0xfe],
            cause: "no JSON".into(),
        };
        let letter: Value = serde_json::from_slice(&dead_letter(&passed)).unwrap();
        let expected = json!({"topic": "orders", "partition": 2, "offset": 7, "timestamp": 5, "cause": "no JSON",
            "key": "k", "valueBase64": "//4=", "valueBytes": 2});
        assert_eq!(letter, expected);
    }

    #[test]
    fn a_long_value_is_cut_and_says_how_long_it_was() {
        let passed = Passed {
            source: SourcePartition { topic: "orders".into(), partition: 0 },
            offset: 0,
            timestamp_ms: 0,
            key: None,
            value: vec![b'x'; 100_000],
            cause: String::new(),
        };
        let letter: Value = serde_json::from_slice(&dead_letter(&passed)).unwrap();
        assert_eq!(letter["value"].as_str().map(str::len), Some(MAX_BYTES));
        assert_eq!(letter["valueBytes"], 100_000);
    }
}
