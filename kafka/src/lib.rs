//! Everything Acequia says to Kafka goes through this crate; no other crate names librdkafka.
//!
//! - [`connection`]: where the cluster is and how to log in.
//! - [`admin`]: topics, their configuration, offsets and groups, as blocking calls with deadlines.
//! - [`consumer`]: [`consumer::BatchConsumer`], which hands over whole batches per partition.
//! - [`producer`]: bounded, idempotent, optionally transactional.
//! - [`compacted`] and [`log`]: a whole topic as a map of its latest values, or as a list of its records.
//!
//! `unsafe` lives in `native/` and in the modules that call librdkafka beside their types; each block says why
//! it is sound. No password is ever part of an error or a log line: see [`secret`].

pub mod admin;
pub mod compacted;
pub mod connection;
pub mod consumer;
pub mod error;
pub mod log;
mod native;
pub mod producer;
pub mod secret;
pub mod topic_id;

pub use connection::{Connection, Login, TlsFiles};
pub use error::{KafkaError, Result};
pub use secret::Secret;
pub use topic_id::TopicId;
