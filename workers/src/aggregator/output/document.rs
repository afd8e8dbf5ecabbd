//! A row as a JSON document, for Redis and for topics.

use acequia_crds::pipeline::aggregation::Aggregation;
use rust_decimal::Decimal;

use super::{Row, Span, group};

/// The names that an aggregation gives its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The names of `groupBy`, in their order.
    pub groups: Vec<String>,
    /// The names of the measures, in their order.
    pub measures: Vec<String>,
}

impl Layout {
    /// The names of an aggregation.
    pub fn new(aggregation: &Aggregation) -> Self {
        Self {
            groups: aggregation.group_by.iter().map(|group| group.name.clone()).collect(),
            measures: aggregation.measures.iter().map(|measure| measure.name.clone()).collect(),
        }
    }
}

/// The document of a row; none when the row is removed, which is a deleted key in Redis and a tombstone in a topic.
///
/// `{"window": {"start": …, "end": …}, "groups": {…}, "measures": {…}, "final": …, "revision": …, "watermark": …}`,
/// without `window` for a global one. Times are ISO 8601 in UTC, numbers exact and without needless zeros.
pub fn document(layout: &Layout, row: &Row) -> Option<Vec<u8>> {
    let measures = row.measures.as_ref()?;
    let mut out = String::with_capacity(256);
    out.push('{');
    if let Some(window) = row.window {
        push_window(window, &mut out);
        out.push(',');
    }
    let scalars = group::scalars(&row.group);
    out.push_str("\"groups\":");
    push_members(&layout.groups, scalars.into_iter().map(str::to_owned), &mut out);
    out.push_str(",\"measures\":");
    push_members(
        &layout.measures,
        measures.iter().map(|value| value.map_or("null".into(), number)),
        &mut out,
    );
    let watermark = row.watermark_ms.map_or_else(|| "null".to_owned(), |ms| quoted(&iso(ms)));
    let (is_final, revision) = (row.is_final.to_string(), row.revision.to_string());
    for part in [",\"final\":", &is_final, ",\"revision\":", &revision, ",\"watermark\":", &watermark, "}"] {
        out.push_str(part);
    }
    Some(out.into_bytes())
}

/// The key of a row in a topic: `{"window":{"start":…,"end":…},"group":["Toys"]}`, without `window` for a global one.
/// All values of one group of one window have the same key, and no others have it.
pub fn topic_key(row: &Row) -> Vec<u8> {
    let mut out = String::from("{");
    if let Some(window) = row.window {
        push_window(window, &mut out);
        out.push(',');
    }
    out.push_str("\"group\":");
    let mut out = out.into_bytes();
    out.extend_from_slice(&row.group);
    out.push(b'}');
    out
}

/// A number as JSON and people write it: exact, without an exponent and without needless zeros.
pub(super) fn number(value: Decimal) -> String {
    // Zero may carry a sign, which means nothing.
    if value.is_zero() { "0".to_owned() } else { value.normalize().to_string() }
}

/// An instant in ISO 8601, UTC: `2026-11-22T16:31:30Z`; with a fraction only where there is one. One outside the years
/// that ISO 8601 has is its milliseconds.
pub(super) fn iso(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

fn push_window(window: Span, out: &mut String) {
    let (start, end) = (quoted(&iso(window.start_ms)), quoted(&iso(window.end_ms)));
    for part in ["\"window\":{\"start\":", &start, ",\"end\":", &end, "}"] {
        out.push_str(part);
    }
}

/// An object of names and JSON texts; a value that isn't there is null.
fn push_members(names: &[String], mut values: impl Iterator<Item = String>, out: &mut String) {
    out.push('{');
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&quoted(name));
        out.push(':');
        out.push_str(values.next().as_deref().unwrap_or("null"));
    }
    out.push('}');
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
