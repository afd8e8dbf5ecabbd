//! Scenarios one by one, and properties over random edits of random manifests.

mod connectors;
mod incarnations;
mod properties;
mod stages;
mod topics;
