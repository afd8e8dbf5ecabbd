//! Step one: records in, partial values per (pane, group) out.

pub mod rows;
pub mod step;
