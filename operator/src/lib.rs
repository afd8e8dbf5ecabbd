//! `acequia`: keeps one Pipeline running by five steps, `desired → observe → diff → apply → status`.
//!
//! The middle is pure: `desired`, `diff` and `status` are functions of values; only `observe`, `apply` and the
//! command line talk to anything.

pub mod connect;
pub mod debezium;
pub mod diff;
pub mod http;
pub mod model;
pub mod processes;
