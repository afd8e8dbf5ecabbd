//! Aggregation in windows: `acequia-worker aggregator` beside Kafka Streams, in one run, on the same servers and the
//! same topic. Run by `make bench-aggregations`, which brings the servers up.
//!
//! Both count and add up the same events by category in windows of 30 s, in turn. Each run's results are compared with
//! a recomputation, to the cent, before its figures are believed. The first round warms up and isn't counted.

mod cells;
mod delay;
mod engine;
mod input;
mod measure;
mod ours;
mod peer;
mod readers;
mod redis;
mod report;
mod topics;

use acequia_tests::bench::usage::load;
use acequia_tests::stack::Stack;
use anyhow::{Context as _, bail, ensure};

use delay::Delays;
use engine::{Engine, Order};
use input::Input;
use measure::{Cost, Watch};
use ours::{Emitted, Ours};
use peer::Peer;
use report::Line;

const USAGE: &str = "bench-aggregations [--events N] [--runs N] [--calm-seconds N] [--engines acequia,kafka-streams] [--emit close|1s]";

/// What is measured how often.
#[derive(Clone, Copy, Debug)]
struct Size {
    events: u64,
    runs: usize,
    calm_seconds: u64,
    ours: bool,
    peer: bool,
    emitted: Emitted,
}

/// One way for an engine to do it.
struct Way<'a> {
    output: &'static str,
    pinned: bool,
    engine: &'a std::cell::RefCell<dyn Engine>,
}

fn main() -> anyhow::Result<()> {
    let size = size(std::env::args().skip(1))?;
    let stack = Stack::brought_up();
    let mut watch = Watch::new(&stack)?;
    let input = Input::fill(&stack, size.events)?;
    let ours = size.ours.then(|| Ours::new(&stack, size.emitted)).transpose()?.map(std::cell::RefCell::new);
    let peer = size.peer.then(|| Peer::new(&stack)).transpose()?.map(std::cell::RefCell::new);
    let mut ways = Vec::new();
    if let Some(engine) = &ours {
        for (output, pinned) in [("topic", false), ("topic", true), ("Redis", false)] {
            ways.push(Way { output, pinned, engine });
        }
    }
    if let Some(engine) = &peer {
        ways.push(Way { output: "topic", pinned: false, engine });
    }
    let lines = catch_up(&mut watch, &input, &ways, size.runs)?;
    let mut delays = Vec::new();
    if size.calm_seconds > 0 {
        if let Some(engine) = &ours {
            let order = delay::order().into_topic().into_redis();
            let ours = calm(&stack, &mut watch, &mut *engine.borrow_mut(), &order, size.calm_seconds)?;
            for one in &ours {
                ensure!(one.lost_in_all == 0, "{} events are in no result ({})", one.lost_in_all, one.output);
            }
            delays.extend(ours);
        }
        if let Some(engine) = &peer {
            let order = delay::order().into_topic();
            delays.extend(calm(&stack, &mut watch, &mut *engine.borrow_mut(), &order, size.calm_seconds)?);
        }
    }
    report::print(&lines, &delays);
    Ok(())
}

/// Has every way take its turn, round after round.
fn catch_up(watch: &mut Watch, input: &Input, ways: &[Way<'_>], runs: usize) -> anyhow::Result<Vec<Line>> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let line = |way: &Way<'_>| Line {
        engine: way.engine.borrow().name(),
        output: way.output,
        cores: if way.pinned { 1 } else { cores },
        costs: Vec::new(),
    };
    let mut lines: Vec<Line> = ways.iter().map(line).collect();
    for round in 0..=runs {
        for (way, line) in ways.iter().zip(&mut lines) {
            let order = Order { pinned: way.pinned, ..Order::new(&input.topic) };
            let order = if way.output == "Redis" { order.into_redis() } else { order.into_topic() };
            let cost = watch
                .run(&mut *way.engine.borrow_mut(), input, &order)
                .with_context(|| format!("{}, {}, {} core(s)", line.engine, line.output, line.cores))?;
            tell(line, round, &cost);
            if round > 0 {
                line.costs.push(cost);
            }
        }
    }
    Ok(lines)
}

fn tell(line: &Line, round: usize, cost: &Cost) {
    let round = if round == 0 { "warm-up".to_owned() } else { format!("run {round}") };
    eprintln!(
        "{}, {}, {} core(s), {round}: {:.0} k records/s; CPU s: engine {:.1}, broker {:.1}, Redis {:.1}; first commit after {:.2} s; {} MiB; load {}",
        line.engine,
        line.output,
        line.cores,
        cost.thousands_per_second(),
        cost.engine_cpu,
        cost.broker_cpu,
        cost.redis_cpu,
        cost.start_seconds,
        cost.peak_mib,
        load()
    );
}

fn calm(
    stack: &Stack,
    watch: &mut Watch,
    engine: &mut dyn Engine,
    order: &Order,
    seconds: u64,
) -> anyhow::Result<Vec<Delays>> {
    let delays = delay::measure(stack, engine, order, seconds)
        .with_context(|| format!("{}, at a calm rate", engine.name()))?;
    watch.remove(order)?;
    Ok(delays)
}

fn size(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Size> {
    let mut size = Size {
        events: 3_000_000,
        runs: 3,
        calm_seconds: 120,
        ours: true,
        peer: true,
        emitted: Emitted::OnClose,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a value; {USAGE}"))?;
        let number = || -> anyhow::Result<u64> {
            value.parse().with_context(|| format!("{name} is a number, not `{value}`"))
        };
        match name.as_str() {
            "--events" => size.events = number()?,
            "--runs" => size.runs = usize::try_from(number()?)?,
            "--calm-seconds" => size.calm_seconds = number()?,
            "--engines" => {
                size.ours = value.split(',').any(|engine| engine == "acequia");
                size.peer = value.split(',').any(|engine| engine == "kafka-streams");
            }
            "--emit" if value == "close" => size.emitted = Emitted::OnClose,
            "--emit" if value == "1s" => size.emitted = Emitted::EverySecond,
            _ => bail!("unknown option {name} {value}; {USAGE}"),
        }
    }
    ensure!(size.events > 0 && size.runs > 0, "--events and --runs are at least 1");
    ensure!(size.ours || size.peer, "--engines names acequia, kafka-streams, or both");
    Ok(size)
}
