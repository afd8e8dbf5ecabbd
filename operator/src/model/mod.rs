//! The values that the five steps hand to each other: what shall be (`desired`), what is (`observed`), what is
//! recorded as ours (`ownership`) and what to do about the difference (`plan`).
//!
//! `Desired` and `Observed` have the same maps, so that `diff` is a loop over keys. Nothing here talks to anything.

pub mod desired;
pub mod observed;
pub mod ownership;
pub mod plan;
