//! The end of a consumer.

use std::time::{Duration, Instant};

use rdkafka::bindings as rd;

use super::fetch::fetch;
use crate::error::Result;
use crate::native::{Client, Queue};

/// Lets the library end its part in the group, or the assignment by hand; records that still arrive are freed.
///
/// # Errors
/// It didn't end within `deadline`.
pub(super) fn close(
    client: &Client,
    queue: &Queue,
    buffer: &mut Vec<*mut rd::rd_kafka_message_t>,
    deadline: Duration,
) -> Result<()> {
    let started = Instant::now();
    let call = "leave the group";
    // SAFETY: client and queue are alive; the returned error is ours.
    unsafe {
        let error = rd::rd_kafka_consumer_close_queue(client.as_ptr(), queue.as_ptr());
        client.check_object(call, error)?;
    }
    // SAFETY: the client is alive.
    while unsafe { rd::rd_kafka_consumer_closed(client.as_ptr()) } == 0 {
        let left = deadline.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(client.call(call).timed_out(deadline, "the group's coordinator doesn't answer"));
        }
        fetch(queue, buffer, 100, left.min(Duration::from_millis(100))).for_each(drop);
    }
    Ok(())
}
