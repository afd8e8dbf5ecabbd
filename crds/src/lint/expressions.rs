//! Expressions: that they parse, and refer only to what is there at their place.

use super::Report;
use crate::expression::{Expression, Scope};
use crate::pipeline::transform::{Explode, Lookup};
use crate::problem::{Problem, Spot};

/// What every expression over a record may refer to.
pub(super) const RECORD: &[&str] = &["event", "key", "headers", "topic"];
/// In addition, over the rows of a change topic.
pub(super) const ROW: &[&str] = &["op", "source"];

impl<'a> Report<'a> {
    /// Checks one expression.
    pub(super) fn expression(&mut self, text: &str, path: &str, variables: &[&str]) {
        let scope = Scope { variables };
        let found = match Expression::parse(text) {
            Ok(expression) => expression.check(&scope),
            Err(error) => vec![error],
        };
        for error in found {
            let message = format!("{} (at character {} of `{text}`)", error.message, error.column);
            let problem =
                Problem::new(path, message, error.fix).at(Spot::Character(error.column.saturating_sub(1)));
            self.problems.push(problem);
        }
    }

    /// Checks an expression that may be absent.
    pub(super) fn optional_expression(&mut self, text: Option<&String>, path: &str, variables: &[&str]) {
        if let Some(text) = text {
            self.expression(text, path, variables);
        }
    }

    /// Checks `explode` and `lookups` and yields what expressions after them may refer to.
    pub(super) fn steps(
        &mut self,
        explode: Option<&'a Explode>,
        lookups: &'a [Lookup],
        path: &str,
        record: &[&'a str],
    ) -> Vec<&'a str> {
        let mut variables = record.to_vec();
        if let Some(explode) = explode {
            self.expression(&explode.value, &format!("{path}.explode.value"), &variables);
            self.new_variable(&explode.name, &format!("{path}.explode.as"), &mut variables);
        }
        for (index, lookup) in lookups.iter().enumerate() {
            let path = format!("{path}.lookups[{index}]");
            self.topic(&lookup.topic, &format!("{path}.topic"));
            self.whole(&lookup.topic, &format!("{path}.topic"));
            self.expression(&lookup.key, &format!("{path}.match"), &variables);
            self.new_variable(&lookup.name, &format!("{path}.name"), &mut variables);
        }
        variables
    }

    /// Says so when a topic that is read whole forgets what wasn't written for a while.
    fn whole(&mut self, name: &str, path: &str) {
        let Some(topic) = self.spec.topic(name).filter(|topic| !topic.external) else { return };
        let is = |setting: &str, wanted: &str| {
            topic.config.get(setting).is_some_and(|value| value.to_text().trim() == wanted)
        };
        if !is("cleanup.policy", "compact") && !is("retention.ms", "-1") {
            let fix = "give the topic `config: {cleanup.policy: compact}` or `{retention.ms: -1}`";
            self.add(path, format!("`{name}` is looked up, but forgets rows that don't change"), fix);
        }
    }

    fn new_variable(&mut self, name: &'a str, path: &str, variables: &mut Vec<&'a str>) {
        if variables.contains(&name) || name == "now" {
            self.add(path, format!("`{name}` has a meaning in expressions already"), "choose another name");
        } else {
            variables.push(name);
        }
    }
}
