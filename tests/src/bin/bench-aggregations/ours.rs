//! `acequia-worker aggregator` as an engine: a process for each order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use acequia_crds::duration::Duration;
use acequia_crds::pipeline::aggregation::{
    Aggregation, Emit, Group, Measure, Output, RedisLayout, RedisOutput, Window,
};
use acequia_crds::pipeline::kafka::Kafka;
use acequia_crds::pipeline::store::{Redis, Store};
use acequia_crds::pipeline::transform::Format;
use acequia_crds::pipeline::value::Empty;
use acequia_crds::stage::{AggregationWork, StageConfig, Work};
use acequia_kafka::admin::Admin;
use acequia_tests::process::{Process, binary};
use acequia_tests::stack::Stack;
use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::engine::{Engine, Order};
use crate::topics;

/// How far out of order events may be; none is later than 5 s.
pub const WATERMARK_MS: u64 = 10_000;
/// The core of a worker that is kept on one.
const CORE: &str = "1";
/// More than it needs: this isn't a test of the bound.
const STATE_LIMIT_BYTES: u64 = 1 << 30;
const STORE: &str = "metrics";

/// When results are written, beside the end of their window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emitted {
    /// Only then.
    OnClose,
    /// Also every second while they change.
    EverySecond,
}

/// Our engine.
#[derive(Debug)]
pub struct Ours {
    stack: Stack,
    folder: TempDir,
    emitted: Emitted,
    worker: Option<Process>,
}

impl Ours {
    /// An engine on these servers.
    pub fn new(stack: &Stack, emitted: Emitted) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("acequia-bench-").tempdir()?;
        Ok(Self { stack: stack.clone(), folder, emitted, worker: None })
    }

    fn worker(&mut self) -> anyhow::Result<&mut Process> {
        self.worker.as_mut().context("no worker")
    }
}

impl Engine for Ours {
    fn name(&self) -> &'static str {
        "Acequia"
    }

    fn pid(&self) -> Option<u32> {
        self.worker.as_ref().map(Process::id)
    }

    fn start(&mut self, order: &Order) -> anyhow::Result<()> {
        let emitted = if order.calm { Emitted::OnClose } else { self.emitted };
        let config = config(&self.stack, order, emitted);
        if let Work::Aggregation(work) = &config.work {
            topics::create(&Admin::connect(&self.stack.kafka(), "acequia bench")?, &topics::of_stage(work))?;
        }
        let path: PathBuf = self.folder.path().join(format!("{}.yaml", order.application));
        std::fs::write(&path, serde_yaml::to_string(&config)?)?;
        let worker = binary("acequia-worker");
        let mut command = if order.pinned {
            // It becomes the worker, which so has the process id that is measured.
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", CORE]).arg(worker);
            command
        } else {
            Command::new(worker)
        };
        command.args(["aggregator", "--instance", "0"]);
        command.arg("--config").arg(&path).arg("--secrets").arg(self.stack.secrets());
        self.worker = Some(Process::start(&mut command, &path.with_extension("log")));
        Ok(())
    }

    fn check(&mut self) -> anyhow::Result<()> {
        let worker = self.worker()?;
        if let Some(status) = worker.ended() {
            bail!("the worker ended with {status}: {}", worker.printed());
        }
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let mut worker = self.worker.take().context("no worker")?;
        let status = worker.stop();
        ensure!(status.success(), "the worker stopped with {status}: {}", worker.printed());
        Ok(())
    }
}

/// What the worker is told.
fn config(stack: &Stack, order: &Order, emitted: Emitted) -> StageConfig {
    let address = |name: &str| stack.address(name).to_owned();
    let redis = Redis { address: address("redis:6379"), credentials_secret: None, tls: None };
    let kafka = Kafka { bootstrap_servers: address("kafka:9092"), tls: None, sasl: None };
    stage(order, emitted, kafka, redis)
}

fn stage(order: &Order, emitted: Emitted, kafka: Kafka, redis: Redis) -> StageConfig {
    let application = &order.application;
    let named = |end: &str| format!("{application}.{end}");
    let store = Store { name: STORE.to_owned(), redis: Some(redis), postgres: None, cassandra: None };
    StageConfig {
        pipeline: format!("bench/default/{application}"),
        stage: "aggregation-sales".to_owned(),
        kafka,
        work: Work::Aggregation(AggregationWork {
            aggregation: aggregation(order, emitted),
            incarnation: "bench".to_owned(),
            combine_group: application.clone(),
            merge_group: named("merge"),
            partials_topic: named("partials"),
            state_topic: named("state"),
            rows_topic: None,
            late_topic: Some(named("late")),
            dead_letter_topic: named("dead-letters"),
            stores: BTreeMap::from([(STORE.to_owned(), store)]),
            state_limit_bytes: STATE_LIMIT_BYTES,
        }),
    }
}

fn aggregation(order: &Order, emitted: Emitted) -> Aggregation {
    let measure = |name: &str| Measure { name: name.to_owned(), ..Measure::default() };
    let topic = order.topic.clone().map(|topic| Output { topic: Some(topic), ..Output::default() });
    let redis = order.redis.as_ref().map(|prefix| Output {
        store: Some(STORE.to_owned()),
        redis: Some(RedisOutput {
            key: format!("{prefix}{{window.start}}:{{category}}"),
            layout: RedisLayout::Json,
            ttl: None,
        }),
        ..Output::default()
    });
    Aggregation {
        name: "sales".to_owned(),
        from: vec![order.from.clone()],
        format: Format::Json,
        latest_by: None,
        lookups: Vec::new(),
        explode: None,
        event_time: Some("event.timestamp".to_owned()),
        watermark: Some(Duration::from_ms(WATERMARK_MS)),
        allowed_lateness: None,
        idle_retention: None,
        time_zone: None,
        window: Window {
            tumbling: Some(Duration::from_ms(crate::cells::WINDOW_MS.unsigned_abs())),
            ..Window::default()
        },
        filter: None,
        group_by: vec![Group { name: "category".to_owned(), value: "event.category".to_owned() }],
        measures: vec![
            Measure { count: Some(Empty {}), ..measure("orders") },
            Measure { sum: Some("event.total_amount".to_owned()), ..measure("revenue") },
        ],
        emit: Some(match emitted {
            Emitted::OnClose => Emit { on_close: Some(Empty {}), every: None },
            Emitted::EverySecond => Emit { every: Some(Duration::from_ms(1000)), on_close: None },
        }),
        to: topic.into_iter().chain(redis).collect(),
        workers: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_reads_what_it_is_told() {
        let kafka = Kafka { bootstrap_servers: "kafka:9092".to_owned(), tls: None, sasl: None };
        let redis = Redis { address: "redis:6379".to_owned(), credentials_secret: None, tls: None };
        for emitted in [Emitted::OnClose, Emitted::EverySecond] {
            let order = Order::new("events").into_topic().into_redis();
            let config = stage(&order, emitted, kafka.clone(), redis.clone());
            let text = serde_yaml::to_string(&config).unwrap();
            assert_eq!(serde_yaml::from_str::<StageConfig>(&text).unwrap(), config, "{text}");
        }
    }
}
