//! Checkers: is what is in the store what should be there?

use std::collections::BTreeMap;

/// A row as text, column after column; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It should be there and isn't.
    Lost(Row),
    /// It is there and shouldn't be.
    Phantom(Row),
    /// It is there more often than once.
    Repeated {
        /// The row.
        row: Row,
        /// How often it is there.
        times: usize,
    },
    /// Fewer rows were compared than the test is about: it would have shown nothing.
    TooLittle {
        /// Rows compared.
        rows: usize,
        /// Rows asked for.
        minimum: usize,
    },
}

/// Whether `found` holds exactly the rows of `expected`, in any order, each as often.
///
/// `minimum` is how many rows there must be for the comparison to mean something.
pub fn same_rows(expected: &[Row], found: &[Row], minimum: usize) -> Vec<Fault> {
    let mut faults = too_little(expected.len(), minimum);
    let mut balance: BTreeMap<&Row, i64> = BTreeMap::new();
    for row in expected {
        *balance.entry(row).or_default() += 1;
    }
    for row in found {
        *balance.entry(row).or_default() -= 1;
    }
    for (row, difference) in balance {
        if difference > 0 {
            faults.push(Fault::Lost(row.clone()));
        } else if difference < 0 {
            faults.push(Fault::Phantom(row.clone()));
        }
    }
    faults
}

/// Whether `found` holds each row of `expected` once, in any order. Rows of `expected` are all different.
pub fn each_once(expected: &[Row], found: &[Row], minimum: usize) -> Vec<Fault> {
    let mut faults = too_little(expected.len(), minimum);
    let mut times: BTreeMap<&Row, usize> = expected.iter().map(|row| (row, 0)).collect();
    for row in found {
        match times.get_mut(row) {
            Some(count) => *count += 1,
            None => faults.push(Fault::Phantom(row.clone())),
        }
    }
    for (row, times) in times {
        match times {
            0 => faults.push(Fault::Lost(row.clone())),
            1 => {}
            times => faults.push(Fault::Repeated { row: row.clone(), times }),
        }
    }
    faults
}

/// Whether offsets only ever rise. `history` are successive readings of partition → next offset.
pub fn never_back(history: &[BTreeMap<String, i64>]) -> Vec<String> {
    let mut highest: BTreeMap<&str, i64> = BTreeMap::new();
    let mut faults = Vec::new();
    for reading in history {
        for (partition, offset) in reading {
            let before = highest.entry(partition).or_insert(*offset);
            if offset < before {
                faults.push(format!("{partition} went back from {before} to {offset}"));
            }
            *before = (*before).max(*offset);
        }
    }
    faults
}

/// Fails a test that found faults, with the first few of them.
///
/// # Panics
/// When there are any.
pub fn assert_none<F: std::fmt::Debug>(faults: &[F], what: &str) {
    let first: Vec<_> = faults.iter().take(5).collect();
    assert!(faults.is_empty(), "{what}: {} faults, among them {first:#?}", faults.len());
}

fn too_little(rows: usize, minimum: usize) -> Vec<Fault> {
    if rows < minimum { vec![Fault::TooLittle { rows, minimum }] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[&str]) -> Vec<Row> {
        values.iter().map(|value| vec![Some((*value).to_owned())]).collect()
    }

    fn row(value: &str) -> Row {
        vec![Some(value.to_owned())]
    }

    #[test]
    fn the_same_rows_in_another_order_are_the_same() {
        assert_eq!(same_rows(&rows(&["a", "b", "b"]), &rows(&["b", "a", "b"]), 3), []);
        assert_eq!(each_once(&rows(&["a", "b"]), &rows(&["b", "a"]), 2), []);
    }

    #[test]
    fn a_lost_row_is_seen() {
        assert_eq!(same_rows(&rows(&["a", "b"]), &rows(&["a"]), 1), [Fault::Lost(row("b"))]);
        assert_eq!(same_rows(&rows(&["a", "a"]), &rows(&["a"]), 1), [Fault::Lost(row("a"))]);
        assert_eq!(each_once(&rows(&["a", "b"]), &rows(&["a"]), 1), [Fault::Lost(row("b"))]);
    }

    #[test]
    fn a_lost_tail_is_seen() {
        assert_eq!(each_once(&rows(&["a", "b", "c"]), &[], 1).len(), 3);
    }

    #[test]
    fn a_repeated_row_is_seen() {
        let repeated = Fault::Repeated { row: row("a"), times: 2 };
        assert_eq!(each_once(&rows(&["a", "b"]), &rows(&["a", "a", "b"]), 1), [repeated]);
        assert_eq!(same_rows(&rows(&["a"]), &rows(&["a", "a"]), 1), [Fault::Phantom(row("a"))]);
    }

    #[test]
    fn a_row_of_nowhere_is_seen() {
        assert_eq!(each_once(&rows(&["a"]), &rows(&["a", "x"]), 1), [Fault::Phantom(row("x"))]);
        assert_eq!(same_rows(&rows(&["a"]), &rows(&["a", "x"]), 1), [Fault::Phantom(row("x"))]);
    }

    #[test]
    fn null_is_not_the_empty_text() {
        assert_eq!(same_rows(&[vec![None]], &rows(&[""]), 1).len(), 2);
    }

    #[test]
    fn nothing_compared_is_a_fault() {
        assert_eq!(same_rows(&[], &[], 1), [Fault::TooLittle { rows: 0, minimum: 1 }]);
        assert_eq!(each_once(&[], &[], 5), [Fault::TooLittle { rows: 0, minimum: 5 }]);
    }

    #[test]
    fn an_offset_that_goes_back_is_seen() {
        let reading = |offset| BTreeMap::from([("t[0]".to_owned(), offset)]);
        assert_eq!(never_back(&[reading(1), reading(5), reading(5)]), Vec::<String>::new());
        assert_eq!(never_back(&[reading(5), reading(4), reading(6)]), ["t[0] went back from 5 to 4"]);
    }
}
