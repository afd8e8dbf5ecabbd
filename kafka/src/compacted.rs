//! A compacted topic as a map of each key's latest value.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::admin::{Admin, OffsetOf, Topic};
use crate::connection::Connection;
use crate::consumer::{LogReader, LogReaderSettings, Position};
use crate::error::{Call, Result, code};
use crate::log::{self, Extent};
use crate::producer::{Producer, ProducerSettings};
use crate::topic_id::TopicId;

/// One that has read nothing for longer begins anew: a tombstone may be gone by then, and so what it says. Kafka keeps
/// them for a day (`delete.retention.ms`).
const GOES_ON_WITHIN: Duration = Duration::from_hours(12);

/// What a [`Follower`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latest<'a> {
    /// The topic is read from its start, or isn't there: what was told before is void.
    Anew,
    /// A key has this value now.
    Value(&'a [u8], &'a [u8]),
    /// A key has none any more.
    Tombstone(&'a [u8]),
}

/// Follows a compacted topic: reads it whole once, and from then on only what is new. Records without a key are passed
/// over.
pub struct Follower {
    topic: String,
    followed: Option<Followed>,
}

struct Followed {
    id: TopicId,
    reader: LogReader,
    read_at: Instant,
}

impl Follower {
    /// Nothing is asked yet.
    pub fn new(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), followed: None }
    }

    /// Tells what was written since the last call, up to the end that the topic has when this call is made. False: there
    /// is no such topic.
    ///
    /// # Errors
    /// The end wasn't reached within `deadline`. Some of it may have been told; the next call begins anew.
    pub fn catch_up(
        &mut self,
        connection: &Connection,
        admin: &Admin,
        deadline: Duration,
        mut tell: impl FnMut(Latest<'_>),
    ) -> Result<bool> {
        let started = Instant::now();
        let left = || log::left(started, deadline);
        let Some(topic) =
            admin.describe_topics(std::slice::from_ref(&self.topic), deadline)?.remove(&self.topic)
        else {
            self.followed = None;
            tell(Latest::Anew);
            return Ok(false);
        };
        let partitions: Vec<i32> = topic.partitions.iter().map(|partition| partition.id).collect();
        let extent = log::extent_of(admin, &self.topic, &partitions, OffsetOf::LatestCommitted, left())?;
        let call = Call { name: log::CALL, address: &connection.bootstrap_servers };
        if let Some(mut before) = self.followed.take().filter(|before| before.goes_on(&topic, &extent)) {
            match before.read_to(&extent, (started, deadline), call, &mut tell) {
                Ok(()) => {
                    self.followed = Some(before);
                    return Ok(true);
                }
                // What its client met while nobody asked may be over.
                Err(error) => tracing::debug!(%error, topic = self.topic, "it is read anew"),
            }
        }
        tell(Latest::Anew);
        let reader = LogReader::connect_with(connection, &LogReaderSettings::new("acequia-follow"))?;
        let mut followed = Followed { id: topic.id, reader, read_at: started };
        followed.reader.follow(&extent.starts)?;
        followed.read_to(&extent, (started, deadline), call, &mut tell)?;
        self.followed = Some(followed);
        Ok(true)
    }
}

impl Followed {
    /// What comes next continues what was read.
    fn goes_on(&self, topic: &Topic, extent: &Extent) -> bool {
        let read = self.reader.positions();
        // A log that ends before has lost what was read.
        let is_behind = |end: &Position| {
            read.iter().any(|position| position.partition == end.partition && position.offset <= end.offset)
        };
        self.id == topic.id
            && self.read_at.elapsed() < GOES_ON_WITHIN
            && read.len() == extent.ends.len()
            && extent.ends.iter().all(is_behind)
    }

    fn read_to(
        &mut self,
        extent: &Extent,
        (started, deadline): (Instant, Duration),
        call: Call<'_>,
        tell: &mut impl FnMut(Latest<'_>),
    ) -> Result<()> {
        log::read_to(&mut self.reader, &extent.ends, (started, deadline), call, |record| {
            match (record.key, record.value) {
                (Some(key), Some(value)) => tell(Latest::Value(key, value)),
                (Some(key), None) => tell(Latest::Tombstone(key)),
                (None, _) => {}
            }
        })?;
        self.read_at = started;
        Ok(())
    }
}

/// Reads a topic to the end it has when the call is made: the latest value of each key, without those whose latest
/// is a tombstone. Records without a key are passed over.
///
/// # Errors
/// The topic doesn't exist, or its end wasn't reached within `deadline`.
pub fn read_all(
    connection: &Connection,
    topic: &str,
    deadline: Duration,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut latest = BTreeMap::new();
    let admin = Admin::connect(connection, "acequia-read")?;
    let exists = Follower::new(topic).catch_up(connection, &admin, deadline, |told| match told {
        Latest::Anew => latest.clear(),
        Latest::Value(key, value) => {
            latest.insert(key.to_vec(), value.to_vec());
        }
        Latest::Tombstone(key) => {
            latest.remove(key);
        }
    })?;
    if exists {
        return Ok(latest);
    }
    let call = Call { name: log::CALL, address: &connection.bootstrap_servers };
    Err(call.failed(code::UNKNOWN_TOPIC_OR_PART, format!("topic {topic} doesn't exist")))
}

/// Writes keys and their new values (`None`: a tombstone), acknowledged by all replicas in sync when it returns.
///
/// # Errors
/// The first record that wasn't delivered; others may have been. Writing the same again is safe.
pub fn write(
    connection: &Connection,
    topic: &str,
    entries: &[(Vec<u8>, Option<Vec<u8>>)],
    deadline: Duration,
) -> Result<()> {
    let mut settings = ProducerSettings::new("acequia-write");
    settings.linger_ms = 0;
    settings.delivery_timeout_ms =
        u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX).clamp(1_000, 120_000);
    let producer = Producer::connect(connection, &settings)?;
    for (key, value) in entries {
        producer.send(topic, None, Some(key), value.as_deref())?;
    }
    producer.flush(deadline)
}
