//! From a source and its store to the connector's configuration.

use std::collections::BTreeMap;

use acequia_crds::debezium_keys::{KEYS, refusal};
use acequia_crds::names::PipelineId;
use acequia_crds::pipeline::source::Debezium;
use acequia_crds::pipeline::store::{Postgres, SslMode};

use super::heartbeat;
use super::routing::{escape_regex, routing};
use super::secrets::{SecretReferences, is_secret_key, is_secret_name};

/// Everything the configuration depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Whose connector it is.
    pub pipeline: &'a PipelineId,
    /// Name of the source.
    pub source: &'a str,
    /// The source's `debezium`.
    pub spec: &'a Debezium,
    /// Its store, with the address that Connect shall use.
    pub store: &'a Postgres,
    /// How the configuration refers to secrets.
    pub secrets: &'a SecretReferences,
}

/// Why a source can't be a connector. Fields are relative to the source's `debezium`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A setting that isn't the manifest's to decide.
    #[error("config.{key}: is set by Acequia ({why}); remove it")]
    ReservedKey {
        /// The setting.
        key: String,
        /// Why it isn't.
        why: &'static str,
    },
    /// A value that Connect would replace by a secret or a file of its own.
    #[error("{field}: holds `${{`, which Connect would resolve; only Acequia refers to secrets")]
    Reference {
        /// The field.
        field: String,
    },
    /// Not `schema.table` in plain lower-case identifiers.
    #[error("{field}: `{table}` is no table name; write schema.table in lower-case letters, digits and _")]
    TableName {
        /// The field.
        field: String,
        /// What is written.
        table: String,
    },
    /// Two tables go to one topic.
    #[error("{field}: another table goes to topic `{topic}` as well; give each table its own topic")]
    SharedTopic {
        /// The field.
        field: String,
        /// The topic.
        topic: String,
    },
    /// The topic has a name that Debezium uses itself.
    #[error("{field}: topic `{topic}` has a name that the connector uses itself; rename it")]
    OwnTopic {
        /// The field.
        field: String,
        /// The topic.
        topic: String,
    },
    /// The name of a Secret, or a key, holds what Kubernetes doesn't allow in one.
    #[error("store.{field}: `{name}` can't be the name of a Secret or of a key in it")]
    SecretName {
        /// The field of the store.
        field: &'static str,
        /// What is written.
        name: String,
    },
    /// No name that Acequia gives to a slot or a publication.
    #[error("`{name}` is no slot or publication of Acequia's")]
    SlotName {
        /// What is written.
        name: String,
    },
    /// The Connect workers can't read a certificate as a file.
    #[error(
        "store.caSecret: not available in this version for connectors in the cluster; use sslMode: require"
    )]
    NoCaFile,
}

/// A captured table, taken apart.
pub(super) struct Table<'a> {
    pub(super) field: String,
    pub(super) schema: &'a str,
    pub(super) name: &'a str,
    pub(super) topic: &'a str,
}

/// The whole configuration, without the connector's name.
///
/// # Errors
/// The first thing in the source or its store that must not become part of a connector.
pub fn config(input: &Input<'_>) -> Result<BTreeMap<String, String>, Refused> {
    let tables = tables(input.spec)?;
    let values = values(input, &tables)?;
    let mut config = BTreeMap::new();
    for key in KEYS {
        let Some(placeholder) = key.value.strip_prefix('<').and_then(|value| value.strip_suffix('>')) else {
            config.insert(key.name.to_owned(), key.value.to_owned());
            continue;
        };
        if let Some(value) = values.get(placeholder) {
            config.insert(key.name.to_owned(), value.clone());
        }
    }
    config.extend(routing(&input.pipeline.topic_prefix(input.source), &tables)?);
    for (key, value) in &input.spec.config {
        if let Some(why) = refusal(key) {
            return Err(Refused::ReservedKey { key: key.clone(), why });
        }
        let value = value.to_text();
        config.insert(key.clone(), plain(&format!("config.{key}"), &value)?.to_owned());
    }
    Ok(config)
}

/// What Connect echoes, in the form that [`config`] gives it, so that both can be compared.
pub fn normalise(echoed: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    // Connect adds the name; every other value comes back as it was given.
    echoed.iter().filter(|(key, _)| *key != "name").map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// What stands for each placeholder of the table.
fn values(input: &Input<'_>, tables: &[Table<'_>]) -> Result<BTreeMap<&'static str, String>, Refused> {
    let Input { pipeline, source, spec, store, secrets } = *input;
    let credentials = secret_name("credentialsSecret", &store.credentials_secret)?;
    let included: Vec<String> =
        tables.iter().map(|table| escape_regex(&format!("{}.{}", table.schema, table.name))).collect();
    let mut values = BTreeMap::from([
        ("host", plain("store.host", &store.host)?.to_owned()),
        ("port", store.port.to_string()),
        ("database", plain("store.database", &store.database)?.to_owned()),
        ("reference to username", secrets.value(credentials, "username")),
        ("reference to password", secrets.value(credentials, "password")),
        ("sslMode", ssl_mode(store.ssl_mode).to_owned()),
        ("topic prefix", pipeline.topic_prefix(source)),
        ("slot", pipeline.slot(source)),
        ("publication", pipeline.publication(source)),
        ("tables", included.join(",")),
        ("snapshot", spec.snapshot.as_str().to_owned()),
        ("heartbeat query", heartbeat::query(tables)),
    ]);
    if let Some(ca) = &store.ca_secret {
        if !is_secret_key(&ca.key) {
            return Err(Refused::SecretName { field: "caSecret.key", name: ca.key.clone() });
        }
        let file = secrets.file(secret_name("caSecret.name", &ca.name)?, &ca.key).ok_or(Refused::NoCaFile)?;
        values.insert("file of caSecret", file);
    }
    Ok(values)
}

fn tables(spec: &Debezium) -> Result<Vec<Table<'_>>, Refused> {
    spec.tables
        .iter()
        .enumerate()
        .map(|(index, captured)| {
            let field = format!("tables[{index}]");
            match captured.table.split_once('.') {
                Some((schema, name)) if is_identifier(schema) && is_identifier(name) => {
                    plain(&format!("{field}.topic"), &captured.topic)?;
                    Ok(Table { field, schema, name, topic: &captured.topic })
                }
                _ => {
                    Err(Refused::TableName { field: format!("{field}.table"), table: captured.table.clone() })
                }
            }
        })
        .collect()
}

pub(super) fn is_identifier(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// A user's text that goes into the configuration: nothing in it may be a reference that Connect resolves.
pub(super) fn plain<'a>(field: &str, text: &'a str) -> Result<&'a str, Refused> {
    if text.contains("${") { Err(Refused::Reference { field: field.to_owned() }) } else { Ok(text) }
}

pub(super) fn secret_name<'a>(field: &'static str, name: &'a str) -> Result<&'a str, Refused> {
    if is_secret_name(name) { Ok(name) } else { Err(Refused::SecretName { field, name: name.to_owned() }) }
}

pub(super) const fn ssl_mode(mode: SslMode) -> &'static str {
    match mode {
        SslMode::Disable => "disable",
        SslMode::Prefer => "prefer",
        SslMode::Require => "require",
        SslMode::VerifyCa => "verify-ca",
        SslMode::VerifyFull => "verify-full",
    }
}
