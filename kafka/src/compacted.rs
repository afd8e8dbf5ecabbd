//! A compacted topic as a map of each key's latest value.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::connection::Connection;
use crate::error::Result;
use crate::log::read_each;
use crate::producer::{Producer, ProducerSettings};

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
    read_each(connection, topic, deadline, |record| {
        let Some(key) = record.key else { return };
        match record.value {
            Some(value) => latest.insert(key.to_vec(), value.to_vec()),
            None => latest.remove(key),
        };
    })?;
    Ok(latest)
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
