//! The task of one output: writes what it is sent until it succeeds, and watches whether it is still there.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::redis::RedisFault;
use super::{Row, Target, postgres, redis};
use crate::crash;
use crate::postgres::fault::PostgresError;
use crate::secrets::SecretsFolder;
use crate::stop::Stop;

/// Pauses between tries.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the store is asked whether it still has what was written.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Rows to write. A batch that is written twice changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// What [`OutputEvent::Written`] will say.
    pub number: u64,
    /// The rows, in any order.
    pub rows: Vec<Row>,
}

/// What an output says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputEvent {
    /// Every row of this batch is in the store, or something newer is.
    Written {
        /// The batch's.
        number: u64,
    },
    /// The store has lost what was in it: all rows that should be there must be written again. Said once each time.
    ///
    /// It is noticed while the task runs, or when it finds neither table nor sentinel at its start. What another
    /// worker has noticed before that isn't told: whoever takes over groups writes all their rows.
    Emptied,
    /// The store can't be written; it is tried again and again. Said when the sentence is another one.
    Failing {
        /// What, where, why and what to do, in one sentence.
        error: String,
    },
    /// It works: for the first time, or again.
    Working,
}

/// The ends of a task. The task ends when `batches` is dropped.
#[derive(Debug)]
pub struct OutputHandle {
    /// Takes one batch beside the one that is being written.
    pub batches: mpsc::Sender<Batch>,
    /// What it says of itself.
    pub events: crossbeam_channel::Receiver<OutputEvent>,
}

/// Why an output can't be written at the moment.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error(transparent)]
    Redis(#[from] RedisFault),
    #[error(
        "table {table} exists with another shape: {difference}; drop or rename it, or name another table"
    )]
    OtherShape { table: String, difference: String },
}

/// What a look at a store found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Another one than before: the store has lost what was in it.
    pub mark: String,
    /// There was nothing.
    pub is_new: bool,
}

/// Starts the task of an output, on the runtime of the caller. `identity` is that of the Pipeline and of the stage.
///
/// When a stop is asked for, the task gives up at once, in the middle of a batch too: state is in Kafka.
pub fn spawn(target: Target, identity: (String, String), secrets: SecretsFolder, stop: Stop) -> OutputHandle {
    let (batches, sent) = mpsc::channel(1);
    let (told, events) = crossbeam_channel::unbounded();
    let output = Output {
        target,
        identity,
        secrets,
        events: told,
        session: None,
        mark: None,
        failing: Some(String::new()),
    };
    tokio::spawn(async move {
        tokio::select! {
            () = stop.requested() => {}
            () = output.run(sent) => {}
        }
    });
    OutputHandle { batches, events }
}

struct Output {
    target: Target,
    identity: (String, String),
    secrets: SecretsFolder,
    events: crossbeam_channel::Sender<OutputEvent>,
    session: Option<Session>,
    /// What the last look found.
    mark: Option<String>,
    /// What was last said of a failure; empty until it has worked once.
    failing: Option<String>,
}

enum Session {
    Redis(redis::Session),
    Postgres(Box<postgres::Session>),
}

impl Output {
    async fn run(mut self, mut batches: mpsc::Receiver<Batch>) {
        let mut pause = FIRST_PAUSE;
        let mut unwritten: Option<Batch> = None;
        let mut look_at = Instant::now();
        loop {
            if unwritten.is_none() {
                tokio::select! {
                    batch = batches.recv() => match batch {
                        Some(batch) => unwritten = Some(batch),
                        None => return,
                    },
                    () = tokio::time::sleep_until(look_at) => {}
                }
            }
            match self.attempt(unwritten.as_ref(), &mut look_at).await {
                Ok(()) => {
                    if self.failing.take().is_some() {
                        self.tell(OutputEvent::Working);
                    }
                    if let Some(batch) = unwritten.take() {
                        self.tell(OutputEvent::Written { number: batch.number });
                    }
                    pause = FIRST_PAUSE;
                }
                Err(error) => {
                    self.session = None;
                    self.fail(error.to_string());
                    // Nobody waits for it any more.
                    if batches.is_closed() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Connects where that is needed, looks where it is time to, and writes where there is something.
    async fn attempt(&mut self, batch: Option<&Batch>, look_at: &mut Instant) -> Result<(), OutputError> {
        let (session, is_due) = match self.session.take() {
            Some(session) => (session, *look_at <= Instant::now()),
            None => (self.open().await?, true),
        };
        let session = self.session.insert(session);
        if is_due {
            let look = look(session, &self.target, &self.identity).await?;
            *look_at = Instant::now() + LOOK_EVERY;
            if look.is_new || self.mark.as_ref().is_some_and(|mark| *mark != look.mark) {
                // A caller that is gone needs no answer.
                let _ = self.events.send(OutputEvent::Emptied);
            }
            self.mark = Some(look.mark);
        }
        match batch {
            Some(batch) if !batch.rows.is_empty() => write(session, &self.target, &batch.rows).await,
            _ => Ok(()),
        }
    }

    async fn open(&self) -> Result<Session, OutputError> {
        let application = format!("acequia {} {}", self.identity.0, self.identity.1);
        Ok(match &self.target {
            Target::Redis(target) => {
                Session::Redis(redis::Session::open(&target.store, &self.secrets).await?)
            }
            Target::Postgres(target) => {
                let session =
                    postgres::Session::open(&target.store, &target.plan, &self.secrets, &application);
                Session::Postgres(Box::new(session.await?))
            }
        })
    }

    fn fail(&mut self, error: String) {
        if self.failing.as_ref() != Some(&error) {
            self.tell(OutputEvent::Failing { error: error.clone() });
            self.failing = Some(error);
        }
    }

    fn tell(&self, event: OutputEvent) {
        // A caller that is gone needs no answer.
        let _ = self.events.send(event);
    }
}

async fn look(
    session: &mut Session,
    target: &Target,
    (pipeline, stage): &(String, String),
) -> Result<Look, OutputError> {
    match (session, target) {
        (Session::Redis(session), Target::Redis(target)) => {
            let key = format!("acequia:{pipeline}:{stage}:{}", target.index);
            Ok(session.look(&key).await?)
        }
        (Session::Postgres(session), Target::Postgres(target)) => session.look(&target.plan).await,
        // A session is of its target's kind.
        _ => Ok(Look { mark: String::new(), is_new: false }),
    }
}

async fn write(session: &mut Session, target: &Target, rows: &[Row]) -> Result<(), OutputError> {
    match (session, target) {
        (Session::Redis(session), Target::Redis(target)) => {
            crash::point("before a batch for Redis");
            let written = session.write(&target.plan.calls(rows)).await?;
            crash::point("after a batch for Redis");
            if written.refused_keys > 0 {
                tracing::warn!(
                    keys = written.refused_keys,
                    "keys belong to a later incarnation of this stage; they stay as they are"
                );
            }
        }
        (Session::Postgres(session), Target::Postgres(target)) => {
            crash::point("before a batch for PostgreSQL");
            let is_own = session.write(&target.plan, rows).await?;
            crash::point("after a batch for PostgreSQL");
            if !is_own {
                let table = &target.plan.table;
                tracing::warn!(
                    table,
                    "the table belongs to a later incarnation of this stage; it stays as it is"
                );
            }
        }
        // A session is of its target's kind.
        _ => {}
    }
    Ok(())
}
