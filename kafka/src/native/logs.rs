//! librdkafka's log lines, without passwords, in this process's own log.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

use crate::secret::Redactor;

/// Writes a line that is already redacted, with syslog's level (3 is an error, 7 is debug).
pub(crate) fn write(level: i32, facility: &str, line: &str) {
    match level {
        // What the library calls an error it tries again by itself; what matters comes back from a call.
        ..=4 => tracing::warn!(target: "librdkafka", facility, "{line}"),
        5 | 6 => tracing::info!(target: "librdkafka", facility, "{line}"),
        _ => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}

/// For clients of the safe API that need nothing else from their callbacks.
pub(crate) struct RedactedLogs(Redactor);

impl RedactedLogs {
    pub fn new(redactor: Redactor) -> Self {
        Self(redactor)
    }
}

impl ClientContext for RedactedLogs {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        write(level as i32, facility, &self.0.redact(line));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        write(7, "ERROR", &self.0.redact(&format!("{error}: {reason}")));
    }
}

impl ConsumerContext for RedactedLogs {}
