//! The only module that names `redis`: a connection to one server, the script on it, and what its errors mean.

use std::time::Duration;

use acequia_crds::pipeline::store::Redis;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, RedisResult, Script, TlsCertificates,
};

use super::keys::Call;
use super::task::Look;
use crate::secrets::{SecretMissing, SecretsFolder};

/// How long a connection may take to come up.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long the calls of one batch may take, and a look.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Calls that are sent together.
const PIPELINE_CALLS: usize = 1_000;

const WRITE: &str = include_str!("write.lua");
const LOOK: &str = include_str!("look.lua");

/// An error while working with a Redis store. Its text never holds a password.
#[derive(Debug, thiserror::Error)]
pub enum RedisFault {
    /// The server could not be reached, or refused the login.
    #[error("cannot connect to Redis at {at}: {source}{}", hint(source))]
    Connect {
        /// `host:port`.
        at: String,
        /// What the driver says.
        #[source]
        source: RedisError,
    },
    /// A command failed.
    #[error("{call} in Redis at {at}: {source}{}", hint(source))]
    Command {
        /// What was being done.
        call: String,
        /// `host:port`.
        at: String,
        /// What the server says.
        #[source]
        source: RedisError,
    },
    /// No answer in time.
    #[error("{call} in Redis at {at}: no answer within {} s; check that the server runs", after.as_secs())]
    Deadline {
        /// What was being done.
        call: &'static str,
        /// `host:port`.
        at: String,
        /// The time it was given.
        after: Duration,
    },
    /// The authority's certificates are not there.
    #[error(
        "cannot read the certificates of the authority for Redis at {at}: {source}; check `tls.caSecret`"
    )]
    Authority {
        /// `host:port`.
        at: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The credentials are not there.
    #[error(transparent)]
    Secret(#[from] SecretMissing),
}

/// A connection. After an error it may be in the middle of something: open a new one.
pub(super) struct Session {
    connection: MultiplexedConnection,
    at: String,
    write: Script,
    look: Script,
}

/// What became of the rows of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Rows that were newer than what was there.
    pub rows: i64,
    /// Keys that belong to a later incarnation.
    pub refused_keys: u64,
}

impl Session {
    /// Connects and logs in.
    pub async fn open(store: &Redis, secrets: &SecretsFolder) -> Result<Self, RedisFault> {
        let at = store.address.clone();
        let connecting = |source| RedisFault::Connect { at: store.address.clone(), source };
        let client = client(store, secrets)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_DEADLINE))
            .set_response_timeout(Some(CALL_DEADLINE));
        let connect = client.get_multiplexed_async_connection_with_config(&config);
        // The driver's own deadline leaves out the login.
        let connection = match tokio::time::timeout(CONNECT_DEADLINE, connect).await {
            Ok(connection) => connection.map_err(connecting)?,
            Err(_) => {
                return Err(RedisFault::Deadline { call: "logging in", at, after: CONNECT_DEADLINE });
            }
        };
        Ok(Self { connection, at, write: Script::new(WRITE), look: Script::new(LOOK) })
    }

    /// Looks whether the server still has what was written; `key` is the sentinel's.
    pub async fn look(&mut self, key: &str) -> Result<Look, RedisFault> {
        const CALL: &str = "looking for the sentinel";
        let invocation = self.look.key(key);
        // It sends the script where the server doesn't have it.
        let answer = invocation.invoke_async::<(String, i64)>(&mut self.connection);
        let (sentinel, was_set) = within(CALL, &self.at, answer).await?;
        Ok(Look { mark: sentinel, is_new: was_set == 1 })
    }

    /// Makes the calls, as many at once as go together.
    pub async fn write(&mut self, calls: &[Call]) -> Result<Written, RedisFault> {
        let mut written = Written::default();
        for calls in calls.chunks(PIPELINE_CALLS) {
            let answers = match self.write_once(calls).await {
                // A server that came back, or whose scripts were flushed, has forgotten it.
                Err(error) if is_unknown_script(&error) => {
                    self.load().await?;
                    self.write_once(calls).await
                }
                outcome => outcome,
            };
            for answer in answers? {
                match answer {
                    -1 => written.refused_keys += 1,
                    rows => written.rows += rows,
                }
            }
        }
        Ok(written)
    }

    async fn write_once(&mut self, calls: &[Call]) -> Result<Vec<i64>, RedisFault> {
        let mut pipeline = Pipeline::with_capacity(calls.len());
        for call in calls {
            let command = pipeline.cmd("EVALSHA").arg(self.write.get_hash()).arg(2);
            command.arg(&call.key).arg(&call.companion).arg(&call.arguments);
        }
        let answers = pipeline.query_async::<Vec<RedisResult<i64>>>(&mut self.connection);
        let answers = within("writing a batch", &self.at, answers).await?;
        let with_keys = answers.into_iter().zip(calls);
        let named = |(answer, call): (RedisResult<i64>, &Call)| {
            answer.map_err(|source| {
                let call = format!("writing key {}", call.key);
                RedisFault::Command { call, at: self.at.clone(), source }
            })
        };
        with_keys.map(named).collect()
    }

    async fn load(&mut self) -> Result<(), RedisFault> {
        let load = self.write.prepare_invoke();
        within("loading the script", &self.at, load.load_async(&mut self.connection)).await?;
        Ok(())
    }
}

/// Host and port of an address `host:port`; an IPv6 address stands in brackets.
pub(super) fn address(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
}

fn client(store: &Redis, secrets: &SecretsFolder) -> Result<Client, RedisFault> {
    let connecting = |source| RedisFault::Connect { at: store.address.clone(), source };
    let (host, port) = address(&store.address).unwrap_or((&store.address, 6379));
    let address = match &store.tls {
        None => ConnectionAddr::Tcp(host.to_owned(), port),
        Some(_) => ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None },
    };
    let mut login = RedisConnectionInfo::default();
    if let Some(secret) = &store.credentials_secret {
        let credentials = secrets.login(secret)?;
        if let Some(username) = &credentials.username {
            login = login.set_username(username);
        }
        login = login.set_password(credentials.password.expose());
    }
    let info = address.into_connection_info().map_err(connecting)?.set_redis_settings(login);
    let Some(tls) = &store.tls else { return Client::open(info).map_err(connecting) };
    let root_cert = match &tls.ca_secret {
        None => None,
        Some(authority) => {
            let file = std::fs::read(secrets.file(&authority.name, &authority.key));
            Some(file.map_err(|source| RedisFault::Authority { at: store.address.clone(), source })?)
        }
    };
    Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert }).map_err(connecting)
}

async fn within<T>(
    call: &'static str,
    at: &str,
    work: impl Future<Output = RedisResult<T>>,
) -> Result<T, RedisFault> {
    match tokio::time::timeout(CALL_DEADLINE, work).await {
        Ok(outcome) => {
            outcome.map_err(|source| RedisFault::Command { call: call.to_owned(), at: at.to_owned(), source })
        }
        Err(_) => Err(RedisFault::Deadline { call, at: at.to_owned(), after: CALL_DEADLINE }),
    }
}

fn is_unknown_script(fault: &RedisFault) -> bool {
    matches!(fault, RedisFault::Command { source, .. } if source.code() == Some("NOSCRIPT"))
}

fn hint(error: &RedisError) -> &'static str {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return "; check the store's credentialsSecret";
    }
    match error.code() {
        Some("WRONGPASS" | "NOAUTH") => "; check the store's credentialsSecret",
        Some("NOPERM") => "; grant the store's user the keys and commands it needs",
        Some("OOM") => "; the server's memory is full: raise `maxmemory`, or set a shorter `ttl`",
        Some("READONLY") => "; the server is a replica: name its primary in the store's address",
        _ if error.is_io_error() => "; check the store's address and that the server runs",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(address("redis:6379"), Some(("redis", 6379)));
        assert_eq!(address("[::1]:6380"), Some(("::1", 6380)));
        assert_eq!([address("redis"), address(":1"), address("redis:x")], [None; 3]);
    }
}
