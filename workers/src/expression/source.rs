//! Where a path leads: into the record's value, its key, a document beside it, or what is known of the record.

use std::borrow::Cow;
use std::fmt;

use acequia_crds::expression::Path;

use super::fields::{FieldPaths, FieldSpans, Fields};
use super::layout::{Document, View};
use super::value::Value;
use super::{EvaluationError, Format, Uncompilable};

/// A path that knows where it reads.
#[derive(Clone, Debug)]
pub(super) struct Source {
    name: String,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Topic,
    Key,
    /// A field of a key that is JSON: its only slot.
    KeyField(FieldPaths),
    Now,
    Value(usize),
    /// Which document, and the slot in it.
    Document(usize, usize),
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// What paths are compiled into.
pub(super) struct Compiling<'a> {
    pub format: Format,
    pub paths: &'a mut FieldPaths,
    pub documents: &'a mut [Document],
}

impl Compiling<'_> {
    /// Where a path of an expression leads.
    pub fn source(&mut self, path: &Path) -> Result<Source, Uncompilable> {
        let fields = path.fields.iter().map(String::as_str);
        let name = path.fields.iter().fold(path.root.clone(), |name, field| name + "." + field);
        let mut documents = self.documents.iter_mut().enumerate();
        if let Some((index, document)) = documents.find(|(_, document)| document.name == path.root) {
            return Ok(Source { name, place: Place::Document(index, document.paths.slot(fields)) });
        }
        let place = match (path.root.as_str(), self.format) {
            ("event", Format::Json) => Place::Value(self.paths.slot(fields)),
            ("event", Format::Debezium) => Place::Value(self.paths.slot(["after"].into_iter().chain(fields))),
            (root @ ("op" | "source"), Format::Debezium) => {
                Place::Value(self.paths.slot([root].into_iter().chain(fields)))
            }
            ("key", _) if path.fields.is_empty() => Place::Key,
            ("key", _) => {
                let mut paths = FieldPaths::default();
                paths.slot(fields);
                Place::KeyField(paths)
            }
            ("topic", _) if path.fields.is_empty() => Place::Topic,
            ("now", _) if path.fields.is_empty() => Place::Now,
            ("headers", _) => {
                return Err(Uncompilable::NotAvailable { expression: name, what: "`headers`" });
            }
            (root, _) => return Err(Uncompilable::UnknownVariable { name: root.to_owned() }),
        };
        Ok(Source { name, place })
    }
}

impl Source {
    /// The value there.
    pub fn read<'r>(&self, view: &View<'r, '_>) -> Result<Value<'r>, EvaluationError> {
        match &self.place {
            Place::Value(slot) => self.value(view.fields.get(*slot)),
            Place::Document(document, slot) => self.value(view.document(*document, *slot)),
            Place::Topic => Ok(Value::Text(Cow::Borrowed(view.record.topic))),
            Place::Now => Ok(Value::Timestamp(view.record.now_ms.saturating_mul(1000))),
            Place::Key => match view.record.key {
                None => Ok(Value::Absent),
                Some(key) => str::from_utf8(key)
                    .map(|key| Value::Text(Cow::Borrowed(key)))
                    .map_err(|_| EvaluationError::Key { message: "isn't UTF-8".to_owned() }),
            },
            Place::KeyField(_) => self.value(self.json(view)?),
        }
    }

    /// The JSON text there, for places that hold JSON.
    pub fn json<'r>(&self, view: &View<'r, '_>) -> Result<Option<&'r str>, EvaluationError> {
        match &self.place {
            Place::Value(slot) => Ok(view.fields.get(*slot)),
            Place::Document(document, slot) => Ok(view.document(*document, *slot)),
            Place::KeyField(paths) => {
                let Some(key) = view.record.key else { return Ok(None) };
                let mut spans = FieldSpans::default();
                let read = paths.read(key, &mut spans);
                Ok(read.map_err(|error| EvaluationError::Key { message: error.to_string() })?.get(0))
            }
            Place::Topic | Place::Key | Place::Now => Ok(None),
        }
    }

    /// The JSON text there, if this leads into the record's value.
    pub fn json_of_value<'r>(&self, fields: &Fields<'r, '_>) -> Option<&'r str> {
        match &self.place {
            Place::Value(slot) => fields.get(*slot),
            _ => None,
        }
    }

    /// The JSON text there, if this leads into the record's value or a document.
    pub fn json_of_view<'r>(&self, view: &View<'r, '_>) -> Option<&'r str> {
        match &self.place {
            Place::Value(slot) => view.fields.get(*slot),
            Place::Document(document, slot) => view.document(*document, *slot),
            _ => None,
        }
    }

    /// Whether what is there is JSON.
    pub fn is_json(&self) -> bool {
        matches!(self.place, Place::Value(_) | Place::KeyField(_) | Place::Document(..))
    }

    fn value<'r>(&self, json: Option<&'r str>) -> Result<Value<'r>, EvaluationError> {
        match json {
            None => Ok(Value::Absent),
            Some(text) => Value::of_json(text)
                .map_err(|source| EvaluationError::Text { name: self.name.clone(), source }),
        }
    }
}
