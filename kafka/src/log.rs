//! A topic's log from its start to an end: as a list of records, for those who check what was written, or record by
//! record, for those who restore from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admin::{Admin, OffsetOf};
use crate::connection::Connection;
use crate::consumer::{Fault, LogReader, LogReaderSettings, Position, Record};
use crate::error::{Call, Result, code};

/// Records taken at once.
const POLL_RECORDS: usize = 20_000;

/// How long a poll may wait: the end may be a transaction marker, which ends no wait.
const POLL_WAIT: Duration = Duration::from_millis(20);

pub(crate) const CALL: &str = "read a topic to its end";

/// A record, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The partition's number.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The key; `None` is no key.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since 1970 UTC.
    pub timestamp_ms: Option<i64>,
}

/// Where partitions start and end, each end once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The oldest record of each partition: for [`LogReader::follow`].
    pub starts: Vec<Position>,
    /// After the newest, in the order of `starts`: for [`LogReader::has_reached`].
    pub ends: Vec<Position>,
}

/// What [`read_partition`] has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionEnd {
    /// Offset of the oldest record, or the end if there is none.
    pub start: i64,
    /// The end of the log when the call was made: where to go on reading.
    pub end: i64,
    /// How many records there were in between. Markers, aborted transactions and compaction make it less than
    /// `end - start`.
    pub records: u64,
}

/// Where the partitions of a topic start and end at present. With [`OffsetOf::Latest`] what open transactions wrote
/// is before the end; with [`OffsetOf::LatestCommitted`] the oldest open transaction is the end.
///
/// # Errors
/// Also when the topic doesn't exist.
pub fn extent(connection: &Connection, topic: &str, end: OffsetOf, deadline: Duration) -> Result<Extent> {
    let started = Instant::now();
    let call = Call { name: CALL, address: &connection.bootstrap_servers };
    let admin = Admin::connect(connection, "acequia-read")?;
    let Some(found) = admin.describe_topics(&[topic.to_owned()], deadline)?.remove(topic) else {
        return Err(call.failed(code::UNKNOWN_TOPIC_OR_PART, format!("topic {topic} doesn't exist")));
    };
    let partitions: Vec<_> = found.partitions.iter().map(|partition| partition.id).collect();
    extent_of(&admin, topic, &partitions, end, left(started, deadline))
}

/// Reads every committed record of a topic from its start to the end it has when the call is made, in the order of
/// partition and offset. Transactions that are open then aren't waited for.
///
/// # Errors
/// The topic doesn't exist, or its end wasn't reached within `deadline`.
pub fn read_range(connection: &Connection, topic: &str, deadline: Duration) -> Result<Vec<OwnedRecord>> {
    let mut records = Vec::new();
    read_each(connection, topic, deadline, |record| {
        records.push(OwnedRecord {
            partition: record.partition,
            offset: record.offset,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            timestamp_ms: record.timestamp_ms(),
        });
    })?;
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// Calls `each` for every committed record of a partition, from its start to the high watermark that it has when the
/// call is made, in the order of offsets.
///
/// Transactions that are open below that end are waited for: what they commit is read, what they abort isn't. So a
/// log that is restored from misses nothing that is committed meanwhile. A partition without records returns at once.
///
/// # Errors
/// The partition doesn't exist, or its end wasn't reached within `deadline` (a transaction may have stayed open);
/// `each` may have been called by then.
pub fn read_partition(
    connection: &Connection,
    topic: &str,
    partition: i32,
    deadline: Duration,
    mut each: impl FnMut(Record<'_>),
) -> Result<PartitionEnd> {
    let started = Instant::now();
    let admin = Admin::connect(connection, "acequia-read")?;
    let extent = extent_of(&admin, topic, &[partition], OffsetOf::Latest, deadline)?;
    let first = |of: &[Position]| of.first().map_or(0, |position| position.offset);
    let mut end = PartitionEnd { start: first(&extent.starts), end: first(&extent.ends), records: 0 };
    read_extent(connection, &extent, (started, deadline), |record| {
        end.records += 1;
        each(record);
    })?;
    Ok(end)
}

/// Calls `each` for every committed record from the topic's start to its present end; in order within a partition.
pub(crate) fn read_each(
    connection: &Connection,
    topic: &str,
    deadline: Duration,
    each: impl FnMut(Record<'_>),
) -> Result<()> {
    let started = Instant::now();
    let extent = extent(connection, topic, OffsetOf::LatestCommitted, deadline)?;
    read_extent(connection, &extent, (started, deadline), each)
}

/// What the calls before have left of a deadline, but always enough for a broker that answers.
pub(crate) fn left(started: Instant, deadline: Duration) -> Duration {
    deadline.saturating_sub(started.elapsed()).max(Duration::from_secs(1))
}

/// [`extent`] of partitions that are known.
pub(crate) fn extent_of(
    admin: &Admin,
    topic: &str,
    partitions: &[i32],
    end: OffsetOf,
    deadline: Duration,
) -> Result<Extent> {
    let started = Instant::now();
    let partitions: Vec<_> = partitions.iter().map(|partition| (topic.to_owned(), *partition)).collect();
    let ends = admin.offsets(&partitions, end, deadline)?;
    // After the ends, so that what retention deletes meanwhile isn't looked for.
    let starts = admin.offsets(&partitions, OffsetOf::Earliest, left(started, deadline))?;
    let topic: Arc<str> = Arc::from(topic);
    let positions = |offsets: &BTreeMap<(String, i32), i64>| {
        let at = |((_, partition), offset): (&(String, i32), &i64)| Position {
            topic: topic.clone(),
            partition: *partition,
            offset: *offset,
        };
        offsets.iter().map(at).collect()
    };
    Ok(Extent { starts: positions(&starts), ends: positions(&ends) })
}

fn read_extent(
    connection: &Connection,
    extent: &Extent,
    (started, deadline): (Instant, Duration),
    mut each: impl FnMut(Record<'_>),
) -> Result<()> {
    let call = Call { name: CALL, address: &connection.bootstrap_servers };
    let holds_something = |(start, end): &(&Position, &Position)| start.offset < end.offset;
    let (starts, ends): (Vec<_>, Vec<_>) = extent
        .starts
        .iter()
        .zip(&extent.ends)
        .filter(holds_something)
        .map(|(s, e)| (s.clone(), e.clone()))
        .unzip();
    if ends.is_empty() {
        return Ok(());
    }
    let mut settings = LogReaderSettings::new("acequia-read");
    settings.queued_max_kbytes = 16_384;
    let mut reader = LogReader::connect_with(connection, &settings)?;
    reader.follow(&starts)?;
    let ends_by_partition: BTreeMap<_, _> = ends.iter().map(|end| (end.partition, end.offset)).collect();
    let within = |record: &Record<'_>| {
        // What was written after the end was asked for isn't part of the answer.
        ends_by_partition.get(&record.partition).is_some_and(|end| record.offset < *end)
    };
    read_to(&mut reader, &ends, (started, deadline), call, |record| {
        if within(&record) {
            each(record);
        }
    })
}

/// Lets `reader` go on until it has reached `ends`; what it hands over beyond them is told too.
pub(crate) fn read_to(
    reader: &mut LogReader,
    ends: &[Position],
    (started, deadline): (Instant, Duration),
    call: Call<'_>,
    mut each: impl FnMut(Record<'_>),
) -> Result<()> {
    let mut last_fault = None;
    while !reader.has_reached(ends) {
        let left = deadline.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(call.timed_out(deadline, why_late(reader, ends, last_fault)));
        }
        let polled = reader.poll(POLL_RECORDS, left.min(POLL_WAIT));
        for batch in polled.records.by_partition() {
            batch.iter().for_each(&mut each);
        }
        for fault in polled.faults {
            last_fault = Some(heals(call, fault)?);
        }
    }
    Ok(())
}

fn why_late(reader: &LogReader, ends: &[Position], last_fault: Option<String>) -> String {
    let read: BTreeMap<_, _> = reader.positions().into_iter().map(|p| (p.partition, p.offset)).collect();
    let at = |end: &Position| read.get(&end.partition).copied().unwrap_or_default();
    let left: Vec<_> = ends
        .iter()
        .filter(|end| at(end) < end.offset)
        .map(|end| format!("{} [{}] was read to {} of {}", end.topic, end.partition, at(end), end.offset))
        .collect();
    let why = last_fault.unwrap_or_else(|| "a transaction may still be open there".to_owned());
    format!("{}: {why}", left.join(", "))
}

/// What a fault says that goes away by itself; any other is an error.
fn heals(call: Call<'_>, fault: Fault) -> Result<String> {
    let error = match fault {
        Fault::Unreachable(error) => return Ok(error.to_string()),
        Fault::Denied(error) | Fault::Fenced(error) | Fault::Commit(error) | Fault::Other(error) => error,
        Fault::MaxPollExceeded => return Ok("polled too late".to_owned()),
        Fault::CommitLost => return Ok("a commit was lost".to_owned()),
        Fault::UnknownTopic { topic } => {
            call.failed(code::UNKNOWN_TOPIC_OR_PART, format!("topic {topic} doesn't exist"))
        }
        Fault::OutOfRange { topic, partition } => {
            let reason = format!("{topic} [{partition}]: retention deleted what was to be read");
            call.failed(code::OFFSET_OUT_OF_RANGE, reason)
        }
    };
    if error.is_transient() { Ok(error.to_string()) } else { Err(error) }
}
