//! What rows become in Redis: one call of the script for each key.

use std::collections::BTreeMap;

use super::document::{Layout, document, number};
use super::key::{KeyTemplate, companion};
use super::{Row, group};

/// Layout of the value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyLayout {
    /// A document of one group.
    Json,
    /// A hash of the measures of all groups.
    Hash,
}

/// How rows become keys.
#[derive(Clone, Debug)]
pub(super) struct KeyPlan {
    pub template: KeyTemplate,
    pub layout: KeyLayout,
    pub names: Layout,
    /// Keys expire this long after the later of the window's end and the newest change; none: never.
    pub ttl_ms: Option<i64>,
    pub incarnation: String,
}

/// One call of the script: everything a batch has for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub key: String,
    pub companion: String,
    pub arguments: Vec<Vec<u8>>,
}

impl KeyPlan {
    /// The calls for rows, by key. Rows of one key stay in their order, which doesn't matter.
    pub fn calls(&self, rows: &[Row]) -> Vec<Call> {
        let mut by_key: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            by_key.entry(self.template.key(row)).or_default().push(row);
        }
        by_key.into_iter().map(|(key, rows)| self.call(key, &rows)).collect()
    }

    fn call(&self, key: String, rows: &[&Row]) -> Call {
        let birth_ms = rows.iter().map(|row| row.version.birth_ms).max().unwrap_or_default();
        let alive_ms = rows.iter().map(|row| alive_ms(row)).max().unwrap_or_default();
        let layout = match self.layout {
            KeyLayout::Json => "string",
            KeyLayout::Hash => "hash",
        };
        let mut arguments = vec![
            layout.into(),
            self.incarnation.clone().into_bytes(),
            birth_ms.to_string().into_bytes(),
            alive_ms.to_string().into_bytes(),
            self.ttl_ms.map_or_else(String::new, |ttl| ttl.to_string()).into_bytes(),
        ];
        for row in rows {
            let fields = self.fields(row);
            let version = row.version;
            arguments.push(row.group.clone());
            for number in [version.birth_ms, version.offset, version.sequence, fields.len() as i64] {
                arguments.push(number.to_string().into_bytes());
            }
            for (field, value) in fields {
                arguments.push(field.into_bytes());
                // No document and no number is empty.
                arguments.push(value.unwrap_or_default());
            }
        }
        Call { companion: companion(&key), key, arguments }
    }

    /// What is to be in the key of a row; no value: nothing. The field of a document has no name.
    fn fields(&self, row: &Row) -> Vec<(String, Option<Vec<u8>>)> {
        match self.layout {
            KeyLayout::Json => vec![(String::new(), document(&self.names, row))],
            KeyLayout::Hash => {
                let prefix = field_prefix(&row.group);
                let values = row.measures.as_deref().unwrap_or_default();
                let text = |index: usize| values.get(index).copied().flatten().map(number);
                let fields = self.names.measures.iter().enumerate();
                fields
                    .map(|(index, name)| (format!("{prefix}{name}"), text(index).map(String::into_bytes)))
                    .collect()
            }
        }
    }
}

/// Until when a row keeps its key alive, before the `ttl` begins.
fn alive_ms(row: &Row) -> i64 {
    row.window.map_or(row.changed_ms, |window| window.end_ms.max(row.changed_ms))
}

/// What comes before the measure in the fields of a group: `<group>:`, and so for each. Where there are several, a `:`
/// in a value has a `\` before it, or two groups could have the same fields.
fn field_prefix(row_group: &[u8]) -> String {
    let scalars = group::scalars(row_group);
    let mut prefix = String::new();
    for scalar in &scalars {
        let text = group::text(scalar);
        if scalars.len() > 1 {
            prefix.push_str(&text.replace('\\', "\\\\").replace(':', "\\:"));
        } else {
            prefix.push_str(&text);
        }
        prefix.push(':');
    }
    prefix
}
