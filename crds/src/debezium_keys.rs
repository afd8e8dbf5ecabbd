//! The settings that Acequia gives a Debezium PostgreSQL connector: one table, from which the operator makes the
//! configuration, the lint knows what a manifest may not set, and `docs/connectors.md` is checked.

/// One setting that Acequia writes into the connector's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Name of the setting.
    pub name: &'static str,
    /// Its value; a part in angle brackets stands for something that differs from source to source.
    pub value: &'static str,
    /// Whether `config` of a source may set it to something else.
    pub rule: Rule,
    /// Why it has this value.
    pub why: &'static str,
}

/// Who decides a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Acequia alone: other stages rely on it, or another field of the manifest says it.
    Fixed,
    /// Acequia unless the manifest says otherwise.
    Default,
}

const fn fixed(name: &'static str, value: &'static str, why: &'static str) -> Key {
    Key { name, value, rule: Rule::Fixed, why }
}

const fn default(name: &'static str, value: &'static str, why: &'static str) -> Key {
    Key { name, value, rule: Rule::Default, why }
}

/// Class of the connector.
pub const CONNECTOR_CLASS: &str = "io.debezium.connector.postgresql.PostgresConnector";
/// The Kafka Connect transformation that sends each table's records to its topic.
pub const ROUTER_CLASS: &str = "org.apache.kafka.connect.transforms.RegexRouter";
/// Prefix of the logical decoding messages that the heartbeat writes into the database's log.
pub const HEARTBEAT_MESSAGE: &str = "acequia";

/// Every setting that Acequia writes, in the order of the documentation, apart from the routing
/// ([`ROUTING`]).
pub const KEYS: &[Key] = &[
    fixed("connector.class", CONNECTOR_CLASS, "the connector"),
    fixed("tasks.max", "1", "a replication slot has one reader"),
    fixed("database.hostname", "<host>", "from the store"),
    fixed("database.port", "<port>", "from the store"),
    fixed("database.dbname", "<database>", "from the store"),
    fixed("database.user", "<reference to username>", "Connect resolves it; the operator never sees it"),
    fixed("database.password", "<reference to password>", "Connect resolves it; the operator never sees it"),
    fixed("database.sslmode", "<sslMode>", "from the store"),
    fixed("database.sslrootcert", "<file of caSecret>", "from the store; only with `caSecret`"),
    fixed("topic.prefix", "<topic prefix>", "the identity of the source; offsets are kept under it"),
    fixed("plugin.name", "pgoutput", "part of PostgreSQL, nothing to install"),
    fixed("slot.name", "<slot>", "the identity of the source"),
    fixed(
        "slot.drop.on.stop",
        "false",
        "a restart of Connect would drop the slot and lose what is written meanwhile",
    ),
    fixed("publication.name", "<publication>", "the identity of the source"),
    fixed(
        "publication.autocreate.mode",
        "filtered",
        "the publication holds the captured tables and no others",
    ),
    fixed("table.include.list", "<tables>", "the captured tables, as regular expressions"),
    fixed("snapshot.mode", "<snapshot>", "the field `snapshot`"),
    fixed("key.converter", "org.apache.kafka.connect.json.JsonConverter", "keys are plain JSON"),
    fixed("key.converter.schemas.enable", "false", "without a schema in each record"),
    fixed("value.converter", "org.apache.kafka.connect.json.JsonConverter", "values are plain JSON"),
    fixed("value.converter.schemas.enable", "false", "without a schema in each record"),
    fixed("decimal.handling.mode", "string", "money stays exact"),
    fixed("time.precision.mode", "isostring", "times can be read, and PostgreSQL takes them back"),
    fixed("interval.handling.mode", "string", "intervals can be read, and PostgreSQL takes them back"),
    fixed("binary.handling.mode", "base64", "bytes fit into JSON"),
    fixed(
        "unavailable.value.placeholder",
        "__debezium_unavailable_value",
        "a mirror leaves such a column alone",
    ),
    fixed("tombstones.on.delete", "true", "compaction can forget deleted rows"),
    fixed("skipped.operations", "none", "a TRUNCATE must not be lost silently"),
    fixed(
        "event.converting.failure.handling.mode",
        "fail",
        "a value that can't be converted must not become null",
    ),
    fixed("event.processing.failure.handling.mode", "fail", "an event must not be skipped"),
    fixed("provide.transaction.metadata", "false", "nothing here reads it"),
    fixed("extended.headers.enabled", "false", "nothing here reads them"),
    fixed(
        "topic.heartbeat.prefix",
        "acequia.heartbeat",
        "heartbeats go to `acequia.heartbeat.<topic prefix>`",
    ),
    default("heartbeat.interval.ms", "5000", "how often the slot moves on while the tables are idle"),
    fixed(
        "heartbeat.action.query",
        "<heartbeat query>",
        "writes a message into the database's log, and fails when a captured table is gone or has no replica identity",
    ),
    fixed(
        "message.prefix.include.list",
        "acequia-none",
        "the heartbeat's message moves the slot and makes no record",
    ),
    fixed("lsn.flush.mode", "connector", "the slot never passes what is in Kafka"),
    fixed(
        "offset.mismatch.strategy",
        "no_validation",
        "with the other strategies a slot made anew loses changes silently",
    ),
    default("exactly.once.support", "requested", "exactly once where the Connect workers have it enabled"),
    fixed("transaction.boundary", "poll", "one Kafka transaction a batch"),
    default("poll.interval.ms", "20", "how long a batch waits; the default of 500 is most of the delay"),
    default("max.batch.size", "2048", "most records in a batch"),
    default("max.queue.size", "8192", "most records between database and Kafka"),
    default("max.queue.size.in.bytes", "67108864", "most bytes between database and Kafka"),
    default(
        "connection.validation.timeout.ms",
        "15000",
        "a database that doesn't answer is said within 30 s",
    ),
    default("driver.connectTimeout", "10", "seconds, each address"),
    default("errors.max.retries", "1", "then the task fails, so that its state says so; Acequia restarts it"),
    default("retriable.restart.connector.wait.ms", "3000", "between those tries"),
    default("slot.max.retries", "3", "the slot is still held for a moment after a crash"),
    default("slot.retry.delay.ms", "3000", "between those tries"),
];

/// The routing, which depends on the tables: `<n>` counts them from 0.
pub const ROUTING: &[Key] = &[
    fixed("transforms", "route0,route1,…", "one router a table"),
    fixed("transforms.route<n>.type", ROUTER_CLASS, "part of Kafka Connect"),
    fixed(
        "transforms.route<n>.regex",
        "<topic prefix>.<schema>.<table>",
        "Debezium's own topic name, escaped",
    ),
    fixed("transforms.route<n>.replacement", "<topic>", "the table's topic"),
];

/// Groups of settings that a manifest may not touch, by their first characters.
const REFUSED: &[(&str, &str)] = &[
    ("name", "the connector's name is derived from the Pipeline"),
    ("transforms", "records are routed by `tables`"),
    ("predicates", "records are routed by `tables`"),
    ("database.", "the connection is the store's"),
    ("driver.", "driver properties can load classes and read files"),
    ("slot.", "the slot is Acequia's"),
    ("publication.", "the publication is Acequia's"),
    ("table.", "the tables are those in `tables`"),
    ("schema.include", "the tables are those in `tables`"),
    ("schema.exclude", "the tables are those in `tables`"),
    ("column.include", "a mirror needs all columns; leave them out where the topic is read"),
    ("column.exclude", "a mirror needs all columns; leave them out where the topic is read"),
    ("topic.", "topics are declared in `topics` and made by Acequia"),
    ("key.converter", "records are plain JSON"),
    ("value.converter", "records are plain JSON"),
    ("header.converter", "records are plain JSON"),
    ("converters", "converters can load classes"),
    ("post.processors", "post processors can load classes"),
    ("producer.override.", "client properties can load classes and read files"),
    ("consumer.override.", "client properties can load classes and read files"),
    ("admin.override.", "client properties can load classes and read files"),
    ("errors.tolerance", "an event must not be skipped"),
    ("errors.deadletterqueue", "it is for sinks"),
    ("offsets.storage.topic", "offsets stay in the topic of the Connect cluster"),
    ("config.", "it is for the owner of the Connect cluster"),
    ("notification.", "notifications leave the Pipeline"),
    ("signal.", "signals change what is captured"),
    ("openlineage.", "it reads files"),
    ("internal.", "internal settings of Debezium"),
    ("message.", "the heartbeat uses logical decoding messages"),
    ("heartbeat.topics.prefix", "the heartbeat topic is made by Acequia"),
    ("replica.identity.autoset.values", "it changes the source's tables"),
    ("custom.sanitize.pattern", "it decides which secrets appear in Connect's log"),
    ("sourceinfo.struct.maker", "it loads a class"),
    ("transaction.metadata.factory", "it loads a class"),
    ("memory.management.", "it loads a class"),
    ("snapshot.mode", "it is the field `snapshot`"),
    ("snapshot.select.statement.overrides", "a snapshot must read the same rows as the stream"),
    ("snapshot.include.collection.list", "a snapshot must read the same tables as the stream"),
    ("snapshot.query.mode", "it loads a class"),
    ("snapshot.locking.mode", "it loads a class"),
    ("flush.lsn.source", "it is `lsn.flush.mode`"),
];

/// Why `config` of a Debezium source may not set `key`; nothing when it may.
pub fn refusal(key: &str) -> Option<&'static str> {
    if let Some(generated) = KEYS.iter().find(|generated| generated.name == key) {
        return match generated.rule {
            Rule::Fixed => Some(generated.why),
            Rule::Default => None,
        };
    }
    REFUSED.iter().find(|(prefix, _)| key.starts_with(prefix)).map(|(_, why)| *why)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_setting_is_written_twice() {
        let names: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), KEYS.len());
    }

    #[test]
    fn what_acequia_decides_is_refused_with_the_reason() {
        for key in [
            "slot.name",
            "slot.drop.on.stop",
            "transforms.x.type",
            "database.password",
            "producer.override.interceptor.classes",
            "driver.socketFactory",
            "key.converter.schemas.enable",
            "topic.creation.default.partitions",
            "errors.tolerance",
            "skipped.operations",
        ] {
            assert!(refusal(key).is_some_and(|why| !why.is_empty()), "{key}");
        }
    }

    #[test]
    fn what_only_has_a_default_and_what_acequia_does_not_know_may_be_set() {
        for key in
            ["poll.interval.ms", "heartbeat.interval.ms", "driver.connectTimeout", "snapshot.fetch.size"]
        {
            assert_eq!(refusal(key), None, "{key}");
        }
    }
}
