//! Where the fields of generated rows and events get their values from.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::text;
use super::union::only;

/// Where a value comes from: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct FieldValue {
    /// Text, number or boolean.
    #[serde(rename = "const", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub constant: Option<Value>,
    /// The time, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<Empty>,
    /// A random UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Empty>,
    /// A whole number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int: Option<IntRange>,
    /// An exact decimal number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal: Option<DecimalRange>,
    /// One of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// A column of a random row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
    /// A column of the row that `by` refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookup: Option<RowLookup>,
    /// This column of the parent row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::FieldRef>")]
    pub parent: Option<String>,
    /// The old value plus a whole number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_int: Option<IntRange>,
    /// A person's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Fake>,
    /// A company's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company: Option<Fake>,
    /// A noun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word: Option<Fake>,
    /// Expression. Example: `decimal(price) * quantity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Expression>")]
    pub expression: Option<String>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FieldKind<'a> {
    /// Text, number or boolean.
    Const(&'a Value),
    /// The time of the round.
    Now,
    /// A random UUID.
    Uuid,
    /// A whole number.
    Int(&'a IntRange),
    /// A decimal number.
    Decimal(&'a DecimalRange),
    /// One of a list.
    Choice(&'a Choice),
    /// A column of a random row that exists.
    Existing(&'a Existing),
    /// A column of the row that a field of this row refers to.
    Lookup(&'a RowLookup),
    /// A column of the parent row.
    Parent(&'a str),
    /// The old value plus a whole number.
    AddInt(&'a IntRange),
    /// A person's name.
    Person(&'a Fake),
    /// A company's name.
    Company(&'a Fake),
    /// A noun.
    Word(&'a Fake),
    /// An expression over the other fields.
    Expression(&'a str),
}

impl FieldValue {
    /// Its kind; nothing when the spec names none or several.
    pub fn kind(&self) -> Option<FieldKind<'_>> {
        only([
            self.constant.as_ref().map(FieldKind::Const),
            self.now.map(|_| FieldKind::Now),
            self.uuid.map(|_| FieldKind::Uuid),
            self.int.as_ref().map(FieldKind::Int),
            self.decimal.as_ref().map(FieldKind::Decimal),
            self.choice.as_ref().map(FieldKind::Choice),
            self.existing.as_ref().map(FieldKind::Existing),
            self.lookup.as_ref().map(FieldKind::Lookup),
            self.parent.as_deref().map(FieldKind::Parent),
            self.add_int.as_ref().map(FieldKind::AddInt),
            self.person.as_ref().map(FieldKind::Person),
            self.company.as_ref().map(FieldKind::Company),
            self.word.as_ref().map(FieldKind::Word),
            self.expression.as_deref().map(FieldKind::Expression),
        ])
    }
}

impl FieldKind<'_> {
    /// The other field of the same row or event that this value depends on.
    pub fn by(&self) -> Option<&str> {
        match self {
            Self::Int(range) | Self::AddInt(range) => range.by.as_deref(),
            Self::Decimal(range) => range.by.as_deref(),
            Self::Choice(choice) => choice.by.as_deref(),
            Self::Lookup(lookup) => Some(&lookup.by),
            Self::Person(fake) | Self::Company(fake) | Self::Word(fake) => fake.by.as_deref(),
            _ => None,
        }
    }
}

// A value that makes no sense in a place is not in the schema of that place.

/// In an inserted row: nothing of a parent, nothing of an old row.
pub(super) fn in_insert(schema: &mut Schema) {
    remove(schema, &["parent", "addInt"]);
}

/// In an updated row.
pub(super) fn in_update(schema: &mut Schema) {
    remove(schema, &["parent"]);
}

/// In a row below another one.
pub(super) fn in_child(schema: &mut Schema) {
    remove(schema, &["addInt"]);
}

/// In an event, which has no rows around it.
pub(super) fn in_event(schema: &mut Schema) {
    remove(schema, &["parent", "addInt", "existing", "lookup"]);
}

/// In what a row must equal: only what can be known beforehand.
pub(super) fn in_where(schema: &mut Schema) {
    let others =
        ["now", "uuid", "decimal", "lookup", "parent", "addInt", "person", "company", "word", "expression"];
    remove(schema, &others);
}

fn remove(schema: &mut Schema, fields: &[&str]) {
    let properties = schema
        .get_mut("additionalProperties")
        .and_then(|value| value.get_mut("properties"))
        .and_then(Value::as_object_mut);
    if let Some(properties) = properties {
        properties.retain(|name, _| !fields.contains(&name.as_str()));
    }
}

/// No settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// A range of whole numbers, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::RANGE))]
pub struct IntRange {
    /// The least.
    pub min: i64,
    /// The greatest.
    pub max: i64,
    /// The field it depends on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::FieldRef>")]
    pub by: Option<String>,
}

/// A range of decimal numbers, both ends included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::RANGE))]
pub struct DecimalRange {
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Digits after the point. Default: 2.
    #[serde(default = "DecimalRange::default_scale")]
    #[schemars(range(max = 10))]
    pub scale: u32,
    /// The field it depends on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::FieldRef>")]
    pub by: Option<String>,
}

impl DecimalRange {
    const fn default_scale() -> u32 {
        2
    }
}

/// One of a list of values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Choice {
    /// The values.
    #[schemars(with = "Vec<text::Short>", length(min = 1, max = 200))]
    pub values: Vec<String>,
    /// A weight for each. Default: all alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub weights: Vec<u32>,
    /// The field it depends on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::FieldRef>")]
    pub by: Option<String>,
}

/// A column of a random row that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Existing {
    /// The table.
    #[schemars(with = "text::Identifier")]
    pub table: String,
    /// The column.
    #[schemars(with = "text::Identifier")]
    pub column: String,
}

/// A column of the row that a field of this row refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RowLookup {
    /// The table.
    #[schemars(with = "text::Identifier")]
    pub table: String,
    /// The column.
    #[schemars(with = "text::Identifier")]
    pub column: String,
    /// The field that refers to it.
    #[schemars(with = "text::FieldRef")]
    pub by: String,
    /// The column `by` equals. Default: `id`.
    #[serde(default = "RowLookup::default_key", rename = "match")]
    #[schemars(with = "text::Identifier")]
    pub key: String,
}

impl RowLookup {
    fn default_key() -> String {
        "id".to_owned()
    }
}

/// A made-up name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fake {
    /// The field it depends on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::FieldRef>")]
    pub by: Option<String>,
}
