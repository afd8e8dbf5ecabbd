//! Debezium's change events.
//!
//! The envelope: <https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events>.

use std::sync::LazyLock;

use super::Rejected;
use crate::expression::{FieldPaths, FieldSpans};

/// What Debezium writes instead of a large value that the change didn't touch, as JSON.
pub(super) const UNAVAILABLE: &[u8] = b"\"__debezium_unavailable_value\"";

/// What an event says of a table.
pub(super) enum Event<'r> {
    /// A row is there now: its JSON text. `is_snapshot`: it was read, not changed.
    Put { row: &'r str, is_snapshot: bool },
    /// A row is gone.
    Remove,
    /// All rows are gone.
    Truncate,
    /// A message that is no change.
    Message,
}

struct Envelope {
    paths: FieldPaths,
    op: usize,
    after: usize,
}

static ENVELOPE: LazyLock<Envelope> = LazyLock::new(|| {
    let mut paths = FieldPaths::default();
    let (op, after) = (paths.slot(["op"]), paths.slot(["after"]));
    Envelope { paths, op, after }
});

/// Reads an event, which is no tombstone.
///
/// # Errors
/// It isn't a change event.
pub(super) fn event<'r>(value: &'r [u8], spans: &mut FieldSpans) -> Result<Event<'r>, Rejected> {
    let envelope = &*ENVELOPE;
    let fields = envelope.paths.read(value, spans).map_err(|error| Rejected::new(error.to_string()))?;
    let Some(op) = fields.get(envelope.op) else {
        return Err(Rejected::new(
            "the value has no `op`, so it is no change event of Debezium; read the topic with `format: json`, or \
             switch the schemas of the connector's JSON converter off",
        ));
    };
    match op.trim_matches('"') {
        op @ ("c" | "r" | "u") => match fields.get(envelope.after) {
            Some(row) if row.starts_with('{') => Ok(Event::Put { row, is_snapshot: op == "r" }),
            _ => Err(Rejected::new(format!("the change event has op `{op}`, but no row in `after`"))),
        },
        "d" => Ok(Event::Remove),
        "t" => Ok(Event::Truncate),
        "m" => Ok(Event::Message),
        op => Err(Rejected::new(format!("the change event has the unknown op `{op}`"))),
    }
}
