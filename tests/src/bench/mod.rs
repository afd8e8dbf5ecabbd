//! What the benchmarks share: the rows they move ([`events`]), what processes spend on it ([`usage`]), and figures of
//! several runs ([`figures`]).

pub mod events;
pub mod figures;
pub mod usage;
