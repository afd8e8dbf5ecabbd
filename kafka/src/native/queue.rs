//! A librdkafka queue that keeps its client alive.

use std::ptr::NonNull;
use std::sync::Arc;

use rdkafka::bindings as rd;

use super::Client;

/// Destroyed before its client.
pub(crate) struct Queue {
    queue: NonNull<rd::rd_kafka_queue_t>,
    _client: Arc<Client>,
}

// SAFETY: librdkafka's queues lock themselves; any thread may use or destroy them.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// A queue of its own.
    pub fn new(client: &Arc<Client>) -> Option<Self> {
        // SAFETY: the client is alive; the new reference belongs to this value.
        let queue = unsafe { rd::rd_kafka_queue_new(client.as_ptr()) };
        NonNull::new(queue).map(|queue| Self { queue, _client: client.clone() })
    }

    /// The queue on which a consumer's records and callbacks arrive.
    pub fn of_consumer(client: &Arc<Client>) -> Option<Self> {
        // SAFETY: the client is alive; the call takes a reference that belongs to this value.
        let queue = unsafe { rd::rd_kafka_queue_get_consumer(client.as_ptr()) };
        NonNull::new(queue).map(|queue| Self { queue, _client: client.clone() })
    }

    pub fn as_ptr(&self) -> *mut rd::rd_kafka_queue_t {
        self.queue.as_ptr()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference belongs to this value, and the client is still alive.
        unsafe { rd::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}
