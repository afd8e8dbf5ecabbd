//! Expressions for which there is no shorter way: CEL's interpreter over decoded values.

use std::collections::HashMap;
use std::sync::Arc;

use acequia_crds::expression::Expression;
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError};
use serde_json::value::RawValue;

use super::number::WrittenNumber;
use super::operators::environment;
use super::outcome;
use super::rewrite::{Read, Rewritten, rewrite};
use super::value::{HalfCharacter, Value};
use super::{EvaluationError, Uncompilable};

/// A decoded value, as the interpreter takes it.
pub(super) type Decoded<'r> = Box<dyn Val + 'r>;

/// An expression, ready for the interpreter.
#[derive(Clone)]
pub(super) struct Interpreted {
    text: String,
    rewritten: Rewritten,
    environment: Arc<Env>,
}

impl std::fmt::Debug for Interpreted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Interpreted").field(&self.text).finish()
    }
}

impl Interpreted {
    pub fn new(expression: &Expression) -> Result<Self, Uncompilable> {
        if expression.calls("toMap") {
            return Err(Uncompilable::NotAvailable { expression: expression.to_string(), what: "`toMap`" });
        }
        let environment = environment().map_err(|message| Uncompilable::Environment { message })?;
        let rewritten = rewrite(expression.tree(), expression.calls("decimal"));
        Ok(Self { text: expression.to_string(), rewritten, environment })
    }

    /// What it reads, in the order in which [`evaluate`](Self::evaluate) asks for it.
    pub fn reads(&self) -> &[Read] {
        &self.rewritten.reads
    }

    /// Fractional numbers have to be decoded with their text.
    pub fn exact(&self) -> bool {
        self.rewritten.exact
    }

    /// Evaluates it over what `decode` yields for each read; none: it isn't there.
    pub fn evaluate<'r>(
        &self,
        mut decode: impl FnMut(usize, &Read) -> Result<Option<Decoded<'r>>, EvaluationError>,
    ) -> Result<Value<'static>, EvaluationError> {
        let mut values = Vec::with_capacity(self.reads().len());
        for (index, read) in self.reads().iter().enumerate() {
            let decoded = decode(index, read)?;
            let value = if read.presence {
                Some(Box::new(CelBool::from(decoded.is_some())) as Decoded<'r>)
            } else {
                decoded
            };
            values.push((read.name.as_str(), value));
        }
        let variables = Variables { values };
        let mut context = Context::with_env(Arc::clone(&self.environment));
        context.set_variable_resolver(&variables);
        let result =
            cel::Value::resolve_val(&self.rewritten.tree, &context).map_err(|error| self.failed(&error))?;
        outcome::value(result.as_ref())
            .map_err(|message| EvaluationError::Failed { expression: self.text.clone(), message })
    }

    fn failed(&self, error: &ExecutionError) -> EvaluationError {
        let expression = self.text.clone();
        match error {
            ExecutionError::NoSuchKey(name) => EvaluationError::Absent { expression, name: name.to_string() },
            ExecutionError::UndeclaredReference(root) => {
                let below = |read: &&Read| read.path.root == **root && !read.presence;
                let name = self.reads().iter().find(below).map_or(root.as_str(), |read| read.name.as_str());
                EvaluationError::Absent { expression, name: name.to_owned() }
            }
            error => EvaluationError::Failed { expression, message: outcome::message(error) },
        }
    }
}

struct Variables<'r> {
    values: Vec<(&'r str, Option<Decoded<'r>>)>,
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let (_, value) = self.values.iter().find(|(name, _)| *name == variable)?;
        value.as_ref().map(|value| CowVal::Borrowed(value.as_ref()))
    }
}

/// Decodes a checked JSON text. `exact`: fractional numbers keep their text.
pub(super) fn decode(text: &str, exact: bool) -> Result<Decoded<'_>, HalfCharacter> {
    Ok(match Value::of_json(text)? {
        Value::Text(text) => Box::new(CelString::from(text)),
        Value::Number(text) => number(&text, exact),
        Value::Bool(value) => Box::new(CelBool::from(value)),
        Value::Json(_) if text.starts_with('[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| HalfCharacter)?;
            let elements = elements.into_iter().map(|element| decode(element.get(), exact));
            Box::new(CelList::from(elements.collect::<Result<Vec<_>, _>>()?))
        }
        Value::Json(_) => {
            let members: HashMap<String, &RawValue> =
                serde_json::from_str(text).map_err(|_| HalfCharacter)?;
            let members = members
                .into_iter()
                .map(|(name, member)| Ok((CelMapKey::from(name), decode(member.get(), exact)?)));
            Box::new(CelMap::from(members.collect::<Result<HashMap<_, _>, HalfCharacter>>()?))
        }
        _ => Box::new(CelNull),
    })
}

/// A whole number that fits is an `int`, any other a `double`.
fn number<'r>(text: &str, exact: bool) -> Decoded<'r> {
    if let Ok(whole) = text.parse::<i64>() {
        return Box::new(CelInt::from(whole));
    }
    let written = WrittenNumber::new(text);
    if exact { Box::new(written) } else { Box::new(CelDouble::from(written.double)) }
}

/// Decodes a JSON value that is already taken apart, without copying its texts.
pub(super) fn decode_tree(value: &serde_json::Value, exact: bool) -> Decoded<'_> {
    match value {
        serde_json::Value::Null => Box::new(CelNull),
        serde_json::Value::Bool(value) => Box::new(CelBool::from(*value)),
        serde_json::Value::Number(value) => number(&value.to_string(), exact),
        serde_json::Value::String(text) => Box::new(CelString::from(text.as_str())),
        serde_json::Value::Array(elements) => Box::new(CelList::from(
            elements.iter().map(|element| decode_tree(element, exact)).collect::<Vec<_>>(),
        )),
        serde_json::Value::Object(members) => {
            let members = members
                .iter()
                .map(|(name, member)| (CelMapKey::from(name.as_str()), decode_tree(member, exact)));
            Box::new(CelMap::from(members.collect::<HashMap<_, _>>()))
        }
    }
}
