//! Watching an engine catch up: how far it has read, when results become readable, what the processes spend on it.

use std::time::{Duration, Instant};

use acequia_kafka::admin::{Admin, OffsetOf};
use acequia_kafka::log::read_range;
use acequia_tests::bench::usage::{cpu_seconds, memory_mib, server_pid};
use acequia_tests::stack::{KAFKA_DEADLINE, Stack};
use anyhow::{Context as _, ensure};

use crate::cells::{self, Cells, compare};
use crate::engine::{Engine, Order};
use crate::input::Input;
use crate::redis::Redis;
use crate::topics;

/// How often offsets are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// After so long without a move the results are read.
const QUIET: Duration = Duration::from_millis(1500);
/// How long one order may take.
const DEADLINE: Duration = Duration::from_secs(300);
const READ_DEADLINE: Duration = Duration::from_secs(60);

/// What one order cost one engine.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Records of the topic.
    pub records: u64,
    /// Those that were still to be read at the first commit that was seen.
    pub timed: u64,
    /// From that commit until all results could be read.
    pub seconds: f64,
    /// From the order to that commit.
    pub start_seconds: f64,
    /// Processor time of the engine, start included.
    pub engine_cpu: f64,
    /// Processor time of the broker.
    pub broker_cpu: f64,
    /// Processor time of Redis.
    pub redis_cpu: f64,
    /// The engine's largest resident memory so far.
    pub peak_mib: u64,
}

impl Cost {
    /// Records per second, in thousands.
    pub fn thousands_per_second(&self) -> f64 {
        self.timed as f64 / self.seconds / 1000.0
    }

    /// For a million records.
    pub fn per_million(&self, cpu: f64) -> f64 {
        cpu / self.records as f64 * 1e6
    }
}

/// Who watches.
pub struct Watch {
    stack: Stack,
    admin: Admin,
    redis: Redis,
    broker_pid: u32,
    redis_pid: u32,
}

/// Where an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    /// Records whose offsets are committed.
    read: u64,
    /// Changes of the output that can be read.
    written: i64,
}

/// Processor times so far.
#[derive(Clone, Copy, Debug)]
struct Spent {
    engine: f64,
    broker: f64,
    redis: f64,
}

/// An order that is done.
struct Done {
    first: Instant,
    read_at_first: u64,
    last: Instant,
    spent: Spent,
}

impl Watch {
    /// On these servers.
    pub fn new(stack: &Stack) -> anyhow::Result<Self> {
        Ok(Self {
            stack: stack.clone(),
            admin: Admin::connect(&stack.kafka(), "acequia bench")?,
            redis: Redis::connect(stack.address("redis:6379"))?,
            broker_pid: server_pid("kafka-1")?,
            redis_pid: server_pid("redis")?,
        })
    }

    /// Has an order done by an engine, and checks its results.
    pub fn run(&mut self, engine: &mut dyn Engine, input: &Input, order: &Order) -> anyhow::Result<Cost> {
        if let Some(topic) = &order.topic {
            topics::create(&self.admin, &[topics::of_results(topic)])?;
        }
        let before = self.spent(engine)?;
        let ordered = Instant::now();
        engine.start(order)?;
        let done = self.wait_for_all_results(engine, input, order)?;
        let cost = Cost {
            records: input.records,
            timed: input.records - done.read_at_first,
            seconds: (done.last - done.first).as_secs_f64(),
            start_seconds: (done.first - ordered).as_secs_f64(),
            engine_cpu: done.spent.engine - before.engine,
            broker_cpu: done.spent.broker - before.broker,
            redis_cpu: done.spent.redis - before.redis,
            peak_mib: memory_mib(engine.pid().context("the engine has a process")?, "VmHWM:")?,
        };
        engine.stop()?;
        self.remove(order)?;
        Ok(cost)
    }

    /// Removes what an order has left.
    pub fn remove(&mut self, order: &Order) -> anyhow::Result<()> {
        topics::delete(&self.admin, &order.application)?;
        if order.redis.is_some() {
            // Beside the values there are keys for their versions, which begin otherwise.
            self.redis.remove(&order.application)?;
        }
        Ok(())
    }

    /// The results of an order: of each cell the value that was written last.
    fn results(&mut self, order: &Order) -> anyhow::Result<Cells> {
        let mut documents = Vec::new();
        if let Some(topic) = &order.topic {
            let records = read_range(&self.stack.kafka(), topic, READ_DEADLINE)?;
            documents.extend(records.into_iter().filter_map(|record| record.value));
        }
        if let Some(prefix) = &order.redis {
            documents.extend(
                self.redis
                    .texts(prefix)?
                    .into_iter()
                    .filter(|(key, _)| !is_version(key))
                    .map(|(_, value)| value),
            );
        }
        let mut results = Cells::new();
        for document in documents {
            results.extend(cells::read(&document)?.map(|written| (written.cell, written.total)));
        }
        Ok(results)
    }

    fn wait_for_all_results(
        &mut self,
        engine: &mut dyn Engine,
        input: &Input,
        order: &Order,
    ) -> anyhow::Result<Done> {
        let started = Instant::now();
        let nothing_written = self.progress(order)?.written;
        let (mut first, mut seen) = (None, Progress { read: 0, written: nothing_written });
        let (mut last, mut spent) = (started, self.spent(engine)?);
        let mut looked = started;
        loop {
            std::thread::sleep(LOOK_EVERY);
            let progress = self.progress(order)?;
            if progress != seen {
                (last, looked) = (Instant::now(), Instant::now());
                (seen, spent) = (progress, self.spent(engine)?);
                if first.is_none() && progress.read > 0 {
                    first = Some((last, progress.read));
                }
            } else if let Some((first, read_at_first)) = first
                && looked.elapsed() > QUIET
            {
                let read = seen.read >= input.records;
                let checked = compare(&self.results(order)?, &input.expected);
                if read && checked.is_ok() {
                    return Ok(Done { first, read_at_first, last, spent });
                }
                if started.elapsed() > DEADLINE {
                    checked?;
                    ensure!(read, "{} of {} records are committed", seen.read, input.records);
                }
                looked = Instant::now();
            }
            engine.check()?;
            ensure!(
                started.elapsed() < 2 * DEADLINE,
                "{} didn't get done within {:?}",
                engine.name(),
                2 * DEADLINE
            );
        }
    }

    fn progress(&mut self, order: &Order) -> anyhow::Result<Progress> {
        let read = read_by(&self.admin, &order.application, &order.from)?;
        let mut written = 0;
        if let Some(topic) = &order.topic {
            // The end moves when a transaction is committed: from then on its records can be read.
            let partitions = topics::partitions(topic);
            let ends =
                patiently(|| self.admin.offsets(&partitions, OffsetOf::LatestCommitted, KAFKA_DEADLINE))?;
            written += topics::sum(&ends, topic);
        }
        if order.redis.is_some() {
            written += self.redis.changes()?;
        }
        Ok(Progress { read, written })
    }

    fn spent(&self, engine: &dyn Engine) -> anyhow::Result<Spent> {
        Ok(Spent {
            engine: engine.pid().map_or(Ok(0.0), cpu_seconds)?,
            broker: cpu_seconds(self.broker_pid)?,
            redis: cpu_seconds(self.redis_pid)?,
        })
    }
}

/// How many records of a topic a group has read, by its committed offsets.
pub fn read_by(admin: &Admin, group: &str, topic: &str) -> anyhow::Result<u64> {
    let offsets = patiently(|| admin.group_offsets(group, KAFKA_DEADLINE))?;
    Ok(topics::sum(&offsets, topic).unsigned_abs())
}

/// Asks again while the answer is that it will be there in a moment, as of a group whose coordinator is being made.
fn patiently<T>(mut ask: impl FnMut() -> acequia_kafka::Result<T>) -> acequia_kafka::Result<T> {
    let started = Instant::now();
    loop {
        match ask() {
            Err(error) if error.is_transient() && started.elapsed() < KAFKA_DEADLINE => {
                std::thread::sleep(LOOK_EVERY);
            }
            answer => return answer,
        }
    }
}

/// Whether a key holds the version of another one's value.
pub fn is_version(key: &[u8]) -> bool {
    key.ends_with(b":acequia")
}
