//! How a worker process is told its work.

use std::net::SocketAddr;
use std::path::PathBuf;

use acequia_crds::stage::StageConfig;
use acequia_crds::stage_report::config_hash;
use clap::{Args, Parser, Subcommand};

/// Moves the records of one stage of a Pipeline. Started by the operator, not by hand.
#[derive(Debug, Parser)]
#[command(name = "acequia-worker", version)]
pub struct Command {
    /// The role of this process.
    #[command(subcommand)]
    pub role: Role,
}

/// The roles a worker can have.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Brings records into the Pipeline: generators.
    Producer(Options),
    /// Moves topics into a store: sinks.
    Consumer(Options),
    /// Folds topics into measures: aggregations.
    Aggregator(Options),
    /// Drops a replication slot and a publication that nobody reads any more, then exits.
    SlotRelease(Options),
}

/// What every role is given.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// The stage's slice of the spec, in YAML.
    #[arg(long)]
    pub config: PathBuf,
    /// The folder of secrets: one folder a name, one file a key.
    #[arg(long)]
    pub secrets: PathBuf,
    /// Where to serve /metrics, /healthz, /readyz and /status: the first of these that can be bound; port 0 takes any.
    #[arg(long, default_value = "127.0.0.1:0", value_delimiter = ',')]
    pub listen: Vec<SocketAddr>,
    /// File to write the bound address to.
    #[arg(long)]
    pub address_file: Option<PathBuf>,
    /// File to write the last error to when giving up.
    #[arg(long)]
    pub termination_message: Option<PathBuf>,
    /// Name of this process in its consumer group, kept over restarts, so that whoever comes after a crash
    /// has its partitions at once. Default: none, and they are given away after the session has run out.
    #[arg(long)]
    pub instance: Option<String>,
    /// Stop when standard input ends.
    #[arg(long)]
    pub stop_with_stdin: bool,
}

/// Why a configuration file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// The file is not there or not readable.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a stage configuration.
    #[error("{path} is not a stage configuration of this version: {message}")]
    Malformed {
        /// The file.
        path: String,
        /// What the parser says.
        message: String,
    },
    /// The work in the file is another role's.
    #[error("{path} holds the work of another role than `{role}`")]
    OtherRole {
        /// The file.
        path: String,
        /// The role of this process.
        role: &'static str,
    },
    /// A part of the work can't be carried out as it is written.
    #[error("{path} {problem}")]
    Refused {
        /// The field.
        path: String,
        /// What is wrong and what to do; the rest of a sentence that begins with the path.
        problem: String,
    },
}

/// Reads a configuration file; returns it with its hash.
pub fn read_config(options: &Options) -> Result<(StageConfig, String), InvalidConfig> {
    let path = options.config.display().to_string();
    let text = std::fs::read_to_string(&options.config)
        .map_err(|source| InvalidConfig::Unreadable { path: path.clone(), source })?;
    let config = serde_yaml::from_str(&text)
        .map_err(|error| InvalidConfig::Malformed { path, message: error.to_string() })?;
    Ok((config, config_hash(&text)))
}
