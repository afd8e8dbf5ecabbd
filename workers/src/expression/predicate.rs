//! Conditions without an interpreter: comparisons of fields with literals.

use std::cmp::Ordering;

use acequia_crds::expression::{Comparison, Literal, Predicate};

use super::layout::View;
use super::source::{Compiling, Source};
use super::value::Value;
use super::{EvaluationError, Uncompilable};

/// A condition whose paths know where they read.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Truth(Source),
    Compare(Source, Comparison, Literal),
    In(Source, Vec<Literal>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
}

/// Why a condition is neither true nor false.
enum Undecided {
    Absent(String),
    Mismatch(String),
    Failed(EvaluationError),
}

impl Condition {
    pub fn new(predicate: &Predicate, compiling: &mut Compiling<'_>) -> Result<Self, Uncompilable> {
        Ok(match predicate {
            Predicate::Truth(path) => Self::Truth(compiling.source(path)?),
            Predicate::Compare(path, comparison, literal) => {
                Self::Compare(compiling.source(path)?, *comparison, literal.clone())
            }
            Predicate::In(path, literals) => Self::In(compiling.source(path)?, literals.clone()),
            Predicate::And(left, right) => Self::And(boxed(left, compiling)?, boxed(right, compiling)?),
            Predicate::Or(left, right) => Self::Or(boxed(left, compiling)?, boxed(right, compiling)?),
            Predicate::Not(inner) => Self::Not(boxed(inner, compiling)?),
        })
    }

    /// Whether it holds. As in CEL, an undecided side doesn't matter where the other one decides.
    pub fn evaluate(&self, expression: &str, view: &View<'_, '_>) -> Result<bool, EvaluationError> {
        self.decide(view).map_err(|undecided| match undecided {
            Undecided::Absent(name) => EvaluationError::Absent { expression: expression.to_owned(), name },
            Undecided::Mismatch(message) => {
                EvaluationError::Failed { expression: expression.to_owned(), message }
            }
            Undecided::Failed(error) => error,
        })
    }

    fn decide(&self, view: &View<'_, '_>) -> Result<bool, Undecided> {
        match self {
            Self::Truth(source) => match read(source, view)? {
                Value::Bool(value) => Ok(value),
                other => Err(Undecided::Mismatch(format!(
                    "`{source}` is {}, where a boolean is needed",
                    other.kind()
                ))),
            },
            Self::Compare(source, comparison, literal) => compare(source, *comparison, literal, view),
            Self::In(source, literals) => {
                let value = read(source, view)?;
                Ok(literals.iter().any(|literal| equal(&value, literal)))
            }
            Self::And(left, right) => both(left.decide(view), || right.decide(view), false),
            Self::Or(left, right) => both(left.decide(view), || right.decide(view), true),
            Self::Not(inner) => inner.decide(view).map(|holds| !holds),
        }
    }
}

fn boxed(predicate: &Predicate, compiling: &mut Compiling<'_>) -> Result<Box<Condition>, Uncompilable> {
    Condition::new(predicate, compiling).map(Box::new)
}

/// `decisive`: the value of one side that decides, whatever the other one is.
fn both(
    left: Result<bool, Undecided>,
    right: impl FnOnce() -> Result<bool, Undecided>,
    decisive: bool,
) -> Result<bool, Undecided> {
    match left {
        Ok(left) if left == decisive => Ok(decisive),
        Ok(_) => right(),
        Err(undecided) => match right() {
            Ok(right) if right == decisive => Ok(decisive),
            _ => Err(undecided),
        },
    }
}

fn read<'r>(source: &Source, view: &View<'r, '_>) -> Result<Value<'r>, Undecided> {
    match source.read(view).map_err(Undecided::Failed)? {
        Value::Absent => Err(Undecided::Absent(source.to_string())),
        value => Ok(value),
    }
}

fn compare(
    source: &Source,
    comparison: Comparison,
    literal: &Literal,
    view: &View<'_, '_>,
) -> Result<bool, Undecided> {
    let value = read(source, view)?;
    let holds: fn(Ordering) -> bool = match comparison {
        Comparison::Equal => return Ok(equal(&value, literal)),
        Comparison::NotEqual => return Ok(!equal(&value, literal)),
        Comparison::Less => Ordering::is_lt,
        Comparison::LessOrEqual => Ordering::is_le,
        Comparison::Greater => Ordering::is_gt,
        Comparison::GreaterOrEqual => Ordering::is_ge,
    };
    order(&value, literal).map(holds).ok_or_else(|| {
        Undecided::Mismatch(format!(
            "`{source}` is {}, which has no order with {}",
            value.kind(),
            kind(literal)
        ))
    })
}

fn equal(value: &Value<'_>, literal: &Literal) -> bool {
    match (value, literal) {
        (Value::Null, Literal::Null) => true,
        _ => order(value, literal) == Some(Ordering::Equal),
    }
}

fn order(value: &Value<'_>, literal: &Literal) -> Option<Ordering> {
    match (value, literal) {
        (Value::Text(value), Literal::Text(literal)) => Some(value.as_ref().cmp(literal.as_str())),
        (Value::Bool(value), Literal::Bool(literal)) => Some(value.cmp(literal)),
        (Value::Number(text), Literal::Int(literal)) => match text.parse::<i64>() {
            Ok(whole) => Some(whole.cmp(literal)),
            Err(_) => text.parse::<f64>().ok()?.partial_cmp(&(*literal as f64)),
        },
        (Value::Number(text), Literal::Double(literal)) => text.parse::<f64>().ok()?.partial_cmp(literal),
        _ => None,
    }
}

fn kind(literal: &Literal) -> &'static str {
    match literal {
        Literal::Null => "null",
        Literal::Bool(_) => "a boolean",
        Literal::Int(_) | Literal::Double(_) => "a number",
        Literal::Text(_) => "a text",
    }
}
