//! A worker as a child process, and a database of its own, for tests against a real PostgreSQL.
//!
//! `ACEQUIA_TEST_POSTGRES` names the server: `postgres://user:password@host:port/database`, a user who may create
//! databases. Without it these tests do nothing.

// Each test binary uses its own part of this, and all of it is for tests.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use acequia_crds::stage_report::StageReport;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use tempfile::TempDir;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// The server that the environment names; without one the test has nothing to do.
pub fn server() -> Option<PgConnectOptions> {
    let Ok(url) = std::env::var("ACEQUIA_TEST_POSTGRES") else {
        eprintln!("skipped: ACEQUIA_TEST_POSTGRES isn't set");
        return None;
    };
    Some(url.parse::<PgConnectOptions>().unwrap().disable_statement_logging())
}

/// The password in the environment's address.
pub fn password() -> String {
    let url = std::env::var("ACEQUIA_TEST_POSTGRES").unwrap();
    url.split_once("://").and_then(|(_, rest)| rest.split('@').next()?.split_once(':')).unwrap().1.to_owned()
}

/// A new database.
pub struct Database {
    server: PgConnectOptions,
    pub name: String,
}

impl Database {
    pub async fn create(server: &PgConnectOptions, name: &str) -> Self {
        let name = format!("acequia_{name}_{}", std::process::id());
        let mut admin = server.connect().await.unwrap();
        execute(&mut admin, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        execute(&mut admin, &format!("CREATE DATABASE {name}")).await;
        Self { server: server.clone(), name }
    }

    pub async fn connect(&self) -> PgConnection {
        self.server.clone().database(&self.name).connect().await.unwrap()
    }

    pub async fn drop(self) {
        let mut admin = self.server.connect().await.unwrap();
        execute(&mut admin, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    /// As an entry of a worker's `stores`.
    pub fn store(&self) -> String {
        let (host, port) = (self.server.get_host(), self.server.get_port());
        format!("{{host: \"{host}\", port: {port}, database: {}, credentialsSecret: db}}", self.name)
    }
}

pub async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

pub async fn number(connection: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT ({sql})::bigint"))).fetch_one(connection).await.unwrap()
}

/// The files of a worker; they stay while it is started again and again.
pub struct Files {
    folder: TempDir,
}

impl Files {
    pub fn new(config: &str, server: &PgConnectOptions, password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("secrets/db")).unwrap();
        let files = Self { folder };
        files.write("secrets/db/username", server.get_username());
        files.write("secrets/db/password", password);
        files.write("config.yaml", config);
        files
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn command(&self, role: &str) -> Command {
        let at = |name: &str| self.folder.path().join(name);
        let log = std::fs::File::options().create(true).append(true).open(at("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_acequia-worker"));
        command.arg(role).arg("--config").arg(at("config.yaml")).arg("--secrets").arg(at("secrets"));
        command.arg("--address-file").arg(at("address")).arg("--termination-message").arg(at("termination"));
        command.arg("--stop-with-stdin").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        command
    }

    /// Starts a worker in the background.
    pub fn start(&self, role: &str, environment: &[(&str, &str)]) -> Worker {
        let _ = std::fs::remove_file(self.folder.path().join("address"));
        let child = self.command(role).envs(environment.iter().copied()).spawn().unwrap();
        Worker { child, address_file: self.folder.path().join("address") }
    }

    /// Runs a worker to its end; returns its exit code and what it printed.
    pub fn run(&self, role: &str) -> (Option<i32>, String) {
        let mut child = self.start(role, &[]);
        let code = child.exit_code();
        let mut printed = String::new();
        child.child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        (code, printed)
    }
}

/// A worker that runs; it is killed when the test ends before it does.
pub struct Worker {
    child: Child,
    address_file: std::path::PathBuf,
}

impl Worker {
    /// Waits until the report is as wanted, and returns it.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&StageReport) -> bool) -> StageReport {
        let until = Instant::now() + DEADLINE;
        loop {
            let report = self.report();
            match report {
                Some(report) if wanted(&report) => return report,
                _ if Instant::now() > until => panic!("not {what} within {DEADLINE:?}: {report:?}"),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    pub fn report(&self) -> Option<StageReport> {
        let body = self.get("/status")?;
        Some(serde_json::from_str(&body).unwrap())
    }

    pub fn get(&self, path: &str) -> Option<String> {
        let address = std::fs::read_to_string(&self.address_file).ok()?;
        let mut stream = TcpStream::connect(address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: worker\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// Asks it to stop, as `acequia run` does, and returns its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        self.exit_code()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn exit_code(&mut self) -> Option<i32> {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "still running after {DEADLINE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
