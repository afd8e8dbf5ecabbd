//! librdkafka's client handle and what its callbacks leave behind.

mod callbacks;
mod client;
pub(crate) mod logs;
pub(crate) mod partition_list;
mod queue;
pub(crate) mod text;

pub(crate) use callbacks::{Rebalanced, Report};
pub(crate) use client::{Client, Kind};
pub(crate) use queue::Queue;

use std::time::Duration;

/// A timeout for librdkafka, which takes a negative number for "for ever".
pub(crate) fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}
