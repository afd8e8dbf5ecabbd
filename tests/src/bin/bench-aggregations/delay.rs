//! How long after the watermark has passed a window its results can be read, at a calm rate.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use acequia_kafka::admin::Admin;
use acequia_kafka::log::read_range;
use acequia_kafka::producer::{Producer, ProducerSettings};
use acequia_tests::bench::events::{FIRST_MS, PARTITIONS, Records, Shape, time_of};
use acequia_tests::bench::figures::percentile;
use acequia_tests::stack::{KAFKA_DEADLINE, Stack, unique};
use anyhow::{Context as _, ensure};

use crate::cells::{self, Cell, Cells, WINDOW_MS};
use crate::engine::{Engine, Order};
use crate::input::close;
use crate::measure::read_by;
use crate::ours::WATERMARK_MS;
use crate::readers::{Found, Reader};
use crate::topics;

/// Events a second.
pub const RATE: u64 = 1_000;
/// Event time passes so many times as fast as ours, so that a window ends every 3 s.
pub const SPEED: u64 = 10;
/// Windows at the beginning that aren't counted: the engine is starting.
pub const LEFT_OUT: i64 = 3;
/// So many events are read before the others come.
const FIRST: u64 = 100;
/// How often events are sent.
const TICK: Duration = Duration::from_millis(5);
/// How long the last results may take.
const DEADLINE: Duration = Duration::from_secs(30);
const READ_DEADLINE: Duration = Duration::from_secs(60);

/// Delays of one engine's results in one output.
#[derive(Clone, Debug)]
pub struct Delays {
    /// The engine.
    pub engine: &'static str,
    /// The output.
    pub output: &'static str,
    /// In milliseconds, sorted; one a result.
    pub ms: Vec<f64>,
    /// How many windows they are of.
    pub windows: usize,
    /// Events that aren't in these windows' results.
    pub lost: u64,
    /// Events that aren't in the results of any window, those at the beginning included.
    pub lost_in_all: u64,
}

impl Delays {
    /// The delay that so many of a hundred results don't exceed, in milliseconds.
    pub fn percentile(&self, percent: f64) -> f64 {
        percentile(&self.ms, percent)
    }
}

/// Lets an engine work for so many seconds; its delays in each output of the order.
pub fn measure(
    stack: &Stack,
    engine: &mut dyn Engine,
    order: &Order,
    seconds: u64,
) -> anyhow::Result<Vec<Delays>> {
    let admin = Admin::connect(&stack.kafka(), "acequia bench")?;
    let results = order.topic.as_deref().map(topics::of_results);
    topics::create(
        &admin,
        &results.into_iter().chain([topics::on_broker_time(&order.from)]).collect::<Vec<_>>(),
    )?;
    let readers = Reader::of(stack, order);
    engine.start(order)?;
    let expected = feed(stack, &admin, engine, order, seconds)?;
    let ended = Instant::now();
    while readers.iter().any(|reader| reader.seen() < expected.len()) && ended.elapsed() < DEADLINE {
        engine.check()?;
        std::thread::sleep(TICK);
    }
    engine.stop()?;
    let passes = passes(&read_input(stack, &order.from)?);
    let mut delays = Vec::new();
    for reader in readers {
        let output = reader.output;
        let found = reader.finish()?;
        delays.push(of(engine.name(), output, &found, &expected, &passes)?);
    }
    Ok(delays)
}

/// Orders of this kind have a topic of their own to read.
pub fn order() -> Order {
    Order { calm: true, ..Order::new(&unique("bench_calm")) }
}

/// Sends events at their pace, as soon as the engine has read the first; what must come out of them.
fn feed(
    stack: &Stack,
    admin: &Admin,
    engine: &mut dyn Engine,
    order: &Order,
    seconds: u64,
) -> anyhow::Result<Cells> {
    let (count, span_ms) = (RATE * seconds, seconds * SPEED * 1000);
    let producer = Producer::connect(&stack.kafka(), &ProducerSettings::new("acequia bench"))?;
    let mut records = Records::new(Shape::Event, count).spanning(span_ms);
    let mut expected = Cells::new();
    let mut produce = || -> anyhow::Result<()> {
        let row = records.make().context("there are as many events as were asked for")?;
        cells::add(&mut expected, &row);
        producer.send(&order.from, None, Some(records.key.as_bytes()), Some(records.value.as_bytes()))?;
        Ok(())
    };
    for _ in 0..FIRST {
        produce()?;
    }
    producer.flush(KAFKA_DEADLINE)?;
    wait_until_read(admin, engine, order)?;
    let (started, mut sent) = (Instant::now(), FIRST);
    while sent < count {
        let due = FIRST + (started.elapsed().as_secs_f64() * RATE as f64) as u64;
        while sent < due.min(count) {
            produce()?;
            sent += 1;
        }
        engine.check()?;
        producer.poll(TICK);
    }
    producer.flush(KAFKA_DEADLINE)?;
    ensure!(producer.take_undelivered().is_empty(), "not every record of {} was delivered", order.from);
    close(&producer, &order.from, span_ms)?;
    Ok(expected)
}

/// What piles up while an engine starts would be read as in a catch-up.
fn wait_until_read(admin: &Admin, engine: &mut dyn Engine, order: &Order) -> anyhow::Result<()> {
    let started = Instant::now();
    while read_by(admin, &order.application, &order.from)? < FIRST {
        ensure!(started.elapsed() < DEADLINE, "{} doesn't read the first events", engine.name());
        engine.check()?;
        std::thread::sleep(TICK);
    }
    Ok(())
}

/// An event as it lies in the topic.
#[derive(Clone, Copy, Debug)]
struct Sent {
    partition: i32,
    time_ms: i64,
    broker_ms: i64,
}

/// The events of a topic, each partition's in their order.
fn read_input(stack: &Stack, topic: &str) -> anyhow::Result<Vec<Sent>> {
    let records = read_range(&stack.kafka(), topic, READ_DEADLINE)?;
    let sent = |record: acequia_kafka::log::OwnedRecord| {
        let value: serde_json::Value = serde_json::from_slice(&record.value?).ok()?;
        let time_ms = time_of(value["timestamp"].as_str()?)?;
        Some(Sent { partition: record.partition, time_ms, broker_ms: record.timestamp_ms? })
    };
    records.into_iter().map(|record| sent(record).context("an event can't be read")).collect()
}

/// For each window (by its first millisecond), the broker's time of the record with which the watermark has passed its
/// end: the least, over all partitions, of the greatest event time so far minus 10 s.
fn passes(events: &[Sent]) -> BTreeMap<i64, i64> {
    let mut of_partitions = vec![BTreeMap::new(); PARTITIONS.unsigned_abs() as usize];
    for event in events {
        let passed = &mut of_partitions[event.partition.unsigned_abs() as usize];
        // Windows end at whole multiples of their length; all that end at or before the watermark have been passed.
        let last_end = (event.time_ms - WATERMARK_MS as i64).div_euclid(WINDOW_MS) * WINDOW_MS;
        let mut window_ms = last_end - WINDOW_MS;
        while window_ms >= FIRST_MS - WINDOW_MS && !passed.contains_key(&window_ms) {
            passed.insert(window_ms, event.broker_ms);
            window_ms -= WINDOW_MS;
        }
    }
    let (first, others) = of_partitions.split_at(1);
    let last_of_all = |(window, moment): (&i64, &i64)| {
        let moments = others.iter().map(|passed| passed.get(window).copied());
        Some((*window, moments.collect::<Option<Vec<_>>>()?.into_iter().fold(*moment, i64::max)))
    };
    first.iter().flatten().filter_map(last_of_all).collect()
}

fn of(
    engine: &'static str,
    output: &'static str,
    found: &Found,
    expected: &Cells,
    passes: &BTreeMap<i64, i64>,
) -> anyhow::Result<Delays> {
    let counted = |cell: &Cell| cell.window_ms >= FIRST_MS + LEFT_OUT * WINDOW_MS;
    let mut ms = Vec::new();
    for (cell, readable_ms) in found.readable_ms.iter().filter(|(cell, _)| counted(cell)) {
        let passed_ms =
            passes.get(&cell.window_ms).context("a result of a window that hasn't been passed")?;
        ms.push(readable_ms - *passed_ms as f64);
    }
    ms.sort_by(f64::total_cmp);
    let windows: std::collections::BTreeSet<i64> =
        found.readable_ms.keys().filter(|cell| counted(cell)).map(|cell| cell.window_ms).collect();
    let lost = |in_windows: &dyn Fn(&Cell) -> bool| {
        let of = |cells: &Cells| -> u64 {
            cells.iter().filter(|(cell, _)| in_windows(cell)).map(|(_, total)| total.orders).sum()
        };
        of(expected).saturating_sub(of(&found.results))
    };
    let (lost, lost_in_all) = (lost(&counted), lost(&|_| true));
    if lost_in_all == 0 {
        cells::compare(&found.results, expected).with_context(|| format!("{engine}, {output}"))?;
    }
    Ok(Delays { engine, output, ms, windows: windows.len(), lost, lost_in_all })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1000;

    fn sent(partition: i32, time_ms: i64, broker_ms: i64) -> Sent {
        Sent { partition, time_ms: FIRST_MS + time_ms, broker_ms }
    }

    #[test]
    fn a_window_is_passed_when_the_last_partition_passes_it() {
        let events = [
            sent(0, 40 * SECOND, 1),
            sent(1, 39_999, 2),
            sent(1, 40 * SECOND, 3),
            // Late: the watermark doesn't fall.
            sent(1, 30 * SECOND, 4),
            sent(2, 100 * SECOND, 2),
        ];
        let passes = passes(&events);
        assert_eq!(passes.get(&FIRST_MS), Some(&3));
        assert_eq!(passes.get(&(FIRST_MS - WINDOW_MS)), Some(&2));
        assert_eq!(passes.get(&(FIRST_MS + WINDOW_MS)), None);
    }

    #[test]
    fn a_result_is_delayed_from_the_pass_to_its_reading_and_what_is_missing_is_lost() {
        let mut expected = Cells::new();
        let window_ms = FIRST_MS + LEFT_OUT * WINDOW_MS;
        let total = cells::Total { orders: 5, cents: 1 };
        let cell = |category, window_ms| Cell { window_ms, category };
        for cell in [cell(1, FIRST_MS), cell(1, window_ms), cell(2, window_ms)] {
            expected.insert(cell, total);
        }
        let mut found = Found::default();
        found.results.insert(cell(1, window_ms), total);
        found.readable_ms = [(cell(1, FIRST_MS), 9.0), (cell(1, window_ms), 107.5)].into();
        let passes = [(FIRST_MS, 1), (window_ms, 100)].into();
        let delays = of("engine", "topic", &found, &expected, &passes).unwrap();
        assert_eq!(delays.ms.iter().map(|ms| ms.to_bits()).collect::<Vec<_>>(), [7.5_f64.to_bits()]);
        assert_eq!((delays.windows, delays.lost, delays.lost_in_all), (1, 5, 10));
        found.results = expected.clone();
        found.results.insert(cell(1, window_ms), cells::Total { orders: 5, cents: 2 });
        assert!(of("engine", "topic", &found, &expected, &passes).is_err());
    }
}
