//! The calls, each with a deadline; all of them may be repeated.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::diagnose::Logins;
use super::error::{Error, FieldError};
use super::explain::{Explanation, Fault, explain};
use super::model::{Connector, InfoAnswer, ListEntry, Plugin, StatusAnswer};
use super::redact::redact;
use super::trace;
use crate::calls::Calls;
use crate::http::{Answer, Http, Login, NoAnswer, Verb};

/// Files with the login of a Connect cluster that asks for one. They are read again for each call, so a rotated
/// password needs no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginFiles {
    /// File that holds the name.
    pub username: PathBuf,
    /// File that holds the password.
    pub password: PathBuf,
}

/// One Connect cluster. Clones share connections and what the last logins told.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    url: String,
    login: Option<LoginFiles>,
    pub(super) logins: Logins,
    calls: Calls,
}

impl Client {
    /// The cluster at `url`, for example `http://connect:8083`. Each call ends within `call_deadline`; a call that
    /// sets a configuration also waits for the connector to log in to its database, so 30 s is a good bound.
    ///
    /// # Errors
    /// The address isn't `http://…` or `https://…`, or TLS can't be set up on this machine.
    pub fn new(url: &str, call_deadline: Duration, login: Option<LoginFiles>) -> Result<Self, Error> {
        let url = url.trim_end_matches('/').to_owned();
        let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).unwrap_or_default();
        // A login in the address would end up in messages.
        if host.is_empty() || host.contains(['@', ' ', '?', '#']) {
            return Err(Error::InvalidUrl { url: redact(&url) });
        }
        match Http::new(call_deadline) {
            Ok(http) => Ok(Self { http, url, login, logins: Logins::default(), calls: Calls::new() }),
            Err(failure) => Err(Error::Unreachable { url, reason: failure.to_string() }),
        }
    }

    /// Its calls count among these.
    #[must_use]
    pub fn counted(self, calls: Calls) -> Self {
        Self { calls, ..self }
    }

    /// The cluster is up and has read its own topics.
    pub async fn health(&self) -> Result<(), Error> {
        let answer = self.call(Verb::Get, "/health", None).await?;
        match answer.status {
            // A Connect before 3.9 has no such endpoint (404); that it answers is what can be known.
            200 | 404 => Ok(()),
            _ => Err(self.failure(&answer)),
        }
    }

    /// All connectors by name.
    pub async fn list(&self) -> Result<BTreeMap<String, Connector>, Error> {
        let expanded: BTreeMap<String, ListEntry> =
            self.read(Verb::Get, "/connectors?expand=info&expand=status", None).await?;
        let mut connectors: BTreeMap<String, Connector> = expanded
            .into_iter()
            .map(|(name, entry)| (name, Connector::new(entry.info, Some(entry.status))))
            .collect();
        // The expanded list leaves out a connector that has no status yet; taken for absent, it would be made again.
        let names: Vec<String> = self.read(Verb::Get, "/connectors", None).await?;
        for name in names {
            if !connectors.contains_key(&name)
                && let Some(connector) = self.get(&name).await?
            {
                connectors.insert(name, connector);
            }
        }
        Ok(connectors)
    }

    /// One connector; nothing when there is none of that name.
    pub async fn get(&self, name: &str) -> Result<Option<Connector>, Error> {
        let Some(info) = self.find::<InfoAnswer>(&path(name, "")).await? else { return Ok(None) };
        let status = self.find::<StatusAnswer>(&path(name, "/status")).await?;
        Ok(Some(Connector::new(info, status)))
    }

    /// Makes the connector or changes it, so that its configuration is exactly `config`. Connect logs in to the
    /// database before it accepts.
    pub async fn put_config(&self, name: &str, config: &BTreeMap<String, String>) -> Result<(), Error> {
        let answer = self.call(Verb::Put, &path(name, "/config"), Some(&as_json(config))).await?;
        if !matches!(answer.status, 400 | 422 | 500) {
            return self.accept(&answer);
        }
        let class = config.get("connector.class").map(String::as_str).unwrap_or_default();
        if let Some(missing) = missing_plugin(class, &message(&answer)) {
            return Err(missing);
        }
        if answer.status == 500 {
            return Err(self.failure(&answer));
        }
        // The refusal only lists messages; validation says which fields they belong to.
        match self.validate(class, config).await {
            Ok(errors) if !errors.is_empty() => Err(rejected(errors, config)),
            _ => Err(Error::Rejected { errors: unnamed(&message(&answer)) }),
        }
    }

    /// What Connect and the connector class would refuse in `config`; nothing when it is fine. A Debezium connector
    /// really logs in to its database.
    pub async fn validate(
        &self,
        class: &str,
        config: &BTreeMap<String, String>,
    ) -> Result<Vec<FieldError>, Error> {
        let at = format!("/connector-plugins/{}/config/validate", encode(class));
        // Unlike the call that sets it, this one wants the name in the configuration.
        let mut named = config.clone();
        named.entry("name".to_owned()).or_insert_with(|| "validation".to_owned());
        let answer = self.call(Verb::Put, &at, Some(&as_json(&named))).await?;
        if let Some(missing) = missing_plugin(class, &message(&answer)) {
            return Err(missing);
        }
        let validated: ValidateAnswer = self.parse(&answer)?;
        Ok(validated.configs.into_iter().flat_map(|field| field.value.into_errors()).collect())
    }

    /// The connector classes that are installed.
    pub async fn plugins(&self) -> Result<Vec<Plugin>, Error> {
        self.read(Verb::Get, "/connector-plugins", None).await
    }

    /// Restarts what failed: the connector, its tasks, or both. What runs is left alone.
    pub async fn restart_failed(&self, name: &str) -> Result<(), Error> {
        self.change(Verb::Post, name, "/restart?includeTasks=true&onlyFailed=true").await
    }

    /// Restarts the connector and all of its tasks.
    pub async fn restart(&self, name: &str) -> Result<(), Error> {
        self.change(Verb::Post, name, "/restart?includeTasks=true&onlyFailed=false").await
    }

    /// Holds the connector; its tasks stay.
    pub async fn pause(&self, name: &str) -> Result<(), Error> {
        self.change(Verb::Put, name, "/pause").await
    }

    /// Lets a held or stopped connector go on.
    pub async fn resume(&self, name: &str) -> Result<(), Error> {
        self.change(Verb::Put, name, "/resume").await
    }

    /// Stops the connector and takes its tasks down; needed before [`Client::delete_offsets`].
    pub async fn stop(&self, name: &str) -> Result<(), Error> {
        self.change(Verb::Put, name, "/stop").await
    }

    /// Forgets how far a stopped connector has read. Without this, a connector of the same name made later would
    /// go on from there. `Rejected` while it isn't stopped yet: its tasks take a moment to go.
    pub async fn delete_offsets(&self, name: &str) -> Result<(), Error> {
        self.change(Verb::Delete, name, "/offsets").await
    }

    /// Removes the connector; its offsets stay. Removing one that isn't there is fine.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        match self.change(Verb::Delete, name, "").await {
            Err(Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    async fn change(&self, verb: Verb, name: &str, what: &str) -> Result<(), Error> {
        let answer = self.call(verb, &path(name, what), None).await?;
        match answer.status {
            404 => Err(Error::NotFound { name: name.to_owned() }),
            400 | 422 => Err(Error::Rejected { errors: unnamed(&message(&answer)) }),
            _ => self.accept(&answer),
        }
    }

    fn accept(&self, answer: &Answer) -> Result<(), Error> {
        if (200..300).contains(&answer.status) { Ok(()) } else { Err(self.failure(answer)) }
    }

    async fn find<T: DeserializeOwned>(&self, at: &str) -> Result<Option<T>, Error> {
        let answer = self.call(Verb::Get, at, None).await?;
        if answer.status == 404 { Ok(None) } else { self.parse(&answer).map(Some) }
    }

    async fn read<T: DeserializeOwned>(
        &self,
        verb: Verb,
        at: &str,
        body: Option<&Value>,
    ) -> Result<T, Error> {
        let answer = self.call(verb, at, body).await?;
        self.parse(&answer)
    }

    fn parse<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        if answer.status != 200 {
            return Err(self.failure(answer));
        }
        serde_json::from_str(&answer.body)
            // serde's own message may quote the answer.
            .map_err(|error| {
                self.malformed(&format!("no such JSON, line {} column {}", error.line(), error.column()))
            })
    }

    fn failure(&self, answer: &Answer) -> Error {
        match answer.status {
            409 => Error::Rebalancing,
            // Deleting offsets says the same thing with another status.
            500 if message(answer).contains("a rebalance is expected") => Error::Rebalancing,
            401 | 403 => Error::Unauthorized { url: self.url.clone(), status: answer.status },
            404 => self.malformed("status 404"),
            status if is_connect_error(answer) => {
                Error::Failed { status, message: with_advice(redact(&trace::causes(&message(answer)))) }
            }
            status if status >= 500 => Error::Failed { status, message: "no reason given".to_owned() },
            status => self.malformed(&format!("status {status}")),
        }
    }

    fn malformed(&self, reason: &str) -> Error {
        Error::Malformed { url: self.url.clone(), reason: reason.to_owned() }
    }

    async fn call(&self, verb: Verb, at: &str, body: Option<&Value>) -> Result<Answer, Error> {
        let login = self.login.as_ref().map(read_login).transpose()?;
        let url = format!("{}{at}", self.url);
        let call = self.http.call(verb, &url, body, login.as_ref());
        self.calls.timed("connect", call).await.map_err(|failure| match failure {
            NoAnswer::Timeout => Error::Timeout { url: self.url.clone(), deadline: self.http.deadline() },
            NoAnswer::Unreachable(reason) => {
                Error::Unreachable { url: self.url.clone(), reason: redact(&reason) }
            }
            NoAnswer::TooLong => self.malformed(&failure.to_string()),
        })
    }
}

#[derive(Deserialize)]
struct ValidateAnswer {
    #[serde(default)]
    configs: Vec<ValidatedField>,
}

#[derive(Deserialize)]
struct ValidatedField {
    value: ValidatedValue,
}

// The value itself is left out on purpose: Connect echoes it resolved.
#[derive(Deserialize)]
struct ValidatedValue {
    name: String,
    #[serde(default)]
    errors: Vec<String>,
}

impl ValidatedValue {
    fn into_errors(self) -> impl Iterator<Item = FieldError> {
        let field = self.name;
        self.errors.into_iter().map(move |message| FieldError {
            field: field.clone(),
            message: redact(&trace::causes(&message)),
        })
    }
}

/// What its config provider says when it can't read a Secret of Kubernetes, with what to do.
fn with_advice(message: String) -> String {
    let mut words = message.split_whitespace().skip_while(|word| *word != "Secret").skip(1);
    let (secret, namespace) = (words.next(), words.nth(2));
    match (secret, namespace) {
        (Some(secret), Some(namespace)) if message.contains(" not found") => format!(
            "{message}; create it: kubectl create secret generic {secret} --namespace {namespace} \
             --from-literal=username=… --from-literal=password=…"
        ),
        _ if message.to_lowercase().contains("forbidden") => {
            format!("{message}; let Connect read its Secrets: apply what `acequia grants -f FILE` prints")
        }
        _ => message,
    }
}

/// `{"error_code": …, "message": …}`
fn message(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct ErrorAnswer {
        #[serde(default)]
        message: Option<String>,
    }
    serde_json::from_str::<ErrorAnswer>(&answer.body).ok().and_then(|error| error.message).unwrap_or_default()
}

fn is_connect_error(answer: &Answer) -> bool {
    !message(answer).is_empty()
}

/// Connect names the field where the login failed, not what is wrong: where that is known, it says more.
fn rejected(errors: Vec<FieldError>, config: &BTreeMap<String, String>) -> Error {
    let explained = errors.iter().map(|error| explain(&error.message, config));
    match explained.into_iter().find(|explanation| explanation.fault != Fault::Other) {
        Some(Explanation { sentence, .. }) => Error::Explained { sentence },
        None => Error::Rejected { errors },
    }
}

/// The lines of a refusal without Connect's introduction and closing remark.
fn unnamed(message: &str) -> Vec<FieldError> {
    let mut lines: Vec<&str> = message
        .lines()
        .filter(|line| !line.starts_with("Connector configuration is invalid"))
        .filter(|line| !line.starts_with("You can also find the above list"))
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        lines.push("no reason given");
    }
    lines
        .into_iter()
        .map(|line| FieldError { field: String::new(), message: redact(&trace::causes(line)) })
        .collect()
}

fn missing_plugin(class: &str, message: &str) -> Option<Error> {
    if !message.starts_with("Failed to find any class that implements Connector") {
        return None;
    }
    let installed = message.split("name='").skip(1).filter_map(|rest| rest.split('\'').next());
    Some(Error::MissingPlugin { class: class.to_owned(), installed: installed.map(str::to_owned).collect() })
}

fn as_json(config: &BTreeMap<String, String>) -> Value {
    Value::Object(config.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect())
}

fn path(name: &str, rest: &str) -> String {
    format!("/connectors/{}{rest}", encode(name))
}

/// Percent-encodes what may not stand in a path segment; a connector that somebody else made can have any name.
fn encode(segment: &str) -> String {
    use std::fmt::Write as _;

    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn read_login(files: &LoginFiles) -> Result<Login, Error> {
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
            .map_err(|error| Error::Login { path: path.display().to_string(), reason: error.to_string() })
    };
    Ok(Login { username: read(&files.username)?, password: read(&files.password)? })
}

#[cfg(test)]
mod advice {
    use super::with_advice;

    #[test]
    fn a_secret_that_connect_cannot_read_is_told_with_the_command_to_try() {
        let told = |message: &str| with_advice(message.to_owned());
        let missing = told("Secret shop-db in namespace shop not found");
        assert!(
            missing.contains("; create it: kubectl create secret generic shop-db --namespace shop "),
            "{missing}"
        );
        let forbidden = told("Failure executing: GET at: https://… Message: Forbidden!");
        assert!(forbidden.ends_with("apply what `acequia grants -f FILE` prints"), "{forbidden}");
        assert_eq!(told("Secret"), "Secret");
    }
}
