//! A generator's own metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::plan::Operation;
use super::templates::Table;
use crate::service::Progress;

/// Counters of what a generator did.
#[derive(Clone, Debug, Default)]
pub struct GeneratorMetrics {
    rows: Family<RowLabels, Counter>,
    rounds: Family<TemplateLabels, Counter>,
    conflicts: Family<TemplateLabels, Counter>,
    skipped: Family<TemplateLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RowLabels {
    store: String,
    table: String,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TemplateLabels {
    template: String,
}

impl GeneratorMetrics {
    /// New counters, shown at `/metrics`.
    pub fn register(progress: &Progress) -> Self {
        let metrics = Self::default();
        progress.register(|registry| {
            registry.register("generator_rows", "Rows inserted, updated or deleted", metrics.rows.clone());
            registry.register("generator_rounds", "Rounds carried out whole", metrics.rounds.clone());
            registry.register(
                "generator_conflicts",
                "Transactions rolled back because their values didn't fit what is in the database",
                metrics.conflicts.clone(),
            );
            registry.register(
                "generator_skipped",
                "Rounds that could not be decided, for example because a table has no rows",
                metrics.skipped.clone(),
            );
        });
        metrics
    }

    /// Rows of a committed statement.
    pub fn rows(&self, table: &Table, operation: Operation, count: u64) {
        let labels = RowLabels {
            store: table.store.clone(),
            table: table.name.clone(),
            operation: operation.as_str(),
        };
        self.rows.get_or_create(&labels).inc_by(count);
    }

    /// A round was carried out whole.
    pub fn round(&self, template: &str) {
        count(&self.rounds, template);
    }

    /// A transaction was rolled back.
    pub fn conflict(&self, template: &str) {
        count(&self.conflicts, template);
    }

    /// A round could not be decided.
    pub fn skipped(&self, template: &str) {
        count(&self.skipped, template);
    }
}

fn count(family: &Family<TemplateLabels, Counter>, template: &str) {
    family.get_or_create(&TemplateLabels { template: template.to_owned() }).inc();
}
