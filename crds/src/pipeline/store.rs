//! `spec.stores`: every connection to a database, named once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kafka::SecretKey;

/// A PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Postgres {
    /// Host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Port. Default: 5432.
    #[serde(default = "Postgres::default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Name of the database.
    #[schemars(length(min = 1, max = 63))]
    pub database: String,
    /// Secret with the keys `username` and `password`.
    #[schemars(length(min = 1, max = 253))]
    pub credentials_secret: String,
    /// When to encrypt. Default: `prefer`.
    #[serde(default)]
    pub ssl_mode: SslMode,
    /// Key of a Secret that holds the authority's certificates in PEM, for `verify-ca` and `verify-full`.
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
