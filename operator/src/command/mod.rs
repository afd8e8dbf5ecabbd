//! The command line.

mod delete;
mod grants;
mod lint;
mod operator;
mod plan;
mod run;
mod stop;

use std::path::PathBuf;
use std::process::ExitCode;

use acequia_crds::lint::Place;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::debezium::SecretReferences;
use crate::desired::{Addresses, InvalidAddresses, Settings};
use crate::manifest;
use crate::run::screen::say;

/// Runs streaming data systems from one manifest: topics, connectors, workers.
#[derive(Debug, Parser)]
#[command(name = "acequia", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keeps a Pipeline running on this machine until it is interrupted.
    ///
    /// Topics and connectors are made and kept as the manifest says; stages run as child processes. The files are read
    /// again when they change; an edit that isn't valid is reported, and the last valid manifest keeps running. Ctrl-C
    /// stops the processes and leaves topics and connectors.
    ///
    /// Exit code: 0 when it was interrupted, or with --once when everything got ready; 1 otherwise.
    Run(RunArgs),
    /// Prints what `run` would change outside, without changing anything.
    ///
    /// Exit code: 0 when there is nothing to change, 2 when there is, 1 when something is refused or can't be seen.
    Plan(PlanArgs),
    /// Removes what belongs to a Pipeline: connectors, then topics and consumer groups by `deletionPolicy`.
    ///
    /// Exit code: 0 when nothing is left that should be gone; 1 otherwise, and what is left is printed.
    Delete(DeleteArgs),
    /// Checks manifests without looking at anything else.
    ///
    /// Exit code: 0 when they are valid, 1 otherwise.
    Lint(LintArgs),
    /// Prints the custom resource definition for Kubernetes.
    Crd,
    /// Prints the `Role` and `RoleBinding` that Kafka Connect needs to read the Secrets of a Pipeline's connectors.
    ///
    /// Apply them beside the Pipeline: `acequia grants -f pipeline.yaml --namespace shop | kubectl apply -f -`.
    Grants(GrantsArgs),
    /// Keeps all Pipelines of a Kubernetes cluster. The chart starts it.
    Operator(OperatorArgs),
    /// Asks a running operator whether it is ready; `helm test` runs it.
    ///
    /// Exit code: 0 when it is, 1 otherwise.
    Ready(ReadyArgs),
    /// Takes the operator's finalizer off all Pipelines, so that they can be deleted without an operator. What they
    /// have in Kafka, Connect and databases stays. The chart runs it before it is uninstalled.
    Release(ReleaseArgs),
    /// Prints the last status of a run as JSON.
    ///
    /// Exit code: 0 when there is one, 1 otherwise.
    Status(StatusArgs),
}

/// Which manifests.
#[derive(Clone, Debug, Args)]
struct Files {
    /// Files and folders (all their *.yaml) with one Pipeline and the `ConfigMaps` it needs.
    #[arg(short = 'f', long = "file", required = true, num_args = 1.., value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Namespace of manifests that name none.
    #[arg(long, default_value = "default")]
    namespace: String,
}

/// Where things are on this machine.
#[derive(Clone, Debug, Args)]
struct Local {
    /// Folder with the secrets: `<DIR>/<secret name>/<key>`, here and for Kafka Connect.
    #[arg(long, default_value = "secrets", value_name = "DIR")]
    secrets: PathBuf,
    /// YAML map `host:port: host:port`: what the manifest says, and where that is on this machine.
    #[arg(long, value_name = "FILE")]
    addresses: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    local: Local,
    #[command(flatten)]
    state: StateArgs,
    /// Ends once everything is ready: topics and connectors stay, the processes stop.
    #[arg(long)]
    once: bool,
    /// With --once: seconds to wait for everything to get ready.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    timeout: u64,
    /// How to show what happens: a table (on a terminal; lines elsewhere), or one JSON report a line.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Args)]
struct PlanArgs {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    local: Local,
    /// For people, or as JSON.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Args)]
struct DeleteArgs {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    local: Local,
    #[command(flatten)]
    state: StateArgs,
    /// Seconds after which it gives up and says what is left.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,
}

#[derive(Debug, Args)]
struct LintArgs {
    #[command(flatten)]
    files: Files,
    /// For people, or as JSON.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// The state folder of the run.
    #[arg(long, default_value = ".acequia", value_name = "DIR")]
    state: PathBuf,
}

#[derive(Debug, Args)]
struct GrantsArgs {
    #[command(flatten)]
    files: Files,
    /// The `ServiceAccount` of Kafka Connect: `name`, in the Pipeline's namespace, or `namespace/name`.
    #[arg(long, default_value = "connect", value_name = "ACCOUNT")]
    service_account: String,
}

#[derive(Debug, Args)]
struct OperatorArgs {
    /// YAML file with the operator's settings.
    #[arg(long, default_value = "/etc/acequia/operator.yaml", value_name = "FILE")]
    settings: PathBuf,
    /// Where to serve /metrics, /healthz and /readyz: the first of these that can be bound.
    #[arg(long, default_value = "[::]:8080,0.0.0.0:8080", value_delimiter = ',', value_name = "ADDRESS")]
    listen: Vec<std::net::SocketAddr>,
}

#[derive(Debug, Args)]
struct ReadyArgs {
    /// Where the operator serves /readyz.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
}

#[derive(Debug, Args)]
struct ReleaseArgs {
    /// Only the Pipelines of this namespace. Default: all.
    #[arg(long)]
    namespace: Option<String>,
}

/// Where a run keeps its files.
#[derive(Clone, Debug, Args)]
struct StateArgs {
    /// Folder for what a run keeps: configurations, logs, its status. One run at a time.
    #[arg(long, default_value = ".acequia", value_name = "DIR")]
    state: PathBuf,
    /// The worker program. Default: `acequia-worker` beside this program.
    #[arg(long, value_name = "FILE")]
    worker: Option<PathBuf>,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    #[error("{path} can't be read: {source}")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: {source}")]
    Addresses {
        path: PathBuf,
        #[source]
        source: InvalidAddresses,
    },
    #[error(
        "there is no folder {path} with secrets; make it, with one folder a secret and a file a key, or say where it is with --secrets"
    )]
    NoSecrets { path: PathBuf },
    #[error(transparent)]
    Processes(#[from] crate::processes::Error),
    #[error(transparent)]
    Connect(#[from] crate::connect::Error),
    #[error(transparent)]
    Access(#[from] crate::access::Error),
    #[error(transparent)]
    Settings(#[from] crate::controller::SettingsError),
    #[error("the operator at {url} is not ready: {reason}")]
    NotReady { url: String, reason: String },
    #[error(transparent)]
    Controller(#[from] crate::controller::Error),
    #[error("no status in {path}: no `acequia run` has used this state folder; say which with --state")]
    NoStatus { path: PathBuf },
    #[error("the runtime can't be started: {0}")]
    Runtime(std::io::Error),
    #[error("signals can't be listened to: {0}")]
    Signals(std::io::Error),
}

impl Cli {
    /// Whether its log is collected rather than looked at.
    pub const fn is_read_by_programs(&self) -> bool {
        matches!(self.command, Command::Operator(_) | Command::Release(_))
    }

    /// Does what the command line asks for; says on stderr why it couldn't.
    pub fn carry_out(self) -> ExitCode {
        let done = match self.command {
            Command::Run(args) => block_on(run::run(args)),
            Command::Plan(args) => block_on(plan::plan(args)),
            Command::Delete(args) => block_on(delete::delete(args)),
            Command::Lint(args) => lint::lint(&args),
            Command::Grants(args) => grants::grants(&args),
            Command::Operator(args) => block_on(operator::operator(args)),
            Command::Ready(args) => block_on(operator::ready(args)),
            Command::Release(args) => block_on(operator::release(args)),
            Command::Crd => {
                say(&acequia_crds::crd::crd_yaml());
                Ok(ExitCode::SUCCESS)
            }
            Command::Status(args) => status(&args),
        };
        done.unwrap_or_else(|error| {
            eprintln!("error: {}", error.to_string().trim_end());
            ExitCode::FAILURE
        })
    }
}

fn block_on(work: impl Future<Output = Result<ExitCode, Error>>) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let done = runtime.block_on(work);
    // A blocking call to a server that is away must not hold up the end.
    runtime.shutdown_background();
    done
}

fn status(args: &StatusArgs) -> Result<ExitCode, Error> {
    let file = crate::run::StateFolder::new(args.state.clone()).status_file();
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            say(&text);
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::NoStatus { path: file }),
        Err(source) => Err(Error::Unreadable { path: file, source }),
    }
}

/// What a manifest depends on besides itself.
fn settings(namespace: &str, local: &Local) -> Result<Settings, Error> {
    let addresses = match &local.addresses {
        None => Addresses::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| Error::Unreadable { path: path.clone(), source })?;
            Addresses::from_yaml(&text).map_err(|source| Error::Addresses { path: path.clone(), source })?
        }
    };
    Ok(Settings {
        cluster: "local".to_owned(),
        namespace: namespace.to_owned(),
        addresses,
        secrets: SecretReferences::in_folder(&secrets_folder(local)?),
        place: Place::Machine,
    })
}

/// The folder of secrets as Connect and the workers find it, wherever they run.
fn secrets_folder(local: &Local) -> Result<PathBuf, Error> {
    match std::fs::canonicalize(&local.secrets) {
        Ok(path) => Ok(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::NoSecrets { path: local.secrets.clone() })
        }
        Err(source) => Err(Error::Unreadable { path: local.secrets.clone(), source }),
    }
}
