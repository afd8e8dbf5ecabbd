//! One transaction of a step: what is written and how far was read, all or nothing.

use std::time::Duration;

use acequia_kafka::consumer::GroupMetadata;
use acequia_kafka::error::KafkaError;
use acequia_kafka::producer::{CommitAt, Producer};

use crate::{crash, watchdog};

/// How long one call may take; the transaction itself ends after ten seconds.
const CALL_DEADLINE: Duration = Duration::from_secs(12);
/// A commit whose outcome isn't known is asked for again this often.
const COMMIT_TRIES: usize = 3;

/// Where a step can be made to crash.
#[derive(Clone, Copy, Debug)]
pub struct CrashPoints {
    /// Before anything is written.
    pub begin: &'static str,
    /// After the records, before the offsets.
    pub sent: &'static str,
    /// After the offsets, before the commit.
    pub offsets: &'static str,
    /// After the commit.
    pub committed: &'static str,
}

/// How a transaction ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything is there.
    Committed,
    /// Nothing is there; what was in hand must be dropped and read again.
    Aborted(KafkaError),
}

/// Carries out a transaction. `send` writes its records.
///
/// # Errors
/// The producer can't go on, or nobody knows how it ended: the process must end. Whoever comes after ends what was
/// left open.
pub fn carry_out(
    producer: &Producer,
    points: CrashPoints,
    offsets: &[CommitAt],
    group: &GroupMetadata,
    send: impl FnOnce(&Producer) -> Result<(), KafkaError>,
) -> Result<Outcome, KafkaError> {
    crash::point(points.begin);
    producer.begin_transaction()?;
    let written = send(producer).and_then(|()| {
        crash::point(points.sent);
        let send = || producer.send_offsets(offsets, group, CALL_DEADLINE);
        watchdog::within(CALL_DEADLINE, "send offsets", send)?;
        crash::point(points.offsets);
        commit(producer)
    });
    match written {
        Ok(()) => {
            crash::point(points.committed);
            Ok(Outcome::Committed)
        }
        Err(error @ (KafkaError::Fenced { .. } | KafkaError::Fatal { .. })) => Err(error),
        Err(error) => {
            let abort = || producer.abort_transaction(CALL_DEADLINE);
            watchdog::within(CALL_DEADLINE, "abort a transaction", abort)?;
            Ok(Outcome::Aborted(error))
        }
    }
}

/// Asks again where the outcome is open: the library goes on with the same commit.
fn commit(producer: &Producer) -> Result<(), KafkaError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let call = || producer.commit_transaction(CALL_DEADLINE);
        match watchdog::within(CALL_DEADLINE, "commit a transaction", call) {
            Err(error @ (KafkaError::Timeout { .. } | KafkaError::Unreachable { .. }))
                if tries < COMMIT_TRIES =>
            {
                tracing::warn!(%error, "the outcome of a commit is open; asking again");
            }
            // The outcome stays open: an abort would be refused, and the state in memory can't be trusted.
            Err(error @ (KafkaError::Timeout { .. } | KafkaError::Unreachable { .. })) => {
                return Err(KafkaError::Fatal {
                    call: "commit a transaction",
                    address: String::new(),
                    reason: error.to_string(),
                });
            }
            done => return done,
        }
    }
}
