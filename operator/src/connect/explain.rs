//! What a connector's trace, or a refusal of its configuration, means: a reason, and one sentence with the fix.

use std::collections::BTreeMap;

use crate::debezium::COMPLAINT;

/// What is wrong with a connector. Every one of these was provoked on real servers; the traces are in
/// `operator/tests/traces`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The database refuses name and password.
    WrongPassword,
    /// The role may not log in, or not from there.
    LoginDenied,
    /// Connect couldn't replace the reference to a secret by its value.
    SecretNotFound,
    /// The database's host name means nothing to Connect.
    UnknownHost,
    /// Nothing accepts connections at the database's address, or it doesn't answer.
    DatabaseUnreachable,
    /// The server has no such database.
    NoDatabase,
    /// The server and `sslMode` don't agree, or the certificate isn't trusted.
    TlsFailed,
    /// `wal_level` isn't `logical`.
    NotLogical,
    /// A captured table doesn't exist.
    TableMissing,
    /// A captured table has neither a primary key nor another replica identity.
    NoReplicaIdentity,
    /// The role may not replicate.
    NoReplicationRight,
    /// The role may not make the publication: it needs CREATE on the database.
    NoPublicationRight,
    /// The role doesn't own a captured table, so it may not publish it.
    NotOwner,
    /// The publication was made by another role.
    PublicationNotOwned,
    /// The role may not read a captured table.
    NoSelectRight,
    /// Another connection reads the slot.
    SlotInUse,
    /// The server has no slot or no sender left.
    NoSlotLeft,
    /// The changes after the position that was reached are gone: the slot was dropped, made anew, or ran out of log.
    PositionLost,
    /// The connector class isn't installed.
    MissingPlugin,
    /// A topic that the connector writes doesn't exist.
    TopicMissing,
    /// A record is longer than Kafka takes.
    RecordTooLarge,
    /// Connect lost its Kafka for a moment and gave the task up.
    KafkaUnreachable,
    /// It has no task yet. That is normal for a moment.
    Starting,
    /// None of the above.
    Other,
}

impl Fault {
    /// The reason, as it stands in a condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WrongPassword => "WrongPassword",
            Self::LoginDenied => "LoginDenied",
            Self::SecretNotFound => "SecretNotFound",
            Self::UnknownHost => "UnknownHost",
            Self::DatabaseUnreachable => "DatabaseUnreachable",
            Self::NoDatabase => "NoDatabase",
            Self::TlsFailed => "TlsFailed",
            Self::NotLogical => "WalLevelNotLogical",
            Self::TableMissing => "TableMissing",
            Self::NoReplicaIdentity => "NoReplicaIdentity",
            Self::NoReplicationRight => "NoReplicationRight",
            Self::NoPublicationRight => "NoPublicationRight",
            Self::NotOwner => "NotTableOwner",
            Self::PublicationNotOwned => "PublicationNotOwned",
            Self::NoSelectRight => "NoSelectRight",
            Self::SlotInUse => "SlotInUse",
            Self::NoSlotLeft => "NoSlotLeft",
            Self::PositionLost => "PositionLost",
            Self::MissingPlugin => "MissingPlugin",
            Self::TopicMissing => "TopicMissing",
            Self::RecordTooLarge => "RecordTooLarge",
            Self::KafkaUnreachable => "KafkaUnreachable",
            Self::Starting => "ConnectorStarting",
            Self::Other => "ConnectorFailed",
        }
    }

    /// A restart helps as soon as the cause is gone, and does no harm before: worth one every few seconds. The
    /// others cost something at each try, or need a person first.
    pub const fn heals_outside(self) -> bool {
        !matches!(self, Self::PositionLost | Self::RecordTooLarge | Self::Other)
    }
}

/// What is wrong, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The reason.
    pub fault: Fault,
    /// What is wrong, where, and what to do. Free of secrets.
    pub sentence: String,
}

/// The parts of a message that tell a fault, in the order they are tried: the more telling ones first.
const SIGNS: &[(&str, Fault)] = &[
    ("failed to find any class that implements connector", Fault::MissingPlugin),
    ("for user \"${", Fault::SecretNotFound),
    ("is not permitted to log in", Fault::LoginDenied),
    ("no pg_hba.conf entry for replication", Fault::NoReplicationRight),
    ("no pg_hba.conf entry", Fault::LoginDenied),
    ("password authentication failed", Fault::WrongPassword),
    ("role \"", Fault::WrongPassword),
    ("no password was provided", Fault::WrongPassword),
    ("unknownhostexception", Fault::UnknownHost),
    ("the connection attempt failed", Fault::UnknownHost),
    ("has no primary key and no replica identity", Fault::NoReplicaIdentity),
    ("no table filters found for filtered publication", Fault::TableMissing),
    ("wal_level", Fault::NotLogical),
    ("must be superuser or replication role", Fault::NoReplicationRight),
    ("permission denied to start wal sender", Fault::NoReplicationRight),
    ("permission denied to create replication slot", Fault::NoReplicationRight),
    ("permission denied to use replication slots", Fault::NoReplicationRight),
    ("must be owner of publication", Fault::PublicationNotOwned),
    ("must be owner of", Fault::NotOwner),
    ("permission denied for database", Fault::NoPublicationRight),
    ("permission denied for", Fault::NoSelectRight),
    ("all replication slots are in use", Fault::NoSlotLeft),
    ("number of requested standby connections exceeds", Fault::NoSlotLeft),
    ("too many connections", Fault::NoSlotLeft),
    ("remaining connection slots are reserved", Fault::NoSlotLeft),
    ("is active for pid", Fault::SlotInUse),
    ("this is no longer available on the server", Fault::PositionLost),
    ("can no longer get changes from replication slot", Fault::PositionLost),
    ("cannot read from logical replication slot", Fault::PositionLost),
    ("requested wal segment", Fault::PositionLost),
    ("does not support ssl", Fault::TlsFailed),
    ("setting up the ssl connection", Fault::TlsFailed),
    ("ssl error", Fault::TlsFailed),
    ("pkix path", Fault::TlsFailed),
    ("recordtoolarge", Fault::RecordTooLarge),
    ("max.request.size", Fault::RecordTooLarge),
    ("larger than the max message size", Fault::RecordTooLarge),
    ("not present in metadata", Fault::TopicMissing),
    ("unknown_topic_or_partition", Fault::TopicMissing),
    ("zombie fencing", Fault::KafkaUnreachable),
    ("failed to read to end of", Fault::KafkaUnreachable),
    ("unrecoverable exception trying to send", Fault::KafkaUnreachable),
    ("unrecoverable exception from producer", Fault::KafkaUnreachable),
    ("failed to fetch offsets", Fault::KafkaUnreachable),
    ("failed to initialize producer transactions", Fault::KafkaUnreachable),
    ("timeoutexception", Fault::KafkaUnreachable),
    ("producerfenced", Fault::KafkaUnreachable),
    ("connection refused", Fault::DatabaseUnreachable),
    (" refused. check that the hostname", Fault::DatabaseUnreachable),
    ("connection validation timed out", Fault::DatabaseUnreachable),
    ("connect timed out", Fault::DatabaseUnreachable),
    ("no route to host", Fault::DatabaseUnreachable),
    ("the database system is", Fault::DatabaseUnreachable),
    ("terminating connection due to administrator command", Fault::DatabaseUnreachable),
    ("an i/o error occurred while sending to the backend", Fault::DatabaseUnreachable),
    ("this connection has been closed", Fault::DatabaseUnreachable),
];

/// What `text` means: the trace of a failed connector or task, or what Connect says against a configuration.
/// `config` is the connector's configuration, for the names in the sentence.
pub fn explain(text: &str, config: &BTreeMap<String, String>) -> Explanation {
    let fault = recognise(text);
    Explanation { fault, sentence: sentence(fault, text, &Facts { config }) }
}

/// What it means that a connector runs and has no task. Normal for a moment; but Debezium waits up to half an hour
/// where PostgreSQL gives it no usable slot.
pub fn starting(config: &BTreeMap<String, String>) -> Explanation {
    Explanation { fault: Fault::Starting, sentence: sentence(Fault::Starting, "", &Facts { config }) }
}

fn recognise(text: &str) -> Fault {
    let lower = text.to_lowercase();
    // `FATAL: database "x" does not exist` and `ERROR: relation "x" does not exist` differ before the name only.
    if lower.contains("does not exist") {
        if lower.contains("fatal: database \"") {
            return Fault::NoDatabase;
        }
        if lower.contains("relation \"") || (lower.contains(COMPLAINT) && lower.contains("table ")) {
            return Fault::TableMissing;
        }
    }
    SIGNS.iter().find(|(sign, _)| lower.contains(sign)).map_or(Fault::Other, |(_, fault)| *fault)
}

/// Names for the sentence.
struct Facts<'a> {
    config: &'a BTreeMap<String, String>,
}

impl Facts<'_> {
    fn get(&self, key: &str) -> &str {
        self.config.get(key).map_or("?", String::as_str)
    }

    fn server(&self) -> String {
        format!("{}:{}", self.get("database.hostname"), self.get("database.port"))
    }

    fn database(&self) -> &str {
        self.get("database.dbname")
    }

    /// `public\.a,public\.b` → `public.a, public.b`
    fn tables(&self) -> String {
        self.get("table.include.list").replace('\\', "").replace(',', ", ")
    }
}

fn sentence(fault: Fault, text: &str, facts: &Facts<'_>) -> String {
    match fault {
        Fault::WrongPassword
        | Fault::LoginDenied
        | Fault::SecretNotFound
        | Fault::UnknownHost
        | Fault::DatabaseUnreachable
        | Fault::NoDatabase
        | Fault::TlsFailed => connection_sentence(fault, facts),
        Fault::NotLogical | Fault::SlotInUse | Fault::NoSlotLeft | Fault::PositionLost | Fault::Starting => {
            slot_sentence(fault, facts)
        }
        Fault::TableMissing | Fault::NoReplicaIdentity => tables_sentence(fault, text, facts),
        Fault::NoReplicationRight
        | Fault::NoPublicationRight
        | Fault::NotOwner
        | Fault::PublicationNotOwned
        | Fault::NoSelectRight => rights_sentence(fault, facts),
        Fault::MissingPlugin => format!(
            "Kafka Connect has no class {}: install the plug-in on its workers and restart them",
            facts.get("connector.class")
        ),
        Fault::TopicMissing => "a topic that the connector writes doesn't exist: declare it in topics".to_owned(),
        Fault::RecordTooLarge => {
            "a change is longer than Kafka takes: raise max.message.bytes of its topic and max.request.size of Connect"
                .to_owned()
        }
        Fault::KafkaUnreachable => {
            "Kafka Connect lost its Kafka for a moment and gave the connector up: it is restarted".to_owned()
        }
        Fault::Other if text.trim().is_empty() => {
            "the connector failed and gives no reason; see Connect's log".to_owned()
        }
        Fault::Other => format!("the connector failed: {text}"),
    }
}

fn connection_sentence(fault: Fault, facts: &Facts<'_>) -> String {
    let (server, database) = (facts.server(), facts.database());
    match fault {
        Fault::WrongPassword => format!(
            "PostgreSQL at {server} refuses name or password for database {database}: correct the keys username and \
             password of the store's credentialsSecret"
        ),
        Fault::LoginDenied => format!(
            "PostgreSQL at {server} doesn't let the user of the store's credentialsSecret log in to database {database}: \
             ALTER ROLE … LOGIN, or admit it in pg_hba.conf, where sslMode counts, too"
        ),
        Fault::SecretNotFound => format!(
            "Kafka Connect can't resolve {}: make that secret readable for Connect, with the keys username and \
             password, and check its config provider",
            facts.get("database.password")
        ),
        Fault::UnknownHost => {
            format!("Kafka Connect can't resolve or reach {server}: correct host and port of the store")
        }
        Fault::NoDatabase => {
            format!(
                "PostgreSQL at {server} has no database {database}: create it, or correct the store's database"
            )
        }
        Fault::TlsFailed => format!(
            "the encrypted connection to PostgreSQL at {server} fails: check sslMode ({}) and caSecret of the store",
            facts.get("database.sslmode")
        ),
        _ => {
            format!(
                "PostgreSQL at {server} doesn't accept connections: start it, or correct host and port of the store"
            )
        }
    }
}

fn slot_sentence(fault: Fault, facts: &Facts<'_>) -> String {
    let (server, slot) = (facts.server(), facts.get("slot.name"));
    match fault {
        Fault::NotLogical => format!(
            "PostgreSQL at {server} doesn't write what change capture needs: set wal_level = logical and restart it"
        ),
        Fault::SlotInUse => format!(
            "another connection reads replication slot {slot} on {server}: end it, or wait until PostgreSQL notices \
             that it is gone (wal_sender_timeout)"
        ),
        Fault::NoSlotLeft => format!(
            "PostgreSQL at {server} has no replication slot or connection left: raise max_replication_slots, \
             max_wal_senders or max_connections, or drop slots that nobody reads"
        ),
        Fault::PositionLost => format!(
            "the changes after the position that was reached are no longer in the log of {server}: slot {slot} was \
             dropped or ran out of log (max_slot_wal_keep_size). Rows changed meanwhile are missing: remove the \
             source from the manifest and add it again, which reads all tables anew"
        ),
        _ => format!(
            "the connector starts. If that lasts, PostgreSQL at {server} gives it no usable slot: a transaction that \
             is open for long blocks it, or slot {slot} has lost its log (wal_status in pg_replication_slots)"
        ),
    }
}

fn tables_sentence(fault: Fault, text: &str, facts: &Facts<'_>) -> String {
    let database = facts.database();
    let complaint = text.split_once(COMPLAINT).map(|(_, complaint)| {
        // PostgreSQL adds where in the statement it was raised.
        complaint.split(" Where:").next().unwrap_or(complaint).trim().to_owned()
    });
    match (fault, complaint) {
        (Fault::NoReplicaIdentity, complaint) => format!(
            "database {database}: {}; add a primary key, or ALTER TABLE … REPLICA IDENTITY FULL. Until then \
             PostgreSQL refuses UPDATE and DELETE on it, because it is published",
            complaint.unwrap_or_default()
        ),
        (_, Some(complaint)) => {
            format!("database {database}: {complaint}; create it, or take it out of tables")
        }
        (_, None) => format!(
            "database {database} has none of the tables {}: create them, or correct tables",
            facts.tables()
        ),
    }
}

fn rights_sentence(fault: Fault, facts: &Facts<'_>) -> String {
    let (server, database) = (facts.server(), facts.database());
    match fault {
        Fault::NoReplicationRight => format!(
            "the role of the store may not replicate from {server}: ALTER ROLE … REPLICATION, and allow replication \
             connections in pg_hba.conf"
        ),
        Fault::NoPublicationRight => format!(
            "the role of the store may not create a publication: GRANT CREATE ON DATABASE {database} TO its role, and \
             make the role an owner of {}",
            facts.tables()
        ),
        Fault::NotOwner => format!(
            "the role of the store may not publish {}: PostgreSQL lets only the owner do it; make the role a member \
             of the owner, or ALTER TABLE … OWNER TO it",
            facts.tables()
        ),
        Fault::PublicationNotOwned => format!(
            "publication {} in database {database} belongs to another role: drop it, and the connector makes its own",
            facts.get("publication.name")
        ),
        _ => format!(
            "the role of the store may not read all of {} in database {database}: GRANT SELECT on them, and USAGE on \
             their schema",
            facts.tables()
        ),
    }
}
