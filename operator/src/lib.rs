//! `acequia`: keeps one Pipeline running by five steps, `desired → observe → diff → apply → status`.
//!
//! The middle is pure: `desired`, `diff` and `status` are functions of values; only `observe`, `apply` and the
//! command line talk to anything.

pub mod access;
pub mod apply;
pub mod calls;
pub mod claims;
pub mod cluster;
pub mod command;
pub mod connect;
pub mod controller;
pub mod debezium;
pub mod desired;
pub mod diff;
#[cfg(test)]
pub(crate) mod fake_world;
pub mod http;
pub mod kubernetes;
pub mod manifest;
pub mod model;
pub mod observe;
pub mod processes;
pub mod reconcile;
pub mod run;
pub mod single_flight;
pub mod stages;
pub mod status;
