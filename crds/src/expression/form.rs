//! What kind of expression a tree is: the simpler, the faster it is evaluated.

use cel::IdedExpr;
use cel::common::ast::operators;
use cel::common::ast::{CallExpr, Expr, LiteralValue};

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// A value written out.
    Literal(Literal),
    /// A variable or a field of one: read where it lies, nothing else is decoded.
    Path(Path),
    /// Comparisons of paths with literals, joined by `&&`, `||` and `!`: evaluated natively.
    Predicate(Predicate),
    /// Anything else: for the interpreter.
    General,
}

/// A value written out in an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// `42`
    Int(i64),
    /// `4.2`
    Double(f64),
    /// `"text"`
    Text(String),
}

/// A variable and the fields to go down from it: `event.customer.id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// The variable. Example: `event`.
    pub root: String,
    /// The fields. Example: `customer`, `id`.
    pub fields: Vec<String>,
}

/// A condition that needs no interpreter.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// The path's value is `true`.
    Truth(Path),
    /// The path's value compares so with the literal.
    Compare(Path, Comparison, Literal),
    /// The path's value equals one of the literals.
    In(Path, Vec<Literal>),
    /// Both hold.
    And(Box<Predicate>, Box<Predicate>),
    /// One holds.
    Or(Box<Predicate>, Box<Predicate>),
    /// It doesn't hold.
    Not(Box<Predicate>),
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    fn of(operator: &str) -> Option<Self> {
        Some(match operator {
            operators::EQUALS => Self::Equal,
            operators::NOT_EQUALS => Self::NotEqual,
            operators::LESS => Self::Less,
            operators::LESS_EQUALS => Self::LessOrEqual,
            operators::GREATER => Self::Greater,
            operators::GREATER_EQUALS => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// The same comparison with its sides swapped: `1 < x` is `x > 1`.
    fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}

impl Form {
    pub(super) fn of(tree: &IdedExpr) -> Self {
        if let Some(literal) = literal(tree) {
            return Self::Literal(literal);
        }
        if let Some(path) = path(tree) {
            return Self::Path(path);
        }
        predicate(tree).map_or(Self::General, Self::Predicate)
    }
}

fn literal(node: &IdedExpr) -> Option<Literal> {
    match &node.expr {
        Expr::Literal(value) => Some(match value {
            LiteralValue::Null => Literal::Null,
            LiteralValue::Boolean(value) => Literal::Bool(*value.inner()),
            LiteralValue::Int(value) => Literal::Int(*value.inner()),
            LiteralValue::Double(value) => Literal::Double(*value.inner()),
            LiteralValue::String(value) => Literal::Text(value.inner().to_owned()),
            LiteralValue::Bytes(_) | LiteralValue::UInt(_) => return None,
        }),
        Expr::Call(call) if call.func_name == operators::NEGATE => match literal(call.args.first()?)? {
            Literal::Int(value) => value.checked_neg().map(Literal::Int),
            Literal::Double(value) => Some(Literal::Double(-value)),
            _ => None,
        },
        _ => None,
    }
}

fn path(node: &IdedExpr) -> Option<Path> {
    let mut fields = Vec::new();
    let mut node = node;
    loop {
        match &node.expr {
            Expr::Select(select) if !select.test => {
                fields.push(select.field.clone());
                node = &select.operand;
            }
            Expr::Ident(root) if !super::functions::TYPES.contains(&root.as_str()) => {
                fields.reverse();
                let root = root.strip_prefix('.').unwrap_or(root).to_owned();
                return Some(Path { root, fields });
            }
            _ => return None,
        }
    }
}

fn predicate(node: &IdedExpr) -> Option<Predicate> {
    if let Some(path) = path(node) {
        return Some(Predicate::Truth(path));
    }
    let Expr::Call(call) = &node.expr else { return None };
    let both = |call: &CallExpr| {
        Some((Box::new(predicate(call.args.first()?)?), Box::new(predicate(call.args.get(1)?)?)))
    };
    match call.func_name.as_str() {
        operators::LOGICAL_AND => both(call).map(|(left, right)| Predicate::And(left, right)),
        operators::LOGICAL_OR => both(call).map(|(left, right)| Predicate::Or(left, right)),
        operators::LOGICAL_NOT => Some(Predicate::Not(Box::new(predicate(call.args.first()?)?))),
        operators::IN => {
            let Expr::List(list) = &call.args.get(1)?.expr else { return None };
            let literals = list.elements.iter().map(literal).collect::<Option<Vec<_>>>()?;
            Some(Predicate::In(path(call.args.first()?)?, literals))
        }
        operator => {
            let comparison = Comparison::of(operator)?;
            let (left, right) = (call.args.first()?, call.args.get(1)?);
            if let (Some(path), Some(literal)) = (path(left), literal(right)) {
                return Some(Predicate::Compare(path, comparison, literal));
            }
            Some(Predicate::Compare(path(right)?, comparison.mirrored(), literal(left)?))
        }
    }
}
