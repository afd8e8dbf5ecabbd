//! The real servers, brought up by `tests/stack/up` before the tests and shared by them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use acequia_crds::pipeline::store::{Postgres, SslMode};
use acequia_kafka::Connection;
use acequia_kafka::admin::{Admin, NewTopic};
use acequia_kafka::producer::{Producer, ProducerSettings};

/// How long a call of Kafka may take in a test.
pub const KAFKA_DEADLINE: Duration = Duration::from_secs(30);

/// The servers of one stack.
#[derive(Clone, Debug)]
pub struct Stack {
    folder: PathBuf,
    addresses: BTreeMap<String, String>,
}

/// A record to be written: partition, key, value.
pub type Record = (i32, Option<Vec<u8>>, Option<Vec<u8>>);

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

impl Stack {
    /// The stack of `$ACEQUIA_STACK_DIR`; brings up what isn't up.
    ///
    /// # Panics
    /// When the servers can't be brought up.
    pub fn up() -> Self {
        run("up", &["kafka", "connect", "postgres", "redis"]);
        Self::brought_up()
    }

    /// The stack of `$ACEQUIA_STACK_DIR` with what the caller has brought up in it.
    ///
    /// # Panics
    /// When there is none.
    pub fn brought_up() -> Self {
        let folder = std::env::var_os("ACEQUIA_STACK_DIR")
            .map_or_else(|| std::env::temp_dir().join("acequia-stack"), PathBuf::from);
        Self::in_folder(folder)
    }

    /// The servers that a folder describes: `addresses.yaml`, `pgpass`, `secrets`.
    ///
    /// # Panics
    /// When it doesn't.
    pub fn in_folder(folder: PathBuf) -> Self {
        let addresses =
            std::fs::read_to_string(folder.join("addresses.yaml")).expect("addresses.yaml of the stack");
        let addresses = serde_yaml::from_str(&addresses).expect("addresses.yaml of the stack");
        Self { folder, addresses }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of secrets.
    pub fn secrets(&self) -> PathBuf {
        self.folder.join("secrets")
    }

    /// The file that maps the manifest's addresses to this machine's.
    pub fn addresses_file(&self) -> PathBuf {
        self.folder.join("addresses.yaml")
    }

    /// Passwords of the databases' roles, the superuser's among them.
    pub fn pgpass(&self) -> PathBuf {
        self.folder.join("pgpass")
    }

    /// Where the servers keep their logs.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// The local address of one that manifests name, for example `kafka:9092`.
    ///
    /// # Panics
    /// When the stack has no such server.
    pub fn address(&self, name: &str) -> &str {
        self.addresses.get(name).unwrap_or_else(|| panic!("the stack has no {name}"))
    }

    /// The Kafka cluster.
    pub fn kafka(&self) -> Connection {
        Connection::plaintext(self.address("kafka:9092"))
    }

    /// A database, as a manifest would name it. The warehouse's end in `dwh_db` and belong to a role of its own.
    pub fn store(&self, database: &str) -> Postgres {
        let address = self.address("postgres:5432");
        let (host, port) = address.split_once(':').expect("host:port");
        let secret = if database.ends_with("dwh_db") { "dwh-db" } else { "instashop-db" };
        Postgres {
            host: host.to_owned(),
            port: port.parse().expect("a port"),
            database: database.to_owned(),
            credentials_secret: secret.to_owned(),
            ssl_mode: SslMode::Disable,
            ca_secret: None,
        }
    }

    /// The Redis server.
    ///
    /// # Panics
    /// When it doesn't answer.
    pub fn redis(&self) -> redis::Connection {
        let client =
            redis::Client::open(format!("redis://{}", self.address("redis:6379"))).expect("an address");
        client.get_connection().expect("Redis answers")
    }

    /// Creates a topic; it must not exist.
    ///
    /// # Panics
    /// When Kafka refuses.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]);
    }

    /// As [`Self::create_topic`], with settings.
    ///
    /// # Panics
    /// When Kafka refuses.
    pub fn create_topic_with(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let admin = Admin::connect(&self.kafka(), "acequia tests").expect("an admin client");
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let topic = NewTopic { name: name.to_owned(), partitions, replication_factor: -1, config };
        let answers = admin.create_topics(&[topic], false, KAFKA_DEADLINE).expect("Kafka answers");
        for (name, answer) in answers {
            answer.unwrap_or_else(|error| panic!("topic {name}: {error}"));
        }
    }

    /// Puts records into a topic.
    ///
    /// # Panics
    /// When one isn't acknowledged.
    pub fn produce(&self, topic: &str, records: &[Record]) {
        let producer =
            Producer::connect(&self.kafka(), &ProducerSettings::new("acequia tests")).expect("a producer");
        for (partition, key, value) in records {
            producer
                .send(topic, Some(*partition), key.as_deref(), value.as_deref())
                .expect("a record is queued");
        }
        producer.flush(KAFKA_DEADLINE).expect("records are acknowledged");
        assert!(producer.take_undelivered().is_empty(), "records of {topic} weren't delivered");
    }

    /// How many brokers Kafka has: 1 or 3.
    pub fn brokers(&self) -> usize {
        let count = std::fs::read_to_string(self.folder.join("brokers"));
        count.ok().and_then(|count| count.trim().parse().ok()).unwrap_or(1)
    }

    /// Kills a server as `kill -9` does.
    pub fn kill(&self, server: &str) {
        run("kill", &[server]);
    }

    /// Brings a server back with its data.
    pub fn bring_back(&self, server: &str) {
        run("up", &[server]);
    }
}

fn run(script: &str, arguments: &[&str]) {
    let path = root().join("tests/stack").join(script);
    let output = Command::new(&path).args(arguments).output().expect("the stack's script runs");
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}{}",
        path.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A name that no other test run has: topics and tables outlive a test.
pub fn unique(prefix: &str) -> String {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    format!("{prefix}_{:x}", since.as_micros())
}
