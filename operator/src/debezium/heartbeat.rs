//! What the connector runs in the source database every few seconds.

use acequia_crds::debezium_keys::HEARTBEAT_MESSAGE;

use super::config::Table;

/// First word of every error that the heartbeat raises itself.
pub(crate) const COMPLAINT: &str = "acequia:";

/// One statement with two jobs.
///
/// It writes a logical message, which is all it takes to move the slot of an idle database on while other databases
/// of the server write; no table is needed, and no right beyond connecting (PostgreSQL 14 or newer).
///
/// And it looks at the captured tables. Debezium says nothing when one of them is missing, and a published table
/// without a replica identity makes every UPDATE and DELETE on it fail in the source. SQLSTATE 57P01 is the one that
/// makes Debezium give up instead of only logging the heartbeat's failure.
pub(super) fn query(tables: &[Table<'_>]) -> String {
    let names: Vec<String> =
        tables.iter().map(|table| format!("'{}.{}'", table.schema, table.name)).collect();
    let names = names.join(", ");
    format!(
        "DO $acequia$ DECLARE broken text; BEGIN \
         SELECT string_agg('table ' || t.name || CASE WHEN c.oid IS NULL THEN ' does not exist' \
         ELSE ' has no primary key and no replica identity' END, ', ') INTO broken \
         FROM unnest(ARRAY[{names}]) AS t(name) \
         LEFT JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(t.name) \
         WHERE c.oid IS NULL OR NOT (c.relreplident = 'f' OR EXISTS (\
         SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND CASE c.relreplident \
         WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END)); \
         IF broken IS NOT NULL THEN RAISE EXCEPTION '{COMPLAINT} %', broken USING ERRCODE = '57P01'; END IF; \
         PERFORM pg_catalog.pg_logical_emit_message(false, '{HEARTBEAT_MESSAGE}', ''); \
         END $acequia$"
    )
}
