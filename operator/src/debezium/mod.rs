//! The configuration of a Debezium PostgreSQL connector, as a pure function of the source and its store.
//!
//! The settings themselves are the table [`acequia_crds::debezium_keys::KEYS`], which `docs/connectors.md` shows;
//! here their placeholders are filled in.

mod config;
mod heartbeat;
mod routing;
mod secrets;
mod slot_release;

pub use config::{Input, Refused, config, normalise};
pub(crate) use heartbeat::COMPLAINT;
pub use secrets::SecretReferences;
pub use slot_release::{SLOT_RELEASED, release_config};

#[cfg(test)]
mod tests;
