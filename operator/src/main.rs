//! The `acequia` binary.

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // What a person has to see is in the table and the status; the log is for looking closer.
    let filter = EnvFilter::try_from_env("ACEQUIA_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let cli = acequia_operator::command::Cli::parse();
    if cli.is_read_by_programs() {
        log.json().init();
    } else {
        log.init();
    }
    cli.carry_out()
}
