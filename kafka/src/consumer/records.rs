//! Records as librdkafka fetched them, owned and freed once.

use std::fmt;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use rdkafka::bindings as rd;

use crate::native::Client;

/// The records of one poll, grouped by partition. May be moved to another thread; freed on drop.
#[derive(Debug, Default)]
pub struct Records {
    partitions: Vec<PartitionRecords>,
}

/// Records of one partition, in the order of their offsets.
pub struct PartitionRecords {
    topic: Arc<str>,
    partition: i32,
    // Each message belongs to this value and is destroyed once, in `drop`.
    messages: Vec<NonNull<rd::rd_kafka_message_t>>,
    payload_bytes: usize,
    // Messages point into their client, so it must outlive them; fields are dropped after `drop` has run.
    _client: Arc<Client>,
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// The topic's name.
    pub topic: &'a Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The key; `None` is no key, which differs from an empty one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    message: &'a NonNull<rd::rd_kafka_message_t>,
}

impl Records {
    pub(super) fn new(partitions: Vec<PartitionRecords>) -> Self {
        Self { partitions }
    }

    /// Whether the poll brought nothing.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.partitions.iter().map(PartitionRecords::len).sum()
    }

    /// Bytes of all keys and values.
    pub fn payload_bytes(&self) -> usize {
        self.partitions.iter().map(PartitionRecords::payload_bytes).sum()
    }

    /// All records, partition after partition.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.partitions.iter().flat_map(PartitionRecords::iter)
    }

    /// The batches, none of them empty and no partition twice.
    pub fn by_partition(&self) -> &[PartitionRecords] {
        &self.partitions
    }

    /// The batches as values of their own, so that each can go to another thread.
    pub fn into_partitions(self) -> Vec<PartitionRecords> {
        self.partitions
    }
}

// SAFETY: librdkafka's messages may be read and destroyed by any thread; this value owns its messages alone.
unsafe impl Send for PartitionRecords {}

// SAFETY: shared references only read what librdkafka no longer touches.
unsafe impl Sync for PartitionRecords {}

impl PartitionRecords {
    pub(super) fn new(topic: Arc<str>, partition: i32, client: Arc<Client>) -> Self {
        Self { topic, partition, messages: Vec::new(), payload_bytes: 0, _client: client }
    }

    /// # Safety
    /// `message` is a fetched message without an error, of this partition and this client, and belongs to the
    /// caller, who gives it up.
    pub(super) unsafe fn push(&mut self, message: NonNull<rd::rd_kafka_message_t>) {
        // SAFETY: the message is valid as the caller promises.
        self.payload_bytes += unsafe { (*message.as_ptr()).len + (*message.as_ptr()).key_len };
        self.messages.push(message);
    }

    /// Frees the records before `offset`.
    pub(super) fn drop_before(&mut self, offset: i64) {
        let keep_from = self.messages.partition_point(|message| offset_of(*message) < offset);
        for message in self.messages.drain(..keep_from) {
            // SAFETY: the message is ours; it has left the vector, so nobody frees it again.
            unsafe {
                self.payload_bytes -= (*message.as_ptr()).len + (*message.as_ptr()).key_len;
                rd::rd_kafka_message_destroy(message.as_ptr());
            }
        }
    }

    /// The topic's name.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The partition's number.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is no record; never so in what a poll hands over.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Offset of the first record.
    pub fn first_offset(&self) -> Option<i64> {
        self.messages.first().copied().map(offset_of)
    }

    /// Offset after the last record: where the next batch starts, or later.
    pub fn next_offset(&self) -> Option<i64> {
        self.messages.last().copied().map(|message| offset_of(message) + 1)
    }

    /// The records in the order of their offsets.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Record<'_>> + DoubleEndedIterator {
        self.messages.iter().map(|message| self.record(message))
    }

    /// The record at a place in the batch.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        self.messages.get(index).map(|message| self.record(message))
    }

    fn record<'a>(&'a self, message: &'a NonNull<rd::rd_kafka_message_t>) -> Record<'a> {
        let native = message.as_ptr();
        // SAFETY: the message is valid as long as `self`, which the record borrows; fields are read one by one,
        // since the error field may hold a number the bindings' enum doesn't have.
        unsafe {
            Record {
                topic: &self.topic,
                partition: self.partition,
                offset: (*native).offset,
                key: bytes((*native).key, (*native).key_len),
                value: bytes((*native).payload, (*native).len),
                message,
            }
        }
    }
}

impl Drop for PartitionRecords {
    fn drop(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: the message is ours and has left the vector; its client is alive until after this function.
            unsafe { rd::rd_kafka_message_destroy(message.as_ptr()) }
        }
    }
}

impl fmt::Debug for PartitionRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionRecords")
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("first_offset", &self.first_offset())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl Record<'_> {
    /// The record's time, in milliseconds since 1970 UTC: when its producer made it, or, if the topic says
    /// `message.timestamp.type=LogAppendTime`, when the broker appended it. [`Self::append_time_ms`] tells which.
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.timestamp().0
    }

    /// When the broker appended the record, in milliseconds since 1970 UTC by the broker's clock; `None` unless the
    /// topic says `message.timestamp.type=LogAppendTime`. All records of one request have the same.
    pub fn append_time_ms(&self) -> Option<i64> {
        let (timestamp_ms, kind) = self.timestamp();
        timestamp_ms.filter(|_| kind == rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME)
    }

    fn timestamp(&self) -> (Option<i64>, rd::rd_kafka_timestamp_type_t) {
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is valid as long as the batch that this record borrows.
        let timestamp_ms = unsafe { rd::rd_kafka_message_timestamp(self.message.as_ptr(), &raw mut kind) };
        ((timestamp_ms >= 0).then_some(timestamp_ms), kind)
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("topic", self.topic)
            .field("partition", &self.partition)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

fn offset_of(message: NonNull<rd::rd_kafka_message_t>) -> i64 {
    // SAFETY: only called for messages of a batch that is alive.
    unsafe { (*message.as_ptr()).offset }
}

/// # Safety
/// `start` is null or points to `length` bytes that live and don't change for `'a`.
unsafe fn bytes<'a>(start: *const std::ffi::c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast::<u8>(), length) })
}
