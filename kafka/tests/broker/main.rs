//! Against a real broker, named by `ACEQUIA_TEST_KAFKA` (`host:port`); without it these tests say that they are
//! skipped. `ACEQUIA_TEST_KAFKA_SASL` may name a listener with SCRAM.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod admin;
mod exactly_once;
mod fixture;
mod groups;
mod reading;
#[path = "../support/mod.rs"]
mod support;
mod transactions;
