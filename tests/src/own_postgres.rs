//! A PostgreSQL server of one test alone: it may be stopped and misconfigured without disturbing other tests.

use std::path::PathBuf;
use std::process::Command;

use crate::database::Database;
use crate::stack::{Stack, root};

/// The stack's own port of PostgreSQL, without an offset; see `tests/stack/ports.env`.
const POSTGRES_PORT: u16 = 25432;
/// The ports of this server lie so far from the stack's.
const APART: u16 = 37;

/// The server; its data are deleted when it is dropped, unless the test fails.
#[derive(Debug)]
pub struct OwnPostgres {
    folder: PathBuf,
    port_offset: u16,
}

impl OwnPostgres {
    /// A new server beside those of `stack`, with the same roles and databases and with passwords of its own.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn start(stack: &Stack) -> Self {
        let (_, port) = stack.address("postgres:5432").split_once(':').expect("host:port");
        let port: u16 = port.parse().expect("a port");
        let mut folder = stack.folder().as_os_str().to_owned();
        folder.push("-postgres");
        let server = Self { folder: folder.into(), port_offset: port - POSTGRES_PORT + APART };
        // Of a test that failed.
        server.script("down", &["--delete"]);
        server.bring_up();
        server
    }

    /// Where it listens on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        POSTGRES_PORT + self.port_offset
    }

    /// The content of one of its secrets, for example `instashop-db` and `password`.
    ///
    /// # Panics
    /// When there is none.
    pub fn secret(&self, name: &str, key: &str) -> String {
        let path = self.folder.join("secrets").join(name).join(key);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A connection as the owner of `database`.
    pub fn open(&self, database: &str) -> Database {
        let secret = if database == "dwh_db" { "dwh-db" } else { "instashop-db" };
        let login = (self.secret(secret, "username"), self.secret(secret, "password"));
        Database::connect("127.0.0.1", self.port(), database, &login.0, &login.1)
    }

    /// A connection as the superuser.
    ///
    /// # Panics
    /// When the server doesn't answer.
    pub fn open_as_superuser(&self) -> Database {
        let logins = std::fs::read_to_string(self.folder.join("pgpass")).expect("the server's logins");
        let password =
            logins.lines().find_map(|line| line.split_once(":postgres:")).expect("the superuser's login").1;
        Database::connect("127.0.0.1", self.port(), "postgres", "postgres", password)
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&self) {
        self.script("kill", &["postgres"]);
    }

    /// Brings it back with its data.
    pub fn bring_up(&self) {
        self.script("up", &["postgres"]);
    }

    /// Stops it gracefully and brings it back.
    pub fn restart(&self) {
        self.script("restart", &["postgres"]);
    }

    fn script(&self, script: &str, arguments: &[&str]) {
        let path = root().join("tests/stack").join(script);
        let output = Command::new(&path)
            .args(arguments)
            .env("ACEQUIA_STACK_DIR", &self.folder)
            .env("ACEQUIA_PORT_OFFSET", self.port_offset.to_string())
            .output()
            .expect("the stack's script runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {errors}", path.display());
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("logs of the test's own PostgreSQL: {}", self.folder.join("logs").display());
            // Its data stay to be looked at; a second failure would hide the first.
            let stop = root().join("tests/stack/down");
            let _ = Command::new(stop)
                .env("ACEQUIA_STACK_DIR", &self.folder)
                .env_remove("ACEQUIA_PORT_OFFSET")
                .output();
        } else {
            self.script("down", &["--delete"]);
        }
    }
}
