//! `spec.generators`: synthetic data, for demos, tests and load.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// Makes rows (or events) from templates, at a steady pace, the same ones for the same seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Generator {
    /// Name of the stage, unique among the generators.
    pub name: String,
    /// Time between two rounds; each round follows one template. Default: `100ms`.
    #[serde(default = "Generator::default_interval")]
    pub interval: Duration,
    /// Start of the random numbers. Default: 0.
    #[serde(default)]
    pub seed: u32,
    /// SQL to run once before the first round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<GeneratorSetup>,
    /// What to make, chosen by weight.
    #[schemars(length(min = 1, max = 50))]
    pub templates: Vec<Template>,
}

impl Generator {
    const fn default_interval() -> Duration {
        Duration::from_ms(100)
    }
}

/// SQL that creates tables and base data, run once per database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GeneratorSetup {
    /// ConfigMap in the Pipeline's namespace; its keys are `<store>.sql`, each run in that store's database.
    #[schemars(length(min = 1, max = 253))]
    pub config_map: String,
}

/// One kind of round: `rows` or an `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// Name, unique in the generator; shown in metrics.
    pub name: String,
    /// Share among all templates. Default: 1.
    #[serde(default = "Template::default_weight")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub weight: u32,
    /// Changes to rows. Those of one store happen in one transaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub rows: Vec<RowTemplate>,
    /// One event into a topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventTemplate>,
}

impl Template {
    const fn default_weight() -> u32 {
        1
    }
}

/// An insert (`values`), an `update` or a `delete` of rows of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RowTemplate {
    /// Name of a PostgreSQL store.
    pub store: String,
    /// The table.
    #[schemars(regex(pattern = "^[a-z_][a-z0-9_]{0,62}$"))]
    pub table: String,
    /// Inserts a row with these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<BTreeMap<String, FieldValue>>,
    /// Sets these columns of the rows that match `where`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<BTreeMap<String, FieldValue>>,
    /// Deletes the rows that match `where`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<Empty>,
    /// Columns and the values they must equal, for `update` and `delete`.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub matching: BTreeMap<String, FieldValue>,
    /// Rows of other tables of the same store that belong to an inserted row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub children: Vec<ChildTemplate>,
}

/// Rows inserted after their parent, in the same transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChildTemplate {
    /// The table.
    #[schemars(regex(pattern = "^[a-z_][a-z0-9_]{0,62}$"))]
    pub table: String,
    /// How many rows for each parent. Default: one.
    #[serde(default = "ChildTemplate::default_count")]
    pub count: Count,
    /// The values of each row; `parent` names a column of the parent.
    pub values: BTreeMap<String, FieldValue>,
}

impl ChildTemplate {
    const fn default_count() -> Count {
        Count { min: 1, max: 1 }
    }
}

/// A number of rows, drawn evenly between both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Count {
    /// At least this many.
    #[schemars(range(max = 1000))]
    pub min: u32,
    /// At most this many.
    #[schemars(range(max = 1000))]
    pub max: u32,
}

/// An event for a topic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventTemplate {
    /// Name of a topic of this Pipeline.
    pub topic: String,
    /// Field of `value` whose value is the record's key. Default: no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The fields of the event.
    pub value: BTreeMap<String, FieldValue>,
}

/// Where a value comes from: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct FieldValue {
    /// Always this text, number or boolean.
    #[serde(rename = "const", skip_serializing_if = "Option::is_none")]
    pub constant: Option<serde_json::Value>,
    /// The time of the round, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<Empty>,
    /// A random UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Empty>,
    /// A whole number between both ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int: Option<IntRange>,
    /// An exact decimal number between both ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal: Option<DecimalRange>,
    /// One of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// The value of a column in a random existing row of the same store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
    /// The value of a column in the row that another field of this row refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookup: Option<RowLookup>,
    /// The value of this column of the parent row. Only in `children`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The old value plus a random whole number. Only in `update`.
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
    /// An expression over the other fields of this row or event. Example: `decimal(price) * quantity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
}

/// No settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// A range of whole numbers, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IntRange {
    /// The least.
    pub min: i64,
    /// The greatest.
    pub max: i64,
    /// Another field: equal values of it give equal numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A range of decimal numbers, both ends included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecimalRange {
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Digits after the point. Default: 2.
    #[serde(default = "DecimalRange::default_scale")]
    #[schemars(range(max = 10))]
    pub scale: u32,
    /// Another field: equal values of it give equal numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    #[schemars(length(min = 1, max = 200))]
    pub values: Vec<String>,
    /// A weight for each value. Default: all alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub weights: Vec<u32>,
    /// Another field: equal values of it give equal choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A column of a random row that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Existing {
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
}

/// A column of the row that a field of this row refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RowLookup {
    /// The table to look in.
    pub table: String,
    /// The column to take.
    pub column: String,
    /// The field of this row that refers to it.
    pub by: String,
    /// The column of `table` that `by` refers to. Default: `id`.
    #[serde(default = "RowLookup::default_key", rename = "match")]
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
    /// Another field: equal values of it give equal names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}
