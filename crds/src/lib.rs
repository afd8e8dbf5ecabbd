//! The `Pipeline` API of Acequia: its types (doc comments are the users' documentation), the rules that
//! make a manifest valid, the expressions in it, and what one stage is told of it.
//!
//! Nothing here talks to anything: no clock, no client, no file.

pub mod column_type;
pub mod crd;
pub mod debezium_keys;
pub mod duration;
pub mod expression;
pub mod incarnation;
pub mod lint;
pub mod manifest;
pub mod names;
pub mod pipeline;
pub mod problem;
pub mod rules;
pub mod stage;
pub mod stage_report;
