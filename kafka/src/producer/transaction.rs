//! Transactions: records and offsets that are all there or not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;
use rdkafka::error::KafkaError as Native;
use rdkafka::producer::Producer as _;

use super::{Producer, Undelivered};
use crate::consumer::GroupMetadata;
use crate::error::{KafkaError, Result, code};
use crate::native::partition_list::PartitionList;
use crate::native::{millis, text};

/// How long one step of an abort may block.
const ABORT_SLICE: Duration = Duration::from_millis(50);

/// Where a group goes on reading a partition once the transaction is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitAt {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// The absolute offset of the next record to read.
    pub offset: i64,
    /// A note that is kept beside the offset, at most 4,096 bytes unless the broker's `offset.metadata.max.bytes`
    /// says otherwise. Empty: none.
    pub metadata: String,
}

/// What the library says of a call that failed.
struct Refusal {
    code: i32,
    reason: String,
    fatal: bool,
    requires_abort: bool,
}

impl Producer {
    /// Fences older producers with the same transactional id and ends what they left open. Once, before the first
    /// transaction.
    pub fn init_transactions(&self, deadline: Duration) -> Result<()> {
        self.transaction("init transactions", self.native.init_transactions(deadline), deadline)
    }

    /// Starts a transaction; what is sent until it is committed or aborted belongs to it.
    pub fn begin_transaction(&self) -> Result<()> {
        self.transaction("begin a transaction", self.native.begin_transaction(), Duration::ZERO)
    }

    /// Makes offsets of a consumer group part of the open transaction: they are committed with it, or not at all.
    /// `group` should be taken anew from the consumer for each transaction. Nothing happens without offsets.
    ///
    /// Until the transaction ends, [`crate::consumer::BatchConsumer::committed`] waits for it.
    ///
    /// # Errors
    /// [`KafkaError::MemberGone`] when the member's generation is over: the transaction must be aborted and what was
    /// read dropped. Otherwise as for [`Self::commit_transaction`]: a transient error other than
    /// [`KafkaError::MustAbort`] allows the same call again, or an abort.
    pub fn send_offsets(
        &self,
        offsets: &[CommitAt],
        group: &GroupMetadata,
        deadline: Duration,
    ) -> Result<()> {
        let call = "send offsets to a transaction";
        if offsets.is_empty() {
            return Ok(());
        }
        // The library would leave them out without a word.
        if let Some(at) = offsets.iter().find(|at| at.offset < 0) {
            return Err(self.call(call).invalid(format!("{at:?} has a negative offset")));
        }
        let elements = offsets.iter().map(|at| (&*at.topic, at.partition, at.offset, &*at.metadata));
        let list = PartitionList::with_metadata(self.call(call), elements)?;
        // SAFETY: client, list and group are alive; list and group are copied, and the returned error is ours.
        let refusal = unsafe {
            refusal_of(rd::rd_kafka_send_offsets_to_transaction(
                self.native.client().native_ptr(),
                list.as_ptr(),
                group.as_ptr(),
                millis(deadline),
            ))
        };
        match refusal {
            None => Ok(()),
            Some(refusal) if code::is_member_gone(refusal.code) && !refusal.fatal => {
                Err(self.call(call).member_gone(self.deliveries().redactor.redact(&refusal.reason)))
            }
            Some(refusal) => Err(self.refused(call, &refusal, deadline)),
        }
    }

    /// Delivers what is queued, then commits.
    ///
    /// # Errors
    /// [`KafkaError::MustAbort`] needs [`Self::abort_transaction`]. After [`KafkaError::Fenced`] and
    /// [`KafkaError::Fatal`] the producer is of no more use. Any other transient error leaves the outcome open:
    /// call this again.
    pub fn commit_transaction(&self, deadline: Duration) -> Result<()> {
        let call = "commit a transaction";
        let started = Instant::now();
        // The library's own flush polls every 100 ms, so each commit would take that long.
        self.drain(call, deadline)?;
        if let Some(Undelivered { error, .. }) = self.deliveries().take_first() {
            return Err(match error {
                KafkaError::Fenced { .. } | KafkaError::Fatal { .. } => error,
                _ => self.call(call).must_abort(error.to_string()),
            });
        }
        let left = deadline.saturating_sub(started.elapsed());
        self.transaction(call, self.native.commit_transaction(left), deadline)
    }

    /// Throws away the open transaction. A producer that was fenced learns it here at the latest.
    pub fn abort_transaction(&self, deadline: Duration) -> Result<()> {
        let call = "abort a transaction";
        let started = Instant::now();
        loop {
            let left = deadline.saturating_sub(started.elapsed());
            // The library throws away what is queued, then waits for delivery reports that only our own polls take;
            // called again it goes on where it was.
            let aborted = self.native.abort_transaction(left.min(ABORT_SLICE));
            // What couldn't be delivered went with the transaction.
            while self.native.in_flight_count() > 0 && started.elapsed() < deadline {
                self.take_reports();
            }
            self.take_undelivered();
            match &aborted {
                Err(Native::Transaction(error)) if error.is_retriable() && !left.is_zero() => {}
                _ => return self.transaction(call, aborted, deadline),
            }
        }
    }

    fn transaction(
        &self,
        call: &'static str,
        result: std::result::Result<(), Native>,
        deadline: Duration,
    ) -> Result<()> {
        let Err(error) = result else { return Ok(()) };
        let Native::Transaction(native) = &error else { return Err(self.failed(call, &error)) };
        let refusal = Refusal {
            code: native.code() as i32,
            reason: native.string(),
            fatal: native.is_fatal(),
            requires_abort: native.txn_requires_abort(),
        };
        Err(self.refused(call, &refusal, deadline))
    }

    fn refused(&self, call: &'static str, refusal: &Refusal, deadline: Duration) -> KafkaError {
        let reason = self.deliveries().redactor.redact(&refusal.reason);
        match self.call(call).failed(refusal.code, &reason) {
            fenced @ KafkaError::Fenced { .. } => fenced,
            _ if refusal.fatal => self.call(call).failed(self.fatal_code(), reason),
            _ if refusal.requires_abort => self.call(call).must_abort(reason),
            _ if refusal.code == code::TIMED_OUT => self.timed_out(call, deadline),
            other => other,
        }
    }
}

/// Takes over an error object; null is success.
///
/// # Safety
/// `error` is null or an error that belongs to the caller, who doesn't use it after.
unsafe fn refusal_of(error: *mut rd::rd_kafka_error_t) -> Option<Refusal> {
    if error.is_null() {
        return None;
    }
    // SAFETY: valid and owned, as the caller promises; destroyed once, after what it says was copied.
    unsafe {
        let refusal = Refusal {
            code: rd::rd_kafka_error_code(error) as i32,
            reason: text::owned(rd::rd_kafka_error_string(error)),
            fatal: rd::rd_kafka_error_is_fatal(error) != 0,
            requires_abort: rd::rd_kafka_error_txn_requires_abort(error) != 0,
        };
        rd::rd_kafka_error_destroy(error);
        Some(refusal)
    }
}
