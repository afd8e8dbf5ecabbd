//! Step two: partial values in, absolute values of committed state out.

pub mod dirty;
pub mod header;
pub mod run;
pub mod state;
