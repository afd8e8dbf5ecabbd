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

#[cfg(test)]
mod tests {
    use super::super::tests::{parsed, record};
    use super::super::{EvaluationError, FieldSpans, Format, Program, Value};
    use super::*;

    /// The value over a record, an item `{"product_id": 5, "quantity": 2}`, and a product or none.
    fn evaluate(expression: &str, product: Option<&str>) -> Result<Value<'static>, EvaluationError> {
        let mut layout = Layout::default();
        layout.add_document("item");
        layout.add_document("product");
        let program = Program::over(&parsed(expression), Format::Json, &mut layout).unwrap();
        let record = record(r#"{"id": 7}"#);
        let mut spans = vec![FieldSpans::default(); 3];
        let mut spans = spans.iter_mut();
        let fields = layout.record().read(record.value, spans.next().unwrap()).unwrap();
        let texts = [Some(r#"{"product_id": 5, "quantity": 2}"#), product];
        let documents: Vec<_> = layout
            .documents()
            .zip(texts)
            .map(|(paths, text)| text.map(|text| paths.read(text.as_bytes(), spans.next().unwrap()).unwrap()))
            .collect();
        program.evaluate_view(&View { record: &record, fields, documents: &documents }).map(Value::into_owned)
    }

    const PRODUCT: Option<&str> = Some(r#"{"category": "Toys", "price": 0.10}"#);

    #[test]
    fn expressions_of_every_form_read_documents_and_the_record_together() {
        for (expression, expected) in [
            ("product.category", Value::Text("Toys".into())),
            ("product.price", Value::Number("0.10".into())),
            ("product.missing", Value::Absent),
            ("item.quantity", Value::Number("2".into())),
            ("event.id", Value::Number("7".into())),
            ("product.category == \"Toys\" && item.quantity > 1 && event.id == 7", Value::Bool(true)),
            ("decimal(product.price) * item.quantity", Value::Decimal("0.20".parse().unwrap())),
            ("has(product.category)", Value::Bool(true)),
            ("size(product) + event.id", Value::Int(9)),
            ("topic + product.category", Value::Text("transactionsToys".into())),
        ] {
            assert_eq!(evaluate(expression, PRODUCT), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn a_document_that_is_not_there_reads_as_absent() {
        assert_eq!(evaluate("product.category", None), Ok(Value::Absent));
        assert_eq!(evaluate("product", None), Ok(Value::Absent));
        assert_eq!(evaluate("has(product.category)", None), Ok(Value::Bool(false)));
        let error = evaluate("product.category == \"Toys\"", None).unwrap_err().to_string();
        assert_eq!(error, "`product.category == \"Toys\"` has no value: `product.category` is missing");
        let error = evaluate("product.category + \"!\"", None).unwrap_err().to_string();
        assert_eq!(error, "`product.category + \"!\"` has no value: `product.category` is missing");
    }

    #[test]
    fn a_name_that_no_document_has_is_refused() {
        let mut layout = Layout::default();
        let before = Program::over(&parsed("item.id"), Format::Json, &mut layout);
        assert_eq!(before.unwrap_err().to_string(), "there is no variable `item` here");
        layout.add_document("item");
        assert!(Program::over(&parsed("item.id"), Format::Json, &mut layout).is_ok());
    }

    #[test]
    fn the_elements_of_a_list_are_its_texts() {
        let all = |text| super::super::elements(text).collect::<Vec<_>>();
        assert_eq!(
            all(r#"[ {"a": [1, 2]} , "x,]", null ,-1.5e3]"#),
            [r#"{"a": [1, 2]}"#, r#""x,]""#, "null", "-1.5e3"]
        );
        assert_eq!(all("[]"), Vec::<&str>::new());
        assert_eq!(all("[ ]"), Vec::<&str>::new());
        assert_eq!(all("{\"a\": 1}"), Vec::<&str>::new());
    }
}
