//! Which aggregation is tried.

use acequia_crds::pipeline::aggregation::Aggregation;
use proptest::prelude::*;

use crate::aggregator::combine::step::{Combine, Lateness};
use crate::aggregator::measure::Shape;
use crate::aggregator::merge::state::Rules;
use crate::aggregator::record::RecordPlan;
use crate::aggregator::window::Window;

/// Length of the windows.
pub const SIZE_MS: i64 = 10_000;
/// How far out of order events may be.
pub const WATERMARK_MS: i64 = 4_000;
/// How long a window waits for a silent source; no run but one that ends in silence lasts as long.
pub const IDLE_RETENTION_MS: i64 = 900_000;
/// Longer than any run.
pub const FOR_EVER_MS: i64 = 1 << 40;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An event.
    Plain,
    /// A change event of a table.
    Debezium,
    /// The latest of each id counts.
    LatestBy,
}

/// An aggregation and its inputs.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the manifest that is there or not")]
pub struct Case {
    pub format: Format,
    pub is_global: bool,
    pub is_grouped: bool,
    pub is_exploded: bool,
    /// Failed orders don't count at all.
    pub is_filtered: bool,
    pub allowed_ms: i64,
    /// Windows are forgotten as soon as every output has them.
    pub forgets: bool,
}

impl Case {
    /// Tumbling windows by category, of events.
    pub fn plain() -> Self {
        Self {
            format: Format::Plain,
            is_global: false,
            is_grouped: true,
            is_exploded: false,
            is_filtered: false,
            allowed_ms: 0,
            forgets: false,
        }
    }

    pub fn is_table(&self) -> bool {
        self.format != Format::Plain
    }

    /// Partitions of the partials topic.
    pub fn partials_partitions(&self) -> usize {
        if self.is_grouped { 3 } else { 1 }
    }

    pub fn plan(&self) -> RecordPlan {
        let aggregation: Aggregation =
            serde_yaml::from_str(&self.yaml()).unwrap_or_else(|error| panic!("{}\n{error}", self.yaml()));
        RecordPlan::new(&aggregation).unwrap_or_else(|error| panic!("{}\n{error}", self.yaml()))
    }

    fn yaml(&self) -> String {
        let line = if self.is_exploded { "item" } else { "event" };
        let mut yaml = format!(
            "name: sales
from: [orders, returns]
to: [{{topic: out}}]
measures:
- {{name: orders, count: {{}}}}
- {{name: revenue, sum: {line}.amount}}
- {{name: average, avg: {line}.amount}}
- {{name: least, min: {line}.amount}}
- {{name: most, max: {line}.amount}}
- {{name: failed, count: {{}}, where: 'event.status == \"failed\"'}}
- {{name: today, sum: {line}.amount, today: event.day}}
"
        );
        let mut add = |is_there: bool, line: &str| {
            if is_there {
                yaml.push_str(line);
                yaml.push('\n');
            }
        };
        add(self.format == Format::Debezium, "format: debezium");
        add(self.format == Format::LatestBy, "latestBy: event.id");
        add(self.is_global, "window: {global: {}}");
        add(!self.is_global, "window: {tumbling: 10s}\neventTime: event.at");
        add(self.is_grouped, &format!("groupBy: [{{name: category, value: {line}.category}}]"));
        add(self.is_exploded, "explode: {as: item, value: event.items}");
        add(self.is_filtered, "where: 'event.status != \"failed\"'");
        yaml
    }

    pub fn combine(&self) -> Combine {
        let lateness = Lateness { watermark_ms: WATERMARK_MS, allowed_ms: self.allowed_ms };
        Combine::new(self.plan(), self.window(), lateness)
    }

    pub fn rules(&self) -> Rules {
        Rules {
            shape: Shape { measures: self.plan().measures().to_vec(), is_table: self.is_table() },
            window: self.window(),
            allowed_ms: self.allowed_ms,
            idle_retention_ms: IDLE_RETENTION_MS,
            keep_ms: if self.forgets { 0 } else { FOR_EVER_MS },
            is_ungrouped: !self.is_grouped,
        }
    }

    fn window(&self) -> Window {
        if self.is_global { Window::Global } else { Window::Tumbling { size_ms: SIZE_MS } }
    }
}

/// Any aggregation of those that are tried.
pub fn cases() -> impl Strategy<Value = Case> {
    let format = prop_oneof![Just(Format::Plain), Just(Format::Debezium), Just(Format::LatestBy)];
    let flags = any::<[bool; 4]>();
    (format, flags, prop::bool::weighted(0.2), prop::bool::weighted(0.3)).prop_map(
        |(format, [is_grouped, is_filtered, forgets, is_lenient], is_global, is_exploded)| Case {
            format,
            is_global,
            is_grouped,
            is_exploded,
            is_filtered,
            allowed_ms: if is_lenient { 3_000 } else { 0 },
            forgets,
        },
    )
}
