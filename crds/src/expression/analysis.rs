//! What an expression refers to: one walk over its tree.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, SourceInfo};

use super::InvalidExpression;
use super::functions;

/// A name in an expression and where it first stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name.
    pub name: String,
    /// Its first character in the text, from 1.
    pub column: usize,
}

/// What a walk found.
pub(super) struct Found {
    pub variables: Vec<Reference>,
    pub functions: Vec<Reference>,
}

/// Walks the whole tree.
pub(super) fn analyse(tree: &IdedExpr, source: &SourceInfo) -> Result<Found, InvalidExpression> {
    let mut walk =
        Walk { source, bound: Vec::new(), found: Found { variables: Vec::new(), functions: Vec::new() } };
    walk.visit(tree)?;
    Ok(walk.found)
}

struct Walk<'a> {
    source: &'a SourceInfo,
    /// Names that macros around the place bind, innermost last.
    bound: Vec<&'a str>,
    found: Found,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, node: &'a IdedExpr) -> Result<(), InvalidExpression> {
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => {
                self.variable(name, node.id);
                Ok(())
            }
            Expr::Select(select) => self.visit(&select.operand),
            Expr::Call(call) => self.call(call, node.id),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.visit(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(structure) => Err(InvalidExpression {
                message: format!("there is no type `{}` to build", structure.type_name),
                column: self.column(node.id),
                fix: "a map is written `{\"key\": value}`".to_owned(),
            }),
        }
    }

    fn entry(&mut self, entry: &'a EntryExpr) -> Result<(), InvalidExpression> {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key)?;
                self.visit(&entry.value)
            }
        }
    }

    fn call(&mut self, call: &'a CallExpr, id: u64) -> Result<(), InvalidExpression> {
        if let Some(target) = &call.target {
            self.visit(target)?;
        }
        let name = call.func_name.as_str();
        if is_operator(name) {
            return call.args.iter().try_for_each(|argument| self.visit(argument));
        }
        let column = self.column(id);
        let Some(signature) = functions::named(name) else {
            return Err(InvalidExpression {
                message: format!("there is no function `{name}`"),
                column,
                fix: functions::unknown_fix(name),
            });
        };
        if !signature.accepts(call.target.is_some(), call.args.len()) {
            return Err(InvalidExpression {
                message: format!("`{name}` can't be called like this"),
                column,
                fix: format!("write it as in `{}`", signature.usage),
            });
        }
        remember(&mut self.found.functions, name, column);
        match (name, call.args.split_first()) {
            ("toMap", Some((variable, rest))) => self.bind(variable, rest, column),
            _ => call.args.iter().try_for_each(|argument| self.visit(argument)),
        }
    }

    /// The arguments after the first, in which the first is a name for each element.
    fn bind(
        &mut self,
        variable: &'a IdedExpr,
        rest: &'a [IdedExpr],
        column: usize,
    ) -> Result<(), InvalidExpression> {
        let Expr::Ident(name) = &variable.expr else {
            return Err(InvalidExpression {
                message: "the first argument of `toMap` names each element".to_owned(),
                column,
                fix: "write it as in `event.stats.toMap(s, s.name, s.value)`".to_owned(),
            });
        };
        self.bound.push(name);
        let visited = rest.iter().try_for_each(|argument| self.visit(argument));
        self.bound.pop();
        visited
    }

    fn comprehension(&mut self, comprehension: &'a ComprehensionExpr) -> Result<(), InvalidExpression> {
        self.visit(&comprehension.iter_range)?;
        self.visit(&comprehension.accu_init)?;
        let outer = self.bound.len();
        self.bound.push(&comprehension.accu_var);
        self.bound.push(&comprehension.iter_var);
        self.bound.extend(comprehension.iter_var2.as_deref());
        self.visit(&comprehension.loop_cond)?;
        self.visit(&comprehension.loop_step)?;
        self.visit(&comprehension.result)?;
        self.bound.truncate(outer);
        Ok(())
    }

    fn variable(&mut self, name: &str, id: u64) {
        // A leading dot means the same name, looked up outside all macros.
        let plain = name.strip_prefix('.').unwrap_or(name);
        let bound = plain == name && self.bound.contains(&name);
        if !bound && !functions::TYPES.contains(&plain) {
            let column = self.column(id);
            remember(&mut self.found.variables, plain, column);
        }
    }

    fn column(&self, id: u64) -> usize {
        self.source.offset_for(id).map_or(1, |(start, _)| start as usize + 1)
    }
}

fn remember(found: &mut Vec<Reference>, name: &str, column: usize) {
    if !found.iter().any(|reference| reference.name == name) {
        found.push(Reference { name: name.to_owned(), column });
    }
}

/// Operators are calls of functions whose names no identifier can have.
fn is_operator(name: &str) -> bool {
    name.chars().any(|character| !character.is_ascii_alphanumeric() && character != '_')
}
