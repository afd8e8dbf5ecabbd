//! A topic's log as a list of records, for those who check what was written.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as Native;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::admin::{Admin, OffsetOf};
use crate::connection::Connection;
use crate::error::{Call, KafkaError, Result, code};
use crate::native::logs::RedactedLogs;

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

/// Reads every committed record of a topic from its start to the end it has when the call is made, in the order of
/// partition and offset.
///
/// # Errors
/// The topic doesn't exist, or its end wasn't reached within `deadline`.
pub fn read_range(connection: &Connection, topic: &str, deadline: Duration) -> Result<Vec<OwnedRecord>> {
    let mut records = Vec::new();
    read_each(connection, topic, deadline, |message| {
        records.push(OwnedRecord {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            timestamp_ms: message.timestamp().to_millis(),
        });
    })?;
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// Calls `each` for every committed record from the topic's start to its present end; in order within a partition.
pub(crate) fn read_each(
    connection: &Connection,
    topic: &str,
    deadline: Duration,
    mut each: impl FnMut(&BorrowedMessage<'_>),
) -> Result<()> {
    let started = Instant::now();
    let left = || deadline.saturating_sub(started.elapsed());
    let call = Call { name: "read a topic to its end", address: &connection.bootstrap_servers };
    let admin = Admin::connect(connection, "acequia-read")?;
    let names = [topic.to_owned()];
    let Some(found) = admin.describe_topics(&names, left())?.remove(topic) else {
        return Err(call.failed(code::UNKNOWN_TOPIC_OR_PART, format!("topic {topic} doesn't exist")));
    };
    let partitions: Vec<_> =
        found.partitions.iter().map(|partition| (topic.to_owned(), partition.id)).collect();
    let starts = admin.offsets(&partitions, OffsetOf::Earliest, left())?;
    let mut ends = admin.offsets(&partitions, OffsetOf::LatestCommitted, left())?;
    ends.retain(|partition, end| starts.get(partition).is_some_and(|start| start < end));
    let consumer = consumer_at(connection, call, &starts, &ends)?;
    while !ends.is_empty() {
        if left().is_zero() {
            return Err(call.timed_out(deadline, format!("{} partitions of {topic} are left", ends.len())));
        }
        match consumer.poll(left().min(Duration::from_millis(100))) {
            Some(Ok(message)) => {
                let partition = (topic.to_owned(), message.partition());
                let Some(end) = ends.get(&partition).copied() else { continue };
                // What was written after the end was asked for isn't part of the answer.
                if message.offset() < end {
                    each(&message);
                }
                if message.offset() + 1 >= end {
                    ends.remove(&partition);
                }
            }
            // The last offsets may be markers of transactions, or compacted away: then only this tells.
            Some(Err(Native::PartitionEOF(partition))) => {
                ends.remove(&(topic.to_owned(), partition));
            }
            Some(Err(error)) => match native(connection, call, &error) {
                error if error.is_transient() => {}
                error => return Err(error),
            },
            None => {}
        }
    }
    Ok(())
}

fn consumer_at(
    connection: &Connection,
    call: Call<'_>,
    starts: &BTreeMap<(String, i32), i64>,
    ends: &BTreeMap<(String, i32), i64>,
) -> Result<BaseConsumer<RedactedLogs>> {
    let mut config: ClientConfig = connection.client_config("acequia-read");
    let consumer: BaseConsumer<_> = config
        // Never joined: partitions are assigned by hand and nothing is committed.
        .set("group.id", "acequia-read")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "10")
        .create_with_context(RedactedLogs::new(connection.redactor()))
        .map_err(|error| native(connection, call, &error))?;
    let mut list = TopicPartitionList::new();
    for partition in ends.keys() {
        let start = starts.get(partition).copied().unwrap_or(0);
        list.add_partition_offset(&partition.0, partition.1, Offset::Offset(start))
            .map_err(|error| native(connection, call, &error))?;
    }
    consumer.assign(&list).map_err(|error| native(connection, call, &error))?;
    Ok(consumer)
}

fn native(connection: &Connection, call: Call<'_>, error: &Native) -> KafkaError {
    let reason = connection.redactor().redact(&error.to_string());
    match error.rdkafka_error_code() {
        Some(code) => call.failed(code as i32, reason),
        None => call.config(reason),
    }
}
