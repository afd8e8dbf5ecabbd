//! Why a generator can't run as it is written.

use crate::command::InvalidConfig;

/// A field of the generator that can't be carried out; a restart won't help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} {problem}")]
pub struct Refused {
    /// Where in the manifest. Example: `generators[shop].templates[sale].rows[0].values.price`.
    pub path: String,
    /// What is wrong and what to do; the rest of a sentence that begins with the path.
    pub problem: String,
}

impl Refused {
    /// A field and what is wrong with it.
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }
}

impl From<Refused> for InvalidConfig {
    fn from(refused: Refused) -> Self {
        Self::Refused { path: refused.path, problem: refused.problem }
    }
}
