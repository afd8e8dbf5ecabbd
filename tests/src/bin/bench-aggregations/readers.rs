//! Reading results while they are written, with the moment at which each could be read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use acequia_kafka::consumer::{BatchConsumer, ConsumerSettings, Position, Rebalance};
use acequia_tests::stack::{Stack, unique};

use crate::cells::{self, Cell, Cells};
use crate::engine::Order;
use crate::measure::is_version;
use crate::redis::Redis;

const POLL: Duration = Duration::from_millis(50);
const MOST_RECORDS: usize = 10_000;

/// What a reader has found.
#[derive(Debug, Default)]
pub struct Found {
    /// When each final result could be read first, in milliseconds since 1970.
    pub readable_ms: BTreeMap<Cell, f64>,
    /// The values that were written last.
    pub results: Cells,
}

/// A thread that reads.
pub struct Reader {
    /// What it reads, for the report.
    pub output: &'static str,
    thread: JoinHandle<anyhow::Result<Found>>,
    seen: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Reader {
    /// One for each output of an order.
    pub fn of(stack: &Stack, order: &Order) -> Vec<Self> {
        let topic = order.topic.clone().map(|topic| {
            let stack = stack.clone();
            Self::start("topic", move |seen, stop| read_topic(&stack, &topic, seen, stop))
        });
        let redis = order.redis.clone().map(|prefix| {
            let address = stack.address("redis:6379").to_owned();
            Self::start("Redis", move |seen, stop| read_redis(&address, &prefix, seen, stop))
        });
        topic.into_iter().chain(redis).collect()
    }

    fn start(
        output: &'static str,
        read: impl FnOnce(&AtomicUsize, &AtomicBool) -> anyhow::Result<Found> + Send + 'static,
    ) -> Self {
        let (seen, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (for_reader, stop_reader) = (seen.clone(), stop.clone());
        let thread = std::thread::spawn(move || read(&for_reader, &stop_reader));
        Self { output, thread, seen, stop }
    }

    /// How many final results it has seen.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }

    /// Ends it; what it has found.
    pub fn finish(self) -> anyhow::Result<Found> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the reader of the {} failed", self.output))?
    }
}

/// Now, in milliseconds since 1970.
fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1000.0)
}

/// Committed records only: what a transaction wrote can be read once it is committed.
fn read_topic(stack: &Stack, topic: &str, seen: &AtomicUsize, stop: &AtomicBool) -> anyhow::Result<Found> {
    let settings = ConsumerSettings::new("acequia bench", unique("bench_reader"), vec![topic.to_owned()]);
    let mut consumer = BatchConsumer::subscribe(&stack.kafka(), &settings)?;
    let mut found = Found::default();
    while !stop.load(Ordering::Relaxed) {
        let polled = consumer.poll(MOST_RECORDS, POLL);
        let now_ms = now_ms();
        for record in polled.records.iter() {
            found.take(record.value.unwrap_or_default(), now_ms)?;
        }
        seen.store(found.readable_ms.len(), Ordering::Relaxed);
        for change in polled.rebalance {
            match change {
                Rebalance::Assigned(partitions) => {
                    let at = |p: acequia_kafka::consumer::TopicPartition| Position {
                        topic: p.topic,
                        partition: p.partition,
                        offset: 0,
                    };
                    consumer.assign(&partitions.into_iter().map(at).collect::<Vec<_>>())?;
                }
                Rebalance::Revoked(partitions) | Rebalance::Lost(partitions) => {
                    consumer.unassign(&partitions)?;
                }
            }
        }
    }
    consumer.close(Duration::from_secs(10))?;
    Ok(found)
}

/// Redis tells which keys have changed, so nothing is polled and nothing seen late. The values are read at the end,
/// where only those are missing that have expired.
fn read_redis(address: &str, prefix: &str, seen: &AtomicUsize, stop: &AtomicBool) -> anyhow::Result<Found> {
    let mut told = Redis::connect(address)?;
    told.follow(prefix)?;
    let mut changed_ms: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let keys = told.changed(POLL)?;
        let now_ms = now_ms();
        for key in keys.into_iter().filter(|key| !is_version(key)) {
            changed_ms.entry(key).or_insert(now_ms);
        }
        seen.store(changed_ms.len(), Ordering::Relaxed);
    }
    let mut found = Found::default();
    for (key, document) in Redis::connect(address)?.texts(prefix)? {
        if let Some(moment_ms) = changed_ms.get(&key) {
            found.take(&document, *moment_ms)?;
        }
    }
    Ok(found)
}

impl Found {
    fn take(&mut self, document: &[u8], now_ms: f64) -> anyhow::Result<()> {
        if let Some(written) = cells::read(document)? {
            self.results.insert(written.cell, written.total);
            if written.is_final {
                self.readable_ms.entry(written.cell).or_insert(now_ms);
            }
        }
        Ok(())
    }
}
