//! Watching an engine at work: when rows arrive, and what the processes spend on it.

use std::time::{Duration, Instant};

use acequia_tests::bench::usage::{cpu_seconds, family_cpu_seconds, memory_mib};
use acequia_tests::database::Database;
use anyhow::{Context as _, ensure};

use crate::job::{Engine, Job};

/// How often the server's log position is looked at: cheap, unlike counting rows while they arrive.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The log position moves by itself now and then, by less than this.
const NOISE_BYTES: i64 = 64 * 1024;
/// After so long without a move the rows are counted.
const QUIET: Duration = Duration::from_millis(1500);
/// How long one job may take.
const DEADLINE: Duration = Duration::from_secs(300);

/// What one job cost one engine.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Rows moved.
    pub rows: u64,
    /// From the first row to the last.
    pub seconds: f64,
    /// From the order to the first row.
    pub start_seconds: f64,
    /// Processor time of the engine, start included.
    pub engine_cpu: f64,
    /// Processor time of PostgreSQL, all its processes.
    pub postgres_cpu: f64,
    /// Processor time of the broker.
    pub broker_cpu: f64,
    /// The engine's largest resident memory so far.
    pub peak_mib: u64,
}

impl Cost {
    /// Rows per second, in thousands.
    pub fn thousands_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds / 1000.0
    }

    /// For a million rows.
    pub fn per_million(&self, cpu: f64) -> f64 {
        cpu / self.rows as f64 * 1e6
    }
}

/// Who watches: a connection as the superuser, and the servers' processes.
#[derive(Debug)]
pub struct Watch {
    /// The warehouse's database.
    pub database: Database,
    /// PostgreSQL's first process.
    pub postmaster: u32,
    /// The broker.
    pub broker: u32,
}

impl Watch {
    /// Has a job done by an engine, and checks what it leaves in the table.
    pub fn run(&mut self, engine: &mut dyn Engine, job: &Job) -> anyhow::Result<Cost> {
        job.create_table(&mut self.database);
        self.database.run("CHECKPOINT");
        let before = (
            engine.pid().map_or(Ok(0.0), cpu_seconds)?,
            family_cpu_seconds(self.postmaster)?,
            cpu_seconds(self.broker)?,
        );
        let ordered = Instant::now();
        engine.start(job)?;
        let (first, last, postgres_cpu) = self.wait_for_all_rows(engine, job)?;
        let pid = engine.pid().context("the engine has a process")?;
        let cost = Cost {
            rows: job.expected.rows,
            seconds: (last - first).as_secs_f64(),
            start_seconds: (first - ordered).as_secs_f64(),
            engine_cpu: cpu_seconds(pid)? - before.0,
            postgres_cpu: postgres_cpu - before.1,
            broker_cpu: cpu_seconds(self.broker)? - before.2,
            peak_mib: memory_mib(pid, "VmHWM:")?,
        };
        engine.stop()?;
        job.check(&mut self.database)?;
        Ok(cost)
    }

    /// Moments of the first and the last row, and PostgreSQL's processor time before it counted them.
    fn wait_for_all_rows(
        &mut self,
        engine: &mut dyn Engine,
        job: &Job,
    ) -> anyhow::Result<(Instant, Instant, f64)> {
        let started = Instant::now();
        let first = self.wait_for_rows(DEADLINE, || engine.check())?;
        let (mut last, mut seen) = (first, self.log_position());
        loop {
            std::thread::sleep(LOOK_EVERY);
            let position = self.log_position();
            if position - seen > NOISE_BYTES {
                (last, seen) = (Instant::now(), position);
            } else if last.elapsed() > QUIET {
                let cpu = family_cpu_seconds(self.postmaster)?;
                let rows = job.rows(&mut self.database);
                if rows >= job.expected.rows {
                    return Ok((first, last, cpu));
                }
                ensure!(started.elapsed() < DEADLINE, "{}: {rows} rows after {DEADLINE:?}", engine.name());
                engine.check()?;
                seen = position;
                last = Instant::now();
            }
        }
    }

    /// Waits until rows arrive.
    pub fn wait_for_rows(
        &mut self,
        deadline: Duration,
        mut check: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Instant> {
        let (started, before) = (Instant::now(), self.log_position());
        while self.log_position() - before <= NOISE_BYTES {
            ensure!(started.elapsed() < deadline, "no row within {deadline:?}");
            check()?;
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(Instant::now())
    }

    /// Waits until no row has arrived for a moment.
    pub fn wait_for_quiet(&mut self) {
        let (mut since, mut seen) = (Instant::now(), self.log_position());
        while since.elapsed() < QUIET {
            std::thread::sleep(LOOK_EVERY);
            let position = self.log_position();
            if position - seen > NOISE_BYTES {
                (since, seen) = (Instant::now(), position);
            }
        }
    }

    fn log_position(&mut self) -> i64 {
        self.database.number("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
    }
}
