//! What a worker that reads topics waits for before it begins: credentials, brokers, topics.

use std::collections::BTreeMap;
use std::time::Duration;

use acequia_crds::pipeline::kafka::Kafka;
use acequia_kafka::admin::{Admin, Topic};
use acequia_kafka::connection::Connection;
use acequia_kafka::error::KafkaError;

use crate::connection::connection;
use crate::secrets::{SecretMissing, SecretsFolder};
use crate::service::Progress;
use crate::stop::Stop;

/// How long Kafka may take to describe the topics.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between tries while something is missing.
const PAUSE: Duration = Duration::from_secs(1);

/// Topics that are all there, and how they were found.
pub struct Described {
    /// The cluster with its login.
    pub connection: Connection,
    /// A client that asks it.
    pub admin: Admin,
    /// All that were asked for, by name.
    pub topics: BTreeMap<String, Topic>,
}

/// The thread that asks Kafka ended without saying why.
#[derive(Debug, thiserror::Error)]
#[error("the thread that asks Kafka ended unexpectedly; see the log above")]
pub struct AskerEnded;

/// Why topics couldn't be described this time.
enum Missing {
    Secret(SecretMissing),
    Kafka(KafkaError),
    Asker,
}

/// Waits until credentials, brokers and all these topics are there, and says meanwhile which of them isn't. None when a
/// stop came first. `client` is how it is called in the broker's log.
pub async fn wait_for(
    names: &[String],
    client: &'static str,
    (kafka, secrets): (&Kafka, &SecretsFolder),
    progress: &Progress,
    stop: &Stop,
) -> Result<Option<Described>, AskerEnded> {
    loop {
        match describe(names.to_vec(), client, kafka, secrets).await {
            Ok(described) => match names.iter().find(|name| !described.topics.contains_key(*name)) {
                None => return Ok(Some(described)),
                Some(missing) => {
                    progress.waiting(format!("topic {missing} doesn't exist; it is used once it is created"));
                }
            },
            Err(Missing::Secret(missing)) => progress.waiting(missing.to_string()),
            Err(Missing::Kafka(error)) => progress.waiting(error.to_string()),
            Err(Missing::Asker) => return Err(AskerEnded),
        }
        if stop.within(PAUSE).await {
            return Ok(None);
        }
    }
}

async fn describe(
    names: Vec<String>,
    client: &'static str,
    kafka: &Kafka,
    secrets: &SecretsFolder,
) -> Result<Described, Missing> {
    let connection = connection(kafka, secrets).map_err(Missing::Secret)?;
    let asked = connection.clone();
    // The client's calls block.
    let answer = tokio::task::spawn_blocking(move || {
        let admin = Admin::connect(&asked, client)?;
        let topics = admin.describe_topics(&names, DESCRIBE_DEADLINE)?;
        Ok((admin, topics))
    });
    let (admin, topics) = answer.await.map_err(|_| Missing::Asker)?.map_err(Missing::Kafka)?;
    Ok(Described { connection, admin, topics })
}
