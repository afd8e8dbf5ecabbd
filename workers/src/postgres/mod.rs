//! Everything that names `sqlx`: connections, the catalogue, COPY, and what server errors mean.

pub mod catalogue;
pub mod column;
mod column_numeric;
mod column_time;
pub mod connect;
pub mod copy;
pub mod fault;
pub mod quote;
pub mod row_plan;
pub mod session;
