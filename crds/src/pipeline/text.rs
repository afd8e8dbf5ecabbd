//! What a text in the spec may look like. The types here exist for the schema only; the fields are plain texts.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A DNS label of at most 40 characters: the names of everything in a Pipeline.
pub const NAME: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A column, table or field name that needs no quoting in SQL or CQL.
pub const IDENTIFIER: &str = "^[a-z_][a-z0-9_]{0,62}$";
/// What Kafka allows in the name of a topic.
pub const TOPIC: &str = "^[a-zA-Z0-9._-]+$";

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $($constraint:tt)*) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", $($constraint)*})
            }
        }
    };
}

text!(
    /// The name of a store, a stage or a template.
    Name, "maxLength": 40, "pattern": NAME
);
text!(
    /// The name of a column, a table, a field or a keyspace.
    Identifier, "pattern": IDENTIFIER
);
text!(
    /// The name of a topic.
    TopicName, "maxLength": 249, "pattern": TOPIC
);
text!(
    /// An expression.
    Expression, "minLength": 1, "maxLength": 2048
);
text!(
    /// The name of a Kubernetes object, or a key in one.
    ObjectName, "minLength": 1, "maxLength": 253
);
text!(
    /// A short text for people, or a word in another system's language.
    Short, "minLength": 1, "maxLength": 253
);
text!(
    /// A long text: an address, a query, a template of a key.
    Long, "minLength": 1, "maxLength": 8192
);

/// A whole number or a text: what Kafka and Connect take as the value of a setting, and how amounts of CPU are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrText {
    /// A whole number, kept as it is.
    Int(i64),
    /// A text.
    Text(String),
}

impl IntOrText {
    /// The value as the other system takes it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Int(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl JsonSchema for IntOrText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "IntOrText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "maxLength": 2048})
    }
}
