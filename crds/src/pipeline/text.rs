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
/// An HTTP address.
pub const HTTP_URL: &str = "^https?://";
/// An HTTP address without a path and without credentials.
pub const CONNECT_URL: &str = "^https?://[^/@]+/?$";
/// A table with its schema.
pub const QUALIFIED_TABLE: &str = "^[a-z_][a-z0-9_]{0,62}\\.[a-z_][a-z0-9_]{0,62}$";
/// The path of an endpoint of the gateway.
pub const ENDPOINT_PATH: &str = "^/api/[a-zA-Z0-9/_-]+$";
/// A column and a direction.
pub const ORDER_BY: &str = "^[a-z_][a-z0-9_]{0,62}( (asc|desc))?$";
/// The name of a Java class.
pub const CLASS: &str = "^[A-Za-z0-9_.$]+$";

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
    /// The name that a store, a stage or a template gives itself.
    Name, "maxLength": 40, "pattern": NAME
);
text!(
    /// The name of a store or a stage, where it is referred to.
    NameRef, "maxLength": 40
);
text!(
    /// The name of a column, a table or a keyspace.
    Identifier, "pattern": IDENTIFIER
);
text!(
    /// The name of another field of the same row or event.
    FieldRef, "maxLength": 63
);
text!(
    /// The name that a topic has in Kafka.
    TopicName, "maxLength": 249, "pattern": TOPIC
);
text!(
    /// The name of a topic, where it is referred to.
    TopicRef, "maxLength": 249
);
text!(
    /// An expression.
    Expression, "maxLength": 2048
);
text!(
    /// The name of a Kubernetes object, or a key in one.
    ObjectName, "maxLength": 253
);
text!(
    /// A short text for people, or a word in another system's language.
    Short, "maxLength": 253
);
text!(
    /// A label or a taint of a node: its key or its value.
    Label, "maxLength": 253
);
text!(
    /// A long text: an address, a query.
    Long, "maxLength": 8192
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
        json_schema!({"x-kubernetes-int-or-string": true})
    }
}
