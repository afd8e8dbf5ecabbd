//! Kafka Streams as an engine: `tests/bench/kafka-streams` in one JVM for all orders, so that it is warm.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use acequia_tests::stack::Stack;
use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::engine::{Engine, Order};
use crate::ours::WATERMARK_MS;

/// Grace in a catch-up. Its stream time is the greatest of partitions that it reads unevenly: what the others still
/// hold is late by as much as all the events span, and with our 10 s it was seen to drop half of them.
const CATCH_UP_GRACE_MS: u64 = 3_600_000;
/// It looks for windows that have closed with each event, instead of once a second: its results come sooner, and the
/// last ones come at all, although no event comes after those that end them.
const CLOSE_EVERY: &str = "__emit.interval.ms.kstreams.windowed.aggregation__=0";
const ANSWER_DEADLINE: Duration = Duration::from_secs(90);
const END_DEADLINE: Duration = Duration::from_secs(90);

/// Kafka Streams.
#[derive(Debug)]
pub struct Peer {
    process: Child,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    failed: Option<String>,
    // Windows on disk and its log.
    folder: TempDir,
}

impl Peer {
    /// Starts the JVM. Class path, options and further settings come from the environment: see `tests/bench/aggregations`.
    pub fn new(stack: &Stack) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("acequia-bench-").tempdir()?;
        let class_path = std::env::var("ACEQUIA_PEER_CLASS_PATH").context(
            "ACEQUIA_PEER_CLASS_PATH isn't set; start the benchmark by `tests/bench/aggregations`",
        )?;
        let options = std::env::var("ACEQUIA_PEER_JAVA").unwrap_or_default();
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut process = Command::new("java")
            .args(options.split_whitespace())
            .args(["-cp", &class_path, "Main", stack.address("kafka:9092")])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("java can't be started")?;
        let orders = process.stdin.take();
        let (sender, answers) = channel();
        let lines = BufReader::new(process.stdout.take().context("no output")?).lines();
        std::thread::spawn(move || pass_on(lines.map_while(Result::ok), &sender));
        Ok(Self { process, orders, answers, failed: None, folder })
    }

    fn order(&mut self, line: &str, answer: &str) -> anyhow::Result<()> {
        let orders = self.orders.as_mut().context("the JVM takes no more orders")?;
        writeln!(orders, "{line}").context("the JVM has ended")?;
        match self.answers.recv_timeout(ANSWER_DEADLINE) {
            Ok(said) if said == answer => Ok(()),
            Ok(said) => bail!("Kafka Streams {said}"),
            Err(RecvTimeoutError::Timeout) => bail!("Kafka Streams didn't answer `{line}`"),
            Err(RecvTimeoutError::Disconnected) => bail!("the JVM has ended: {}", self.log()),
        }
    }

    fn log(&self) -> String {
        let path: &Path = &self.folder.path().join("log");
        std::fs::read_to_string(path).unwrap_or_default()
    }
}

/// Lines that answer an order; the others are the log's.
fn pass_on(lines: impl Iterator<Item = String>, answers: &Sender<String>) {
    for line in lines {
        match line.strip_prefix("peer: ") {
            Some(answer) => {
                if answers.send(answer.to_owned()).is_err() {
                    return;
                }
            }
            None => eprintln!("Kafka Streams: {line}"),
        }
    }
}

impl Engine for Peer {
    fn name(&self) -> &'static str {
        "Kafka Streams"
    }

    fn pid(&self) -> Option<u32> {
        Some(self.process.id())
    }

    fn start(&mut self, order: &Order) -> anyhow::Result<()> {
        let to = order.topic.as_ref().context("it writes to topics only")?;
        ensure!(!order.pinned, "it is measured on all cores only");
        let (grace_ms, emit) =
            if order.calm { (WATERMARK_MS, "close") } else { (CATCH_UP_GRACE_MS, "update") };
        let more = std::env::var("ACEQUIA_PEER_SETTINGS").unwrap_or_default();
        let line = format!(
            "start application={} from={} to={to} grace_ms={grace_ms} emit={emit} store=memory {CLOSE_EVERY} {more}",
            order.application, order.from
        );
        self.order(line.trim(), "started")
    }

    fn check(&mut self) -> anyhow::Result<()> {
        if let Ok(said) = self.answers.try_recv() {
            self.failed = Some(said);
        }
        match &self.failed {
            Some(said) => bail!("Kafka Streams {said}"),
            None => Ok(()),
        }
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        self.order("stop", "stopped")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends with its orders.
        self.orders = None;
        let started = Instant::now();
        while started.elapsed() < END_DEADLINE {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
