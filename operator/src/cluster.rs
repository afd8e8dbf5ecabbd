//! The Kafka cluster as the operator uses it: blocking calls on threads of their own, and the record of ownership.
//!
//! One client serves all Pipelines that use the cluster. It is made anew when a secret or a CA has changed.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use acequia_crds::names::OWNERSHIP_TOPIC;
use acequia_crds::pipeline::kafka::{Kafka, SecretKey};
use acequia_kafka::admin::{Admin, NewTopic, PerName};
use acequia_kafka::{Connection, KafkaError, Login, Secret, TlsFiles, compacted};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::calls::Calls;
use crate::claims::ClaimLog;
use crate::model::observed::{Part, Unreachable};
use crate::model::ownership::{Claim, ClaimKey, Ownership};
use crate::single_flight::SingleFlight;

/// How long the ownership topic is missed before it counts as gone.
const MISSED_FOR: Duration = Duration::from_secs(10);
/// How many looks at one cluster may be under way. Each holds a thread, and more of them are not faster.
const LOOKS: usize = 16;

/// How long one call may take.
pub const CALL_DEADLINE: Duration = Duration::from_secs(8);

/// Only segments that are full or old are compacted, and a new operator reads all there is.
const OWNERSHIP_SETTINGS: [(&str, &str); 3] =
    [("cleanup.policy", "compact"), ("segment.bytes", "16777216"), ("segment.ms", "86400000")];

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
    claims: SingleFlight<Part<Arc<Ownership>>>,
    looks: Semaphore,
    /// It was made, or found well, by this program.
    has_ownership_topic: AtomicBool,
    missing: Mutex<Missing>,
    calls: Calls,
}

/// Whether the ownership topic is missing.
enum Missing {
    /// Nobody has seen it yet.
    NeverSeen,
    /// It was seen, and since when it isn't.
    SeenBefore(Option<Instant>),
}

struct Client {
    admin: Admin,
    connection: Connection,
    claims: Mutex<ClaimLog>,
    made_from: Fingerprint,
}

impl Cluster {
    /// The cluster, with a folder of secrets (`<folder>/<secret>/<key>`). Nothing is called yet.
    pub fn new(kafka: Kafka, secrets: PathBuf) -> Self {
        Self {
            kafka,
            secrets,
            client: Mutex::new(None),
            claims: SingleFlight::default(),
            looks: Semaphore::const_new(LOOKS),
            has_ownership_topic: AtomicBool::new(false),
            missing: Mutex::new(Missing::NeverSeen),
            calls: Calls::new(),
        }
    }

    /// Its calls count among these.
    #[must_use]
    pub fn counted(self, calls: Calls) -> Self {
        Self { calls, ..self }
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
        self.with_client(move |client| work(&client.admin, &client.connection)).await
    }

    /// The next call makes another client.
    pub fn renew(&self) {
        self.lock_client().take();
    }

    /// A place among the looks that are under way, until it is dropped. None: the program is ending.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.looks.acquire().await.ok()
    }

    /// Who owns what, of all Pipelines, from now on.
    ///
    /// # Errors
    /// Kafka doesn't answer.
    pub async fn claims(self: &Arc<Self>) -> Part<Arc<Ownership>> {
        let read = |client: &Client| {
            let mut claims = client.claims.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(claims.read(&client.connection, &client.admin, CALL_DEADLINE)?)
        };
        let question = async || {
            let claims = self.with_client(read).await.map_err(|error| self.unreachable(&error))?;
            let Some(claims) = claims else {
                // Kafka may have been made anew. Or a broker hasn't heard of the topic yet, and to believe it would be to
                // think that nothing is ours.
                self.has_ownership_topic.store(false, Ordering::Relaxed);
                return if self.was_there_just_now() {
                    Err(self.unreachable(&format!(
                        "topic {OWNERSHIP_TOPIC} isn't there any more; it is looked for again"
                    )))
                } else {
                    Ok(Arc::default())
                };
            };
            *self.missing() = Missing::SeenBefore(None);
            Ok(claims)
        };
        self.claims.ask(question).await
    }

    /// The ownership topic was seen, and hasn't been missed for long.
    fn was_there_just_now(&self) -> bool {
        match &mut *self.missing() {
            Missing::NeverSeen => false,
            Missing::SeenBefore(since) => since.get_or_insert_with(Instant::now).elapsed() < MISSED_FOR,
        }
    }

    fn missing(&self) -> MutexGuard<'_, Missing> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn with_client<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Client) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let this = Arc::clone(self);
        let run = move || {
            let client = this.client()?;
            let result = work(&client);
            if result.as_ref().is_err_and(needs_another_client) {
                // Not one that was made meanwhile.
                this.lock_client().take_if(|now| Arc::ptr_eq(now, &client));
            }
            result
        };
        let call = async { tokio::task::spawn_blocking(run).await.unwrap_or(Err(Error::Interrupted)) };
        self.calls.timed("kafka", call).await
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
            config: OWNERSHIP_SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        };
        let outcome = admin.create_topics(&[topic], false, CALL_DEADLINE)?;
        for (name, result) in outcome {
            match result {
                Ok(()) => {}
                Err(refused) if refused.already_exists() => must_be_compacted(admin)?,
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
        let made_from = self.fingerprint();
        if let Some(client) = client.as_ref().filter(|client| client.made_from == made_from) {
            return Ok(Arc::clone(client));
        }
        let connection = connection(&self.kafka, &self.secrets)?;
        let admin = Admin::connect(&connection, "acequia-operator")?;
        let claims = Mutex::default();
        let made = Arc::new(Client { admin, connection, claims, made_from });
        *client = Some(Arc::clone(&made));
        Ok(made)
    }

    fn fingerprint(&self) -> Fingerprint {
        let file = |path: PathBuf| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        secret_files(&self.kafka, &self.secrets).into_iter().map(file).collect()
    }

    fn lock_client(&self) -> MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody else may have made the ownership topic, with settings under which claims would be lost.
fn must_be_compacted(admin: &Admin) -> Result<(), Error> {
    let configs = admin.topic_configs(&[OWNERSHIP_TOPIC.to_owned()], CALL_DEADLINE)?;
    let policy = configs.get(OWNERSHIP_TOPIC).and_then(|config| config.get("cleanup.policy"));
    match policy.and_then(|policy| policy.value.as_deref()) {
        None | Some("compact") => Ok(()),
        Some(policy) => Err(Error::Refused {
            what: "use topic",
            name: OWNERSHIP_TOPIC.to_owned(),
            reason: format!(
                "its cleanup.policy is `{policy}`, with which Kafka forgets who owns what; set it to `compact`"
            ),
        }),
    }
}

/// Secrets are read again for it: a password that was corrected heals by itself. One that got no answer may wait for
/// ever: after all brokers were killed at once, an admin client of librdkafka 2.12.1 was seen to get none about groups for
/// minutes, while a new one got them at once.
fn needs_another_client(error: &Error) -> bool {
    match error {
        Error::Kafka(KafkaError::Denied { .. } | KafkaError::Fatal { .. } | KafkaError::Timeout { .. }) => {
            true
        }
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

/// When each file that a client was made from was written last.
type Fingerprint = Vec<Option<SystemTime>>;

fn ca_file(kafka: &Kafka, secrets: &Path) -> Option<PathBuf> {
    let SecretKey { name, key } = kafka.tls.as_ref()?.ca_secret.as_ref()?;
    Some(secrets.join(name).join(key))
}

fn login_files(kafka: &Kafka, secrets: &Path) -> Option<[PathBuf; 2]> {
    let folder = secrets.join(&kafka.sasl.as_ref()?.credentials_secret);
    Some(["username", "password"].map(|key| folder.join(key)))
}

fn secret_files(kafka: &Kafka, secrets: &Path) -> Vec<PathBuf> {
    ca_file(kafka, secrets).into_iter().chain(login_files(kafka, secrets).into_iter().flatten()).collect()
}

fn connection(kafka: &Kafka, secrets: &Path) -> Result<Connection, Error> {
    let tls = kafka.tls.as_ref().map(|_| TlsFiles { ca_file: ca_file(kafka, secrets) });
    let sasl = match (&kafka.sasl, login_files(kafka, secrets)) {
        (Some(sasl), Some([username, password])) => Some(Login {
            mechanism: sasl.mechanism.as_str().to_owned(),
            username: secret(username)?,
            password: Secret::new(secret(password)?),
        }),
        _ => None,
    };
    Ok(Connection { bootstrap_servers: kafka.bootstrap_servers.clone(), tls, sasl })
}

/// What a file says, without the end of its line.
fn secret(path: PathBuf) -> Result<String, Error> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(source) => Err(Error::Secret { path, source }),
    }
}
