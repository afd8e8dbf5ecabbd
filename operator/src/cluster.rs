//! The Kafka cluster as the operator uses it: blocking calls on threads of their own, and the record of ownership.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acequia_crds::names::OWNERSHIP_TOPIC;
use acequia_crds::pipeline::kafka::{Kafka, SecretKey};
use acequia_kafka::admin::{Admin, NewTopic, PerName};
use acequia_kafka::{Connection, KafkaError, Login, Secret, TlsFiles, compacted};

use crate::model::observed::Unreachable;
use crate::model::ownership::{Claim, ClaimKey, Ownership};

/// How long one call may take.
pub const CALL_DEADLINE: Duration = Duration::from_secs(8);

/// Why Kafka didn't do what was asked. No message holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The broker refused something about one name.
    #[error("{what} `{name}` failed: {reason}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// The topic or group.
        name: String,
        /// The broker's words.
        reason: String,
    },
    /// A file with a secret can't be read.
    #[error("{path} can't be read: {source}; put the secret there, or correct its name in spec.kafka")]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The program is ending.
    #[error("the call was interrupted")]
    Interrupted,
}

/// One Kafka cluster.
pub struct Cluster {
    kafka: Kafka,
    secrets: PathBuf,
    client: Mutex<Option<Arc<Client>>>,
    has_ownership_topic: AtomicBool,
}

struct Client {
    admin: Admin,
    connection: Connection,
}

impl Cluster {
    /// The cluster, with a folder of secrets (`<folder>/<secret>/<key>`). Nothing is called yet.
    pub const fn new(kafka: Kafka, secrets: PathBuf) -> Self {
        Self { kafka, secrets, client: Mutex::new(None), has_ownership_topic: AtomicBool::new(false) }
    }

    /// What it is called in messages.
    pub fn what(&self) -> String {
        format!("Kafka at {}", self.kafka.bootstrap_servers)
    }

    /// The error as a part of an observation.
    pub fn unreachable(&self, why: &impl Display) -> Unreachable {
        Unreachable { what: self.what(), why: why.to_string() }
    }

    /// Runs blocking calls on a thread of their own.
    pub async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Admin, &Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let this = Arc::clone(self);
        let run = move || {
            let client = this.client()?;
            let result = work(&client.admin, &client.connection);
            if result.as_ref().is_err_and(needs_another_client) {
                this.lock_client().take();
            }
            result
        };
        tokio::task::spawn_blocking(run).await.unwrap_or(Err(Error::Interrupted))
    }

    /// Records claims; None takes one back. Returns when the broker has them.
    pub async fn record(self: &Arc<Self>, claims: Vec<(ClaimKey, Option<Claim>)>) -> Result<(), Error> {
        if claims.is_empty() {
            return Ok(());
        }
        let this = Arc::clone(self);
        self.call(move |admin, connection| {
            this.ensure_ownership_topic(admin)?;
            let entries: Vec<_> = claims
                .into_iter()
                .map(|(key, claim)| {
                    let value = claim.and_then(|claim| serde_json::to_vec(&claim).ok());
                    (key.to_text().into_bytes(), value)
                })
                .collect();
            Ok(compacted::write(connection, OWNERSHIP_TOPIC, &entries, CALL_DEADLINE)?)
        })
        .await
    }

    fn ensure_ownership_topic(&self, admin: &Admin) -> Result<(), Error> {
        if self.has_ownership_topic.load(Ordering::Relaxed) {
            return Ok(());
        }
        let topic = NewTopic {
            name: OWNERSHIP_TOPIC.to_owned(),
            partitions: 1,
            replication_factor: -1,
            config: [("cleanup.policy".to_owned(), "compact".to_owned())].into(),
        };
        let outcome = admin.create_topics(&[topic], false, CALL_DEADLINE)?;
        for (name, result) in outcome {
            match result {
                Ok(()) => {}
                Err(refused) if refused.already_exists() => {}
                Err(refused) => {
                    return Err(Error::Refused { what: "create topic", name, reason: refused.reason });
                }
            }
        }
        self.has_ownership_topic.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn client(&self) -> Result<Arc<Client>, Error> {
        let mut client = self.lock_client();
        if let Some(client) = &*client {
            return Ok(Arc::clone(client));
        }
        let connection = connection(&self.kafka, &self.secrets)?;
        let admin = Admin::connect(&connection, "acequia-operator")?;
        let made = Arc::new(Client { admin, connection });
        *client = Some(Arc::clone(&made));
        Ok(made)
    }

    fn lock_client(&self) -> std::sync::MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads every claim. The topic must exist.
pub fn read_ownership(connection: &Connection) -> Result<Ownership, KafkaError> {
    let mut ownership = Ownership::default();
    for (key, value) in compacted::read_all(connection, OWNERSHIP_TOPIC, CALL_DEADLINE)? {
        let Some(key) = ClaimKey::from_text(&String::from_utf8_lossy(&key)) else { continue };
        match serde_json::from_slice::<Claim>(&value) {
            Ok(claim) => ownership.record(key, Some(claim)),
            Err(error) => {
                tracing::warn!(key = key.to_text(), %error, "a claim that this version can't read is left alone");
            }
        }
    }
    Ok(ownership)
}

/// Secrets are read again for it: a password that was corrected heals by itself.
fn needs_another_client(error: &Error) -> bool {
    match error {
        Error::Kafka(KafkaError::Denied { .. } | KafkaError::Fatal { .. }) => true,
        Error::Kafka(error) => error.is_stale_coordinator(),
        _ => false,
    }
}

/// The first name that was refused, as an error.
pub fn all_done(what: &'static str, outcome: PerName) -> Result<(), Error> {
    for (name, result) in outcome {
        if let Err(refused) = result {
            return Err(Error::Refused { what, name, reason: refused.reason });
        }
    }
    Ok(())
}

fn connection(kafka: &Kafka, secrets: &Path) -> Result<Connection, Error> {
    let file = |secret: &SecretKey| secrets.join(&secret.name).join(&secret.key);
    let tls = kafka.tls.as_ref().map(|tls| TlsFiles { ca_file: tls.ca_secret.as_ref().map(file) });
    let sasl = match &kafka.sasl {
        None => None,
        Some(sasl) => {
            let read = |key: &str| {
                let path = secrets.join(&sasl.credentials_secret).join(key);
                std::fs::read_to_string(&path)
                    .map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
                    .map_err(|source| Error::Secret { path, source })
            };
            Some(Login {
                mechanism: sasl.mechanism.as_str().to_owned(),
                username: read("username")?,
                password: Secret::new(read("password")?),
            })
        }
    };
    Ok(Connection { bootstrap_servers: kafka.bootstrap_servers.clone(), tls, sasl })
}
