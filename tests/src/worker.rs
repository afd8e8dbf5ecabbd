//! `acequia-worker`, run by a test itself.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use acequia_crds::pipeline::kafka::Kafka;
use acequia_crds::pipeline::sink::{Column, PostgresSink};
use acequia_crds::stage::{SinkTopic, SinkWork, StageConfig, Work};
use acequia_crds::stage_report::StageReport;

use crate::process::{Process, binary};
use crate::stack::Stack;
use crate::wait;

/// A stage that a test starts, kills and starts again, with a folder of its own.
#[derive(Clone, Debug)]
pub struct Stage {
    stack: Stack,
    role: &'static str,
    folder: PathBuf,
    config: StageConfig,
}

/// A sink.
#[derive(Clone, Debug)]
pub struct Sink(Stage);

/// A running worker of a sink.
#[derive(Debug)]
pub struct Worker {
    /// The process.
    pub process: Process,
    address_file: PathBuf,
}

impl Sink {
    /// A sink of these topics into the DWH. `name` tells its offsets and its group from others'.
    ///
    /// # Panics
    /// When its files can't be written.
    pub fn new(stack: &Stack, name: &str, topics: &[&str], postgres: PostgresSink) -> Self {
        let topics = topics.iter().map(|topic| SinkTopic { name: (*topic).to_owned(), captured: None });
        let work = SinkWork {
            group: format!("acequia.test.{name}"),
            topics: topics.collect(),
            store: stack.store("dwh_db"),
            postgres,
        };
        Self(Stage::new(stack, name, "consumer", "sink-dwh", Work::Sink(work)))
    }

    /// Identity of the Pipeline in `acequia_offsets`.
    pub fn pipeline(&self) -> &str {
        &self.0.config.pipeline
    }

    /// Starts a worker; see [`Stage::start`].
    pub fn start(&self, instance: &str, environment: &[(&str, &str)]) -> Worker {
        self.0.start(instance, environment)
    }
}

impl Stage {
    /// A stage of a Pipeline of this name, whose workers have this role.
    ///
    /// # Panics
    /// When its files can't be written.
    pub fn new(stack: &Stack, name: &str, role: &'static str, stage: &str, work: Work) -> Self {
        let folder = tempfile::Builder::new().prefix("acequia-test-").tempdir().expect("a folder").keep();
        let config = StageConfig {
            pipeline: format!("test/default/{name}"),
            stage: stage.to_owned(),
            kafka: Kafka { bootstrap_servers: stack.address("kafka:9092").to_owned(), tls: None, sasl: None },
            work,
        };
        let text = serde_yaml::to_string(&config).expect("a configuration");
        std::fs::write(folder.join("config.yaml"), text).expect("the configuration is written");
        Self { stack: stack.clone(), role, folder, config }
    }

    /// Starts a worker; `instance` is its fixed name in the group, `environment` is added.
    pub fn start(&self, instance: &str, environment: &[(&str, &str)]) -> Worker {
        let address_file = self.folder.join(format!("{instance}.address"));
        // Of an earlier worker; there may be none.
        let _ = std::fs::remove_file(&address_file);
        let mut command = Command::new(binary("acequia-worker"));
        command
            .args([self.role, "--instance", instance, "--listen", "127.0.0.1:0"])
            .arg("--config")
            .arg(self.folder.join("config.yaml"))
            .arg("--secrets")
            .arg(self.stack.secrets())
            .arg("--address-file")
            .arg(&address_file)
            .envs(environment.iter().copied());
        Worker {
            process: Process::start(&mut command, &self.folder.join(format!("{instance}.log"))),
            address_file,
        }
    }
}

impl Worker {
    /// What it says of itself; `None` when it doesn't answer.
    pub fn report(&self) -> Option<StageReport> {
        let address = std::fs::read_to_string(&self.address_file).ok()?;
        let text = http_get(&address, "/status")?;
        serde_json::from_str(&text).ok()
    }

    /// Waits until it has read everything.
    pub fn wait_for_no_lag(&self, deadline: Duration) -> StageReport {
        let reached =
            |report: &Option<StageReport>| report.as_ref().is_some_and(|report| report.lag == Some(0));
        wait::until("the stage has no lag", deadline, || self.report(), reached).expect("a report")
    }
}

/// A column of a sink, read from the field of its name.
pub fn column(name: &str, type_name: &str) -> Column {
    Column { name: name.to_owned(), type_name: type_name.to_owned(), value: None, optional: false }
}

/// A GET of a small local service; `None` when it doesn't answer with 200 within two seconds.
pub fn http_get(address: &str, path: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let timeout = Duration::from_secs(2);
    let mut stream = std::net::TcpStream::connect_timeout(&address.trim().parse().ok()?, timeout).ok()?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}
