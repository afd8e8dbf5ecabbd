//! Step 3: the difference between what shall be and what is, as a list of changes.
//!
//! Pure: the same two values give the same plan. What can't be done is a [`Refusal`] in the plan, not an error; what
//! can't be seen just now holds up only its own changes.
//!
//! The order is topics, then generators' setup, then connectors; stages don't wait, because a worker waits by itself
//! for what it needs. What goes, goes the other way round: stages, connectors, topics, groups.

mod connectors;
mod incarnations;
mod stages;
#[cfg(test)]
mod tests;
mod topics;

use crate::model::desired::Desired;
use crate::model::observed::Observed;
use crate::model::plan::{Change, Plan, Refusal, Waiting};

pub use connectors::restart_backoff_ms;

/// What to do so that `observed` becomes `desired`.
pub fn diff(desired: &Desired, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    if desired.only_begun {
        if let Err(unreachable) = &observed.ownership {
            plan.wait("what is left to remove".to_owned(), unreachable.to_string());
        }
        connectors::removed(desired, observed, &mut plan);
        return plan;
    }
    topics::kept(desired, observed, &mut plan);
    connectors::kept(desired, observed, &mut plan);
    stages::all(desired, observed, &mut plan);
    connectors::removed(desired, observed, &mut plan);
    topics::removed(desired, observed, &mut plan);
    topics::retired_groups(desired, observed, &mut plan);
    incarnations::notes(desired, observed, &mut plan);
    plan
}

impl Plan {
    fn refuse(&mut self, field: String, what: String, why: String, fix: String) {
        self.refused.push(Refusal { field, what, why, fix });
    }

    fn wait(&mut self, what: String, until: String) {
        self.waiting.push(Waiting { what, until });
    }

    /// Something that writes into topics or reads them is still being taken away.
    fn takes_away_users_of_topics(&self) -> bool {
        self.changes.iter().any(|change| {
            matches!(
                change,
                Change::StopStage { .. } | Change::ReplaceStage { .. } | Change::RemoveConnector { .. }
            )
        }) || self.waiting.iter().any(|waiting| {
            waiting.what.starts_with(connectors::REMOVAL) || waiting.what.starts_with(stages::STOP)
        })
    }
}
