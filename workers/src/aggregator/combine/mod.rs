//! Step one: records in, partial values per (pane, group) out.

mod letters;
pub mod lookups;
pub mod rows;
pub mod run;
pub mod step;
