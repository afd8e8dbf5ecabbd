//! The consumer itself.

use std::collections::{BTreeSet, HashMap};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;

use super::fetch::{Fetched, fetch};
use super::position::Assigned;
use super::rejoin::Rejoin;
use super::remembered::Remembered;
use super::sorting::{TopicNames, sort_in};
use super::{ConsumerSettings, Fault, Position, Rebalance, Records, TopicPartition, fault};
use crate::connection::Connection;
use crate::error::{KafkaError, Result, code};
use crate::native::partition_list::{Element, PartitionList};
use crate::native::{Client, Kind, Queue, Rebalanced};

/// How long a broker may take to answer a member that is outside of its group.
const ANSWER_MS: i32 = 1_000;

/// A member of a consumer group, owned by one thread. See the [module](super) for how partitions come and go.
///
/// Dropped without [`Self::close`] it leaves like a process that died: the group notices after the session timeout.
pub struct BatchConsumer {
    queue: Queue,
    pub(super) client: Arc<Client>,
    address: String,
    names: TopicNames,
    pub(super) assigned: HashMap<TopicPartition, Assigned>,
    // A rebalance was handed over and waits for `assign` or `unassign`.
    pub(super) unanswered: bool,
    // The library's position in these is not to be trusted.
    pub(super) suspects: BTreeSet<TopicPartition>,
    pub(super) ends_looked_at: Instant,
    buffer: Vec<*mut rd::rd_kafka_message_t>,
    last_outage: Option<String>,
    rejoin: Rejoin,
    // Of a static member.
    remembered: Option<Remembered>,
    topics: Vec<String>,
}

// SAFETY: the buffer's pointers are only there while `poll` runs; everything else may move between threads.
unsafe impl Send for BatchConsumer {}

/// What a poll found.
#[derive(Debug, Default)]
pub struct Polled {
    /// Changes of what this member owns, in order. Records of the same poll were fetched before them.
    pub rebalance: Vec<Rebalance>,
    /// Records of partitions that are assigned, each partition's offsets rising from poll to poll.
    pub records: Records,
    /// Partitions whose log was read to the end that the last fetch saw, each end once. The offset is beyond
    /// transaction markers, which no record's is.
    pub ends: Vec<Position>,
    /// What else happened.
    pub faults: Vec<Fault>,
}

impl BatchConsumer {
    /// Starts a client and joins the group. Returns at once; whether a broker answers shows in [`Self::poll`].
    pub fn subscribe(connection: &Connection, settings: &ConsumerSettings) -> Result<Self> {
        let client = Client::new(Kind::Consumer, connection, &settings.client_config(connection))?;
        let call = client.call("subscribe");
        for topic in &settings.topics {
            if topic.is_empty() || topic.starts_with('^') {
                return Err(call.invalid(format!("{topic:?} is not the name of a topic")));
            }
        }
        let queue = Queue::of_consumer(&client).ok_or_else(|| call.invalid("the group has no name"))?;
        client.inbox().wake(Some(&queue));
        subscribe(&client, &settings.topics)?;
        Ok(Self {
            queue,
            client,
            address: connection.bootstrap_servers.clone(),
            names: TopicNames::default(),
            assigned: HashMap::new(),
            unanswered: false,
            suspects: BTreeSet::new(),
            ends_looked_at: Instant::now(),
            buffer: Vec::new(),
            last_outage: None,
            rejoin: Rejoin::default(),
            remembered: Remembered::of(connection, settings),
            topics: settings.topics.clone(),
        })
    }

    /// Waits at most `timeout` for a record, a rebalance or a fault, then returns what is there, at most
    /// `max_records` records. Must be called more often than `max_poll_interval_ms`.
    pub fn poll(&mut self, max_records: usize, timeout: Duration) -> Polled {
        let mut faults: Vec<_> = self.go_back().err().map(Fault::Other).into_iter().collect();
        if !self.unanswered {
            faults.extend(self.join_anew_if_amiss().err().map(Fault::Other));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut batches = Vec::new();
        for message in fetch(&self.queue, &mut buffer, max_records, timeout) {
            if message.error() == code::NONE {
                sort_in(&mut batches, message, &mut self.names, &self.client);
            } else {
                faults.extend(self.fault(&message));
            }
        }
        self.buffer = buffer;
        let inbox = self.client.inbox();
        let (rebalanced, reports) = (inbox.take_rebalances(), inbox.take_reports());
        let fatal = self.client.fatal_error();
        faults.extend(fault::of_reports(&self.address, reports, fatal.as_ref(), &mut self.last_outage));
        let rebalance: Vec<_> = rebalanced.into_iter().map(|change| self.rebalance(change)).collect();
        self.unanswered |= !rebalance.is_empty();
        faults.extend(self.stays_outside(&rebalance).map(Fault::Other));
        let records = Records::new(batches.into_iter().filter_map(|batch| self.accept(batch)).collect());
        let ends = self.ends(records.is_empty());
        Polled { rebalance, records, ends, faults }
    }

    /// Why this client is to be replaced by another one, if it is.
    fn stays_outside(&mut self, changes: &[Rebalance]) -> Option<KafkaError> {
        let now = Instant::now();
        for change in changes {
            self.rejoin.note(change, now);
            if let (Rebalance::Assigned(_), Some(remembered)) = (change, &mut self.remembered) {
                remembered.has_joined(now);
            }
        }
        if !self.rejoin.is_to_ask(now) || !self.rejoin.told(self.answers(), now) {
            return None;
        }
        Some(KafkaError::Fatal {
            call: "join the group again",
            address: self.address.clone(),
            reason: "brokers answer, and the client stays outside of its group; another one is started"
                .to_owned(),
        })
    }

    /// Whether a broker answers.
    fn answers(&self) -> bool {
        let mut metadata = ptr::null();
        // SAFETY: the client is alive; on success the metadata is ours, and is freed once.
        unsafe {
            let code =
                rd::rd_kafka_metadata(self.client.as_ptr(), 0, ptr::null_mut(), &raw mut metadata, ANSWER_MS);
            if code as i32 != code::NONE {
                return false;
            }
            rd::rd_kafka_metadata_destroy(metadata);
        }
        true
    }

    /// Starts to read partitions at absolute offsets: the answer to [`Rebalance::Assigned`], to be given once, with
    /// all partitions that were claimed.
    ///
    /// # Errors
    /// A partition that is assigned already, or a client that can't go on.
    pub fn assign(&mut self, at: &[Position]) -> Result<()> {
        let call = self.client.call("assign partitions");
        let list = PartitionList::of(call, at.iter().map(|p| (&*p.topic, p.partition, p.offset)))?;
        // SAFETY: client and list are alive; the list is copied and the returned error is ours.
        unsafe {
            let error = rd::rd_kafka_incremental_assign(self.client.as_ptr(), list.as_ptr());
            self.client.check_object("assign partitions", error)?;
        }
        self.unanswered = false;
        for position in at {
            self.assigned.insert(position.topic_partition(), Assigned::at(position.offset));
        }
        Ok(())
    }

    /// Where the group hasn't all of its partitions, or this member has others: see `remembered.rs`.
    fn join_anew_if_amiss(&mut self) -> Result<()> {
        let now = Instant::now();
        let is_to = self.remembered.as_mut().is_some_and(|remembered| remembered.is_to_join_anew(now));
        if !is_to {
            return Ok(());
        }
        // Until it has partitions again.
        self.rejoin.note(&Rebalance::Lost(Vec::new()), now);
        // Together they make the library give back what it has and join once more under the same member id, which for a leader,
        // or with what a member had before, is a reason to share out anew.
        // SAFETY: the client is alive.
        let code = unsafe { rd::rd_kafka_unsubscribe(self.client.as_ptr()) };
        self.client.check("unsubscribe", code)?;
        subscribe(&self.client, &self.topics)
    }

    /// Stops reading partitions: the answer to [`Rebalance::Revoked`] and [`Rebalance::Lost`], to be given once, with
    /// all of them. Those that were never assigned are passed over.
    pub fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let held: Vec<_> = partitions.iter().filter(|p| self.assigned.contains_key(*p)).cloned().collect();
        // The library keeps an application's pause on a partition that leaves and comes back.
        let paused: Vec<_> =
            held.iter().filter(|p| self.assigned.get(*p).is_some_and(|a| a.paused)).cloned().collect();
        self.resume(&paused)?;
        let list = self.list("unassign partitions", &held)?;
        // SAFETY: client and list are alive; the list is copied and the returned error is ours.
        unsafe {
            let error = rd::rd_kafka_incremental_unassign(self.client.as_ptr(), list.as_ptr());
            self.client.check_object("unassign partitions", error)?;
        }
        self.unanswered = false;
        for partition in &held {
            self.assigned.remove(partition);
            self.suspects.remove(partition);
        }
        Ok(())
    }

    /// Tells the group how far its partitions were read, for lag tools. Doesn't wait; a refusal shows in a later
    /// [`Self::poll`] as [`Fault::Commit`].
    pub fn commit(&mut self, positions: &[Position]) -> Result<()> {
        let call = self.client.call("commit offsets");
        let list = PartitionList::of(call, positions.iter().map(|p| (&*p.topic, p.partition, p.offset)))?;
        // SAFETY: client and list are alive; the list is copied.
        let code = unsafe { rd::rd_kafka_commit(self.client.as_ptr(), list.as_ptr(), 1) };
        self.client.check("commit offsets", code)
    }

    /// As [`Self::commit`], but waits for the coordinator's answer, which it gives only to a current member of the
    /// group: so it tells whether the group still counts on this one. Takes as long as a request may.
    pub fn commit_and_wait(&mut self, positions: &[Position]) -> Result<()> {
        let call = self.client.call("commit offsets");
        let list = PartitionList::of(call, positions.iter().map(|p| (&*p.topic, p.partition, p.offset)))?;
        // SAFETY: client and list are alive; the list is copied.
        let code = unsafe { rd::rd_kafka_commit(self.client.as_ptr(), list.as_ptr(), 0) };
        self.client.check("commit offsets", code)
    }

    /// Stops fetching partitions, which stay assigned.
    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        let list = self.list("pause partitions", partitions)?;
        // SAFETY: client and list are alive.
        let code = unsafe { rd::rd_kafka_pause_partitions(self.client.as_ptr(), list.as_ptr()) };
        self.client.check("pause partitions", code)?;
        self.mark_paused(partitions, true);
        Ok(())
    }

    /// Fetches paused partitions again, from where they stopped.
    pub fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        let list = self.list("resume partitions", partitions)?;
        // SAFETY: client and list are alive.
        let code = unsafe { rd::rd_kafka_resume_partitions(self.client.as_ptr(), list.as_ptr()) };
        self.client.check("resume partitions", code)?;
        self.mark_paused(partitions, false);
        Ok(())
    }

    /// Leaves the group, so that others take over at once. Gives up after `deadline`; the group then notices by
    /// itself after the session timeout.
    pub fn close(mut self, deadline: Duration) -> Result<()> {
        let started = Instant::now();
        self.client.inbox().start_closing();
        let held: Vec<_> = self.assigned.keys().cloned().collect();
        // Also answers a rebalance that is still open. Closing goes on whatever this says.
        if let Err(error) = self.unassign(&held) {
            tracing::debug!(%error, "unassign while closing");
        }
        let Some(closing) = Queue::new(&self.client) else {
            return Err(self.client.call("leave the group").invalid("no memory for a queue"));
        };
        self.client.inbox().wake(Some(&closing));
        let left = deadline.saturating_sub(started.elapsed());
        super::closing::close(&self.client, &closing, &mut self.buffer, left)
    }

    fn fault(&mut self, message: &Fetched) -> Option<Fault> {
        let topic = message.topic_name().map(|name| self.names.of(name));
        if let Some(topic) = &topic {
            self.suspect(topic, message.partition());
        }
        let reason = self.client.inbox().redactor().redact(&message.error_reason());
        let fatal = self.client.fatal_error();
        fault::of_message(&self.address, message.error(), topic, message.partition(), &reason, fatal.as_ref())
    }

    fn rebalance(&mut self, change: Rebalanced) -> Rebalance {
        // A static member may be given what it has subscribed to before.
        let is_ours = |e: &Element| self.topics.contains(&e.topic);
        let mut named = |elements: Vec<Element>| {
            let of = |e: Element| TopicPartition { topic: self.names.of(e.topic), partition: e.partition };
            elements.into_iter().filter(is_ours).map(of).collect()
        };
        match change {
            Rebalanced::Assigned(elements) => Rebalance::Assigned(named(elements)),
            Rebalanced::Revoked(elements) => Rebalance::Revoked(named(elements)),
            Rebalanced::Lost(elements) => Rebalance::Lost(named(elements)),
        }
    }

    pub(super) fn list(&self, call: &'static str, partitions: &[TopicPartition]) -> Result<PartitionList> {
        PartitionList::of(self.client.call(call), partitions.iter().map(|p| (&*p.topic, p.partition, 0)))
    }

    fn mark_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for partition in partitions {
            if let Some(assigned) = self.assigned.get_mut(partition) {
                assigned.paused = paused;
            }
        }
    }
}

fn subscribe(client: &Client, topics: &[String]) -> Result<()> {
    let call = client.call("subscribe");
    let list = PartitionList::of(call, topics.iter().map(|topic| (topic.as_str(), -1, 0)))?;
    // SAFETY: client and list are alive; the list is copied.
    let code = unsafe { rd::rd_kafka_subscribe(client.as_ptr(), list.as_ptr()) };
    client.check("subscribe", code)
}

impl Drop for BatchConsumer {
    fn drop(&mut self) {
        // No callback runs after this, but the pointer shall not outlive its queue.
        self.client.inbox().wake(None);
    }
}
