//! Rows per second Kafka → PostgreSQL: `acequia-worker` beside Debezium's JDBC sink, in one run, on the same servers
//! and the same topics. Run by `make bench-sinks`, which brings the servers up.
//!
//! Both engines fill tables of the same shape from the same bytes, in turn. What they left is compared before any
//! figure is believed. The first round warms up and isn't counted.

mod job;
mod measure;
mod ours;
mod peer;
mod report;
mod restart;

use acequia_crds::pipeline::sink::WriteMode;
use acequia_tests::bench::events::{self, Shape};
use acequia_tests::bench::usage::{load, server_pid};
use acequia_tests::database::Database;
use acequia_tests::stack::{Stack, unique};
use anyhow::{Context as _, bail, ensure};

use job::{Engine, Job};
use measure::{Cost, Watch};
use ours::Ours;
use peer::Peer;
use report::Line;

const USAGE: &str = "bench-sinks [--events N] [--changes N] [--runs N]";

/// How much is moved how often.
#[derive(Clone, Copy, Debug)]
struct Size {
    events: u64,
    changes: u64,
    runs: usize,
}

fn main() -> anyhow::Result<()> {
    let size = size(std::env::args().skip(1))?;
    let stack = Stack::brought_up();
    let mut watch = Watch {
        database: superuser(&stack)?,
        postmaster: server_pid("postgres")?,
        broker: server_pid("kafka")?,
    };
    let (mut ours, mut peer) = (Ours::new(&stack), Peer::new(&stack, server_pid("connect")?));
    let append = job(&stack, WriteMode::Append, size.events)?;
    let mirror = job(&stack, WriteMode::Mirror, size.changes)?;
    let mut lines = Vec::new();
    for (job, path) in [(&append, "append"), (&mirror, "mirror (upsert)")] {
        lines.extend(both(&mut watch, &mut ours, &mut peer, job, path, size.runs)?);
    }
    let restart = restart::measure(&mut watch, &ours, &append)?;
    append.drop_table(&mut watch.database);
    report::print(&lines, &restart, &mut watch);
    Ok(())
}

/// Lets both engines do a job, in turn.
fn both(
    watch: &mut Watch,
    ours: &mut Ours,
    peer: &mut Peer,
    job: &Job,
    path: &'static str,
    runs: usize,
) -> anyhow::Result<[Line; 2]> {
    let mut lines = [ours.name(), peer.name()].map(|engine| Line { path, engine, costs: Vec::new() });
    let mut fingerprints = Vec::new();
    for round in 0..=runs {
        let engines: [&mut dyn Engine; 2] = [ours, peer];
        for (engine, line) in engines.into_iter().zip(&mut lines) {
            let cost = watch.run(engine, job).with_context(|| format!("{}, {path}", line.engine))?;
            tell(path, line.engine, round, &cost);
            if round == 0 {
                fingerprints.push(job.fingerprint(&mut watch.database));
            } else {
                line.costs.push(cost);
            }
            job.drop_table(&mut watch.database);
        }
        ensure!(fingerprints.first() == fingerprints.last(), "{path}: the engines left different rows");
    }
    Ok(lines)
}

fn tell(path: &str, engine: &str, round: usize, cost: &Cost) {
    let round = if round == 0 { "warm-up".to_owned() } else { format!("run {round}") };
    eprintln!(
        "{path}, {engine}, {round}: {:.0} k rows/s; CPU s: engine {:.1}, PostgreSQL {:.1}, broker {:.1}; first row after {:.2} s; {} MiB; load {}",
        cost.thousands_per_second(),
        cost.engine_cpu,
        cost.postgres_cpu,
        cost.broker_cpu,
        cost.start_seconds,
        cost.peak_mib,
        load()
    );
}

/// A job with its topic filled.
fn job(stack: &Stack, mode: WriteMode, count: u64) -> anyhow::Result<Job> {
    let name = unique("bench");
    let shape = if mode == WriteMode::Mirror { Shape::Change } else { Shape::Event };
    let filled = events::fill(stack, &name, shape, count, |_| ())?;
    eprintln!(
        "topic {name}: {count} records of {} bytes on average, {} partitions",
        filled.value_bytes,
        events::PARTITIONS
    );
    Ok(Job { mode, topic: name.clone(), table: name, expected: filled.sum })
}

fn size(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Size> {
    let mut size = Size { events: 3_000_000, changes: 1_000_000, runs: 3 };
    while let Some(name) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{name} needs a number; {USAGE}"))?;
        let number: u64 = value.parse().with_context(|| format!("{name} is a number, not `{value}`"))?;
        ensure!(number > 0, "{name} is at least 1");
        match name.as_str() {
            "--events" => size.events = number,
            "--changes" => size.changes = number,
            "--runs" => size.runs = usize::try_from(number)?,
            _ => bail!("unknown option {name}; {USAGE}"),
        }
    }
    Ok(size)
}

/// Who may look at the server's log position and ask for checkpoints.
fn superuser(stack: &Stack) -> anyhow::Result<Database> {
    let passwords = std::fs::read_to_string(stack.pgpass())?;
    let password = passwords
        .lines()
        .find_map(|line| line.split_once(":postgres:"))
        .context("pgpass has no superuser")?
        .1;
    let (host, port) = stack.address("postgres:5432").split_once(':').context("host:port")?;
    Ok(Database::connect(host, port.parse()?, "dwh_db", "postgres", password))
}
