//! The data plane of Acequia: one binary, one role a process.
//!
//! Every role has the same shape: a pure middle that decides and returns values (`step`, `plan`), and an edge
//! that carries them out. What the roles share is small: how a process is told its work ([`command`]), how it
//! speaks of itself ([`service`]), how it is stopped ([`stop`]), where it may be made to crash ([`crash`]).

pub mod aggregator;
pub mod calendar;
pub mod clock;
pub mod command;
pub mod connection;
pub mod consumer;
pub mod crash;
pub mod expression;
pub mod memory;
pub mod postgres;
pub mod producer;
pub mod record;
pub mod secrets;
pub mod service;
pub mod slot_release;
pub mod stop;
pub mod topics;
pub mod watchdog;
