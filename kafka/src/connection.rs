//! Where a Kafka cluster is and how to log in.

use std::fmt;
use std::path::PathBuf;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::secret::{Redactor, Secret};

/// A Kafka cluster as this process reaches it.
#[derive(Clone)]
pub struct Connection {
    /// Comma-separated `host:port` addresses to start from.
    pub bootstrap_servers: String,
    /// Encrypts the connection. `None`: plain text.
    pub tls: Option<TlsFiles>,
    /// Logs in. `None`: no login.
    pub sasl: Option<Login>,
}

/// Files for an encrypted connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authority in PEM. `None`: the system's authorities.
    pub ca_file: Option<PathBuf>,
}

/// A login by name and password.
#[derive(Clone)]
pub struct Login {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

impl Connection {
    /// A connection in plain text and without login.
    pub fn plaintext(bootstrap_servers: impl Into<String>) -> Self {
        Self { bootstrap_servers: bootstrap_servers.into(), tls: None, sasl: None }
    }

    /// The settings every client of this cluster starts from.
    ///
    /// `client_id` is what the broker's logs and quotas know the client by.
    pub fn client_config(&self, client_id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", client_id)
            .set("security.protocol", self.security_protocol())
            // A broker that comes back is found within a second, not ten.
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.connection.setup.timeout.ms", "10000")
            .set("socket.keepalive.enable", "true")
            .set_log_level(RDKafkaLogLevel::Info);
        if let Some(ca_file) = self.tls.as_ref().and_then(|tls| tls.ca_file.as_ref()) {
            config.set("ssl.ca.location", ca_file.to_string_lossy());
        }
        if let Some(login) = &self.sasl {
            config
                .set("sasl.mechanism", &login.mechanism)
                .set("sasl.username", &login.username)
                .set("sasl.password", login.password.expose());
        }
        config
    }

    fn security_protocol(&self) -> &'static str {
        match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), None) => "ssl",
            (Some(_), Some(_)) => "sasl_ssl",
        }
    }

    pub(crate) fn redactor(&self) -> Redactor {
        Redactor::new(self.sasl.as_ref().map(|login| login.password.clone()))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("tls", &self.tls)
            .field("user", &self.sasl.as_ref().map(|login| &login.username))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_login() -> Connection {
        let login = Login {
            mechanism: "SCRAM-SHA-512".into(),
            username: "app".into(),
            password: Secret::new("hunter2"),
        };
        Connection { sasl: Some(login), ..Connection::plaintext("kafka:9092") }
    }

    #[test]
    fn the_protocol_follows_from_tls_and_login() {
        let tls = Some(TlsFiles { ca_file: Some("/tls/ca.crt".into()) });
        let encrypted = Connection { tls: tls.clone(), ..Connection::plaintext("kafka:9092") };
        let both = Connection { tls, ..with_login() };
        let protocol = |c: &Connection| c.client_config("test").get("security.protocol").map(str::to_owned);
        assert_eq!(protocol(&Connection::plaintext("kafka:9092")).as_deref(), Some("plaintext"));
        assert_eq!(protocol(&with_login()).as_deref(), Some("sasl_plaintext"));
        assert_eq!(protocol(&encrypted).as_deref(), Some("ssl"));
        assert_eq!(protocol(&both).as_deref(), Some("sasl_ssl"));
        assert_eq!(both.client_config("test").get("ssl.ca.location"), Some("/tls/ca.crt"));
    }

    #[test]
    fn what_is_printed_of_a_connection_or_its_settings_has_no_password() {
        let connection = with_login();
        let printed = format!("{connection:?} {:?}", connection.client_config("test"));
        assert!(printed.contains("app"), "{printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
