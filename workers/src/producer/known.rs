//! What a generator knows of the rows that exist: a bounded sample of each table it draws from.
//!
//! The sample is a pure value. The edge loads it, tells it what the generator itself inserted and deleted, and loads
//! it again when it turns out to be wrong or old: other people change the tables as well.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::plan::{Lookup, Operation, Statement};
use super::templates::Table;
use super::value::Value;

/// Rows kept of each table; of larger ones a random sample.
pub const SAMPLE_ROWS: usize = 10_000;
/// A sample older than this is taken again.
const SAMPLE_MAX_AGE: Duration = Duration::from_mins(5);
/// A sample that is empty or known to be wrong is taken again after this.
const WRONG_MAX_AGE: Duration = Duration::from_secs(1);
/// A looked-up value is used this long, so that a fast generator doesn't ask for each row.
const LOOKUP_MAX_AGE: Duration = Duration::from_secs(1);

/// Samples of tables and values looked up lately.
#[derive(Clone, Debug)]
pub struct Known {
    samples: BTreeMap<Table, Sample>,
    lookups: HashMap<Lookup, Option<Value>>,
    lookups_since: Option<Instant>,
    /// Apart from the decisions' numbers, so that what the database answers doesn't change them.
    rng: Rng,
}

#[derive(Clone, Debug)]
struct Sample {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    /// Rows that the sample stands for.
    total: u64,
    loaded: Option<Instant>,
    wrong: bool,
}

impl Known {
    /// Nothing is known yet of these columns of these tables.
    pub fn of(drawn: BTreeMap<Table, BTreeSet<String>>, seed: u64) -> Self {
        let sample = |columns: BTreeSet<String>| Sample {
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
            total: 0,
            loaded: None,
            wrong: false,
        };
        Self {
            samples: drawn.into_iter().map(|(table, columns)| (table, sample(columns))).collect(),
            lookups: HashMap::new(),
            lookups_since: None,
            rng: Rng::with_seed(seed),
        }
    }

    /// The columns kept of a table; none when nothing is drawn from it.
    pub fn columns(&self, table: &Table) -> &[String] {
        self.samples.get(table).map_or(&[], |sample| &sample.columns)
    }

    /// A random row of a table.
    pub fn pick(&self, table: &Table, rng: &mut Rng) -> Option<&[Value]> {
        let rows = &self.samples.get(table)?.rows;
        (!rows.is_empty()).then(|| rows[rng.usize(..rows.len())].as_slice())
    }

    /// What was found for a lookup: `None` when it isn't known, `Some(None)` when there is no such row.
    pub fn found(&self, lookup: &Lookup) -> Option<&Option<Value>> {
        self.lookups.get(lookup)
    }

    /// The tables whose sample has to be taken now, with the columns to take.
    pub fn due(&self, now: Instant) -> Vec<(Table, Vec<String>)> {
        let is_due = |sample: &Sample| {
            let max_age = if sample.wrong || sample.rows.is_empty() { WRONG_MAX_AGE } else { SAMPLE_MAX_AGE };
            sample.loaded.is_none_or(|loaded| now.saturating_duration_since(loaded) >= max_age)
        };
        self.samples
            .iter()
            .filter(|(_, sample)| is_due(sample))
            .map(|(table, sample)| (table.clone(), sample.columns.clone()))
            .collect()
    }

    /// A sample of `table`, which has about `total` rows.
    pub fn load(&mut self, table: &Table, rows: Vec<Vec<Value>>, total: u64, now: Instant) {
        if let Some(sample) = self.samples.get_mut(table) {
            sample.total = total.max(rows.len() as u64);
            sample.rows = rows;
            sample.loaded = Some(now);
            sample.wrong = false;
        }
    }

    /// The answer to a lookup.
    pub fn answer(&mut self, lookup: Lookup, value: Option<Value>, now: Instant) {
        self.lookups_since.get_or_insert(now);
        self.lookups.insert(lookup, value);
    }

    /// Forgets what was looked up too long ago.
    pub fn expire(&mut self, now: Instant) {
        if self.lookups_since.is_some_and(|since| now.saturating_duration_since(since) >= LOOKUP_MAX_AGE) {
            self.lookups.clear();
            self.lookups_since = None;
        }
    }

    /// What is known of this store turned out to be wrong.
    pub fn doubt(&mut self, store: &str) {
        self.samples
            .iter_mut()
            .filter(|(table, _)| table.store == store)
            .for_each(|(_, sample)| sample.wrong = true);
        self.lookups.retain(|lookup, _| lookup.table.store != store);
    }

    /// Takes in what a committed statement did; `returned` are the columns of `statement.returning` of each row.
    pub fn absorb(&mut self, statement: &Statement, returned: &[Vec<Value>]) {
        if statement.operation != Operation::Insert {
            self.lookups.retain(|lookup, _| lookup.table != statement.table);
        }
        let Some(sample) = self.samples.get_mut(&statement.table) else { return };
        let width = sample.columns.len();
        let rows = returned.iter().filter_map(|row| row.get(..width));
        match statement.operation {
            Operation::Insert => rows.for_each(|row| sample.remember(row, &mut self.rng)),
            Operation::Delete => rows.for_each(|row| sample.forget(row)),
            // The old values aren't known, so neither is which of the sample's rows has changed.
            Operation::Update => {
                sample.wrong |= statement.set.iter().any(|(column, _)| sample.columns.contains(column));
            }
        }
        if returned.is_empty() {
            // Somebody else has taken the row away.
            statement.drawn.iter().for_each(|row| sample.forget(row));
        }
    }
}

impl Sample {
    /// Reservoir sampling: each row stays with the same chance, however many come.
    fn remember(&mut self, row: &[Value], rng: &mut Rng) {
        if row.contains(&Value::Null) {
            return;
        }
        self.total += 1;
        if self.rows.len() < SAMPLE_ROWS {
            self.rows.push(row.to_vec());
            return;
        }
        let place = rng.u64(..self.total);
        if let Some(old) = usize::try_from(place).ok().and_then(|place| self.rows.get_mut(place)) {
            *old = row.to_vec();
        }
    }

    fn forget(&mut self, row: &[Value]) {
        if let Some(place) = self.rows.iter().position(|known| known == row) {
            self.rows.swap_remove(place);
            self.total = self.total.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table { store: "shop".into(), name: "customer".into() }
    }

    fn known() -> Known {
        Known::of(BTreeMap::from([(table(), BTreeSet::from(["id".to_owned()]))]), 7)
    }

    fn statement(operation: Operation, drawn: Vec<Vec<Value>>) -> Statement {
        Statement {
            table: table(),
            operation,
            set: Vec::new(),
            matching: Vec::new(),
            parent: None,
            returning: vec!["id".into()],
            drawn,
        }
    }

    fn row(id: i64) -> Vec<Value> {
        vec![Value::Int(id)]
    }

    #[test]
    fn a_sample_is_bounded_and_still_takes_new_rows_in() {
        let mut known = known();
        let rows: Vec<Vec<Value>> = (0..30_000).map(row).collect();
        known.absorb(&statement(Operation::Insert, Vec::new()), &rows);
        let sample = &known.samples[&table()];
        assert_eq!(sample.rows.len(), SAMPLE_ROWS);
        let late = sample.rows.iter().filter(|row| row[0] >= Value::Int(20_000)).count();
        assert!((2_900..3_800).contains(&late), "{late} of the last third");
    }

    #[test]
    fn deleted_rows_are_not_drawn_again() {
        let mut known = known();
        known.load(&table(), vec![row(1), row(2)], 2, Instant::now());
        known.absorb(&statement(Operation::Delete, vec![row(1)]), &[row(1)]);
        let mut rng = Rng::with_seed(1);
        assert!((0..100).all(|_| known.pick(&table(), &mut rng) == Some(row(2).as_slice())));
        known.absorb(&statement(Operation::Update, vec![row(2)]), &[]);
        assert_eq!(known.pick(&table(), &mut rng), None);
    }

    #[test]
    fn an_empty_or_doubted_sample_is_taken_again_soon_and_a_good_one_late() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut known = known();
        assert_eq!(known.due(start).len(), 1);
        known.load(&table(), Vec::new(), 0, start);
        assert!(known.due(start).is_empty());
        assert_eq!(known.due(after(1)).len(), 1);
        known.load(&table(), vec![row(1)], 1, start);
        assert!(known.due(after(60)).is_empty());
        assert_eq!(known.due(after(300)).len(), 1);
        known.doubt("another");
        assert!(known.due(after(1)).is_empty());
        known.doubt("shop");
        assert_eq!(known.due(after(1)).len(), 1);
    }
}
