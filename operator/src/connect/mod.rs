//! Kafka Connect over its REST API: what runs there, what it says is wrong, and how to change it.
//!
//! [`Client`] makes the calls, each with a deadline; [`explain`](explain::explain) turns a Java stack trace into
//! one sentence with a fix; [`redact`] keeps what Connect echoes from carrying a secret further.

mod client;
mod diagnose;
mod error;
pub mod explain;
mod model;
pub mod redact;
pub mod trace;

pub use client::{Client, LoginFiles};
pub use error::{Error, FieldError};
pub use model::{Connector, Plugin, State, Task};

#[cfg(test)]
mod explain_tests;
#[cfg(test)]
mod tests;
