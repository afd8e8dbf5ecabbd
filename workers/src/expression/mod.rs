//! Evaluating expressions over records.
//!
//! An expression is compiled once into the cheapest program that does it: a literal, a read of a field where it
//! lies, native comparisons, or, for everything else, CEL's interpreter. All programs of a step share one pass over
//! a record's value ([`FieldPaths`]), and one over each document beside it ([`Layout`]).

mod decimal;
mod fields;
mod interpreter;
mod layout;
mod number;
mod operators;
mod outcome;
mod predicate;
#[cfg(test)]
mod properties;
mod rewrite;
mod scan;
mod source;
mod stops;
#[cfg(test)]
mod tests;
mod value;

use std::borrow::Cow;
use std::collections::BTreeMap;

use acequia_crds::expression::{Expression, Form, Literal};

pub use decimal::{DecimalError, add as add_decimal, divide as divide_decimal, parse as parse_decimal};
pub use fields::{FieldPaths, FieldSpans, Fields};
use interpreter::{Decoded, Interpreted, decode, decode_tree};
pub use layout::{Layout, View};
use predicate::Condition;
pub use scan::{DEPTH_LIMIT, Elements, Oddities, Undecodable, elements};
use source::{Compiling, Source};
pub use value::{HalfCharacter, Value, plain_text};

use crate::record::RecordView;

/// How a record's value is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The value is the event.
    #[default]
    Json,
    /// The value is a change event of Debezium: `event` is the row after the change, beside it are `op` and `source`.
    Debezium,
}

/// Why an expression can't be evaluated here at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uncompilable {
    /// A variable that records of this format don't have.
    #[error("there is no variable `{name}` here")]
    UnknownVariable {
        /// Its name.
        name: String,
    },
    /// Something that is to come.
    #[error("{what} is not available in this version (in `{expression}`)")]
    NotAvailable {
        /// The expression.
        expression: String,
        /// What is missing.
        what: &'static str,
    },
    /// The interpreter could not be set up; a fault of the program.
    #[error("the interpreter of expressions could not be set up: {message}")]
    Environment {
        /// What it says.
        message: String,
    },
}

/// Why an expression has no value for a record: the record is at fault, it goes to the dead letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// The value isn't JSON.
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    /// The key isn't what the expression needs.
    #[error("the key {message}")]
    Key {
        /// What is wrong with it.
        message: String,
    },
    /// A text that no sequence of characters stands for.
    #[error("`{name}`: {source}")]
    Text {
        /// The path.
        name: String,
        /// What is wrong with it.
        source: HalfCharacter,
    },
    /// The expression needs something the record doesn't have.
    #[error("`{expression}` has no value: `{name}` is missing")]
    Absent {
        /// The expression.
        expression: String,
        /// What isn't there.
        name: String,
    },
    /// The values don't go with what is done with them.
    #[error("`{expression}` has no value: {message}")]
    Failed {
        /// The expression.
        expression: String,
        /// Why.
        message: String,
    },
}

/// An expression, compiled for records of one format; its fields are read by the [`FieldPaths`] or the [`Layout`] it
/// was compiled with.
#[derive(Clone, Debug)]
pub struct Program {
    text: String,
    work: Work,
}

#[derive(Clone, Debug)]
enum Work {
    Literal(Value<'static>),
    Read(Source),
    Condition(Condition),
    Interpret(Box<Interpreted>, Vec<Source>),
}

impl Program {
    /// Compiles an expression and adds the fields it needs to `paths`.
    ///
    /// # Errors
    /// It refers to something that records of this format don't have.
    pub fn new(
        expression: &Expression,
        format: Format,
        paths: &mut FieldPaths,
    ) -> Result<Self, Uncompilable> {
        Self::compiled(expression, Compiling { format, paths, documents: &mut [] })
    }

    /// Compiles an expression that may also refer to the documents of a layout, and adds the fields it needs to it.
    ///
    /// # Errors
    /// It refers to something that is neither there in records of this format nor a document of the layout.
    pub fn over(expression: &Expression, format: Format, layout: &mut Layout) -> Result<Self, Uncompilable> {
        let Layout { record: paths, documents } = layout;
        Self::compiled(expression, Compiling { format, paths, documents })
    }

    fn compiled(expression: &Expression, mut compiling: Compiling<'_>) -> Result<Self, Uncompilable> {
        let work = match expression.form() {
            Form::Literal(literal) => Work::Literal(constant(literal)),
            Form::Path(path) => Work::Read(compiling.source(path)?),
            Form::Predicate(predicate) => Work::Condition(Condition::new(predicate, &mut compiling)?),
            Form::General => {
                let interpreted = Interpreted::new(expression)?;
                let sources = interpreted.reads().iter().map(|read| compiling.source(&read.path));
                let sources = sources.collect::<Result<_, _>>()?;
                Work::Interpret(Box::new(interpreted), sources)
            }
        };
        Ok(Self { text: expression.to_string(), work })
    }

    /// The expression's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The JSON text of the field that a plain path leads to, as it stands in the record's value; none where the
    /// expression is something else or nothing is there.
    pub fn json<'r>(&self, fields: &Fields<'r, '_>) -> Option<&'r str> {
        match &self.work {
            Work::Read(source) => source.json_of_value(fields),
            _ => None,
        }
    }

    /// The JSON text that a plain path leads to, in the record's value or a document; none where the expression is
    /// something else or nothing is there.
    pub fn json_of_view<'r>(&self, view: &View<'r, '_>) -> Option<&'r str> {
        match &self.work {
            Work::Read(source) => source.json_of_view(view),
            _ => None,
        }
    }

    /// The value for a record, whose fields have been read. A plain path to a field that isn't there is
    /// [`Value::Absent`]; in any other expression that is an error, as in CEL.
    pub fn evaluate<'r>(
        &self,
        record: &RecordView<'r>,
        fields: &Fields<'r, '_>,
    ) -> Result<Value<'r>, EvaluationError> {
        self.evaluate_view(&View { record, fields: *fields, documents: &[] })
    }

    /// The value for a record and the documents beside it. A plain path to something that isn't there is
    /// [`Value::Absent`]; in any other expression that is an error, as in CEL.
    ///
    /// # Errors
    /// The expression has no value for them.
    pub fn evaluate_view<'r>(&self, view: &View<'r, '_>) -> Result<Value<'r>, EvaluationError> {
        match &self.work {
            Work::Read(source) => source.read(view),
            Work::Literal(value) => Ok(value.clone()),
            Work::Condition(condition) => condition.evaluate(&self.text, view).map(Value::Bool),
            Work::Interpret(interpreted, sources) => {
                let exact = interpreted.exact();
                interpreted.evaluate(|index, _| match sources.get(index) {
                    Some(source) => decoded(source, view, exact),
                    None => Ok(None),
                })
            }
        }
    }
}

/// What the interpreter gets for a path.
fn decoded<'r>(
    source: &Source,
    view: &View<'r, '_>,
    exact: bool,
) -> Result<Option<Decoded<'r>>, EvaluationError> {
    use cel::common::types::CelString;

    if source.is_json() {
        let Some(text) = source.json(view)? else { return Ok(None) };
        let half = |error| EvaluationError::Text { name: source.to_string(), source: error };
        return decode(text, exact).map(Some).map_err(half);
    }
    Ok(match source.read(view)? {
        Value::Text(text) => Some(Box::new(CelString::from(text))),
        // Only `now` is a time; the interpreter takes it as a text and makes a timestamp of it.
        Value::Timestamp(micros) => {
            let time = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            Some(Box::new(CelString::from(time.to_string())))
        }
        _ => None,
    })
}

fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        // The text rather than the double, so that an exact column gets what was written.
        Literal::Double(value) => Value::Number(Cow::Owned(value.to_string())),
        Literal::Text(text) => Value::Text(Cow::Owned(text.clone())),
    }
}

/// One expression by itself: a [`Program`] with its own fields.
#[derive(Clone, Debug)]
pub struct Compiled {
    program: Program,
    paths: FieldPaths,
}

impl Compiled {
    /// Compiles an expression for records of a format.
    ///
    /// # Errors
    /// It refers to something that records of this format don't have.
    pub fn new(expression: &Expression, format: Format) -> Result<Self, Uncompilable> {
        let mut paths = FieldPaths::default();
        let program = Program::new(expression, format, &mut paths)?;
        Ok(Self { program, paths })
    }

    /// The value for a record. The record's value is decoded only if the expression needs it.
    pub fn evaluate<'r>(&self, record: &RecordView<'r>) -> Result<Value<'r>, EvaluationError> {
        let mut spans = FieldSpans::default();
        let value = if self.paths.is_empty() { b"null" } else { record.value };
        self.program.evaluate(record, &self.paths.read(value, &mut spans)?)
    }
}

/// An expression over named values that no record holds, for example the other fields of a row being made.
#[derive(Clone, Debug)]
pub struct FieldExpression {
    interpreted: Interpreted,
}

impl FieldExpression {
    /// Compiles an expression whose variables are the names of the values.
    ///
    /// # Errors
    /// It uses something that isn't available.
    pub fn new(expression: &Expression) -> Result<Self, Uncompilable> {
        Interpreted::new(expression).map(|interpreted| Self { interpreted })
    }

    /// The value over these values.
    ///
    /// # Errors
    /// A name isn't there, or the values don't go with what is done with them.
    pub fn evaluate(
        &self,
        values: &BTreeMap<String, serde_json::Value>,
    ) -> Result<Value<'static>, EvaluationError> {
        let exact = self.interpreted.exact();
        self.interpreted.evaluate(|_, read| {
            let below = |value, field: &String| serde_json::Value::get(value, field.as_str());
            let value = values.get(&read.path.root);
            let value = value.and_then(|value| read.path.fields.iter().try_fold(value, below));
            Ok(value.map(|value| decode_tree(value, exact)))
        })
    }
}
