//! Keeps one Pipeline as its manifest says: looks, diffs, hands changes to their lanes, reports.
//!
//! Looks and lanes are tasks of their own. A turn never waits for one of them: whichever ends first is taken in, and
//! what follows from it is started. `acequia run` and the operator in a cluster both turn this; they differ in where
//! the manifest comes from, what runs the stages, and who is told.

mod lanes;
mod parts;
mod restarts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_crds::names::ConnectorName;
use acequia_crds::pipeline::status::PipelineStatus;
use tokio::task::JoinSet;

use self::lanes::Lanes;
use self::parts::{PartKey, Parts, Seen};
use self::restarts::RestartMemory;
use crate::access::{self, Access};
use crate::apply::{self, Tools};
use crate::diff::diff;
use crate::model::desired::Desired;
use crate::model::observed::{Part, Unreachable};
use crate::model::plan::{Change, Lane, Note, Plan};
use crate::observe;
use crate::observe::connect::{Connect, ConnectLook};
use crate::stages::Stages;
use crate::status::{Report, View};

/// Pause between two looks at Kafka or Connect while something is to be done.
const BUSY_PAUSE: Duration = Duration::from_secs(2);
/// Pause between two looks at Kafka or Connect while everything is well: at least, and by how much it differs from
/// Pipeline to Pipeline, so that they don't all look at the same moment.
const HEALTHY_PAUSE: (Duration, Duration) = (Duration::from_secs(9), Duration::from_secs(2));
/// How long the first report waits for every server's first answer.
const FIRST_REPORT: Duration = Duration::from_secs(3);

/// What a task came back with.
enum Done {
    Looked(PartKey, (Instant, Instant), Seen),
    Worked(Lane, Vec<Change>, Option<String>),
}

/// What a turn started and found out.
#[derive(Debug, Default)]
pub struct Turn {
    /// Changes that are being made from now on.
    pub started: Vec<Change>,
    /// What to know of changes, that was not said before.
    pub notes: Vec<Note>,
    /// The report before this one, if this one says something else; see [`Reconciler::report`].
    pub news: Option<Option<Report>>,
}

/// The state of one Pipeline's loop.
pub struct Reconciler {
    desired: Arc<Desired>,
    generation: i64,
    invalid: Option<String>,
    deleting: bool,
    access: Arc<Access>,
    tools: Tools,
    began: Instant,
    healthy_pause: Duration,
    parts: Parts,
    lanes: Lanes,
    restarts: RestartMemory,
    tasks: JoinSet<Done>,
    report: Option<Report>,
    /// What was said before the first report.
    said: Option<PipelineStatus>,
    settled: bool,
    /// Something came since the last turn that may make a difference.
    stirred: bool,
    noted: Vec<Note>,
}

impl Reconciler {
    /// Ready to turn. Nothing is called yet.
    ///
    /// # Errors
    /// A server isn't allowed, or an address can't be one.
    pub fn new(
        desired: Desired,
        generation: i64,
        access: Arc<Access>,
        stages: Arc<Stages>,
    ) -> Result<Self, access::Error> {
        let healthy_pause = healthy_pause(&desired.identity.to_string());
        let tools = Tools {
            identity: desired.identity.clone(),
            kafka: desired.kafka.clone(),
            cluster: access.cluster(&desired.kafka, &desired.identity.namespace)?,
            connects: connects(&access, &desired)?,
            access: Arc::clone(&access),
            stages,
        };
        Ok(Self {
            desired: Arc::new(desired),
            generation,
            invalid: None,
            deleting: false,
            access,
            tools,
            began: Instant::now(),
            healthy_pause,
            parts: Parts::default(),
            lanes: Lanes::default(),
            restarts: RestartMemory::default(),
            tasks: JoinSet::new(),
            report: None,
            said: None,
            settled: false,
            stirred: true,
            noted: Vec::new(),
        })
    }

    /// What an operator before this one said last: times of transition go on from there.
    pub fn said_before(&mut self, status: Option<PipelineStatus>) {
        self.said = status;
    }

    /// What is kept now.
    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// The latest report.
    pub const fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// Everything is Ready.
    pub fn is_ready(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.ready)
    }

    /// Nothing is left to be done, and nothing is under way.
    pub fn is_settled(&self) -> bool {
        self.settled && self.lanes.all_idle()
    }

    /// Something else shall be from now on. True: it differs from what was.
    ///
    /// # Errors
    /// Another Pipeline, a server that isn't allowed, or an address that can't be one; what was kept stays.
    pub fn take_up(&mut self, desired: Desired, generation: i64) -> Result<bool, String> {
        if desired.identity != self.desired.identity {
            let (old, new) = (&self.desired.identity, &desired.identity);
            return Err(format!(
                "the Pipeline was {old} and is now {new}; stop this run and start one for it"
            ));
        }
        let namespace = &desired.identity.namespace;
        let connects = connects(&self.access, &desired).map_err(|error| error.to_string())?;
        if desired.kafka != self.desired.kafka {
            self.tools.cluster =
                self.access.cluster(&desired.kafka, namespace).map_err(|error| error.to_string())?;
            self.tools.kafka = desired.kafka.clone();
            self.parts.forget_kafka(Instant::now());
        }
        // A topic that nobody asked about would look as if it weren't there.
        if observe::kafka::Subject::of(&desired) != observe::kafka::Subject::of(&self.desired) {
            self.parts.forget_kafka(Instant::now());
        }
        self.tools.connects = connects;
        self.stirred = true;
        self.invalid = None;
        self.generation = generation;
        if desired == *self.desired {
            return Ok(false);
        }
        // What was settled is another matter.
        self.settled = false;
        self.lanes.forget_failures();
        self.parts.outdated(PartKey::Kafka);
        self.parts.outdated(PartKey::Stages);
        self.desired = Arc::new(desired);
        self.outdate_connects();
        Ok(true)
    }

    /// The manifest can't be carried out; what was kept stays. True: nobody was told so before.
    pub fn reject(&mut self, message: String, generation: i64) -> bool {
        self.generation = generation;
        self.stirred = true;
        let is_new = self.invalid.as_ref() != Some(&message);
        self.invalid = Some(message);
        is_new
    }

    /// From now on everything is being taken away, and never Ready again. To be followed by [`Self::take_up`] of
    /// what shall be left.
    pub const fn delete(&mut self) {
        self.deleting = true;
    }

    /// The namespace of a Pipeline that is being taken away goes too; see [`Desired::namespace_goes`]. True: that is news.
    pub fn namespace_goes(&mut self) -> bool {
        if self.desired.namespace_goes {
            return false;
        }
        let wanted = Desired { namespace_goes: true, ..(*self.desired).clone() };
        // The same servers as before, so nothing about them is refused.
        self.take_up(wanted, self.generation).is_ok()
    }

    /// The stages have changed: they are looked at again at once.
    pub fn stages_changed(&mut self) {
        self.parts.outdated(PartKey::Stages);
    }

    /// One turn: looks, diffs, hands out, reports. Never waits.
    pub fn turn(&mut self) -> Turn {
        let mut turn = Turn::default();
        self.look();
        // Of the same observation nothing else follows; what waits for its time isn't settled.
        let stirred = std::mem::take(&mut self.stirred);
        if !stirred && self.is_settled() && self.report.is_some() {
            return turn;
        }
        let Some(observed) = self.parts.observed(&self.desired, &self.restarts, now_ms()) else {
            return turn;
        };
        self.restarts.forgive(&observed);
        let plan = diff(&self.desired, &observed);
        self.lanes.forget_settled(&plan);
        turn.notes = plan.notes.iter().filter(|note| !self.noted.contains(note)).cloned().collect();
        self.noted.clone_from(&plan.notes);
        turn.started = self.hand_out(&plan);
        self.settled = plan.is_empty();
        let all_seen = self.parts.all_seen(&self.desired);
        if self.report.is_none() && !all_seen && self.began.elapsed() < FIRST_REPORT {
            return turn;
        }
        let failures = self.lanes.messages();
        let view = View {
            desired: &self.desired,
            observed: &observed,
            plan: &plan,
            failures: &failures,
            generation: self.generation,
            invalid: self.invalid.as_deref(),
            deleting: self.deleting,
        };
        let previous = self.report.as_ref().map(|report| &report.status).or(self.said.as_ref());
        let report = Report::new(&view, previous, &jiff::Timestamp::now().to_string(), std::process::id());
        if self.report.as_ref().is_none_or(|before| !before.says_the_same(&report)) {
            turn.news = Some(self.report.replace(report));
        }
        turn
    }

    /// Waits until a task ends, and takes in what it came back with. Without tasks it never ends. Can be cancelled.
    pub async fn next(&mut self) {
        match self.tasks.join_next().await {
            Some(done) => self.take(done),
            None => std::future::pending().await,
        }
    }

    /// Ends everything that is under way and gives back what runs the stages.
    pub async fn stop(mut self) -> (Arc<Stages>, Option<Report>) {
        self.tasks.shutdown().await;
        (self.tools.stages, self.report)
    }

    fn take(&mut self, done: Result<Done, tokio::task::JoinError>) {
        self.stirred = true;
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
                if lane == Lane::Stages {
                    self.parts.outdated(PartKey::Stages);
                } else {
                    self.parts.outdated(PartKey::Kafka);
                    self.outdate_connects();
                }
                self.lanes.finish(lane, changes, Instant::now(), failed);
            }
            Err(error) if error.is_cancelled() => {}
            Err(error) => tracing::error!(%error, "a task ended abnormally"),
        }
    }

    fn outdate_connects(&mut self) {
        for url in &self.desired.connect_urls {
            self.parts.outdated(PartKey::Connect(url.clone()));
        }
    }

    /// Starts the looks that are due.
    fn look(&mut self) {
        let healthy = self.is_ready();
        let pause = |key: &PartKey| match key {
            PartKey::Stages => self.tools.stages.pause(healthy),
            _ if healthy => self.healthy_pause,
            _ => BUSY_PAUSE,
        };
        let began = Instant::now();
        for key in self.parts.due(&self.desired, began, pause) {
            let tools = self.tools.clone();
            let desired = Arc::clone(&self.desired);
            let ours = match &key {
                PartKey::Connect(url) => self.parts.connectors_at(&desired, url),
                _ => BTreeSet::new(),
            };
            self.tasks.spawn(async move {
                let seen = match &key {
                    PartKey::Kafka => {
                        let subject = observe::kafka::Subject::of(&desired);
                        Seen::Kafka(observe::kafka::look(&tools.cluster, subject).await)
                    }
                    PartKey::Stages => Seen::Stages(tools.stages.observe(&desired).await),
                    PartKey::Connect(url) => Seen::Connect(look_at_connect(&tools, url, &ours).await),
                };
                Done::Looked(key, (began, Instant::now()), seen)
            });
        }
    }

    /// Gives each lane that is free its changes, and returns them.
    fn hand_out(&mut self, plan: &Plan) -> Vec<Change> {
        let mut by_lane: BTreeMap<Lane, Vec<Change>> = BTreeMap::new();
        for change in &plan.changes {
            by_lane.entry(change.lane()).or_default().push(change.clone());
        }
        let now = Instant::now();
        let mut started = Vec::new();
        for (lane, changes) in by_lane {
            let Some(seen) = self.seen(&changes) else { continue };
            if !self.lanes.may_start(&lane, &changes, seen, now) {
                continue;
            }
            started.extend(changes.iter().cloned());
            self.lanes.start(lane.clone());
            let (tools, desired) = (self.tools.clone(), Arc::clone(&self.desired));
            self.tasks.spawn(async move {
                let failed = apply::carry_out(&tools, &desired, &lane, changes.clone()).await.err();
                Done::Worked(lane, changes, failed.map(|error| error.to_string()))
            });
        }
        started
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

fn healthy_pause(identity: &str) -> Duration {
    let share =
        identity.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 100;
    HEALTHY_PAUSE.0 + HEALTHY_PAUSE.1 * share / 100
}

async fn look_at_connect(tools: &Tools, url: &str, ours: &BTreeSet<ConnectorName>) -> Part<ConnectLook> {
    match tools.connect(url) {
        Ok(connect) => connect.look(url, ours).await,
        Err(error) => Err(Unreachable { what: format!("Kafka Connect at {url}"), why: error.to_string() }),
    }
}

fn connects(access: &Access, desired: &Desired) -> Result<BTreeMap<String, Arc<Connect>>, access::Error> {
    let namespace = &desired.identity.namespace;
    desired.connect_urls.iter().map(|url| Ok((url.clone(), access.connect(url, namespace)?))).collect()
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}
