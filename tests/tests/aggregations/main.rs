//! Aggregations on real servers: what every output ends up with equals a recomputation of the input, whatever was
//! killed, frozen, emptied or moved in between.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod crash_points;
mod frozen;
mod ledger;
mod lookups;
mod rebalances;
mod redis_lost;
mod rows;
mod scene;
mod state_bound;
mod windows;
