//! The one connection that writes: claims partitions, and flushes chunks in one transaction each.
//!
//! Whatever goes wrong with the connection or the fence ends in the same place: all claims are void, the source
//! claims again and goes on from what the store says. Nothing is repaired in passing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use acequia_crds::pipeline::sink::WriteMode;
use acequia_crds::stage::SinkWork;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;

use super::batch::{Chunk, Part, PartitionId, Rows};
use super::messages::{Command, Event};
use super::mirror::MirrorRows;
use super::offsets::{self, Advance, Claim};
use super::step::Step;
use super::tables::{self, NotReady, Topics, UnknownFields};
use super::{append, dead_letters, mirror};
use crate::crash;
use crate::postgres::connect::connect;
use crate::postgres::fault::{Meaning, PostgresError};
use crate::postgres::session::within;
use crate::secrets::SecretsFolder;
use crate::service::Progress;

/// How long one flush may take; after that the connection is given up.
const FLUSH_DEADLINE: Duration = Duration::from_secs(120);
/// How long connecting and preparing the tables may take, the source's catalogue included.
const OPEN_DEADLINE: Duration = Duration::from_secs(60);
/// How long all claims of one command may take.
const CLAIM_DEADLINE: Duration = Duration::from_secs(60);
/// How often an idle connection is tried, what that is called, and how long it may take.
const IDLE_CHECK_EVERY: Duration = Duration::from_secs(10);
const IDLE_CHECK: &str = "asking whether the store is still there";
const IDLE_CHECK_DEADLINE: Duration = Duration::from_secs(10);
/// Pauses between tries to get a working connection.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The server ends a session that a frozen worker left open between statements; data and offsets are in one
/// transaction, so losing its last ones in a crash of the server is only a rewind.
const SESSION: &str = "SET statement_timeout = '110s'; SET idle_in_transaction_session_timeout = '60s'; \
                       SET synchronous_commit = off";

/// The writer of one sink.
pub struct Writer {
    /// Identity of the Pipeline and of the stage.
    pub identity: (String, String),
    /// What to write, and where.
    pub work: SinkWork,
    /// Credentials.
    pub secrets: SecretsFolder,
    /// Counts go here.
    pub progress: Progress,
    /// What is known of the topics.
    pub topics: Topics,
    /// Answers.
    pub events: crossbeam_channel::Sender<Event>,
}

struct Session {
    connection: PgConnection,
    step: Arc<Step>,
    claims: HashMap<PartitionId, (u64, Claim)>,
}

enum Flush {
    Done,
    /// Somebody else has claimed a partition.
    Fenced,
    /// A mirror can't hold a row.
    Poisoned(PostgresError),
}

impl Writer {
    /// Carries out commands until the source hangs up.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut unknown = UnknownFields::new();
        let mut pause = FIRST_PAUSE;
        loop {
            match self.open(&unknown).await {
                Ok(session) => {
                    self.skip_stale(&mut commands);
                    self.tell(Event::Ready(session.step.clone()));
                    pause = FIRST_PAUSE;
                    match self.serve(session, &mut commands, &mut unknown).await {
                        Ok(()) => return,
                        Err(error) => self.tell(Event::Lost { error: error.to_string() }),
                    }
                }
                Err(error) => self.tell(Event::Lost { error: error.to_string() }),
            }
            // Commands of a source that has hung up can't be carried out any more.
            if commands.is_closed() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn open(&self, unknown: &UnknownFields) -> Result<Session, NotReady> {
        match tokio::time::timeout(OPEN_DEADLINE, self.connect_and_prepare(unknown)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(PostgresError::Deadline { call: "preparing the tables".to_owned(), after: OPEN_DEADLINE }
                    .into())
            }
        }
    }

    async fn connect_and_prepare(&self, unknown: &UnknownFields) -> Result<Session, NotReady> {
        let (pipeline, stage) = &self.identity;
        let mut connection =
            connect(&self.work.store, &self.secrets, &format!("acequia {pipeline} {stage}")).await?;
        sqlx::raw_sql(SESSION)
            .execute(&mut connection)
            .await
            .map_err(PostgresError::during("opening a session"))?;
        let step = tables::prepare(
            &mut connection,
            self.identity(),
            &self.work,
            &self.secrets,
            &self.topics,
            unknown,
        )
        .await?;
        Ok(Session { connection, step: Arc::new(step), claims: HashMap::new() })
    }

    /// What was asked of the connection before this one is void: a claim among it would take a partition from its
    /// new owner.
    fn skip_stale(&self, commands: &mut mpsc::Receiver<Command>) {
        while let Ok(command) = commands.try_recv() {
            if let Command::Release { number, .. } = command {
                self.tell(Event::Released { number });
            }
        }
    }

    async fn serve(
        &mut self,
        mut session: Session,
        commands: &mut mpsc::Receiver<Command>,
        unknown: &mut UnknownFields,
    ) -> Result<(), PostgresError> {
        loop {
            let command = match tokio::time::timeout(IDLE_CHECK_EVERY, commands.recv()).await {
                Ok(Some(command)) => command,
                Ok(None) => break,
                // A connection that is used for nothing tells nobody that its server is gone.
                Err(_) => {
                    let ping =
                        async { session.connection.ping().await.map_err(PostgresError::during(IDLE_CHECK)) };
                    within(IDLE_CHECK, IDLE_CHECK_DEADLINE, ping).await?;
                    continue;
                }
            };
            match command {
                Command::Claim { lease, partitions } => {
                    let claims = self.claim(&mut session, lease, &partitions);
                    within("claiming partitions", CLAIM_DEADLINE, claims).await?;
                }
                Command::Flush(chunk) => {
                    within("writing a batch", FLUSH_DEADLINE, self.flush(&mut session, chunk)).await?;
                }
                Command::Release { number, partitions } => {
                    for partition in &partitions {
                        session.claims.remove(partition);
                    }
                    self.tell(Event::Released { number });
                }
                Command::LookUp { topic, fields } => {
                    let names = fields.iter().cloned().collect::<Vec<_>>().join("`, `");
                    unknown.entry(topic.clone()).or_default().extend(fields);
                    return Err(PostgresError::NewColumns { topic, names });
                }
            }
        }
        // The last commit is acknowledged: whether the goodbye arrives doesn't matter.
        let _ = session.connection.close().await;
        Ok(())
    }

    async fn claim(
        &self,
        session: &mut Session,
        lease: u64,
        partitions: &[(PartitionId, i64)],
    ) -> Result<(), PostgresError> {
        for (partition, start_at) in partitions {
            crash::point("before claim");
            let claim =
                offsets::claim(&mut session.connection, self.identity(), partition, *start_at).await?;
            crash::point("after claim");
            session.claims.insert(partition.clone(), (lease, claim));
            let next_offset = claim.next_offset;
            self.tell(Event::Claimed { partition: partition.clone(), lease, next_offset });
        }
        Ok(())
    }

    async fn flush(&self, session: &mut Session, mut chunk: Chunk) -> Result<(), PostgresError> {
        let claims = &session.claims;
        chunk.parts.retain(|part| claims.get(&part.partition).is_some_and(|(lease, _)| *lease == part.lease));
        match self.write(session, &mut chunk).await? {
            Flush::Done => Ok(()),
            Flush::Fenced => Err(PostgresError::Fenced { stage: self.identity.1.clone() }),
            Flush::Poisoned(error) => match &mut chunk.parts[..] {
                [part] => {
                    session.claims.remove(&part.partition);
                    let error =
                        format!("{}: {error}; mend the row or the table, it is tried again", part.partition);
                    self.tell(Event::Blocked { partition: part.partition.clone(), error });
                    Ok(())
                }
                // Which one is at fault? Each partition on its own; the others go on. (A mirror needs no batches.)
                _ => {
                    for part in std::mem::take(&mut chunk.parts) {
                        let alone = Chunk { parts: vec![part], batches: Vec::new(), size_bytes: 0 };
                        Box::pin(self.flush(session, alone)).await?;
                    }
                    Ok(())
                }
            },
        }
    }

    /// The transaction: guard, rows, dead letters, and the offsets that the guard has advanced.
    async fn write(&self, session: &mut Session, chunk: &mut Chunk) -> Result<Flush, PostgresError> {
        if chunk.is_empty() {
            return Ok(Flush::Done);
        }
        let during = || PostgresError::during("writing a batch");
        let advances: Vec<Advance> =
            chunk.parts.iter().filter_map(|part| advance_of(part, &session.claims)).collect();
        crash::point("before the transaction");
        let mut transaction = session.connection.begin().await.map_err(during())?;
        if !offsets::advance(&mut transaction, self.identity(), &advances).await?.is_empty() {
            transaction.rollback().await.map_err(during())?;
            return Ok(Flush::Fenced);
        }
        crash::point("after the guard");
        // A deferred constraint would fail at COMMIT, where nobody could say which row is at fault.
        sqlx::raw_sql("SET CONSTRAINTS ALL IMMEDIATE").execute(&mut *transaction).await.map_err(during())?;
        match write_rows(&mut transaction, &session.step, chunk).await {
            Ok(()) => {}
            Err(error)
                if error.meaning() == Meaning::Poison && self.work.postgres.mode == WriteMode::Mirror =>
            {
                transaction.rollback().await.map_err(during())?;
                return Ok(Flush::Poisoned(error));
            }
            Err(error) => return Err(error),
        }
        crash::point("after the rows");
        for part in &chunk.parts {
            dead_letters::write(&mut transaction, self.identity(), &part.partition, &part.rejected).await?;
        }
        crash::point("before commit");
        transaction.commit().await.map_err(during())?;
        crash::point("after commit");
        self.flushed(session, chunk);
        Ok(Flush::Done)
    }

    fn flushed(&self, session: &mut Session, chunk: &Chunk) {
        for part in &chunk.parts {
            if let Some((_, claim)) = session.claims.get_mut(&part.partition) {
                claim.next_offset = part.to;
            }
            self.tell(Event::Flushed { partition: part.partition.clone(), to: part.to });
        }
        self.progress.add_records(chunk.records());
        self.progress.add_dead_letters(dead_letters::count(&chunk.parts));
    }

    fn identity(&self) -> (&str, &str) {
        (&self.identity.0, &self.identity.1)
    }

    fn tell(&self, event: Event) {
        // A source that is gone needs no answer.
        let _ = self.events.send(event);
    }
}

fn advance_of(part: &Part, claims: &HashMap<PartitionId, (u64, Claim)>) -> Option<Advance> {
    let (_, claim) = claims.get(&part.partition)?;
    Some(Advance { partition: part.partition.clone(), epoch: claim.epoch, from: part.from, to: part.to })
}

async fn write_rows(
    connection: &mut PgConnection,
    step: &Step,
    chunk: &mut Chunk,
) -> Result<(), PostgresError> {
    match step {
        Step::Append { copy_sql, .. } => {
            for (part, letter) in append::write(connection, copy_sql, chunk).await? {
                if let Some(part) = chunk.parts.get_mut(part) {
                    part.rejected.push(letter);
                }
            }
        }
        Step::Mirror { tables } => {
            let mut by_table: BTreeMap<&str, Vec<&MirrorRows>> = BTreeMap::new();
            for part in &chunk.parts {
                if let Rows::Mirror(rows) = &part.rows {
                    by_table.entry(&part.partition.topic).or_default().push(rows);
                }
            }
            for (topic, rows) in by_table {
                if let Some(table) = tables.get(topic) {
                    mirror::merge(connection, table, &rows).await?;
                }
            }
        }
    }
    Ok(())
}
