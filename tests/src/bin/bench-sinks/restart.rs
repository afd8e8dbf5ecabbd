//! How soon a worker is at work again, and what it takes while there is nothing to do.

use std::time::{Duration, Instant};

use acequia_tests::bench::usage::memory_mib;
use acequia_tests::worker::Worker;

use crate::job::Job;
use crate::measure::Watch;
use crate::ours::Ours;

const DEADLINE: Duration = Duration::from_secs(60);
/// How long an idle worker is left alone before it is looked at.
const SETTLE: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Restart {
    /// From the start of the process to the first row, after the one before was asked to stop.
    pub after_stop_seconds: f64,
    /// The same after `kill -9`.
    pub after_kill_seconds: f64,
    /// Resident memory of a worker that was started with nothing to read.
    pub idle_mib: u64,
}

/// Stops and kills a worker in the middle of a job, lets it finish, and looks at one that has nothing to do.
pub fn measure(watch: &mut Watch, ours: &Ours, job: &Job) -> anyhow::Result<Restart> {
    job.create_table(&mut watch.database);
    let sink = ours.sink(job);
    let start = || sink.start("0", &[]);
    let mut worker = start();
    watch.wait_for_rows(DEADLINE, || Ok(()))?;
    worker.process.stop();
    let mut worker = first_row(watch, &start)?;
    let after_stop_seconds = worker.1;
    worker.0.process.kill();
    let mut worker = first_row(watch, &start)?;
    let after_kill_seconds = worker.1;
    worker.0.wait_for_no_lag(DEADLINE);
    worker.0.process.stop();
    job.check(&mut watch.database)?;
    let mut idle = start();
    idle.wait_for_no_lag(DEADLINE);
    std::thread::sleep(SETTLE);
    let idle_mib = memory_mib(idle.process.id(), "VmRSS:")?;
    idle.process.stop();
    Ok(Restart { after_stop_seconds, after_kill_seconds, idle_mib })
}

fn first_row(watch: &mut Watch, start: &impl Fn() -> Worker) -> anyhow::Result<(Worker, f64)> {
    watch.wait_for_quiet();
    let started = Instant::now();
    let worker = start();
    let first = watch.wait_for_rows(DEADLINE, || Ok(()))?;
    Ok((worker, (first - started).as_secs_f64()))
}
