//! `acequia run` and `acequia delete`: the manifest comes from files, the stages are child processes, and a person
//! looks on.

mod edits;
mod files;
pub mod screen;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use files::StateFolder;

use self::edits::Readings;
use self::screen::Screen;
use crate::access::{self, Access};
use crate::desired::Settings;
use crate::manifest::Texts;
use crate::model::desired::Desired;
use crate::processes::Supervisor;
use crate::reconcile::Reconciler;
use crate::stages::Stages;
use crate::status::Report;

/// How often the loop turns when nothing happens.
const TICK: Duration = Duration::from_millis(250);
/// Pause between two looks at the manifest's files.
const FILES_PAUSE: Duration = Duration::from_secs(1);

/// When the loop ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Never.
    None,
    /// Once everything is Ready.
    Ready,
    /// Once nothing is left to be removed.
    Gone,
}

/// How the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The goal is reached.
    Reached,
    /// The deadline passed.
    TooLate,
    /// A signal asked for it.
    Interrupted,
}

/// The files to read again when they change.
#[derive(Clone, Debug)]
pub struct Watch {
    /// What was given with `-f`.
    pub paths: Vec<PathBuf>,
    /// What they said when the run began.
    pub texts: Texts,
    /// The settings of this run.
    pub settings: Settings,
}

/// Everything that a loop is started with.
pub struct Start {
    /// What shall be.
    pub desired: Desired,
    /// The manifest's files; None: they are not read again.
    pub watch: Option<Watch>,
    /// The folder of secrets.
    pub secrets: PathBuf,
    /// Keeps the processes.
    pub supervisor: Supervisor,
    /// Where the report goes.
    pub folder: StateFolder,
    /// Who sees it.
    pub screen: Screen,
    /// When the loop ends by itself.
    pub goal: Goal,
}

/// The loop.
pub struct Run {
    reconciler: Reconciler,
    /// Counts the valid manifests that were taken up.
    generation: i64,
    watch: Option<Watch>,
    readings: Readings,
    files_read: Instant,
    goal: Goal,
    folder: StateFolder,
    screen: Screen,
}

impl Run {
    /// Ready to go.
    ///
    /// # Errors
    /// An address of Connect can't be one.
    pub fn new(start: Start) -> Result<Self, access::Error> {
        let access = Arc::new(Access::AsWritten { secrets: start.secrets });
        let stages = Arc::new(Stages::Processes(start.supervisor));
        let mut reconciler = Reconciler::new(start.desired, 1, access, stages)?;
        if start.goal == Goal::Gone {
            reconciler.delete();
        }
        Ok(Self {
            reconciler,
            generation: 1,
            readings: Readings::of(start.watch.as_ref().map(|watch| watch.texts.clone())),
            watch: start.watch,
            files_read: Instant::now(),
            goal: start.goal,
            folder: start.folder,
            screen: start.screen,
        })
    }

    /// Turns until the goal is reached, the deadline has passed, or `stop` ends. Everything that was started here is
    /// stopped then; topics and connectors stay.
    pub async fn until(
        mut self,
        deadline: Option<Duration>,
        stop: impl Future<Output = ()>,
    ) -> (End, Option<Report>) {
        tokio::pin!(stop);
        let began = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let end = loop {
            self.turn();
            if self.reached() {
                break End::Reached;
            }
            if deadline.is_some_and(|deadline| began.elapsed() >= deadline) {
                break End::TooLate;
            }
            tokio::select! {
                () = self.reconciler.next() => {}
                _ = ticks.tick() => {}
                () = &mut stop => break End::Interrupted,
            }
        };
        match (self.goal, end) {
            (Goal::Gone, End::Reached) => self.screen.note("everything is gone that should be"),
            (Goal::Gone, _) => {}
            _ => self.screen.note("stopping the processes; topics and connectors stay"),
        }
        let (stages, report) = self.reconciler.stop().await;
        if let Some(Stages::Processes(supervisor)) = Arc::into_inner(stages) {
            supervisor.shutdown().await;
        }
        (end, report)
    }

    fn reached(&self) -> bool {
        match self.goal {
            Goal::None => false,
            Goal::Ready => self.reconciler.is_ready(),
            Goal::Gone => self.reconciler.is_settled(),
        }
    }

    fn turn(&mut self) {
        self.reread();
        let turn = self.reconciler.turn();
        turn.notes.iter().for_each(|note| self.screen.note(&note.to_string()));
        self.screen.changes(&turn.started);
        if let (Some(before), Some(report)) = (turn.news, self.reconciler.report()) {
            self.folder.write(report);
            self.screen.show(before.as_ref(), report);
        }
    }
}
