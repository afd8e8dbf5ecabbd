//! Following partitions without a group.
//!
//! Unlike a group's member a reader has no rebalances, so the library's positions aren't needed to go on, and the ends
//! of partitions may come as errors among the records (`position.rs` says what these do to positions).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings as rd;

use super::fetch::{Fetched, fetch};
use super::position::{library_positions, position};
use super::sorting::{Sorted, TopicNames, sort_in};
use super::{Fault, PartitionRecords, Position, Records, TopicPartition, fault};
use crate::connection::Connection;
use crate::error::{Result, code};
use crate::native::partition_list::PartitionList;
use crate::native::{Client, Kind, Queue};

/// How long the end of a reader may take.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// Settings of a [`LogReader`]. [`LogReaderSettings::new`] has the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReaderSettings {
    /// What the broker's logs and quotas know the client by.
    pub client_id: String,
    /// Upper bound of what is fetched ahead, over all partitions, in KiB. It is most of the memory this client
    /// uses. Default: 4 096.
    pub queued_max_kbytes: u32,
    /// How many records per partition are fetched ahead. Default: 10 000.
    pub queued_min_messages: u32,
}

impl LogReaderSettings {
    /// The defaults.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self { client_id: client_id.into(), queued_max_kbytes: 4_096, queued_min_messages: 10_000 }
    }

    fn client_config(&self, connection: &Connection) -> ClientConfig {
        let mut config = connection.client_config(&self.client_id);
        config
            // Never joined: partitions are assigned by hand and nothing is committed.
            .set("group.id", "acequia-read")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set("queued.max.messages.kbytes", self.queued_max_kbytes.to_string())
            .set("queued.min.messages", self.queued_min_messages.to_string())
            .set("fetch.queue.backoff.ms", "10");
        config
    }
}

/// Reads committed records of partitions that its owner chooses, and goes on as they grow. Owned by one thread.
pub struct LogReader {
    queue: Queue,
    client: Arc<Client>,
    address: String,
    names: TopicNames,
    followed: BTreeMap<TopicPartition, Followed>,
    buffer: Vec<*mut rd::rd_kafka_message_t>,
    last_outage: Option<String>,
}

// SAFETY: the buffer's pointers are only there while `poll` runs; everything else may move between threads.
unsafe impl Send for LogReader {}

impl Drop for LogReader {
    fn drop(&mut self) {
        // The library's orderly end, rather than destroying a client in the middle of a fetch. It has joined no group,
        // so this waits for nobody.
        let held: Vec<_> = self.followed.keys().cloned().collect();
        let unfollowed = self.unfollow(&held);
        let Some(closing) = Queue::new(&self.client) else { return };
        let closed = super::closing::close(&self.client, &closing, &mut self.buffer, CLOSE_DEADLINE);
        if let Err(error) = unfollowed.and(closed) {
            tracing::debug!(%error, "a reader's end");
        }
    }
}

/// A partition that is being read.
struct Followed {
    /// Offset of the next record to hand over, or lower.
    next_offset: i64,
    /// Where the last error among the records was; it may have moved the library's position by one too far.
    error_at: Option<i64>,
    /// The library's position when this was followed, which it may not have forgotten yet.
    stale: Option<i64>,
}

impl Followed {
    /// Whether the library's position tells how far this was read. One beyond an error is what the error made of it,
    /// or a marker in its place: not to be told apart. What isn't certain the next end tells.
    fn is_certain(&self, offset: i64) -> bool {
        self.stale != Some(offset) && self.error_at.is_none_or(|error| offset != error + 1)
    }
}

/// What a poll of a [`LogReader`] found.
#[derive(Debug, Default)]
pub struct LogPolled {
    /// Records of partitions that are followed, each partition's offsets rising from poll to poll.
    pub records: Records,
    /// What else happened. A partition with [`Fault::OutOfRange`] stands still until [`LogReader::follow`].
    pub faults: Vec<Fault>,
}

impl LogReader {
    /// Starts a client with the default settings. Returns at once; whether a broker answers shows in
    /// [`Self::poll`].
    pub fn connect(connection: &Connection, client_id: &str) -> Result<Self> {
        Self::connect_with(connection, &LogReaderSettings::new(client_id))
    }

    /// As [`Self::connect`], with settings of one's own.
    pub fn connect_with(connection: &Connection, settings: &LogReaderSettings) -> Result<Self> {
        let client = Client::new(Kind::Consumer, connection, &settings.client_config(connection))?;
        let call = client.call("start a reader");
        let queue = Queue::of_consumer(&client).ok_or_else(|| call.invalid("the client has no queue"))?;
        Ok(Self {
            queue,
            client,
            address: connection.bootstrap_servers.clone(),
            names: TopicNames::default(),
            followed: BTreeMap::new(),
            buffer: Vec::new(),
            last_outage: None,
        })
    }

    /// Reads these partitions from absolute offsets on, beside those that are followed already. One that is followed
    /// goes on from the offset given here.
    pub fn follow(&mut self, at: &[Position]) -> Result<()> {
        let call = "follow partitions";
        if at.is_empty() {
            return Ok(());
        }
        let partitions: Vec<_> = at.iter().map(Position::topic_partition).collect();
        self.unfollow(&partitions)?;
        let before = library_positions(&self.client, partitions.iter())?;
        let elements = at.iter().map(|p| (&*p.topic, p.partition, p.offset));
        let list = PartitionList::of(self.client.call(call), elements)?;
        // SAFETY: client and list are alive; the list is copied and the returned error is ours.
        unsafe {
            let error = rd::rd_kafka_incremental_assign(self.client.as_ptr(), list.as_ptr());
            self.client.check_object(call, error)?;
        }
        for (position, stale) in at.iter().zip(before) {
            let followed = Followed { next_offset: position.offset, error_at: None, stale: Some(stale) };
            self.followed.insert(position.topic_partition(), followed);
        }
        Ok(())
    }

    /// Stops reading partitions. Those that aren't followed are passed over.
    pub fn unfollow(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let call = "stop following partitions";
        let held: Vec<_> = partitions.iter().filter(|p| self.followed.contains_key(*p)).collect();
        if held.is_empty() {
            return Ok(());
        }
        let elements = held.iter().map(|p| (&*p.topic, p.partition, 0));
        let list = PartitionList::of(self.client.call(call), elements)?;
        // SAFETY: client and list are alive; the list is copied and the returned error is ours.
        unsafe {
            let error = rd::rd_kafka_incremental_unassign(self.client.as_ptr(), list.as_ptr());
            self.client.check_object(call, error)?;
        }
        for partition in held {
            self.followed.remove(partition);
        }
        Ok(())
    }

    /// Waits at most `timeout` for a record or a fault, then returns what is there, at most `max_records` records.
    ///
    /// Transaction markers don't end the wait, so poll with a short timeout where [`Self::has_reached`] is asked.
    pub fn poll(&mut self, max_records: usize, timeout: Duration) -> LogPolled {
        let mut buffer = std::mem::take(&mut self.buffer);
        let (mut batches, mut faults, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for message in fetch(&self.queue, &mut buffer, max_records, timeout) {
            match message.error() {
                code::NONE => sort_in(&mut batches, message, &mut self.names, &self.client),
                code::PARTITION_EOF => ends.extend(self.error_at(&message)),
                // The group that the library asks for is never used.
                code::GROUP_AUTHORIZATION_FAILED => {}
                _ => {
                    self.error_at(&message);
                    faults.extend(self.fault(&message));
                }
            }
        }
        self.buffer = buffer;
        let records = Records::new(batches.into_iter().filter_map(|batch| self.accept(batch)).collect());
        for end in ends {
            // After its records, which were fetched before it.
            if let Some(followed) = self.followed.get_mut(&end.topic_partition()) {
                followed.next_offset = followed.next_offset.max(end.offset);
            }
        }
        let mut reports = self.client.inbox().take_reports();
        reports.retain(|report| report.code != code::GROUP_AUTHORIZATION_FAILED);
        let fatal = self.client.fatal_error();
        faults.extend(fault::of_reports(&self.address, reports, fatal.as_ref(), &mut self.last_outage));
        LogPolled { records, faults }
    }

    /// How far each partition was read by the polls so far: the offset of the next record, or of the first entry that
    /// isn't committed yet. It is beyond transaction markers, which no record's offset is.
    pub fn positions(&self) -> Vec<Position> {
        let library = library_positions(&self.client, self.followed.keys()).unwrap_or_default();
        let read = |(index, (at, followed)): (usize, (&TopicPartition, &Followed))| {
            let beyond = library.get(index).copied().filter(|offset| followed.is_certain(*offset));
            position(at, followed.next_offset.max(beyond.unwrap_or_default()))
        };
        self.followed.iter().enumerate().map(read).collect()
    }

    /// Whether the polls so far handed over everything before these ends, as [`crate::log::extent`] tells them. An
    /// end in a partition that isn't followed is never reached.
    pub fn has_reached(&self, ends: &[Position]) -> bool {
        let by_records = |end: &Position| {
            self.followed.get(&end.topic_partition()).is_some_and(|f| f.next_offset >= end.offset)
        };
        if ends.iter().all(by_records) {
            return true;
        }
        let reached: BTreeMap<_, _> =
            self.positions().into_iter().map(|p| (p.topic_partition(), p.offset)).collect();
        ends.iter().all(|end| reached.get(&end.topic_partition()).is_some_and(|offset| *offset >= end.offset))
    }

    fn accept(&mut self, batch: Sorted) -> Option<PartitionRecords> {
        let mut records = batch.records;
        let partition = TopicPartition { topic: records.topic().clone(), partition: records.partition() };
        let followed = self.followed.get_mut(&partition)?;
        records.drop_before(followed.next_offset);
        followed.next_offset = records.next_offset()?;
        Some(records)
    }

    /// Notes where an error was.
    fn error_at(&mut self, message: &Fetched) -> Option<Position> {
        let topic = self.names.of(message.topic_name()?);
        let at = Position { topic, partition: message.partition(), offset: message.offset() };
        let followed = self.followed.get_mut(&at.topic_partition())?;
        followed.error_at = followed.error_at.max(Some(at.offset));
        Some(at)
    }

    fn fault(&mut self, message: &Fetched) -> Option<Fault> {
        let topic = message.topic_name().map(|name| self.names.of(name));
        let reason = self.client.inbox().redactor().redact(&message.error_reason());
        let fatal = self.client.fatal_error();
        fault::of_message(&self.address, message.error(), topic, message.partition(), &reason, fatal.as_ref())
    }
}
