//! The loop of `acequia run` and `acequia delete`: looks, diffs, hands changes to their lanes, reports.
//!
//! Looks and lanes are tasks of their own. The loop never waits for one of them: whichever ends first is taken in, and
//! what follows from it is started.

mod edits;
mod files;
mod lanes;
mod parts;
mod restarts;
pub mod screen;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

pub use files::StateFolder;

use self::edits::Readings;
use self::lanes::Lanes;
use self::parts::{PartKey, Parts, Seen};
use self::restarts::RestartMemory;
use self::screen::Screen;
use crate::apply::{self, Tools};
use crate::cluster::Cluster;
use crate::connect;
use crate::desired::Settings;
use crate::diff::diff;
use crate::manifest::Texts;
use crate::model::desired::Desired;
use crate::model::plan::{Change, Lane, Note, Plan};
use crate::observe;
use crate::processes::Supervisor;
use crate::status::{Report, View};

/// How often the loop turns when nothing happens.
const TICK: Duration = Duration::from_millis(250);
/// Pause between two looks at the processes.
const STAGES_PAUSE: Duration = Duration::from_secs(1);
/// Pause between two looks at Kafka or Connect while something is to be done.
const BUSY_PAUSE: Duration = Duration::from_secs(2);
/// Pause between two looks at Kafka or Connect while everything is well.
const HEALTHY_PAUSE: Duration = Duration::from_secs(10);
/// Pause between two looks at the manifest's files.
const FILES_PAUSE: Duration = Duration::from_secs(1);
/// How long the first report waits for every server's first answer.
const FIRST_REPORT: Duration = Duration::from_secs(3);

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

/// What a task of the loop came back with.
enum Done {
    Looked(PartKey, (Instant, Instant), Seen),
    Worked(Lane, Vec<Change>, Option<String>),
}

/// The loop.
pub struct Run {
    desired: Arc<Desired>,
    generation: i64,
    invalid: Option<String>,
    watch: Option<Watch>,
    readings: Readings,
    started: Instant,
    files_read: Instant,
    secrets: PathBuf,
    tools: Tools,
    parts: Parts,
    lanes: Lanes,
    restarts: RestartMemory,
    tasks: JoinSet<Done>,
    report: Option<Report>,
    settled: bool,
    noted: Vec<Note>,
    goal: Goal,
    folder: StateFolder,
    screen: Screen,
}

impl Run {
    /// Ready to go.
    ///
    /// # Errors
    /// An address of Connect can't be one.
    pub fn new(start: Start) -> Result<Self, connect::Error> {
        let cluster = Arc::new(Cluster::new(start.desired.kafka.clone(), start.secrets.clone()));
        let tools = Tools {
            identity: start.desired.identity.clone(),
            kafka: start.desired.kafka.clone(),
            cluster,
            connects: clients(&start.desired)?,
            supervisor: Arc::new(start.supervisor),
        };
        Ok(Self {
            desired: Arc::new(start.desired),
            generation: 1,
            invalid: None,
            readings: Readings::of(start.watch.as_ref().map(|watch| watch.texts.clone())),
            watch: start.watch,
            started: Instant::now(),
            files_read: Instant::now(),
            secrets: start.secrets,
            tools,
            parts: Parts::default(),
            lanes: Lanes::default(),
            restarts: RestartMemory::default(),
            tasks: JoinSet::new(),
            report: None,
            settled: false,
            noted: Vec::new(),
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
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let end = loop {
            self.turn();
            if self.reached() {
                break End::Reached;
            }
            if deadline.is_some_and(|deadline| self.started.elapsed() >= deadline) {
                break End::TooLate;
            }
            tokio::select! {
                Some(done) = self.tasks.join_next() => self.take(done),
                _ = ticks.tick() => {}
                () = &mut stop => break End::Interrupted,
            }
        };
        match (self.goal, end) {
            (Goal::Gone, End::Reached) => self.screen.note("everything is gone that should be"),
            (Goal::Gone, _) => {}
            _ => self.screen.note("stopping the processes; topics and connectors stay"),
        }
        self.tasks.shutdown().await;
        let Self { tools, report, .. } = self;
        if let Some(supervisor) = Arc::into_inner(tools.supervisor) {
            supervisor.shutdown().await;
        }
        (end, report)
    }

    fn reached(&self) -> bool {
        match self.goal {
            Goal::None => false,
            Goal::Ready => self.report.as_ref().is_some_and(|report| report.ready),
            Goal::Gone => self.settled && self.lanes.all_idle(),
        }
    }

    /// One turn: read the files if it is time, look, diff, hand out, report.
    fn turn(&mut self) {
        self.reread();
        self.look();
        let Some(observed) = self.parts.observed(&self.desired, &self.restarts, now_ms()) else { return };
        self.restarts.forgive(&observed);
        let plan = diff(&self.desired, &observed);
        self.lanes.forget_settled(&plan);
        self.screen.notes(&self.noted, &plan.notes);
        self.noted.clone_from(&plan.notes);
        self.hand_out(&plan);
        self.settled = plan.is_empty();
        if self.report.is_none()
            && !self.parts.all_seen(&self.desired)
            && self.started.elapsed() < FIRST_REPORT
        {
            return;
        }
        let failures = self.lanes.messages();
        let view = View {
            desired: &self.desired,
            observed: &observed,
            plan: &plan,
            failures: &failures,
            generation: self.generation,
            invalid: self.invalid.as_deref(),
            deleting: self.goal == Goal::Gone,
        };
        let previous = self.report.as_ref().map(|report| &report.status);
        let report = Report::new(&view, previous, &jiff::Timestamp::now().to_string(), std::process::id());
        if self.report.as_ref().is_none_or(|before| !before.says_the_same(&report)) {
            self.folder.write(&report);
            self.screen.show(self.report.as_ref(), &report);
            self.report = Some(report);
        }
    }

    fn take(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Looked(key, when, seen)) => self.parts.take(&key, when, seen),
            Ok(Done::Worked(lane, changes, failed)) => {
                if let Some(error) = &failed {
                    tracing::warn!(%lane, error, "a change failed and is tried again");
                } else {
                    for change in &changes {
                        self.restarts.done(change, now_ms());
                    }
                }
                self.parts.outdated(PartKey::Kafka);
                self.outdate_connects();
                self.lanes.finish(lane, Instant::now(), failed);
            }
            Err(error) => tracing::error!(%error, "a task of the run ended abnormally"),
        }
    }

    fn outdate_connects(&mut self) {
        for url in &self.desired.connect_urls {
            self.parts.outdated(PartKey::Connect(url.clone()));
        }
    }

    /// Starts the looks that are due.
    fn look(&mut self) {
        let healthy = self.report.as_ref().is_some_and(|report| report.ready);
        let pause = |key: &PartKey| match key {
            PartKey::Stages => STAGES_PAUSE,
            _ if healthy => HEALTHY_PAUSE,
            _ => BUSY_PAUSE,
        };
        let began = Instant::now();
        for key in self.parts.due(&self.desired, began, pause) {
            let tools = self.tools.clone();
            let subject = observe::kafka::Subject::of(&self.desired);
            self.tasks.spawn(async move {
                let seen = match &key {
                    PartKey::Kafka => Seen::Kafka(observe::kafka::look(&tools.cluster, subject).await),
                    PartKey::Stages => Seen::Stages(tools.supervisor.observe().await),
                    PartKey::Connect(url) => Seen::Connect(look_at_connect(&tools, url).await),
                };
                Done::Looked(key, (began, Instant::now()), seen)
            });
        }
    }

    /// Gives each lane that is free its changes.
    fn hand_out(&mut self, plan: &Plan) {
        let mut by_lane: BTreeMap<Lane, Vec<Change>> = BTreeMap::new();
        for change in &plan.changes {
            by_lane.entry(change.lane()).or_default().push(change.clone());
        }
        let now = Instant::now();
        for (lane, changes) in by_lane {
            let Some(seen) = self.seen(&changes) else { continue };
            if !self.lanes.may_start(&lane, seen, now) {
                continue;
            }
            self.screen.changes(&changes);
            if lane == Lane::Stages {
                let failed = apply::stages(&self.tools.supervisor, &self.desired, &changes).err();
                self.parts.outdated(PartKey::Stages);
                self.lanes.finish(lane, now, failed.map(|error| error.to_string()));
                continue;
            }
            self.lanes.start(lane.clone());
            let tools = self.tools.clone();
            self.tasks.spawn(async move {
                let failed = apply::carry_out(&tools, &lane, changes.clone()).await.err();
                Done::Worked(lane, changes, failed.map(|error| error.to_string()))
            });
        }
    }

    /// When the oldest of the looks began that the changes follow from.
    fn seen(&self, changes: &[Change]) -> Option<Instant> {
        let keys = changes.iter().flat_map(|change| match change {
            Change::PutConnector { url, .. }
            | Change::RestartConnector { url, .. }
            | Change::StopConnector { url, .. }
            | Change::ResumeConnector { url, .. } => vec![PartKey::Kafka, PartKey::Connect(url.clone())],
            Change::RemoveConnector { claim, .. } => {
                vec![PartKey::Kafka, PartKey::Connect(claim.url.clone())]
            }
            other if other.lane() == Lane::Stages => vec![PartKey::Stages],
            _ => vec![PartKey::Kafka],
        });
        keys.map(|key| self.parts.began(&key)).min().flatten()
    }
}

async fn look_at_connect(tools: &Tools, url: &str) -> crate::model::observed::Part<parts::Connectors> {
    match tools.connects.get(url) {
        Some(client) => observe::connect::look(url, client).await,
        // Recorded when the manifest named another Connect cluster.
        None => match connect::Client::new(url, observe::connect::CALL_DEADLINE, None) {
            Ok(client) => observe::connect::look(url, &client).await,
            Err(error) => Err(crate::model::observed::Unreachable {
                what: format!("Kafka Connect at {url}"),
                why: error.to_string(),
            }),
        },
    }
}

fn clients(desired: &Desired) -> Result<BTreeMap<String, connect::Client>, connect::Error> {
    let client = |url: &String| {
        let client = connect::Client::new(url, observe::connect::CALL_DEADLINE, None)?;
        Ok((url.clone(), client))
    };
    desired.connect_urls.iter().map(client).collect()
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}
