//! Expressions: the texts in a manifest that compute a value from a record, in CEL, the language of Kubernetes'
//! own validation rules.
//!
//! This module is the only place that parses them. It says of each what it is (a literal, a plain path, a simple
//! comparison, or something for the interpreter) and what it refers to, so a rule can tell at once whether it
//! makes sense where it stands. Workers evaluate.

mod analysis;
mod form;
mod functions;
#[cfg(test)]
mod tests;

use std::fmt;

use cel::IdedExpr;
use cel::parser::Parser;

pub use analysis::Reference;
pub use form::{Comparison, Form, Literal, Path, Predicate};

/// An expression that parsed, with what is known of it without any record.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: String,
    tree: IdedExpr,
    form: Form,
    variables: Vec<Reference>,
    functions: Vec<Reference>,
}

/// Why a text isn't an expression, or doesn't fit the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at character {column}); {fix}")]
pub struct InvalidExpression {
    /// What is wrong.
    pub message: String,
    /// Where in the text: the first character is 1.
    pub column: usize,
    /// What to write instead.
    pub fix: String,
}

/// What an expression may refer to at one place of a manifest.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The variables, for example `event`, `key` and `topic`.
    pub variables: &'a [&'a str],
}

impl Expression {
    /// Parses a text.
    ///
    /// # Errors
    /// The text isn't CEL, or calls a function that doesn't exist or calls it in a way it can't be called.
    pub fn parse(text: &str) -> Result<Self, InvalidExpression> {
        if text.trim().is_empty() {
            return Err(InvalidExpression {
                message: "the expression is empty".to_owned(),
                column: 1,
                fix: "write a path like `event.id`, or leave the field out".to_owned(),
            });
        }
        let (tree, source) =
            Parser::new().parse_with_source_info(text).map_err(|errors| syntax_error(text, &errors))?;
        let found = analysis::analyse(&tree, &source)?;
        Ok(Self {
            text: text.to_owned(),
            form: Form::of(&tree),
            tree,
            variables: found.variables,
            functions: found.functions,
        })
    }

    /// The text it was parsed from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What kind of expression it is, which decides how it is evaluated.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// The syntax tree, for the interpreter.
    pub fn tree(&self) -> &IdedExpr {
        &self.tree
    }

    /// The variables it refers to, each once, in order of first appearance; not the ones it binds itself (the `x`
    /// of `list.map(x, …)`).
    pub fn variables(&self) -> &[Reference] {
        &self.variables
    }

    /// The functions it calls, each once, in order of first appearance; operators and macros like `has` are none.
    pub fn functions(&self) -> &[Reference] {
        &self.functions
    }

    /// Whether it calls the function of that name.
    pub fn calls(&self, function: &str) -> bool {
        self.functions.iter().any(|found| found.name == function)
    }

    /// Everything it refers to that isn't there at its place. Empty: it fits.
    pub fn check(&self, scope: &Scope<'_>) -> Vec<InvalidExpression> {
        self.variables
            .iter()
            .filter(|variable| !scope.variables.contains(&variable.name.as_str()))
            .map(|variable| InvalidExpression {
                message: format!("there is no variable `{}` here", variable.name),
                column: variable.column,
                fix: unknown_variable_fix(&variable.name, scope),
            })
            .collect()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn unknown_variable_fix(name: &str, scope: &Scope<'_>) -> String {
    let literal = match name {
        "True" | "TRUE" | "yes" => Some("true"),
        "False" | "FALSE" | "no" => Some("false"),
        "None" | "NULL" | "Null" | "nil" => Some("null"),
        _ => None,
    };
    if let Some(literal) = literal {
        return format!("write `{literal}`");
    }
    if let Some(near) = functions::nearest(name, scope.variables.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let all = scope.variables.join("`, `");
    if scope.variables.contains(&"event") {
        format!(
            "a field of the record is `event.{name}`, a text is `\"{name}\"`; the variables here are `{all}`"
        )
    } else {
        format!("a text is written `\"{name}\"`; the variables here are `{all}`")
    }
}

fn syntax_error(text: &str, errors: &cel::ParseErrors) -> InvalidExpression {
    let first = errors.errors.iter().min_by_key(|error| error.pos);
    let (line, column) = first.map_or((1, 1), |error| error.pos);
    let before: usize = text
        .split_inclusive('\n')
        .take(usize::try_from(line - 1).unwrap_or(0))
        .map(|line| line.chars().count())
        .sum();
    let message = first.map_or("it isn't CEL", |error| error.msg.as_str());
    InvalidExpression {
        message: plain_message(message),
        column: before + usize::try_from(column).unwrap_or(1).max(1),
        fix: syntax_fix(text),
    }
}

/// The parser's message without its jargon of expected tokens.
fn plain_message(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message.split(" expecting ").next().unwrap_or(message);
    if message.contains("<EOF>") {
        return "the expression ends too early".to_owned();
    }
    format!("the expression can't be read: {message}")
}

/// What was probably meant, from habits of other languages.
fn syntax_fix(text: &str) -> String {
    let outside = functions::outside_quotes(text);
    let words: Vec<&str> =
        outside.split(|character: char| !character.is_alphanumeric() && character != '_').collect();
    let single_equals = outside.match_indices('=').any(|(at, _)| {
        let neighbour = |found: Option<char>| found.is_some_and(|character| "=!<>".contains(character));
        !neighbour(outside[..at].chars().next_back()) && !outside[at + 1..].starts_with('=')
    });
    let has_word = |word: &str| words.iter().any(|found| found.eq_ignore_ascii_case(word));
    if outside.contains('\'') || outside.contains('"') {
        "a text isn't closed: write both quotes".to_owned()
    } else if outside.contains("<>") {
        "compare with `!=`".to_owned()
    } else if single_equals {
        "compare with `==`".to_owned()
    } else if has_word("and") {
        "join conditions with `&&`".to_owned()
    } else if has_word("or") {
        "join conditions with `||`".to_owned()
    } else if has_word("not") {
        "negate with `!`".to_owned()
    } else {
        "expressions are CEL, for example `event.status == \"paid\" && event.total > 10`".to_owned()
    }
}
