//! librdkafka's log lines, without passwords, in this process's own log.

/// Writes a line that is already redacted, with syslog's level (3 is an error, 7 is debug).
pub(crate) fn write(level: i32, facility: &str, line: &str) {
    match level {
        // What the library calls an error it tries again by itself; what matters comes back from a call.
        ..=4 => tracing::warn!(target: "librdkafka", facility, "{line}"),
        5 | 6 => tracing::info!(target: "librdkafka", facility, "{line}"),
        _ => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}
