//! HTTP calls with a deadline: the only module that names `reqwest`.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// How long one call may take to reach its server; the rest of a call's deadline is for the answer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// An answer longer than this is refused rather than kept in memory.
const ANSWER_MAX_BYTES: usize = 64 << 20;

/// What to do to the resource behind a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Read it.
    Get,
    /// Set it.
    Put,
    /// Do something to it.
    Post,
    /// Remove it.
    Delete,
}

impl Verb {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    fn method(self) -> reqwest::Method {
        match self {
            Self::Get => reqwest::Method::GET,
            Self::Put => reqwest::Method::PUT,
            Self::Post => reqwest::Method::POST,
            Self::Delete => reqwest::Method::DELETE,
        }
    }
}

/// A name and a password for HTTP basic authentication. Deliberately without `Debug` and `Display`.
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// What a server answered, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// No connection, or it broke: the reason in the operating system's words.
    Unreachable(String),
    /// The deadline passed. The server may or may not have done what was asked.
    Timeout,
    /// The answer is longer than anything that is expected here.
    TooLong,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => f.write_str(reason),
            Self::Timeout => f.write_str("no answer before the deadline"),
            Self::TooLong => write!(f, "the answer is longer than {ANSWER_MAX_BYTES} bytes"),
        }
    }
}

impl std::error::Error for NoAnswer {}

/// A pool of connections; every call on it ends within `deadline`.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
    deadline: Duration,
}

impl Http {
    /// A pool whose calls may each take `deadline`, connecting and reading the answer included.
    ///
    /// # Errors
    /// The TLS settings of this machine can't be loaded.
    pub fn new(deadline: Duration) -> Result<Self, NoAnswer> {
        // Without a provider reqwest panics on the first client, even one for plain http. A second call is a no-op.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(deadline)
            .connect_timeout(CONNECT_DEADLINE.min(deadline))
            // A redirect would carry the login to a host that nobody allowed.
            .redirect(reqwest::redirect::Policy::none())
            // Neither Connect nor a worker is reached through a proxy that the environment happens to name.
            .no_proxy()
            .build()
            .map_err(|error| NoAnswer::Unreachable(innermost(&error)))?;
        Ok(Self { client, deadline })
    }

    /// How long each call may take.
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// One call.
    ///
    /// # Errors
    /// No answer came; an answer with any status is `Ok`.
    pub async fn call(
        &self,
        verb: Verb,
        url: &str,
        body: Option<&Value>,
        login: Option<&Login>,
    ) -> Result<Answer, NoAnswer> {
        let mut request = self.client.request(verb.method(), url);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(login) = login {
            request = request.basic_auth(&login.username, Some(&login.password));
        }
        let mut response = request.send().await.map_err(|error| no_answer(&error))?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(&error))? {
            if bytes.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(NoAnswer::TooLong);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body: String::from_utf8_lossy(&bytes).into_owned() })
    }
}

fn no_answer(error: &reqwest::Error) -> NoAnswer {
    if error.is_timeout() { NoAnswer::Timeout } else { NoAnswer::Unreachable(innermost(error)) }
}

/// The outer errors only repeat the URL; the innermost says what happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
