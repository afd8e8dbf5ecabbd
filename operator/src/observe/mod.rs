//! Step 2: what is. The parts are looked at side by side, each with its own deadline, so that one that doesn't
//! answer delays nobody else.

pub mod connect;
pub mod kafka;
pub mod reports;
