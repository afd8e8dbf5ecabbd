//! A record of a topic, as the steps see it: borrowed from the batch it came in.

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'r> {
    /// Name of the topic.
    pub topic: &'r str,
    /// The partition.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The record's own time, in milliseconds since 1970 (UTC).
    pub timestamp_ms: i64,
    /// The time that `now` stands for in expressions, in milliseconds since 1970 (UTC): when the batch was read.
    pub now_ms: i64,
    /// The key, if it has one.
    pub key: Option<&'r [u8]>,
    /// The value. A record without one (a tombstone) has nothing to decode: skip it before.
    pub value: &'r [u8],
}
