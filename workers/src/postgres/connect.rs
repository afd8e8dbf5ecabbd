//! A connection to a store.

use std::time::Duration;

use acequia_crds::pipeline::store::{Postgres, SslMode};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};

use super::fault::PostgresError;
use crate::secrets::SecretsFolder;

/// How long a connection may take to come up.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Opens a connection within [`CONNECT_DEADLINE`]; `application` is shown in `pg_stat_activity`.
///
/// The session speaks UTC and ISO dates whatever the server's settings are.
pub async fn connect(
    store: &Postgres,
    secrets: &SecretsFolder,
    application: &str,
) -> Result<PgConnection, PostgresError> {
    let at = || format!("{}:{}/{}", store.host, store.port, store.database);
    let credentials = secrets.credentials(&store.credentials_secret)?;
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&store.host)
        .port(store.port)
        .database(&store.database)
        .username(&credentials.username)
        .password(credentials.password.expose())
        .application_name(application)
        .ssl_mode(match store.ssl_mode {
            SslMode::Disable => PgSslMode::Disable,
            SslMode::Prefer => PgSslMode::Prefer,
            SslMode::Require => PgSslMode::Require,
            SslMode::VerifyCa => PgSslMode::VerifyCa,
            SslMode::VerifyFull => PgSslMode::VerifyFull,
        })
        .options([("timezone", "UTC"), ("datestyle", "ISO, YMD"), ("client_min_messages", "warning")])
        .disable_statement_logging();
    if let Some(authority) = &store.ca_secret {
        options = options.ssl_root_cert(secrets.file(&authority.name, &authority.key));
    }
    match tokio::time::timeout(CONNECT_DEADLINE, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(source)) => Err(PostgresError::connecting(at(), source)),
        Err(_) => {
            Err(PostgresError::Deadline { call: format!("connecting to {}", at()), after: CONNECT_DEADLINE })
        }
    }
}
