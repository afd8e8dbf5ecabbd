//! `spec.generators`: synthetic data, for demos, tests and load.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text;
use super::union::only;
use super::value;
pub use super::value::{
    Choice, DecimalRange, Empty, Existing, Fake, FieldKind, FieldValue, IntRange, RowLookup,
};
use super::workers::{self, Workers};
use crate::duration::Duration;

/// Makes rows (or events) from templates, at a steady pace, the same ones for the same seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Generator {
    /// Name of the stage.
    #[schemars(with = "text::Name")]
    pub name: String,
    /// Time between two rounds of one template each. Default: `100ms`.
    #[serde(default = "Generator::default_interval")]
    pub interval: Duration,
    /// Start of the random numbers. Default: 0.
    #[serde(default)]
    pub seed: u32,
    /// SQL to run once before the first round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<GeneratorSetup>,
    /// What to make, chosen by weight.
    #[schemars(length(min = 1, max = 20))]
    pub templates: Vec<Template>,
    /// Differences from `spec.workers`; always one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = workers::of_a_fixed_stage)]
    pub workers: Option<Workers>,
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
    /// ConfigMap; its keys are `<store>.sql`, each run once in that store, in one transaction; a changed text is reported, not run.
    #[schemars(with = "text::ObjectName")]
    pub config_map: String,
}

/// One kind of round: `rows` or an `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::TEMPLATE))]
pub struct Template {
    /// Its name, in metrics.
    #[schemars(with = "text::Name")]
    pub name: String,
    /// Share among all templates. Default: 1.
    #[serde(default = "Template::default_weight")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub weight: u32,
    /// Changes to rows. Those of one store happen in one transaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
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

/// What a template makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TemplateKind<'a> {
    /// Changes to rows.
    Rows(&'a [RowTemplate]),
    /// One event into a topic.
    Event(&'a EventTemplate),
}

impl Template {
    /// What it makes; nothing when the spec names neither or both.
    pub fn kind(&self) -> Option<TemplateKind<'_>> {
        let rows = (!self.rows.is_empty()).then_some(TemplateKind::Rows(&self.rows));
        only([rows, self.event.as_ref().map(TemplateKind::Event)])
    }
}

/// An insert (`values`), an `update` or a `delete` of rows of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::ROW))]
pub struct RowTemplate {
    /// Name of a PostgreSQL store.
    #[schemars(with = "text::NameRef")]
    pub store: String,
    /// The table.
    #[schemars(with = "text::Identifier")]
    pub table: String,
    /// Inserts a row with these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 50), transform = value::in_insert)]
    pub values: Option<BTreeMap<String, FieldValue>>,
    /// Sets these columns of the rows that match `where`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 50), transform = value::in_update)]
    pub update: Option<BTreeMap<String, FieldValue>>,
    /// Deletes the rows that match `where`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<Empty>,
    /// Columns and the values they must equal, for `update` and `delete`.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 10), transform = value::in_where)]
    pub matching: BTreeMap<String, FieldValue>,
    /// Rows of other tables that belong to an inserted row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub children: Vec<ChildTemplate>,
}

/// What happens to the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowKind<'a> {
    /// A row with these values, and its children, are inserted.
    Insert {
        /// Columns and their values.
        values: &'a BTreeMap<String, FieldValue>,
        /// Rows of other tables that belong to it.
        children: &'a [ChildTemplate],
    },
    /// The rows that match get new values.
    Update {
        /// Columns and their new values.
        set: &'a BTreeMap<String, FieldValue>,
        /// Columns and the values they must equal.
        matching: &'a BTreeMap<String, FieldValue>,
    },
    /// The rows that match go.
    Delete {
        /// Columns and the values they must equal.
        matching: &'a BTreeMap<String, FieldValue>,
    },
}

impl RowTemplate {
    /// What happens to the table; nothing when the spec names none or several.
    pub fn kind(&self) -> Option<RowKind<'_>> {
        only([
            self.values.as_ref().map(|values| RowKind::Insert { values, children: &self.children }),
            self.update.as_ref().map(|set| RowKind::Update { set, matching: &self.matching }),
            self.delete.map(|_| RowKind::Delete { matching: &self.matching }),
        ])
    }
}

/// Rows inserted after their parent, in the same transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChildTemplate {
    /// The table.
    #[schemars(with = "text::Identifier")]
    pub table: String,
    /// How many rows for each parent. Default: one.
    #[serde(default = "ChildTemplate::default_count")]
    pub count: Count,
    /// The values of each row.
    #[schemars(extend("maxProperties" = 50), transform = value::in_child)]
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
#[schemars(extend("x-kubernetes-validations" = crate::rules::RANGE))]
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
    /// Name of a topic.
    #[schemars(with = "text::TopicRef")]
    pub topic: String,
    /// Field of `value` for the record's key. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::FieldRef>")]
    pub key: Option<String>,
    /// The fields of the event.
    #[schemars(extend("maxProperties" = 50), transform = value::in_event)]
    pub value: BTreeMap<String, FieldValue>,
}
