//! The spec of a `Pipeline`, one file a section.

pub mod generator;
pub mod kafka;
pub mod sink;
pub mod store;
