//! The setup SQL of a store: run once, together with a note that it was.

use std::time::Duration;

use acequia_crds::stage_report::config_hash;

use crate::crash;
use crate::postgres::fault::PostgresError;
use crate::postgres::session::Session;

/// How long a setup may take, waiting for another generator's included.
const SETUP_DEADLINE: Duration = Duration::from_mins(10);
/// How long the small statements around it may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Held by whoever runs a setup in this database: "acequia" in ASCII.
const LOCK: i64 = 0x0061_6365_7175_6961;

/// What became of a setup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was run now.
    Run,
    /// This very text was run before.
    AlreadyRun,
    /// Another text was run before, at this time; the new one was not run.
    Changed {
        /// When, as PostgreSQL writes it.
        at: String,
    },
}

/// Runs `sql` unless `acequia_setup` says that this stage's setup was run in this database before. Both happen in
/// one transaction, so a crash at any moment leaves all of it or nothing.
///
/// The session is used up: a script may change its settings.
pub async fn run_once(
    mut session: Session,
    pipeline: &str,
    stage: &str,
    store: &str,
    sql: &str,
) -> Result<Outcome, PostgresError> {
    let call = |what: &str| format!("{what} before the setup SQL");
    session.script(&call("beginning a transaction"), "BEGIN".to_owned(), DEADLINE).await?;
    let lock = format!("SELECT ''::text FROM (SELECT pg_advisory_xact_lock({LOCK})) AS held");
    session.rows(&call("waiting for other setups"), lock, &[], SETUP_DEADLINE).await?;
    create_table(&mut session).await?;
    let hash = config_hash(sql);
    let identity = [pipeline, stage, store].map(|part| Some(part.to_owned()));
    let before = session
        .rows(
            &call("reading the table acequia_setup"),
            "SELECT hash, at::text FROM acequia_setup WHERE pipeline = $1 AND stage = $2 AND store = $3"
                .to_owned(),
            &identity,
            DEADLINE,
        )
        .await?;
    if let Some([before_hash, at]) = before.first().map(Vec::as_slice) {
        let outcome = if before_hash.as_deref() == Some(hash.as_str()) {
            Outcome::AlreadyRun
        } else {
            Outcome::Changed { at: at.clone().unwrap_or_default() }
        };
        session.close(DEADLINE).await;
        return Ok(outcome);
    }
    // First, because the script may set another search path.
    let [pipeline, stage, store] = identity;
    session
        .rows(
            &call("writing the table acequia_setup"),
            "INSERT INTO acequia_setup (pipeline, stage, store, hash) VALUES ($1, $2, $3, $4) RETURNING ''::text"
                .to_owned(),
            &[pipeline, stage, store, Some(hash)],
            DEADLINE,
        )
        .await?;
    session.script("running the setup SQL", sql.to_owned(), SETUP_DEADLINE).await?;
    crash::point("before the setup commits");
    session.script("committing the setup SQL", "COMMIT".to_owned(), SETUP_DEADLINE).await?;
    crash::point("after the setup has committed");
    session.close(DEADLINE).await;
    Ok(Outcome::Run)
}

async fn create_table(session: &mut Session) -> Result<(), PostgresError> {
    let call = "creating the table acequia_setup, which says what was run";
    let found = "SELECT to_regclass('acequia_setup')::text".to_owned();
    // Asked first, because `IF NOT EXISTS` wants the right to create tables even where there is nothing to create.
    let exists = session.rows(call, found, &[], DEADLINE).await?.first().is_some_and(|row| row != &[None]);
    if exists {
        return Ok(());
    }
    let table = "CREATE TABLE acequia_setup (pipeline text NOT NULL, stage text NOT NULL, \
                 store text NOT NULL, hash text NOT NULL, \
                 at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (pipeline, stage, store))";
    session.script(call, table.to_owned(), DEADLINE).await
}
