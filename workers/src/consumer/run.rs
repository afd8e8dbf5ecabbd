//! The edge of the role: connects the parts and runs them until a stop is asked for.

use std::time::Duration;

use acequia_crds::stage::{StageConfig, Work};
use acequia_kafka::admin::Topic;
use acequia_kafka::consumer::{BatchConsumer, ConsumerSettings};
use acequia_kafka::error::KafkaError;
use tokio::sync::mpsc;

use super::source::{self, Source};
use super::tables::{TopicFacts, Topics};
use super::writer::Writer;
use crate::command::InvalidConfig;
use crate::secrets::SecretsFolder;
use crate::service::Progress;
use crate::stop::Stop;
use crate::topics::{self, AskerEnded, Described};

/// Chunks that wait for the writer while the next one is being made.
const CHUNKS_AHEAD: usize = 2;
/// How long the writer may take to finish after the source has.
const STOP_DEADLINE: Duration = Duration::from_secs(12);

/// Why a consumer gave up. A restart begins anew.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// The configuration isn't a sink's.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The thread that asks Kafka ended.
    #[error(transparent)]
    Asker(#[from] AskerEnded),
    /// The Kafka client can't go on.
    #[error("the Kafka client can't go on")]
    Kafka(#[from] KafkaError),
    /// A thread ended without saying why.
    #[error("the {0} ended unexpectedly; see the log above")]
    Ended(&'static str),
}

/// Runs a sink until a stop is asked for. `instance` is the member's fixed name in its group.
pub async fn run(
    config: &StageConfig,
    secrets: &SecretsFolder,
    progress: &Progress,
    stop: &Stop,
    instance: Option<&str>,
) -> Result<(), ConsumerError> {
    let Work::Sink(work) = &config.work else {
        return Err(InvalidConfig::OtherRole { path: config.stage.clone(), role: "consumer" }.into());
    };
    let names: Vec<String> = work.topics.iter().map(|topic| topic.name.clone()).collect();
    let kafka = (&config.kafka, secrets);
    let described = topics::wait_for(&names, "acequia sink", kafka, progress, stop).await?;
    let Some(Described { connection, admin, topics }) = described else { return Ok(()) };
    let facts = |topic: Topic| TopicFacts { id: topic.id.to_string(), partitions: topic.partitions.len() };
    let topics: Topics = topics.into_iter().map(|(name, topic)| (name, facts(topic))).collect();
    let mut settings =
        ConsumerSettings::new(format!("acequia {} {}", config.pipeline, config.stage), &work.group, names);
    settings.instance_id = instance.map(str::to_owned);
    let consumer = BatchConsumer::subscribe(&connection, &settings)?;
    let (commands, commanded) = mpsc::channel(CHUNKS_AHEAD);
    let (told, events) = crossbeam_channel::unbounded();
    let writer = Writer {
        identity: (config.pipeline.clone(), config.stage.clone()),
        work: work.clone(),
        secrets: secrets.clone(),
        progress: progress.clone(),
        topics: topics.clone(),
        events: told,
    };
    let writer = tokio::spawn(writer.run(commanded));
    let source =
        Source { consumer, admin, topics, commands, events, progress: progress.clone(), stop: stop.clone() };
    // A thread of its own: the client's calls block, and a poll must never wait for a task.
    let (done, finished) = tokio::sync::oneshot::channel();
    let name = "source".to_owned();
    let spawned = std::thread::Builder::new().name(name).spawn(move || {
        // The receiver is gone only when the process is ending.
        let _ = done.send(source::read(source));
    });
    if spawned.is_err() {
        return Err(ConsumerError::Ended("thread that should read Kafka"));
    }
    let outcome = finished.await.map_err(|_| ConsumerError::Ended("source thread"))?;
    if tokio::time::timeout(STOP_DEADLINE, writer).await.is_err() {
        tracing::warn!(
            "the store doesn't answer: leaving without it; nothing is lost, offsets are in the store"
        );
    }
    Ok(outcome?)
}
