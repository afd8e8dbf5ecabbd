//! `acequia-worker consumer` as an engine: a process for each job.

use acequia_crds::pipeline::sink::{Column, PostgresSink, WriteMode};
use acequia_tests::stack::{Stack, unique};
use acequia_tests::worker::{Sink, Worker};
use anyhow::{Context as _, bail, ensure};

use crate::job::{COLUMNS, Engine, Job, KEY};

/// Our engine.
#[derive(Debug)]
pub struct Ours {
    stack: Stack,
    worker: Option<Worker>,
}

impl Ours {
    /// An engine on these servers.
    pub fn new(stack: &Stack) -> Self {
        Self { stack: stack.clone(), worker: None }
    }

    /// A sink for a job; nobody has read its topic in this sink's name yet.
    pub fn sink(&self, job: &Job) -> Sink {
        let mirror = job.mode == WriteMode::Mirror;
        let column = |(name, type_name): &(&str, &str)| Column {
            name: (*name).to_owned(),
            type_name: (*type_name).to_owned(),
            value: None,
            optional: false,
        };
        let postgres = PostgresSink {
            table: Some(job.table.clone()),
            mode: job.mode,
            key: if mirror { vec![KEY.to_owned()] } else { Vec::new() },
            columns: COLUMNS.iter().map(column).collect(),
        };
        Sink::new(&self.stack, &unique("bench"), &[&job.topic], postgres)
    }
}

impl Engine for Ours {
    fn name(&self) -> &'static str {
        "Acequia"
    }

    fn pid(&self) -> Option<u32> {
        self.worker.as_ref().map(|worker| worker.process.id())
    }

    fn start(&mut self, job: &Job) -> anyhow::Result<()> {
        self.worker = Some(self.sink(job).start("0", &[]));
        Ok(())
    }

    fn check(&mut self) -> anyhow::Result<()> {
        let worker = self.worker.as_mut().context("no worker")?;
        if let Some(status) = worker.process.ended() {
            bail!("the worker ended with {status}: {}", worker.process.printed());
        }
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let mut worker = self.worker.take().context("no worker")?;
        let status = worker.process.stop();
        ensure!(status.success(), "the worker stopped with {status}: {}", worker.process.printed());
        Ok(())
    }
}
