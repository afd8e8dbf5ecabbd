//! That work goes on: what tests wait for after each kill, and what must have moved when they are through.

use std::time::{Duration, Instant};

use super::Shop;
use crate::database::Database;
use crate::wait::until;

/// What there must be at least when after each of some twenty kills something had to move: rows of each table, streamed
/// changes of each database.
pub const MINIMUM_AFTER_KILLS: [(&str, usize); 13] = [
    ("transaction", 100),
    ("transactiondetail", 200),
    ("customer", 50),
    ("product", 200),
    ("interaction", 30),
    ("stock", 200),
    ("carrier", 5),
    ("shipment", 100),
    ("change_events", 800),
    ("instashop", 300),
    ("crm_db", 30),
    ("erp_db", 100),
    ("ecommerce_db", 100),
];

impl Shop {
    /// Waits until changes that are made from now on in each of the four databases are in the table of events, and in
    /// their mirrors, and each aggregation has counted more than it had.
    ///
    /// # Panics
    /// When they aren't in time.
    pub fn wait_for_work(&self, warehouse: &mut Database, deadline: Duration, what: &str) {
        let since_ms = warehouse.now_ms();
        let counted = self.counted(warehouse);
        let moved = ["transaction", "interaction", "stock", "shipment"]
            .map(|table| (table, self.has_arrived(table, since_ms)));
        let started = Instant::now();
        let resting = || -> Vec<&str> {
            let mut resting: Vec<&str> =
                moved.iter().filter(|(_, sql)| warehouse.number(sql) == 0).map(|(table, _)| *table).collect();
            let now = self.counted(warehouse);
            resting.extend(
                counted.iter().filter(|(name, before)| now[*name] <= **before).map(|(name, _)| *name),
            );
            resting
        };
        until(&format!("{what}: new changes arrive"), deadline, resting, Vec::is_empty);
        println!("{what}: new changes arrived after {:.1} s", started.elapsed().as_secs_f64());
    }

    /// SQL that says 1 once a change of a table, made after `since_ms`, is in the table of events and in its mirror.
    fn has_arrived(&self, table: &str, since_ms: i64) -> String {
        let topic = self.topic(table);
        let is_new = format!("topic = '{topic}' AND op <> 'r' AND ts_ms > {since_ms}");
        // The generator doesn't date what it takes from the stock.
        let mirrored = match table {
            "stock" => "true".to_owned(),
            _ => format!(
                "EXISTS (SELECT FROM \"{table}\" WHERE created_at > to_timestamp({since_ms} / 1000.0))"
            ),
        };
        format!("SELECT (EXISTS (SELECT FROM change_events WHERE {is_new}) AND {mirrored})::int::bigint")
    }
}
