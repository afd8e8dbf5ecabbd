//! The edge of a generator: it sets the databases up, then decides and carries out one round after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_crds::stage::{GeneratorWork, StageConfig};
use fastrand::Rng;
use jiff::Timestamp;

use super::catalogue::{Catalogue, look_up, missing, read_columns, sample};
use super::known::Known;
use super::metrics::GeneratorMetrics;
use super::pace::Pace;
use super::plan::{Transaction, Unplanned, choose, plan_round};
use super::setup::{Outcome, run_once};
use super::sql::Columns;
use super::templates::{CheckedTemplate, Table, Templates};
use super::trouble::Troubles;
use super::write::{SESSION_LIMITS, Written, write};
use super::{Fault, open};
use crate::postgres::fault::PostgresError;
use crate::postgres::session::Session;
use crate::secrets::SecretsFolder;
use crate::service::Progress;
use crate::stop::Stop;

const DEADLINE: Duration = Duration::from_secs(10);
/// A value was given twice where the table wants it once.
const UNIQUE_VIOLATION: &str = "23505";

/// A generator at work.
pub struct Generator<'a> {
    config: &'a StageConfig,
    work: &'a GeneratorWork,
    secrets: &'a SecretsFolder,
    progress: &'a Progress,
    metrics: GeneratorMetrics,
    templates: Arc<Templates>,
    rng: Rng,
    known: Known,
    troubles: Troubles,
    /// Something a person should know although the work goes on.
    note: Option<String>,
    sessions: BTreeMap<String, Session>,
    catalogue: Catalogue,
}

impl<'a> Generator<'a> {
    /// A generator that hasn't done anything yet.
    pub fn new(
        config: &'a StageConfig,
        work: &'a GeneratorWork,
        templates: Templates,
        secrets: &'a SecretsFolder,
        progress: &'a Progress,
    ) -> Self {
        Self {
            config,
            work,
            secrets,
            progress,
            metrics: GeneratorMetrics::register(progress),
            rng: Rng::with_seed(templates.seed),
            known: Known::of(templates.drawn_columns(), templates.seed),
            templates: Arc::new(templates),
            troubles: Troubles::default(),
            note: None,
            sessions: BTreeMap::new(),
            catalogue: Catalogue::new(),
        }
    }

    /// Runs the setup SQL of each store, where that hasn't been done before.
    pub async fn set_up(&mut self) -> Result<(), Fault> {
        for (store, sql) in &self.work.setup {
            let session = open(self.config, self.work, self.secrets, store).await?;
            let outcome = run_once(session, &self.config.pipeline, &self.config.stage, store, sql)
                .await
                .map_err(|source| setup_fault(store, source))?;
            match outcome {
                Outcome::Run => tracing::info!(store, "setup SQL run"),
                Outcome::AlreadyRun => tracing::info!(store, "setup SQL was run before"),
                Outcome::Changed { at } => {
                    let note = format!(
                        "the setup SQL of store `{store}` has changed since it was run at {at}, and is not run again; \
                         make the change in the database yourself, or delete the row from its table acequia_setup \
                         to have the whole text run"
                    );
                    tracing::warn!(store, "{note}");
                    self.note = Some(note);
                }
            }
        }
        self.progress.set_setup_done();
        Ok(())
    }

    /// Connects to the stores and reads what the templates need of their catalogues.
    pub async fn connect(&mut self) -> Result<(), Fault> {
        self.sessions.clear();
        let named = self.templates.named_columns();
        let mut catalogue = Catalogue::new();
        for table in named.keys() {
            if !self.sessions.contains_key(&table.store) {
                let mut session = open(self.config, self.work, self.secrets, &table.store).await?;
                session.script("setting limits", SESSION_LIMITS.to_owned(), DEADLINE).await?;
                self.sessions.insert(table.store.clone(), session);
            }
            if let Some(session) = self.sessions.get_mut(&table.store) {
                catalogue.insert(table.clone(), read_columns(session, table).await?);
            }
        }
        if let Some(sentence) = missing(&named, &catalogue) {
            return Err(Fault::Missing(sentence));
        }
        self.catalogue = catalogue;
        for store in self.sessions.keys() {
            self.known.doubt(store);
        }
        Ok(())
    }

    /// Makes rounds at the generator's pace until asked to stop; a round that has begun is finished.
    pub async fn make_rounds(&mut self, stop: &Stop) -> Result<(), Fault> {
        let mut pace = Pace::new(self.work.generator.interval.into(), Instant::now());
        while !stop.is_requested() {
            self.round().await?;
            match self.troubles.sentence() {
                Some(sentence) => self.progress.waiting(sentence),
                None => self.progress.running_with(self.note.as_deref()),
            }
            pace.advance(Instant::now());
            if stop.within(pace.wait(Instant::now())).await {
                break;
            }
        }
        for (_, session) in std::mem::take(&mut self.sessions) {
            session.close(DEADLINE).await;
        }
        Ok(())
    }

    async fn round(&mut self) -> Result<(), PostgresError> {
        self.refresh().await?;
        let templates = Arc::clone(&self.templates);
        let Some(template) = choose(&mut self.rng, &templates) else { return Ok(()) };
        match self.decide(template).await? {
            Ok(transactions) => self.carry_out(&template.name, &transactions).await,
            Err(why) => {
                self.metrics.skipped(&template.name);
                self.troubles.failed(&template.name, why);
                Ok(())
            }
        }
    }

    /// Takes samples that are missing or old.
    async fn refresh(&mut self) -> Result<(), PostgresError> {
        let now = Instant::now();
        self.known.expire(now);
        for (table, columns) in self.known.due(now) {
            let types = columns_of(&self.catalogue, &table);
            let Some(session) = self.sessions.get_mut(&table.store) else { continue };
            let (rows, total) = sample(session, &table, &columns, types, self.templates.seed).await?;
            self.known.load(&table, rows, total, now);
        }
        Ok(())
    }

    /// Decides a round, looking up what it asks for; the inner error is a sentence that says why there is none.
    async fn decide(
        &mut self,
        template: &CheckedTemplate,
    ) -> Result<Result<Vec<Transaction>, String>, PostgresError> {
        let now = Timestamp::now();
        loop {
            let mut rng = self.rng.clone();
            let planned = plan_round(&mut rng, self.templates.seed, template, &self.known, now);
            let Err(Unplanned::Lookup(lookup)) = planned else {
                self.rng = rng;
                if let Err(Unplanned::Vanished(lookup)) = &planned {
                    self.known.doubt(&lookup.table.store);
                }
                return Ok(planned.map_err(|unplanned| unplanned.to_string()));
            };
            let types = columns_of(&self.catalogue, &lookup.table);
            let found = match self.sessions.get_mut(&lookup.table.store) {
                Some(session) => look_up(session, &lookup, types).await?,
                None => None,
            };
            self.known.answer(lookup, found, Instant::now());
        }
    }

    async fn carry_out(&mut self, template: &str, transactions: &[Transaction]) -> Result<(), PostgresError> {
        for transaction in transactions {
            let Some(session) = self.sessions.get_mut(&transaction.store) else { continue };
            match write(session, transaction, &self.catalogue).await? {
                Written::Committed(returned) => {
                    for (statement, rows) in transaction.statements.iter().zip(&returned) {
                        self.known.absorb(statement, rows);
                        self.metrics.rows(&statement.table, statement.operation, rows.len() as u64);
                        self.progress.add_records(rows.len() as u64);
                    }
                }
                Written::Conflict(error) => {
                    tracing::debug!(template, error = %error, "rolled back");
                    self.metrics.conflict(template);
                    self.known.doubt(&transaction.store);
                    if error.sqlstate().as_deref() == Some(UNIQUE_VIOLATION) {
                        // A generator that starts again draws the same numbers again; it leaves the beaten track.
                        self.rng =
                            Rng::with_seed(self.rng.u64(..) ^ (Timestamp::now().as_nanosecond() as u64));
                    }
                    self.troubles.failed(template, error.to_string());
                    return Ok(());
                }
            }
        }
        self.metrics.round(template);
        self.troubles.went_well(template);
        Ok(())
    }
}

fn columns_of<'c>(catalogue: &'c Catalogue, table: &Table) -> &'c Columns {
    static NONE: Columns = Columns::new();
    catalogue.get(table).unwrap_or(&NONE)
}

fn setup_fault(store: &str, source: PostgresError) -> Fault {
    let hint = match source.sqlstate().as_deref() {
        // duplicate_table, duplicate_schema, duplicate_object
        Some("42P07" | "42P06" | "42710") => {
            "; it was there before this setup was run: write `IF NOT EXISTS`, or remove it"
        }
        Some("25001") => "; this command can't run in a transaction: run it by hand and take it out",
        _ => "",
    };
    Fault::Setup { store: store.to_owned(), source, hint }
}
