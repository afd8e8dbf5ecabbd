//! InstaShop CDC and smaller Pipelines on a real cluster, kept by the operator that its chart installed.
//!
//! `tests/layers` brings up the cluster, the servers and the operator, sets `ACEQUIA_TEST_CLUSTER`, and turns the feature
//! `cluster` on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod canary;
mod chart;
mod deletions;
mod edits;
mod faults;
mod instashop;
mod namespaces;
mod small;
