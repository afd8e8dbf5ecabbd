//! The Kafka cluster of a manifest, with the login from its secret.

use acequia_crds::pipeline::kafka::Kafka;
use acequia_kafka::connection::{Connection, Login, TlsFiles};

use crate::secrets::{SecretMissing, SecretsFolder};

/// The cluster of a manifest with the login from its secret.
pub fn connection(kafka: &Kafka, secrets: &SecretsFolder) -> Result<Connection, SecretMissing> {
    let tls = kafka.tls.as_ref().map(|tls| TlsFiles {
        ca_file: tls.ca_secret.as_ref().map(|authority| secrets.file(&authority.name, &authority.key)),
    });
    let sasl = match &kafka.sasl {
        None => None,
        Some(sasl) => {
            let credentials = secrets.credentials(&sasl.credentials_secret)?;
            Some(Login {
                mechanism: sasl.mechanism.as_str().to_owned(),
                username: credentials.username,
                password: credentials.password,
            })
        }
    };
    Ok(Connection { bootstrap_servers: kafka.bootstrap_servers.clone(), tls, sasl })
}
