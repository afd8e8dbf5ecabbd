//! Why a call to Connect didn't do what was asked.

use std::fmt;
use std::time::Duration;

/// One field of a connector's configuration that Connect refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The configuration key. Empty when Connect doesn't say.
    pub field: String,
    /// Connect's words, free of secrets.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// Why a call to Connect didn't do what was asked. No message holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing answers at the address.
    #[error("Kafka Connect at {url} can't be reached ({reason}); start it, or correct spec.connect.url")]
    Unreachable {
        /// The address as configured.
        url: String,
        /// The operating system's words.
        reason: String,
    },
    /// No answer in time. The change may have been made: repeat it, every call here can be repeated.
    #[error("Kafka Connect at {url} didn't answer within {} s; it is overloaded, or it hangs in a connector", .deadline.as_secs_f32())]
    Timeout {
        /// The address as configured.
        url: String,
        /// The deadline of the call.
        deadline: Duration,
    },
    /// Status 409: the workers share out their connectors anew. Try again in a few seconds.
    #[error("Kafka Connect is rebalancing; the call is repeated")]
    Rebalancing,
    /// There is no such connector.
    #[error("Kafka Connect has no connector `{name}`")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// Status 400 or 422: the configuration, field by field.
    #[error("Kafka Connect refuses the configuration: {}", join(.errors))]
    Rejected {
        /// At least one.
        errors: Vec<FieldError>,
    },
    /// Status 400: the configuration, for a reason that is known; see [`explain`](super::explain::explain).
    #[error("{sentence}")]
    Explained {
        /// What is wrong, where, and what to do. Free of secrets.
        sentence: String,
    },
    /// The connector class isn't installed on the Connect workers.
    #[error("Kafka Connect has no connector class `{class}`; install the plug-in on its workers and restart them. Installed: {}", list(.installed))]
    MissingPlugin {
        /// The class that was asked for.
        class: String,
        /// The connector classes that are there, in Connect's order.
        installed: Vec<String>,
    },
    /// Status 401 or 403.
    #[error(
        "Kafka Connect at {url} refuses the login (status {status}); check the credentials files of this Connect cluster"
    )]
    Unauthorized {
        /// The address as configured.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// The files with the login can't be read.
    #[error("the login for Kafka Connect can't be read from {path}: {reason}")]
    Login {
        /// The file.
        path: String,
        /// The operating system's words.
        reason: String,
    },
    /// The address can't be one.
    #[error("`{url}` is no address of Kafka Connect; write for example http://connect:8083")]
    InvalidUrl {
        /// The address as configured.
        url: String,
    },
    /// Any other status, usually 500.
    #[error("Kafka Connect failed (status {status}): {message}")]
    Failed {
        /// The HTTP status.
        status: u16,
        /// Connect's words, cut and free of secrets.
        message: String,
    },
    /// The answer isn't what Connect's API promises; perhaps something else listens there.
    #[error("the answer from {url} isn't Kafka Connect's ({reason}); check spec.connect.url")]
    Malformed {
        /// The address as configured.
        url: String,
        /// What was wrong with it.
        reason: String,
    },
}

impl Error {
    /// It may go away by itself, so the same call is worth repeating.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Rebalancing | Self::Failed { .. }
        )
    }
}

fn join(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn list(installed: &[String]) -> String {
    if installed.is_empty() { "none".to_owned() } else { installed.join(", ") }
}
