//! The configuration of a Debezium PostgreSQL connector, as a pure function of the source and its store.
//!
//! The settings themselves are the table [`acequia_crds::debezium_keys::KEYS`], which `docs/connectors.md` shows;
//! here their placeholders are filled in.

mod config;
mod heartbeat;
mod release;
mod routing;
mod secrets;

pub use config::{Input, Refused, config, normalise};
pub(crate) use heartbeat::COMPLAINT;
pub use release::{RELEASED, release_config};
pub use secrets::SecretReferences;

#[cfg(test)]
mod tests;
