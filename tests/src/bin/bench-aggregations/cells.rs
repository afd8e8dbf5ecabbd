//! Results: what they must be, and what an engine wrote.

use std::collections::BTreeMap;

use acequia_tests::bench::events::{Row, time_of};
use anyhow::{Context as _, ensure};
use serde_json::Value;

/// Length of a window.
pub const WINDOW_MS: i64 = 30_000;
/// Categories that begin so are there to end windows, and nobody's results.
pub const CLOSING: &str = "closing";
/// How many differences an error names.
const NAMED: usize = 3;

/// One window of one category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The window's first millisecond since 1970.
    pub window_ms: i64,
    /// The category's number.
    pub category: u64,
}

/// What is computed of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How many events.
    pub orders: u64,
    /// Sum of their amounts, in cents.
    pub cents: u64,
}

/// All results.
pub type Cells = BTreeMap<Cell, Total>;

/// Counts a row in.
pub fn add(cells: &mut Cells, row: &Row) {
    let window_ms = row.time_ms.div_euclid(WINDOW_MS) * WINDOW_MS;
    let total = cells.entry(Cell { window_ms, category: row.category }).or_default();
    *total = Total { orders: total.orders + 1, cents: total.cents + row.cents };
}

/// A result as an engine wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Whose it is.
    pub cell: Cell,
    /// Its values.
    pub total: Total,
    /// The engine doesn't call it preliminary.
    pub is_final: bool,
}

/// Reads the document of a result; nothing for a category that only ends windows.
pub fn read(document: &[u8]) -> anyhow::Result<Option<Written>> {
    let malformed = || format!("not a result: {}", String::from_utf8_lossy(document));
    let json: Value = serde_json::from_slice(document).with_context(malformed)?;
    let start = &json["window"]["start"];
    let window_ms = start.as_i64().or_else(|| start.as_str().and_then(time_of)).with_context(malformed)?;
    let category = json["groups"]["category"].as_str().with_context(malformed)?;
    if category.starts_with(CLOSING) {
        return Ok(None);
    }
    let category = category.strip_prefix("category ").and_then(|number| number.parse().ok());
    let measures = &json["measures"];
    let total = Total {
        orders: measures["orders"].as_u64().with_context(malformed)?,
        cents: cents(&measures["revenue"]).with_context(malformed)?,
    };
    let cell = Cell { window_ms, category: category.with_context(malformed)? };
    Ok(Some(Written { cell, total, is_final: json["final"] != Value::Bool(false) }))
}

/// An amount, as a number or as text, in whole cents; nothing if it isn't one.
fn cents(amount: &Value) -> Option<u64> {
    // A double's shortest text is what was written, up to 15 digits.
    let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > 2 {
        return None;
    }
    format!("{whole}{decimals:0<2}").parse().ok()
}

/// Fails unless an engine's results are those that must be, to the cent.
pub fn compare(found: &Cells, expected: &Cells) -> anyhow::Result<()> {
    let wrong: Vec<String> = expected
        .iter()
        .filter(|(cell, total)| found.get(cell) != Some(total))
        .map(|(cell, total)| format!("{cell:?} is {:?} instead of {total:?}", found.get(cell)))
        .chain(
            found
                .keys()
                .filter(|cell| !expected.contains_key(cell))
                .map(|cell| format!("{cell:?} is too much")),
        )
        .collect();
    ensure!(
        wrong.is_empty(),
        "{} of {} results are wrong, for example: {}",
        wrong.len(),
        expected.len(),
        wrong[..wrong.len().min(NAMED)].join("; ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use acequia_tests::bench::events::FIRST_MS;

    use super::*;

    fn expected() -> Cells {
        let mut cells = Cells::new();
        for (time_ms, category, cents) in [(29_999, 3, 110), (0, 3, 5), (30_000, 3, 7), (-1, 4, 9)] {
            add(&mut cells, &Row { cents, category, time_ms: FIRST_MS + time_ms });
        }
        cells
    }

    #[test]
    fn rows_are_added_up_by_window_and_category() {
        let cell = |window: i64, category| Cell { window_ms: FIRST_MS + window * WINDOW_MS, category };
        let total = |orders, cents| Total { orders, cents };
        let wanted =
            [(cell(-1, 4), total(1, 9)), (cell(0, 3), total(2, 115)), (cell(1, 3), total(1, 7))].into();
        assert_eq!(expected(), wanted);
    }

    #[test]
    fn a_result_is_read_however_its_time_and_amount_are_written() {
        for (start, amount) in [
            (FIRST_MS.to_string(), "1234.5"),
            ("\"2026-01-01T12:00:00Z\"".to_owned(), "\"1234.50\""),
            ("\"2026-01-01T12:00:00.000Z\"".to_owned(), "1234.500"),
        ] {
            let document = format!(
                r#"{{"window":{{"start":{start}}},"groups":{{"category":"category 7"}},"measures":{{"orders":2,"revenue":{amount}}}}}"#
            );
            let cell = Cell { window_ms: FIRST_MS, category: 7 };
            let total = Total { orders: 2, cents: 123_450 };
            assert_eq!(read(document.as_bytes()).unwrap(), Some(Written { cell, total, is_final: true }));
        }
    }

    #[test]
    fn what_is_not_a_whole_number_of_cents_is_refused() {
        for amount in ["1.234", "-1", "null", "\"x\""] {
            let amount: Value = serde_json::from_str(amount).unwrap();
            assert_eq!(cents(&amount), None, "{amount}");
        }
    }

    #[test]
    fn a_result_that_is_missing_wrong_or_too_much_fails() {
        let wanted = expected();
        compare(&wanted, &wanted).unwrap();
        let first = *wanted.keys().next().unwrap();
        let mut missing = wanted.clone();
        missing.remove(&first);
        let mut wrong = wanted.clone();
        wrong.insert(first, Total { orders: 1, cents: 8 });
        let mut more = wanted.clone();
        more.insert(Cell { window_ms: 0, category: 0 }, Total::default());
        for found in [missing, wrong, more] {
            let said = compare(&found, &wanted).unwrap_err().to_string();
            assert!(said.starts_with("1 of 3 results are wrong"), "{said}");
        }
    }
}
