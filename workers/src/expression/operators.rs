//! CEL's operators as functions that also know decimals and let whole and fractional numbers of JSON mix, and the
//! environment the interpreter runs in.
//!
//! CEL asks the left operand alone what an operator does, so `2 * decimal(x)` would be an error; that is why the
//! tree is rewritten to call these instead. JSON doesn't tell `20` from `20.0`, so `event.price * 2` may not fail on
//! the day a price is whole: where CEL refuses an `int` beside a `double`, these compute a `double`. Where CEL has
//! an answer, it is the same one.

use std::cmp::Ordering;
use std::sync::{Arc, LazyLock};

use cel::common::ast::operators;
use cel::common::types::{CelBool, CelDouble, CelInt, CelString, DYN_TYPE, Kind};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};

use super::decimal::{self, DecimalError};
use super::number::{self, DecimalValue, Number, WrittenNumber, decimal_type};

/// Strips a number of its text.
pub(super) const PLAIN: &str = "@plain";
/// A number as it was written in the expression.
pub(super) const WRITTEN: &str = "@written";

type Arguments<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;
type Function = for<'b, 'v> fn(Arguments<'b, 'v>) -> Answer<'b, 'v>;

/// Our function for an operator of CEL, by the operator's number of operands.
pub(super) fn replacement(operator: &str, operands: usize) -> Option<&'static str> {
    BINARY
        .iter()
        .find(|(replaced, ..)| *replaced == operator && operands == 2)
        .map(|(_, name, _)| *name)
        .or_else(|| (operator == operators::NEGATE && operands == 1).then_some("@negate"))
}

const BINARY: &[(&str, &str, Function)] = &[
    (operators::ADD, "@add", |them| arithmetic(Operation::Add, &them)),
    (operators::SUBSTRACT, "@subtract", |them| arithmetic(Operation::Subtract, &them)),
    (operators::MULTIPLY, "@multiply", |them| arithmetic(Operation::Multiply, &them)),
    (operators::DIVIDE, "@divide", |them| arithmetic(Operation::Divide, &them)),
    (operators::MODULO, "@modulo", |them| arithmetic(Operation::Modulo, &them)),
    (operators::EQUALS, "@equal", |them| equal(&them, true)),
    (operators::NOT_EQUALS, "@different", |them| equal(&them, false)),
    (operators::LESS, "@less", |them| ordered(&them, Ordering::is_lt)),
    (operators::LESS_EQUALS, "@less_or_equal", |them| ordered(&them, Ordering::is_le)),
    (operators::GREATER, "@greater", |them| ordered(&them, Ordering::is_gt)),
    (operators::GREATER_EQUALS, "@greater_or_equal", |them| ordered(&them, Ordering::is_ge)),
    (operators::IN, "@contained", |them| contained(&them)),
];

const UNARY: &[(&str, Function)] = &[
    ("@negate", |them| negate(&them)),
    (PLAIN, |them| plain(&them)),
    (WRITTEN, |them| written(&them)),
    ("decimal", |them| exact_argument("decimal", &them).map(|number| CowVal::owned(DecimalValue(number)))),
];

static ENVIRONMENT: LazyLock<Result<Arc<Env>, String>> =
    LazyLock::new(|| build().map(Arc::new).map_err(|error| error.to_string()));

/// CEL's standard library and our functions; built once.
pub(super) fn environment() -> Result<Arc<Env>, String> {
    ENVIRONMENT.clone()
}

fn build() -> Result<Env, cel::DeclarationError> {
    let mut env = Env::stdlib();
    for (_, name, function) in BINARY {
        env.add_overload(name, name, vec![DYN_TYPE, DYN_TYPE], *function)?;
    }
    for (name, function) in UNARY {
        env.add_overload(name, name, vec![DYN_TYPE], *function)?;
    }
    env.add_overload("string", "decimal_to_string", vec![decimal_type()], |arguments| {
        let text = exact_argument("string", &arguments)?.to_string();
        Ok(CowVal::owned(CelString::from(text)))
    })?;
    env.add_overload("double", "decimal_to_double", vec![decimal_type()], |arguments| {
        let text = exact_argument("double", &arguments)?.to_string();
        Ok(CowVal::owned(CelDouble::from(text.parse::<f64>().unwrap_or(f64::NAN))))
    })?;
    env.add_overload("int", "decimal_to_int", vec![decimal_type()], |arguments| {
        let number = exact_argument("int", &arguments)?.trunc();
        i64::try_from(number)
            .map(|number| CowVal::owned(CelInt::from(number)))
            .map_err(|_| ExecutionError::function_error("int", format!("{number} is out of range")))
    })?;
    Ok(env)
}

#[derive(Clone, Copy, PartialEq)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operation {
    const fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }

    fn exact(
        self,
        left: rust_decimal::Decimal,
        right: rust_decimal::Decimal,
    ) -> Result<DecimalValue, DecimalError> {
        match self {
            Self::Add => decimal::add(left, right),
            Self::Subtract => decimal::subtract(left, right),
            Self::Multiply => decimal::multiply(left, right),
            Self::Divide => decimal::divide(left, right),
            Self::Modulo => decimal::remainder(left, right),
        }
        .map(DecimalValue)
    }

    fn double(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Modulo => left % right,
        }
    }

    /// What CEL itself computes.
    fn plain<'b, 'v>(
        self,
        left: &CowVal<'b, 'v>,
        right: &CowVal<'b, 'v>,
    ) -> Option<Result<Box<dyn Val + 'v>, ExecutionError>> {
        let right = right.as_ref();
        let result = match self {
            Self::Add => left.as_adder()?.add(right),
            Self::Subtract => left.as_subtractor()?.sub(right),
            Self::Multiply => left.as_multiplier()?.mul(right),
            Self::Divide => left.as_divider()?.div(right),
            Self::Modulo => left.as_modder()?.modulo(right),
        };
        Some(result.map(CowVal::into_owned))
    }
}

fn both<'a, 'b, 'v>(
    arguments: &'a [CowVal<'b, 'v>],
) -> Result<(&'a CowVal<'b, 'v>, &'a CowVal<'b, 'v>), ExecutionError> {
    match arguments {
        [left, right] => Ok((left, right)),
        _ => Err(ExecutionError::invalid_argument_count(2, arguments.len())),
    }
}

fn only<'a, 'b, 'v>(arguments: &'a [CowVal<'b, 'v>]) -> Result<&'a CowVal<'b, 'v>, ExecutionError> {
    arguments.first().ok_or_else(|| ExecutionError::invalid_argument_count(1, 0))
}

fn mismatch(symbol: &str, left: &dyn Val, right: &dyn Val) -> ExecutionError {
    ExecutionError::no_such_overload(
        symbol,
        vec![left.get_type().name().to_owned(), right.get_type().name().to_owned()],
    )
}

fn arithmetic<'b, 'v>(operation: Operation, arguments: &[CowVal<'b, 'v>]) -> Answer<'b, 'v> {
    let (left, right) = both(arguments)?;
    let fails = |message: String| ExecutionError::function_error(operation.symbol(), message);
    if let (Some(first), Some(second)) = (Number::of(left.as_ref()), Number::of(right.as_ref())) {
        if first.is_decimal() || second.is_decimal() {
            let (first, second) = (first.exact().map_err(fails)?, second.exact().map_err(fails)?);
            return operation
                .exact(first, second)
                .map(CowVal::owned)
                .map_err(|error| fails(error.to_string()));
        }
        let fractional = |number: &Number<'_>| matches!(number, Number::Double(_) | Number::Written(_));
        // CEL has no remainder of doubles, so neither has a mix.
        if (fractional(&first) || fractional(&second))
            && operation != Operation::Modulo
            && let (Some(first), Some(second)) = (first.double(), second.double())
        {
            return Ok(CowVal::owned(CelDouble::from(operation.double(first, second))));
        }
    }
    match operation.plain(left, right) {
        Some(Ok(result)) => Ok(CowVal::Owned(result)),
        Some(Err(ExecutionError::UnsupportedBinaryOperator(..))) | None => {
            Err(mismatch(operation.symbol(), left.as_ref(), right.as_ref()))
        }
        Some(Err(error)) => Err(error),
    }
}

fn same(left: &dyn Val, right: &dyn Val) -> bool {
    match (Number::of(left), Number::of(right)) {
        (Some(_), Some(_)) => number::compare(left, right) == Some(Ordering::Equal),
        _ => left.equals(right),
    }
}

fn equal<'b, 'v>(arguments: &[CowVal<'b, 'v>], wanted: bool) -> Answer<'b, 'v> {
    let (left, right) = both(arguments)?;
    Ok(CowVal::owned(CelBool::from(same(left.as_ref(), right.as_ref()) == wanted)))
}

fn ordered<'b, 'v>(arguments: &[CowVal<'b, 'v>], holds: fn(Ordering) -> bool) -> Answer<'b, 'v> {
    let (left, right) = both(arguments)?;
    let wrong = || mismatch("<", left.as_ref(), right.as_ref());
    let ordering = if Number::of(left.as_ref()).is_some() && Number::of(right.as_ref()).is_some() {
        number::compare(left.as_ref(), right.as_ref()).ok_or_else(wrong)?
    } else {
        left.as_comparer().ok_or_else(wrong)?.compare(right.as_ref()).map_err(|_| wrong())?
    };
    Ok(CowVal::owned(CelBool::from(holds(ordering))))
}

fn contained<'b, 'v>(arguments: &[CowVal<'b, 'v>]) -> Answer<'b, 'v> {
    let (value, container) = both(arguments)?;
    let wrong = || mismatch("in", value.as_ref(), container.as_ref());
    let found = match (container.get_type().kind(), container.as_iterable()) {
        (Kind::List, Some(list)) => {
            let mut elements = list.iter();
            std::iter::from_fn(|| elements.next()).any(|element| same(element, value.as_ref()))
        }
        _ => container.as_container().ok_or_else(wrong)?.contains(value.as_ref()).map_err(|_| wrong())?,
    };
    Ok(CowVal::owned(CelBool::from(found)))
}

fn negate<'b, 'v>(arguments: &[CowVal<'b, 'v>]) -> Answer<'b, 'v> {
    let value = only(arguments)?;
    match Number::of(value.as_ref()) {
        Some(Number::Decimal(number)) => Ok(CowVal::owned(DecimalValue(-number))),
        Some(Number::Written(number)) => {
            let text =
                number.text.strip_prefix('-').map_or_else(|| format!("-{}", number.text), str::to_owned);
            Ok(CowVal::owned(WrittenNumber::new(&text)))
        }
        _ => {
            let wrong = || ExecutionError::no_such_overload("-", vec![value.get_type().name().to_owned()]);
            value.as_negator().ok_or_else(wrong)?.negate().map(CowVal::Owned)
        }
    }
}

fn plain<'b, 'v>(arguments: &[CowVal<'b, 'v>]) -> Answer<'b, 'v> {
    let value = only(arguments)?;
    match value.downcast_ref::<WrittenNumber>() {
        Some(number) => Ok(CowVal::owned(CelDouble::from(number.double))),
        None => Ok(value.clone()),
    }
}

fn written<'b, 'v>(arguments: &[CowVal<'b, 'v>]) -> Answer<'b, 'v> {
    let value = only(arguments)?;
    match value.downcast_ref::<CelString>() {
        Some(text) => Ok(CowVal::owned(WrittenNumber::new(text.inner()))),
        None => Ok(value.clone()),
    }
}

fn exact_argument(
    function: &str,
    arguments: &[CowVal<'_, '_>],
) -> Result<rust_decimal::Decimal, ExecutionError> {
    let value = only(arguments)?;
    let fails = |message: String| ExecutionError::function_error(function, message);
    if let Some(text) = value.downcast_ref::<CelString>() {
        return decimal::parse(text.inner().trim()).map_err(|error| fails(error.to_string()));
    }
    match Number::of(value.as_ref()) {
        Some(number) => number.exact().map_err(fails),
        None => Err(fails(format!("a {} isn't a number", value.get_type().name()))),
    }
}
