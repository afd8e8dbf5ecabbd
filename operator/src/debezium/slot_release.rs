//! A connector that drops its own slot and publication, and then fails: for when nobody but Connect still has the
//! password of the database.

use std::collections::BTreeMap;

use acequia_crds::debezium_keys::CONNECTOR_CLASS;
use acequia_crds::stage::SlotRelease;

use super::config::{Refused, is_identifier, plain, secret_name, ssl_mode};
use super::secrets::SecretReferences;

/// What the connector says when both are dropped: it needs a publication, isn't to make one, and there is none.
pub const SLOT_RELEASED: &str = "Publication autocreation is disabled";

/// The whole configuration, without the connector's name.
///
/// `database.initial.statements` runs on the first connection of a task. The slot goes before the publication, and a slot
/// that is still read is an error after which Debezium tries again; then the task fails for good, with [`SLOT_RELEASED`], before
/// it would make a slot. All of it can be repeated.
///
/// # Errors
/// Something in it must not become part of a connector.
pub fn release_config(
    release: &SlotRelease,
    secrets: &SecretReferences,
) -> Result<BTreeMap<String, String>, Refused> {
    let SlotRelease { store, slot, publication } = release;
    for name in [slot, publication] {
        if !is_identifier(name) {
            return Err(Refused::SlotName { name: name.clone() });
        }
    }
    let credentials = secret_name("credentialsSecret", &store.credentials_secret)?;
    let port = store.port.to_string();
    let (username, password) =
        (secrets.value(credentials, "username"), secrets.value(credentials, "password"));
    // Debezium takes the statements apart at each `;` that isn't doubled.
    let statement = format!(
        "DO $acequia$ BEGIN PERFORM pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots \
         WHERE slot_name = '{slot}' AND database = pg_catalog.current_database();; \
         DROP PUBLICATION IF EXISTS \"{publication}\";; END $acequia$"
    );
    let config = [
        ("connector.class", CONNECTOR_CLASS),
        ("tasks.max", "1"),
        // Not the prefix of the source: with its offsets Debezium would look for the slot first.
        ("topic.prefix", "acequia.release"),
        ("database.hostname", plain("store.host", &store.host)?),
        ("database.port", &port),
        ("database.dbname", plain("store.database", &store.database)?),
        ("database.user", &username),
        ("database.password", &password),
        ("database.sslmode", ssl_mode(store.ssl_mode)),
        ("database.initial.statements", &statement),
        ("plugin.name", "pgoutput"),
        ("slot.name", slot),
        ("publication.name", publication),
        ("publication.autocreate.mode", "disabled"),
        ("snapshot.mode", "no_data"),
        ("retriable.restart.connector.wait.ms", "1000"),
    ];
    Ok(config.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
}
