//! What the end-to-end tests stand on: checkers that say whether a history is right ([`check`], [`journal`],
//! [`census`]), real servers ([`stack`], [`own_postgres`]), and the processes under test ([`worker`], [`acequia`],
//! [`small_pipeline`]); [`shop`] is the example InstaShop CDC with databases of its own. [`bench`] is for benchmarks.
//!
//! A checker is a pure function over rows. Each has tests with histories that are known to be bad: one that was
//! never seen red is not trusted.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "all of this is test code: what can't go on fails the test, with a sentence that says why"
)]

pub mod acequia;
pub mod aggregation;
pub mod bench;
pub mod census;
pub mod check;
pub mod cluster;
pub mod database;
pub mod journal;
pub mod leak;
pub mod metrics;
pub mod own_postgres;
pub mod process;
pub mod shop;
pub mod small_pipeline;
pub mod stack;
pub mod wait;
pub mod worker;
