//! What is wrong with a manifest: where, what, and what to do.

use std::fmt;
use std::fmt::Write as _;

use serde::Serialize;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The field. Example: `spec.sinks[0].from[1]`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub fix: String,
    /// Line in the file, from 1, when the manifest came from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Character in the line, from 1, when the manifest came from a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What of the field the position is to be.
    #[serde(skip)]
    pub(crate) spot: Spot,
}

/// A place inside a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spot {
    /// Its name.
    Key,
    /// The beginning of its value.
    #[default]
    Value,
    /// A character of its text, from 0.
    Character(usize),
}

impl Problem {
    /// A problem of the value of a field.
    pub fn new(path: impl Into<String>, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            fix: fix.into(),
            line: None,
            column: None,
            spot: Spot::Value,
        }
    }

    /// The same problem, found at another place inside the field.
    #[must_use]
    pub(crate) fn at(self, spot: Spot) -> Self {
        Self { spot, ..self }
    }
}

/// `path: message. Fix`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        let mut rest = self.fix.chars();
        match rest.next() {
            Some(first) => write!(f, ". {}{}", first.to_uppercase(), rest.as_str()),
            None => Ok(()),
        }
    }
}

/// One line a problem, as compilers write them: `file:line:column: path: message. Fix`.
pub fn render(problems: &[Problem], file: &str) -> String {
    problems.iter().fold(String::new(), |mut text, problem| {
        text.push_str(file);
        // Writing to a String cannot fail.
        if let Some(line) = problem.line {
            let _ = write!(text, ":{line}");
            if let Some(column) = problem.column {
                let _ = write!(text, ":{column}");
            }
        }
        let _ = writeln!(text, ": {problem}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_with_its_place() {
        let mut problem = Problem::new("spec.kafka", "is missing", "add it");
        assert_eq!(
            render(std::slice::from_ref(&problem), "a.yaml"),
            "a.yaml: spec.kafka: is missing. Add it\n"
        );
        problem.line = Some(3);
        problem.column = Some(7);
        assert_eq!(render(&[problem], "a.yaml"), "a.yaml:3:7: spec.kafka: is missing. Add it\n");
    }
}
