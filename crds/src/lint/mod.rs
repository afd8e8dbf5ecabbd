//! The one function that says whether a Pipeline makes sense: for the operator, the command line and the tests. It holds what
//! the CEL rules of the CRD say, and what they cannot: expressions, columns, cycles, two writers of one thing.

mod aggregations;
mod availability;
mod connections;
mod expressions;
mod fields;
mod flows;
mod gateway;
mod generators;
mod sinks;
mod sources;
mod substitutions;
mod tables;
mod topics;
mod transforms;

use std::collections::BTreeSet;

pub use availability::{Place, not_available};

use crate::duration::Duration;
use crate::manifest::{nearest, quoted};
use crate::pipeline::PipelineSpec;
use crate::pipeline::store::Store;
use crate::pipeline::workers::Workers;
use crate::problem::{Problem, Spot};

/// Everything that is wrong with the spec, without positions. Empty: it makes sense.
pub fn lint(spec: &PipelineSpec) -> Vec<Problem> {
    let mut report = Report { spec, problems: Vec::new() };
    connections::check(&mut report);
    topics::check(&mut report);
    generators::check(&mut report);
    sources::check(&mut report);
    transforms::check(&mut report);
    sinks::check(&mut report);
    aggregations::check(&mut report);
    gateway::check(&mut report);
    flows::check(&mut report);
    substitutions::check(&mut report);
    if let Some(workers) = &spec.workers {
        report.workers(workers, "spec.workers");
    }
    report.problems
}

/// What was found so far, and what many rules ask.
struct Report<'a> {
    spec: &'a PipelineSpec,
    problems: Vec<Problem>,
}

impl<'a> Report<'a> {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::new(path, message, fix));
    }

    /// As [`Report::add`], about the name of the field rather than its value.
    fn add_key(&mut self, path: impl Into<String>, message: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::new(path, message, fix).at(Spot::Key));
    }

    /// The store that a field names; says so when there is none.
    fn store(&mut self, name: &str, path: &str) -> Option<&'a Store> {
        let found = self.spec.store(name);
        if found.is_none() {
            let names: Vec<&str> = self.spec.stores.iter().map(|store| store.name.as_str()).collect();
            self.add(path, format!("`{name}` is not in spec.stores"), unknown_fix(name, &names));
        }
        found
    }

    /// As [`Report::store`], but it has to be a PostgreSQL database.
    fn postgres(&mut self, name: &str, path: &str, why: &str) {
        if let Some(kind) = self.store(name, path).and_then(Store::kind)
            && kind.field() != "postgres"
        {
            self.add(
                path,
                format!("`{name}` is a {} store, but {why}", kind.field()),
                "name a postgres store of spec.stores",
            );
        }
    }

    /// Says so when a field names a topic that is not declared.
    fn topic(&mut self, name: &str, path: &str) {
        if self.spec.topic(name).is_none() {
            let names: Vec<&str> = self.spec.topics.iter().map(|topic| topic.name.as_str()).collect();
            self.add(path, format!("`{name}` is not in spec.topics"), unknown_fix(name, &names));
        }
    }

    /// The topics of a `from`: each declared, none twice.
    fn inputs(&mut self, from: &[String], path: &str) {
        for (index, name) in from.iter().enumerate() {
            let path = format!("{path}.from[{index}]");
            self.topic(name, &path);
            if from[..index].contains(name) {
                self.add(path, format!("`{name}` is in the list already"), "remove it");
            }
        }
    }

    /// Says so where a name is there again; `path` is the list, `field` the part of an entry that holds the name.
    fn unique<'n>(&mut self, names: impl IntoIterator<Item = &'n str>, path: &str, field: &str) {
        let mut seen = BTreeSet::new();
        for (index, name) in names.into_iter().enumerate() {
            if !seen.insert(name) {
                let message = format!("`{name}` is there already");
                self.add(format!("{path}[{index}].{field}"), message, "give each a name of its own");
            }
        }
    }

    fn positive(&mut self, duration: Duration, path: &str) {
        if duration.as_ms() == 0 {
            self.add(path, "is no time at all", "write a longer one, for example `1s`");
        }
    }

    fn range<T: PartialOrd + std::fmt::Display + Copy>(&mut self, min: T, max: T, path: &str) {
        if min > max {
            self.add(path, format!("`min` {min} is above `max` {max}"), "swap them");
        }
    }

    fn workers(&mut self, workers: &Workers, path: &str) {
        if let Some(replicas) = &workers.replicas {
            self.range(replicas.min, replicas.max, &format!("{path}.replicas"));
            if replicas.target_lag.is_some() && replicas.min == replicas.max {
                self.add_key(
                    format!("{path}.replicas.targetLag"),
                    "has no effect while `min` equals `max`",
                    "raise `max` or remove it",
                );
            }
        }
        let resources = workers.resources.clone().unwrap_or_default();
        let amounts = [
            ("cpu", resources.cpu, &["m"][..], "500m"),
            ("memory", resources.memory, &["k", "M", "G", "Ki", "Mi", "Gi"][..], "256Mi"),
        ];
        for (field, amount, units, example) in amounts {
            let Some(text) = amount.map(|amount| amount.to_text()) else { continue };
            let number = units.iter().find_map(|unit| text.strip_suffix(unit)).unwrap_or(&text);
            if !number.parse::<f64>().is_ok_and(|number| number > 0.0) {
                self.add(
                    format!("{path}.resources.{field}"),
                    format!("`{text}` is no amount"),
                    format!("write it as `{example}`"),
                );
            }
        }
    }
}

fn unknown_fix(name: &str, names: &[&str]) -> String {
    match nearest(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "add it there".to_owned(),
        None => format!("add it there, or use {}", quoted(names)),
    }
}

/// The fix for a name that should be one of a list.
fn pick(name: &str, names: &[&str]) -> String {
    match nearest(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "there is none; remove it".to_owned(),
        None => format!("use one of {}", quoted(names)),
    }
}
