//! What programs read: fields of the record's value, and fields of documents beside it, such as a row that was
//! looked up.

use super::fields::{FieldPaths, Fields};
use crate::record::RecordView;

/// The paths that programs read, of the record's value and of each document.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    pub(super) record: FieldPaths,
    pub(super) documents: Vec<Document>,
}

/// A JSON document that expressions know by a name.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub name: String,
    pub paths: FieldPaths,
}

/// A record whose fields have been read, and the documents beside it.
#[derive(Clone, Copy, Debug)]
pub struct View<'r, 'a> {
    /// The record.
    pub record: &'a RecordView<'r>,
    /// The fields of its value, read by [`Layout::record`].
    pub fields: Fields<'r, 'a>,
    /// The fields of each document, read by [`Layout::document`], in the order in which they were added. One that is
    /// missing, or none, reads as absent.
    pub documents: &'a [Option<Fields<'r, 'a>>],
}

impl Layout {
    /// Adds a document; programs that are compiled from now on may refer to it. Its place among the documents.
    pub fn add_document(&mut self, name: &str) -> usize {
        self.documents.push(Document { name: name.to_owned(), paths: FieldPaths::default() });
        self.documents.len() - 1
    }

    /// The paths into the record's value.
    pub fn record(&self) -> &FieldPaths {
        &self.record
    }

    /// The paths into each document, in the order in which they were added.
    pub fn documents(&self) -> impl Iterator<Item = &FieldPaths> {
        self.documents.iter().map(|document| &document.paths)
    }
}

impl<'r> View<'r, '_> {
    /// The JSON text of a document's field, if both are there.
    pub(super) fn document(&self, document: usize, slot: usize) -> Option<&'r str> {
        self.documents.get(document)?.as_ref()?.get(slot)
    }
}
