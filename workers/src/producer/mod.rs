//! The producer: generators that write rows into databases.
//!
//! [`plan`] decides a round as values, from random numbers, the time, and what is [`known`] of the rows that exist;
//! [`rounds`] carries it out. A generator never gives up on a database: it waits, says for what, and goes on by
//! itself.

mod catalogue;
mod expression;
mod fake;
mod fields;
mod known;
mod metrics;
mod pace;
mod plan;
mod refused;
mod rounds;
mod script;
mod setup;
mod source;
mod sql;
mod templates;
mod trouble;
mod value;
mod write;

use std::time::{Duration, Instant};

use acequia_crds::stage::{GeneratorWork, StageConfig, Work};
use backon::{BackoffBuilder, ExponentialBuilder};

use crate::command::InvalidConfig;
use crate::postgres::fault::PostgresError;
use crate::postgres::session::Session;
use crate::secrets::SecretsFolder;
use crate::service::Progress;
use crate::stop::Stop;
use refused::Refused;
use rounds::Generator;
use templates::Templates;

/// The first and the longest pause before a fault is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// Once it has worked this long, the next fault is a new one.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// Why a generator makes no rounds at the moment; it goes on by itself once the cause is gone.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error("store `{store}`: {source}{hint}")]
    Setup {
        store: String,
        #[source]
        source: PostgresError,
        hint: &'static str,
    },
    #[error("{0}")]
    Missing(String),
}

/// Runs a generator until it is asked to stop.
///
/// # Errors
/// The configuration can't be carried out, however often it is tried. Everything else is waited for.
pub async fn run(
    config: &StageConfig,
    secrets: &SecretsFolder,
    progress: &Progress,
    stop: &Stop,
) -> Result<(), InvalidConfig> {
    let Work::Generator(work) = &config.work else {
        return Err(InvalidConfig::OtherRole { path: config.stage.clone(), role: "producer" });
    };
    let templates = check(work)?;
    let mut generator = Generator::new(config, work, templates, secrets, progress);
    let mut setup_done = false;
    let mut pauses = backoff();
    loop {
        let began = Instant::now();
        let fault = match attempt(&mut generator, stop, &mut setup_done).await {
            Ok(()) => break,
            Err(fault) => fault,
        };
        if began.elapsed() > HEALTHY_AFTER {
            pauses = backoff();
        }
        progress.waiting(fault.to_string());
        if stop.within(pauses.next().unwrap_or(BACKOFF.1)).await {
            break;
        }
    }
    progress.stopping();
    Ok(())
}

fn backoff() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(BACKOFF.0)
        .with_max_delay(BACKOFF.1)
        .without_max_times()
        .build()
}

/// All that can be refused without asking a database.
fn check(work: &GeneratorWork) -> Result<Templates, Refused> {
    let path = format!("generators[{}].setup", work.generator.name);
    for (store, sql) in &work.setup {
        if !work.stores.contains_key(store) {
            return Err(Refused::new(
                path,
                format!(
                    "has the key `{store}.sql`, but there is no PostgreSQL store `{store}`; mend the key"
                ),
            ));
        }
        if let Some(found) = script::transaction_control(sql) {
            return Err(Refused::new(
                path,
                format!(
                    "has {} in line {} of `{store}.sql`; take it out: the script runs in a transaction of its own",
                    found.word, found.line
                ),
            ));
        }
    }
    Templates::compile(work)
}

/// Works until asked to stop, or until a fault.
async fn attempt(generator: &mut Generator<'_>, stop: &Stop, setup_done: &mut bool) -> Result<(), Fault> {
    let prepare = async {
        if !*setup_done {
            generator.set_up().await?;
            *setup_done = true;
        }
        generator.connect().await
    };
    // A setup that is cut off leaves nothing behind: its transaction ends with the connection.
    tokio::select! {
        biased;
        () = stop.requested() => return Ok(()),
        prepared = prepare => prepared?,
    }
    generator.make_rounds(stop).await
}

async fn open(
    config: &StageConfig,
    work: &GeneratorWork,
    secrets: &SecretsFolder,
    store: &str,
) -> Result<Session, Fault> {
    let Some(postgres) = work.stores.get(store) else {
        return Err(Fault::Missing(format!("there is no PostgreSQL store `{store}`")));
    };
    Ok(Session::open(postgres, secrets, &format!("acequia {}/{}", config.pipeline, config.stage)).await?)
}
