//! Taking messages off the consumer's queue.

use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as rd;

use crate::error::code;
use crate::native::{Queue, millis, text};

/// A message as it came: a record, or an error among the records. Freed on drop unless it is taken.
pub(super) struct Fetched(NonNull<rd::rd_kafka_message_t>);

impl Fetched {
    /// The error's code, or 0 for a record.
    pub fn error(&self) -> i32 {
        // SAFETY: the message is valid. The field is read as a number, since it may be one that the bindings' enum
        // doesn't have.
        unsafe { (&raw const (*self.0.as_ptr()).err).cast::<i32>().read() }
    }

    /// The error's text.
    pub fn error_reason(&self) -> String {
        debug_assert_ne!(self.error(), code::NONE);
        // SAFETY: the message is valid and has an error, so its text ends with a zero byte.
        unsafe { text::owned(rd::rd_kafka_message_errstr(self.0.as_ptr())) }
    }

    /// Stands for the topic as long as any message of the batch is alive.
    pub fn topic_handle(&self) -> *mut rd::rd_kafka_topic_t {
        // SAFETY: the message is valid.
        unsafe { (*self.0.as_ptr()).rkt }
    }

    /// The topic's name; an error may have none.
    pub fn topic_name(&self) -> Option<String> {
        let handle = self.topic_handle();
        // SAFETY: a message keeps its topic alive.
        (!handle.is_null()).then(|| unsafe { text::owned(rd::rd_kafka_topic_name(handle)) })
    }

    pub fn partition(&self) -> i32 {
        // SAFETY: the message is valid.
        unsafe { (*self.0.as_ptr()).partition }
    }

    /// Where in the log the record is, or the error happened.
    pub fn offset(&self) -> i64 {
        // SAFETY: the message is valid.
        unsafe { (*self.0.as_ptr()).offset }
    }

    /// Gives the message to someone who frees it.
    pub fn take(self) -> NonNull<rd::rd_kafka_message_t> {
        let message = self.0;
        std::mem::forget(self);
        message
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        // SAFETY: the message belongs to this value.
        unsafe { rd::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// Waits for the first message at most `timeout`, then takes what is there, up to `max`, without waiting more.
///
/// Callbacks run in here, on this thread.
pub(super) fn fetch<'a>(
    queue: &Queue,
    buffer: &'a mut Vec<*mut rd::rd_kafka_message_t>,
    max: usize,
    timeout: Duration,
) -> impl Iterator<Item = Fetched> + use<'a> {
    buffer.clear();
    buffer.resize(max, ptr::null_mut());
    // One call would wait until the whole buffer is full or the time is over.
    let mut count = take(queue, &mut buffer[..max.min(1)], timeout);
    if count == 1 {
        count += take(queue, &mut buffer[1..], Duration::ZERO);
    }
    buffer.truncate(count);
    buffer.drain(..).filter_map(NonNull::new).map(Fetched)
}

fn take(queue: &Queue, room: &mut [*mut rd::rd_kafka_message_t], timeout: Duration) -> usize {
    if room.is_empty() {
        return 0;
    }
    // SAFETY: the queue and its client are alive; the room is as long as stated, and each message written to it
    // belongs to us from then on.
    let count = unsafe {
        rd::rd_kafka_consume_batch_queue(queue.as_ptr(), millis(timeout), room.as_mut_ptr(), room.len())
    };
    usize::try_from(count).unwrap_or(0)
}
