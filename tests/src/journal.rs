//! A witness inside the source: triggers write down each change in the transaction that makes it. What the change
//! topics hold is compared with that.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::{Fault, Row};

/// One change of one row, as the source's journal or a change topic tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The table.
    pub table: String,
    /// `c`, `u` or `d`; in topics also `r`, a row that a snapshot read.
    pub op: String,
    /// The row's primary key.
    pub key: String,
    /// Number of the transaction; the first is the lowest.
    pub transaction: i64,
}

impl Change {
    fn to_row(&self) -> Row {
        let texts = [self.table.clone(), self.op.clone(), self.key.clone(), self.transaction.to_string()];
        texts.into_iter().map(Some).collect()
    }
}

/// SQL that keeps a journal of these tables (name, primary key column) from now on.
pub fn setup_sql(tables: &[(&str, &str)]) -> String {
    let journal = "\
CREATE TABLE journal (transaction bigint NOT NULL, table_name text NOT NULL, op text NOT NULL, key text NOT NULL);
CREATE FUNCTION journal() RETURNS trigger LANGUAGE plpgsql AS $journal$
DECLARE
  changed jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
  op text := CASE TG_OP WHEN 'INSERT' THEN 'c' WHEN 'UPDATE' THEN 'u' ELSE 'd' END;
BEGIN
  INSERT INTO journal VALUES (txid_current(), TG_TABLE_NAME, op, changed ->> TG_ARGV[0]);
  RETURN NULL;
END $journal$;
";
    let trigger = |(table, key): &(&str, &str)| {
        format!(
            "CREATE TRIGGER journal AFTER INSERT OR UPDATE OR DELETE ON \"{table}\" \
             FOR EACH ROW EXECUTE FUNCTION journal('{key}');\n"
        )
    };
    let triggers: Vec<String> = tables.iter().map(trigger).collect();
    journal.to_owned() + &triggers.concat()
}

/// Whether the topics of one database hold each change of its journal once, and no other.
///
/// The changes before the first streamed one went into the snapshot: of those, the rows that were still there must
/// have been read by it. `minimum` is how many streamed changes there must be.
pub fn each_change_once(journal: &[Change], events: &[Change], minimum: usize) -> Vec<Fault> {
    let streamed: Vec<&Change> = events.iter().filter(|event| event.op != "r").collect();
    let first = streamed.iter().map(|event| event.transaction).min().unwrap_or(i64::MAX);
    let (later, earlier): (Vec<&Change>, Vec<&Change>) =
        journal.iter().partition(|change| change.transaction >= first);
    let rows = |changes: &[&Change]| -> Vec<Row> { changes.iter().map(|change| change.to_row()).collect() };
    let mut faults = crate::check::same_rows(&rows(&later), &rows(&streamed), minimum);
    let mut snapshot: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for event in events.iter().filter(|event| event.op == "r") {
        *snapshot.entry((&event.table, &event.key)).or_default() += 1;
    }
    for change in there_after(&earlier) {
        if !snapshot.contains_key(&(change.table.as_str(), change.key.as_str())) {
            faults.push(Fault::Lost(change.to_row()));
        }
    }
    for ((table, key), times) in snapshot.into_iter().filter(|(_, times)| *times > 1) {
        faults.push(Fault::Repeated { row: vec![Some(table.to_owned()), Some(key.to_owned())], times });
    }
    faults
}

/// The inserts of rows that are still there after all of `changes`.
fn there_after<'a>(changes: &[&'a Change]) -> Vec<&'a Change> {
    let gone: BTreeSet<(&str, &str)> = changes
        .iter()
        .filter(|change| change.op == "d")
        .map(|change| (change.table.as_str(), change.key.as_str()))
        .collect();
    let inserts = changes.iter().filter(|change| change.op == "c");
    inserts.filter(|change| !gone.contains(&(change.table.as_str(), change.key.as_str()))).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(op: &str, key: &str, transaction: i64) -> Change {
        Change { table: "t".into(), op: op.into(), key: key.into(), transaction }
    }

    /// Two rows before the snapshot, one of them deleted before it; three changes after it.
    fn journal() -> Vec<Change> {
        vec![
            change("c", "1", 10),
            change("c", "2", 11),
            change("d", "2", 12),
            change("c", "3", 20),
            change("u", "3", 21),
            change("d", "1", 22),
        ]
    }

    fn events() -> Vec<Change> {
        vec![change("r", "1", 0), change("c", "3", 20), change("u", "3", 21), change("d", "1", 22)]
    }

    #[test]
    fn a_faithful_log_has_no_fault() {
        assert_eq!(each_change_once(&journal(), &events(), 3), []);
    }

    #[test]
    fn a_change_that_is_lost_is_seen_wherever_it_is() {
        for lost in 0..events().len() {
            let mut events = events();
            events.remove(lost);
            assert_eq!(each_change_once(&journal(), &events, 2).len(), 1, "without event {lost}");
        }
    }

    #[test]
    fn a_change_that_came_twice_is_seen() {
        for twice in 0..events().len() {
            let mut events = events();
            events.push(events[twice].clone());
            assert_eq!(each_change_once(&journal(), &events, 3).len(), 1, "event {twice} twice");
        }
    }

    #[test]
    fn a_change_that_nobody_made_is_seen() {
        let mut events = events();
        events.push(change("u", "9", 23));
        assert_eq!(each_change_once(&journal(), &events, 3), [Fault::Phantom(change("u", "9", 23).to_row())]);
    }

    #[test]
    fn a_change_told_as_another_is_seen() {
        let mut events = events();
        events[2].op = "c".into();
        assert_eq!(each_change_once(&journal(), &events, 3).len(), 2);
    }

    #[test]
    fn a_log_without_streamed_changes_shows_nothing() {
        assert_eq!(
            each_change_once(&[], &[change("r", "1", 0)], 1),
            [Fault::TooLittle { rows: 0, minimum: 1 }]
        );
    }
}
