//! The identity a topic keeps for life; a topic that is deleted and created again gets another.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// A topic's id, in Kafka's own text form: 22 characters of URL-safe base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicId([u8; 16]);

/// Text that isn't a topic id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a topic id: Kafka writes one as 22 characters of URL-safe base64")]
pub struct InvalidTopicId {
    /// The text.
    pub text: String,
}

impl TopicId {
    pub(crate) fn from_bits(most_significant: i64, least_significant: i64) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&most_significant.to_be_bytes());
        bytes[8..].copy_from_slice(&least_significant.to_be_bytes());
        Self(bytes)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for TopicId {
    type Err = InvalidTopicId;

    fn from_str(text: &str) -> Result<Self, InvalidTopicId> {
        let invalid = || InvalidTopicId { text: text.to_owned() };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        bytes.try_into().map(Self).map_err(|_| invalid())
    }
}

impl TryFrom<String> for TopicId {
    type Error = InvalidTopicId;

    fn try_from(text: String) -> Result<Self, InvalidTopicId> {
        text.parse()
    }
}

impl From<TopicId> for String {
    fn from(id: TopicId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_id_survives_its_text(most: i64, least: i64) {
            let id = TopicId::from_bits(most, least);
            prop_assert_eq!(id.to_string().len(), 22);
            prop_assert_eq!(id.to_string().parse::<TopicId>(), Ok(id));
        }
    }

    #[test]
    fn text_of_another_length_is_refused_with_the_text() {
        for text in ["", "abc", "5L6g3nShT-eMCtK--X86swAA", "5L6g3nShT+eMCtK++X86sw"] {
            let refused = text.parse::<TopicId>().unwrap_err();
            assert!(refused.to_string().contains(text), "{refused}");
        }
    }
}
