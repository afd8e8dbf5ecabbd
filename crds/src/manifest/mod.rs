//! Reads manifests as kubectl does (YAML 1.1, several documents, no duplicate keys), and keeps where everything is, so that
//! a message can name line and column.

mod compose;
mod scalar;
mod structure;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

pub(crate) use structure::{matches, nearest, quoted};

use crate::lint::lint as rules;
use crate::pipeline::{Pipeline, PipelineSpec};
use crate::problem::{Problem, Spot};

/// `apiVersion` of Pipelines.
pub const API_VERSION: &str = "acequia.dev/v1alpha1";

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it describes.
    pub subject: Subject,
    /// Its `metadata.namespace`.
    pub namespace: Option<String>,
    /// Its `metadata.name`; empty when there is none.
    pub name: String,
    /// All of it.
    pub value: Value,
    positions: BTreeMap<String, Position>,
}

/// What a document describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A Pipeline.
    Pipeline,
    /// A ConfigMap, for example with the SQL of a generator's setup.
    ConfigMap,
    /// Something else, which is left alone: `apiVersion` and `kind`.
    Other(String, String),
}

/// Where a field is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Line and column of its name; of its value in a list.
    pub(crate) key: (usize, usize),
    /// Line and column of its value.
    pub(crate) value: (usize, usize),
    /// How many characters of markup precede a text: a quote or nothing; nothing is known of a text of several lines.
    pub(crate) markup: Option<usize>,
}

/// Reads all documents of a text; empty ones are left out.
///
/// # Errors
/// It is not YAML, or a key is there twice.
pub fn read(text: &str) -> Result<Vec<Document>, Vec<Problem>> {
    Ok(compose::documents(text)?
        .into_iter()
        .filter(|(value, _)| !value.is_null())
        .map(|(value, positions)| Document::new(value, positions))
        .collect())
}

/// Everything that is wrong with the Pipelines of a text, in the order of the text. Empty: nothing.
pub fn lint(text: &str) -> Vec<Problem> {
    let documents = match read(text) {
        Ok(documents) => documents,
        Err(problems) => return problems,
    };
    let pipelines = documents.iter().filter(|document| document.subject == Subject::Pipeline);
    pipelines.flat_map(|document| document.pipeline().1).collect()
}

impl Document {
    fn new(value: Value, positions: BTreeMap<String, Position>) -> Self {
        let text = |path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let api_version = text("/apiVersion").unwrap_or_default();
        let kind = text("/kind").unwrap_or_default();
        let subject = match (api_version.as_str(), kind.as_str()) {
            // A Pipeline with a wrong version is a mistake to be told of, not someone else's object.
            (version, "Pipeline") if version.starts_with("acequia.dev/") || version.is_empty() => {
                Subject::Pipeline
            }
            (version, _) if version.starts_with("acequia.dev/") => Subject::Pipeline,
            ("v1", "ConfigMap") => Subject::ConfigMap,
            _ => Subject::Other(api_version, kind),
        };
        Self {
            subject,
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name").unwrap_or_default(),
            value,
            positions,
        }
    }

    /// The Pipeline in it, and everything that is wrong with it; there is none when it is so wrong that it has no meaning.
    pub fn pipeline(&self) -> (Option<Pipeline>, Vec<Problem>) {
        let mut problems = structure::check(&self.value);
        let spec = self.value.get("spec").cloned().unwrap_or_default();
        let pipeline = match serde_json::from_value::<PipelineSpec>(spec) {
            Ok(spec) => {
                problems.extend(rules(&spec));
                let mut pipeline = Pipeline::new(&self.name, spec);
                pipeline.metadata.namespace.clone_from(&self.namespace);
                Some(pipeline)
            }
            Err(error) if problems.is_empty() => {
                problems.push(Problem::new("spec", error.to_string(), "correct it"));
                None
            }
            Err(_) => None,
        };
        self.locate(&mut problems);
        (pipeline, problems)
    }

    /// The texts of a ConfigMap; those that are not texts are left out.
    pub fn config_map_data(&self) -> BTreeMap<String, String> {
        let data = self.value.get("data").and_then(Value::as_object).into_iter().flatten();
        data.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// Fills in line and column, and brings the problems into the order of the file.
    pub fn locate(&self, problems: &mut Vec<Problem>) {
        for problem in problems.iter_mut() {
            if let Some((line, column)) = self.find(&problem.path, problem.spot) {
                problem.line = Some(line);
                problem.column = Some(column);
            }
        }
        problems.sort_by(|a, b| (a.line, a.column, &a.path).cmp(&(b.line, b.column, &b.path)));
        problems.dedup();
    }

    /// Of a field that is not there, the position of what should hold it.
    fn find(&self, path: &str, spot: Spot) -> Option<(usize, usize)> {
        if let Some(position) = self.positions.get(path) {
            return Some(match (spot, position.markup) {
                (Spot::Key, _) => position.key,
                (Spot::Character(offset), Some(markup)) => {
                    (position.value.0, position.value.1 + markup + offset)
                }
                _ => position.value,
            });
        }
        let parent = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        if path.is_empty() { None } else { self.find(parent, Spot::Key) }
    }
}

/// The path of a field of a map.
pub(crate) fn field(path: &str, key: &str) -> String {
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key}]"),
    }
}
