//! The edge of the role: makes both steps and the outputs, and runs them until a stop is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use acequia_crds::duration::Duration as SpecDuration;
use acequia_crds::pipeline::aggregation::{Aggregation, Emit, EmitKind, Output as SpecOutput, OutputKind};
use acequia_crds::stage::{AggregationWork, StageConfig, Work};
use acequia_kafka::Connection;
use acequia_kafka::consumer::ConsumerSettings;
use acequia_kafka::error::KafkaError;
use acequia_kafka::producer::ProducerSettings;
use futures::future::Either;

use super::combine::lookups::{Follower, Rows as LookupRows};
use super::combine::run::{self as combine_run, Combiner};
use super::combine::step::{Combine, Lateness};
use super::health::{Condition, Health};
use super::measure::Shape;
use super::member::Member;
use super::merge::run::{self as merge_run, Merger, Output, Way};
use super::merge::state::Rules;
use super::output::document::Layout;
use super::output::{Target, spawn};
use super::record::RecordPlan;
use super::window::Window;
use crate::command::InvalidConfig;
use crate::memory::state_budget;
use crate::secrets::SecretsFolder;
use crate::service::Progress;
use crate::stop::Stop;
use crate::topics::{self, AskerEnded, Described};

/// How long a step may take to finish after the other has.
const STOP_DEADLINE: Duration = Duration::from_secs(12);
/// Pause between tries while the topics of lookups can't be read.
const LOOKUP_PAUSE: Duration = Duration::from_millis(200);
/// How often values are written, unless the manifest says otherwise.
const EMIT_EVERY_MS: u64 = 1_000;
/// How long a window waits for a silent source, unless the manifest says otherwise.
const IDLE_RETENTION_MS: i64 = 3_600_000;

/// Why an aggregator gave up. A restart begins anew.
#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// The configuration can't be carried out.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The Kafka client can't go on.
    #[error("{step}: the Kafka client can't go on")]
    Kafka {
        /// Which step.
        step: &'static str,
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// The thread that asks Kafka ended.
    #[error(transparent)]
    Asker(#[from] AskerEnded),
    /// A thread ended without saying why.
    #[error("the {0} ended unexpectedly; see the log above")]
    Ended(&'static str),
}

/// Runs both steps of an aggregation until a stop is asked for. `instance` is this process's fixed name.
pub async fn run(
    config: &StageConfig,
    secrets: &SecretsFolder,
    progress: &Progress,
    stop: &Stop,
    instance: Option<&str>,
) -> Result<(), AggregatorError> {
    let Work::Aggregation(work) = &config.work else {
        return Err(InvalidConfig::OtherRole { path: config.stage.clone(), role: "aggregator" }.into());
    };
    let plan = RecordPlan::new(&work.aggregation)?;
    let window = Window::new(&work.aggregation.window)?;
    let outputs = targets(work)?;
    let kafka = (&config.kafka, secrets);
    let described = topics::wait_for(&topic_names(work), "acequia aggregator", kafka, progress, stop).await?;
    let Some(Described { connection, topics, .. }) = described else { return Ok(()) };
    let partitions = topics.into_iter().map(|(name, topic)| (name, topic.partitions.len() as i32)).collect();
    let names = outputs.iter().map(|(output, _)| output_name(output));
    let health =
        Health::new(progress.clone(), ["combine", "merge"].map(str::to_owned).into_iter().chain(names));
    super::metrics::register(progress);
    let identity = (config.pipeline.clone(), config.stage.clone());
    let spawned = outputs.into_iter().map(|(output, target)| {
        let way = match target {
            Some(target) => Way::Store(spawn(target, identity.clone(), secrets.clone(), stop.clone())),
            None => {
                health.set(&output_name(&output), Condition::Running);
                Way::Topic(output.topic.clone().unwrap_or_default())
            }
        };
        Output { id: output_id(&output), name: output_name(&output), way }
    });
    let outputs: Vec<Output> = spawned.collect();
    let setup = Setup {
        config: config.clone(),
        work: AggregationWork { state_limit_bytes: state_budget(work.state_limit_bytes), ..work.clone() },
        connection,
        plan,
        window,
        partitions,
        state_bytes: Arc::default(),
        health: health.clone(),
        stop: stop.clone(),
        instance: instance.map(str::to_owned),
    };
    let merging = setup.clone();
    let combine = std::pin::pin!(thread("combine", move || setup.combine()));
    let merge = std::pin::pin!(thread("merge", move || merging.merge(outputs)));
    // An error of one ends the process: the other alone would only seem to work.
    match futures::future::try_select(combine, merge).await {
        Ok(Either::Left(((), merge))) => within_deadline(merge).await,
        Ok(Either::Right(((), combine))) => within_deadline(combine).await,
        Err(Either::Left((error, _)) | Either::Right((error, _))) => Err(error),
    }
}

/// A step ends only at a stop, and the other one is as good as ended too.
async fn within_deadline(
    step: impl Future<Output = Result<(), AggregatorError>>,
) -> Result<(), AggregatorError> {
    match tokio::time::timeout(STOP_DEADLINE, step).await {
        Ok(outcome) => outcome,
        Err(_) => {
            tracing::warn!("Kafka doesn't answer: leaving without it; what isn't committed is read again");
            Ok(())
        }
    }
}

/// Runs a step on a thread of its own: the client's calls block.
async fn thread(
    name: &'static str,
    step: impl FnOnce() -> Result<(), KafkaError> + Send + 'static,
) -> Result<(), AggregatorError> {
    let (done, finished) = tokio::sync::oneshot::channel();
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // The receiver is gone only when the process is ending.
        let _ = done.send(step());
    });
    if spawned.is_err() {
        return Err(AggregatorError::Ended(name));
    }
    let outcome = finished.await.map_err(|_| AggregatorError::Ended(name))?;
    outcome.map_err(|source| AggregatorError::Kafka { step: name, source })
}

/// What both steps are made of.
#[derive(Clone)]
struct Setup {
    config: StageConfig,
    work: AggregationWork,
    connection: Connection,
    plan: RecordPlan,
    window: Window,
    /// Partitions of the topics of the stage's own, by name.
    partitions: BTreeMap<String, i32>,
    state_bytes: Arc<AtomicU64>,
    health: Health,
    stop: Stop,
    instance: Option<String>,
}

impl Setup {
    fn combine(self) -> Result<(), KafkaError> {
        let aggregation = &self.work.aggregation;
        let lateness = Lateness {
            watermark_ms: millis(aggregation.watermark).unwrap_or(0),
            allowed_ms: millis(aggregation.allowed_lateness).unwrap_or(0),
        };
        let combine = Combine::new(self.plan.clone(), self.window, lateness);
        let lookups = LookupRows::new(&aggregation.lookups);
        let Some(follower) = self.follow(&lookups)? else { return Ok(()) };
        let group = self.work.combine_group.as_str();
        let member = self.join("combine", group, aggregation.from.clone(), 16_384)?;
        let rows = self.work.rows_topic.as_ref().and_then(|topic| self.partitions.get(topic));
        combine_run::read(Combiner {
            member,
            combine,
            lookups,
            follower,
            partials_partitions: self.partitions.get(&self.work.partials_topic).copied().unwrap_or(0),
            rows_partitions: rows.copied().unwrap_or(1),
            connection: self.connection,
            work: self.work,
            state_bytes: self.state_bytes,
            health: self.health,
            stop: self.stop,
        })
    }

    /// Begins to read the lookups' topics; `None` when a stop came first.
    fn follow(&self, lookups: &LookupRows) -> Result<Option<Follower>, KafkaError> {
        while !self.stop.is_requested() {
            match Follower::start(&self.connection, lookups, &self.client_id("lookups")) {
                // A topic that was just created has no leader yet.
                Err(error) if error.is_transient() => {
                    self.health.set("lookups", Condition::Waiting(error.to_string()));
                    std::thread::sleep(LOOKUP_PAUSE);
                }
                started => return started.map(Some),
            }
        }
        Ok(None)
    }

    fn merge(self, outputs: Vec<Output>) -> Result<(), KafkaError> {
        let aggregation = &self.work.aggregation;
        let rules = Rules {
            shape: Shape { measures: self.plan.measures().to_vec(), is_table: self.plan.is_table() },
            window: self.window,
            allowed_ms: millis(aggregation.allowed_lateness).unwrap_or(0),
            idle_retention_ms: millis(aggregation.idle_retention).unwrap_or(IDLE_RETENTION_MS),
            keep_ms: keep_ms(aggregation),
            is_ungrouped: aggregation.group_by.is_empty(),
        };
        let every = EmitKind::Every(SpecDuration::from_ms(EMIT_EVERY_MS));
        let emit = aggregation.emit.as_ref().and_then(Emit::kind).unwrap_or(every);
        let layout = Layout::new(aggregation);
        let group = self.work.merge_group.as_str();
        let member = self.join("merge", group, vec![self.work.partials_topic.clone()], 8_192)?;
        merge_run::merge(Merger {
            member,
            rules,
            layout,
            emit,
            outputs,
            plan: self.plan,
            connection: self.connection,
            work: self.work,
            state_bytes: self.state_bytes,
            health: self.health,
            stop: self.stop,
        })
    }

    fn join(
        &self,
        step: &'static str,
        group: &str,
        topics: Vec<String>,
        queued_max_kbytes: u32,
    ) -> Result<Member, KafkaError> {
        let mut settings = ConsumerSettings::new(self.client_id(step), group, topics);
        settings.instance_id.clone_from(&self.instance);
        settings.queued_max_kbytes = queued_max_kbytes;
        let mut producer = ProducerSettings::new(self.client_id(step));
        // The name stays over restarts, so that whoever comes after ends at once what was left open.
        let instance = self.instance.clone().unwrap_or_else(|| format!("{:016x}", fastrand::u64(..)));
        producer.transactional_id = Some(format!("{group}.{instance}"));
        producer.queued_max_kbytes = 16_384;
        Member::join(&self.connection, &settings, &producer, step, self.health.clone())
    }

    fn client_id(&self, part: &str) -> String {
        format!("acequia {} {} {part}", self.config.pipeline, self.config.stage)
    }
}

fn millis(duration: Option<SpecDuration>) -> Option<i64> {
    duration.map(|duration| i64::try_from(duration.as_ms()).unwrap_or(i64::MAX))
}

/// How long a final window is kept: as long as an output would show it, so that it can be filled again.
fn keep_ms(aggregation: &Aggregation) -> i64 {
    let ttl = |output: &SpecOutput| millis(output.redis.as_ref()?.ttl);
    aggregation.to.iter().filter_map(ttl).max().unwrap_or(0)
}

/// The outputs, those in stores with how they are written.
fn targets(work: &AggregationWork) -> Result<Vec<(SpecOutput, Option<Target>)>, InvalidConfig> {
    let target = |output: &SpecOutput| match output.kind() {
        Some(OutputKind::Topic(_)) => Ok((output.clone(), None)),
        _ => {
            let target = Target::new(output, &work.aggregation, &work.stores, &work.incarnation)?;
            Ok((output.clone(), Some(target)))
        }
    };
    work.aggregation.to.iter().map(target).collect()
}

/// The same as long as it is the same output.
fn output_id(output: &SpecOutput) -> String {
    serde_json::to_string(output).unwrap_or_else(|_| output_name(output))
}

fn output_name(output: &SpecOutput) -> String {
    let store = output.store.as_deref().unwrap_or_default();
    match output.kind() {
        Some(OutputKind::Topic(topic)) => format!("topic {topic}"),
        Some(OutputKind::Redis(redis)) => format!("{} in {store}", redis.key),
        Some(OutputKind::Postgres(table) | OutputKind::Cassandra(table)) => {
            format!("{} in {store}", table.table)
        }
        None => "an output".to_owned(),
    }
}

/// Every topic that it uses.
fn topic_names(work: &AggregationWork) -> Vec<String> {
    let own = [&work.partials_topic, &work.state_topic, &work.dead_letter_topic];
    let optional = [&work.rows_topic, &work.late_topic];
    let lookups = work.aggregation.lookups.iter().map(|lookup| &lookup.topic);
    let outputs = work.aggregation.to.iter().filter_map(|output| output.topic.as_ref());
    let optional = optional.into_iter().flatten();
    let names = own.into_iter().chain(optional).chain(lookups).chain(outputs).chain(&work.aggregation.from);
    let names: BTreeSet<&String> = names.collect();
    names.into_iter().cloned().collect()
}
