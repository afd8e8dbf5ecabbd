//! `spec.stores`: every connection to a database, named once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kafka::{SecretKey, Tls};
use super::text;
use super::union::only;

/// A named connection to a database: exactly one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 2, "maxProperties" = 2))]
pub struct Store {
    /// Its name, for the stages.
    #[schemars(with = "text::Name")]
    pub name: String,
    /// A PostgreSQL database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Postgres>,
    /// A Redis server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// A Cassandra keyspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cassandra: Option<Cassandra>,
}

/// What kind a store is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind<'a> {
    /// A PostgreSQL database.
    Postgres(&'a Postgres),
    /// A Redis server.
    Redis(&'a Redis),
    /// A Cassandra keyspace.
    Cassandra(&'a Cassandra),
}

impl StoreKind<'_> {
    /// The field that holds it: `postgres`, `redis` or `cassandra`.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Redis(_) => "redis",
            Self::Cassandra(_) => "cassandra",
        }
    }
}

impl Store {
    /// Its kind; nothing when the spec names none or several.
    pub fn kind(&self) -> Option<StoreKind<'_>> {
        only([
            self.postgres.as_ref().map(StoreKind::Postgres),
            self.redis.as_ref().map(StoreKind::Redis),
            self.cassandra.as_ref().map(StoreKind::Cassandra),
        ])
    }
}

/// A PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Postgres {
    /// Host name or address.
    #[schemars(with = "text::Short")]
    pub host: String,
    /// Port. Default: 5432.
    #[serde(default = "Postgres::default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Name of the database.
    #[schemars(length(min = 1, max = 63))]
    pub database: String,
    /// Secret with the keys `username` and `password`.
    #[schemars(with = "text::ObjectName")]
    pub credentials_secret: String,
    /// When to encrypt. Default: `prefer`.
    #[serde(default)]
    pub ssl_mode: SslMode,
    /// The authority's certificates (PEM), for `verify-ca` and `verify-full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
}

impl Postgres {
    const fn default_port() -> u16 {
        5432
    }
}

/// PostgreSQL's own names for how a connection is encrypted and verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Never encrypt.
    Disable,
    /// Encrypt where the server can.
    #[default]
    Prefer,
    /// Encrypt or fail.
    Require,
    /// Encrypt and check the authority.
    VerifyCa,
    /// Encrypt, check the authority and the host name.
    VerifyFull,
}

/// A Redis server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redis {
    /// `host:port`. Example: `redis:6379`.
    #[schemars(with = "text::Short")]
    pub address: String,
    /// Secret with the keys `username` (may be absent) and `password`. Default: no login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::ObjectName>")]
    pub credentials_secret: Option<String>,
    /// Encrypts. Default: plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// A keyspace of a Cassandra cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cassandra {
    /// `host:port` addresses to start from. Example: `cassandra:9042`.
    #[schemars(with = "Vec<text::Short>", length(min = 1, max = 20))]
    pub contact_points: Vec<String>,
    /// The keyspace.
    #[schemars(with = "text::Identifier")]
    pub keyspace: String,
    /// The data centre that is near. Example: `datacenter1`.
    #[schemars(with = "text::Short")]
    pub datacenter: String,
    /// Creates the keyspace where it is missing. Default: it must exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_keyspace: Option<CreateKeyspace>,
    /// Secret with the keys `username` and `password`. Default: no login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::ObjectName>")]
    pub credentials_secret: Option<String>,
    /// Encrypts. Default: plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// How a keyspace is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateKeyspace {
    /// Copies of each row in the data centre.
    #[schemars(range(min = 1, max = 20))]
    pub replication_factor: u32,
}
