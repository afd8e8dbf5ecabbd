//! What the end-to-end tests stand on: checkers that say whether a history is right ([`check`]), real servers
//! ([`stack`]),and the processes under test ([`worker`]).
//!
//! A checker is a pure function over rows. Each has tests with histories that are known to be bad: one that was
//! never seen red is not trusted.

pub mod check;
pub mod database;
pub mod process;
pub mod stack;
pub mod wait;
pub mod worker;
