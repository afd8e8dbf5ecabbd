//! librdkafka's callbacks: they only write down what happened, for the thread that polls.

use std::collections::VecDeque;
use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::bindings as rd;

use super::client::Kind;
use super::partition_list::{self, Element};
use super::{Queue, logs, text};
use crate::error::code;
use crate::secret::Redactor;

/// More than this many reports nobody took are dropped, oldest first.
const REPORTS_KEPT: usize = 64;

/// A change of a consumer's partitions, as librdkafka announced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rebalanced {
    Assigned(Vec<Element>),
    Revoked(Vec<Element>),
    Lost(Vec<Element>),
}

/// An error that belongs to no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub code: i32,
    pub reason: String,
    /// Whether it is about an offset commit.
    pub commit: bool,
}

/// Where the callbacks put things.
pub(crate) struct Inbox {
    redactor: Redactor,
    rebalances: Mutex<VecDeque<Rebalanced>>,
    reports: Mutex<VecDeque<Report>>,
    // While a consumer closes, nobody is there to answer a rebalance later.
    closing: AtomicBool,
    // Woken by a rebalance, so that a poll that waits for records returns at once.
    waiting_on: AtomicPtr<rd::rd_kafka_queue_t>,
}

impl Inbox {
    pub fn new(redactor: Redactor) -> Self {
        Self {
            redactor,
            rebalances: Mutex::default(),
            reports: Mutex::default(),
            closing: AtomicBool::new(false),
            waiting_on: AtomicPtr::new(ptr::null_mut()),
        }
    }

    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub fn take_rebalances(&self) -> Vec<Rebalanced> {
        locked(&self.rebalances).drain(..).collect()
    }

    pub fn take_reports(&self) -> Vec<Report> {
        locked(&self.reports).drain(..).collect()
    }

    pub fn start_closing(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Names the queue to wake. The caller keeps the queue until it calls this with `None`.
    pub fn wake(&self, queue: Option<&Queue>) {
        self.waiting_on.store(queue.map_or(ptr::null_mut(), Queue::as_ptr), Ordering::Release);
    }

    fn report(&self, report: Report) {
        let mut reports = locked(&self.reports);
        if reports.len() == REPORTS_KEPT {
            reports.pop_front();
        }
        reports.push_back(report);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each holder only pushes or drains, so a panic elsewhere can't have left the contents half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the callbacks and their opaque pointer on a configuration.
pub(super) fn register(conf: *mut rd::rd_kafka_conf_t, inbox: &Arc<Inbox>, kind: Kind) {
    // SAFETY: `conf` is a valid configuration that no client uses yet. The opaque pointer stays valid as long as
    // the client: `Client` holds the inbox and drops it after destroying the client.
    unsafe {
        rd::rd_kafka_conf_set_opaque(conf, Arc::as_ptr(inbox).cast_mut().cast::<c_void>());
        rd::rd_kafka_conf_set_log_cb(conf, Some(on_log));
        rd::rd_kafka_conf_set_error_cb(conf, Some(on_error));
        if kind == Kind::Consumer {
            rd::rd_kafka_conf_set_rebalance_cb(conf, Some(on_rebalance));
            rd::rd_kafka_conf_set_offset_commit_cb(conf, Some(on_commit));
        }
    }
}

/// # Safety
/// `opaque` is the pointer that [`register`] set, and its client is alive.
unsafe fn inbox_of<'a>(opaque: *mut c_void) -> &'a Inbox {
    // SAFETY: as the caller promises; an inbox is only ever shared.
    unsafe { &*opaque.cast_const().cast::<Inbox>() }
}

/// Called from librdkafka's own threads, at any time between `rd_kafka_new` and the end of `rd_kafka_destroy`.
unsafe extern "C" fn on_log(
    rk: *const rd::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: librdkafka passes its own client and strings that live for the call.
    let (inbox, facility, line) =
        unsafe { (inbox_of(rd::rd_kafka_opaque(rk)), text::owned(facility), text::owned(line)) };
    let line = inbox.redactor.redact(&line);
    logs::write(level, &facility, &line);
}

unsafe extern "C" fn on_error(
    _: *mut rd::rd_kafka_t,
    error: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: called from a poll, while the client is alive; the text lives for the call.
    let (inbox, reason) = unsafe { (inbox_of(opaque), text::owned(reason)) };
    inbox.report(Report { code: error, reason: inbox.redactor.redact(&reason), commit: false });
}

unsafe extern "C" fn on_commit(
    _: *mut rd::rd_kafka_t,
    error: rd::rd_kafka_resp_err_t,
    _: *mut rd::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    let number = error as i32;
    // "No offset" means there was nothing to commit.
    if number == code::NONE || number == code::NO_OFFSET {
        return;
    }
    // SAFETY: called from a poll, while the client is alive.
    let inbox = unsafe { inbox_of(opaque) };
    inbox.report(Report { code: number, reason: text::describe(error), commit: true });
}

unsafe extern "C" fn on_rebalance(
    rk: *mut rd::rd_kafka_t,
    error: rd::rd_kafka_resp_err_t,
    partitions: *mut rd::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: called from a poll, while the client is alive; the list belongs to librdkafka and lives for the call.
    let (inbox, elements) = unsafe { (inbox_of(opaque), partition_list::read(partitions)) };
    let assigned = error as i32 == code::ASSIGN_PARTITIONS;
    // Taking nothing away needs no decision, but it needs an answer, or the group would wait for ever. An empty
    // assignment is handed over: by it a member that gets no partition learns that it has joined.
    if (elements.is_empty() && !assigned) || inbox.closing.load(Ordering::Acquire) {
        // SAFETY: both calls are meant for this callback.
        unsafe { answer(rk, assigned, partitions) };
        return;
    }
    let rebalanced = if assigned {
        Rebalanced::Assigned(elements)
    // SAFETY: the client is alive.
    } else if unsafe { rd::rd_kafka_assignment_lost(rk) } != 0 {
        Rebalanced::Lost(elements)
    } else {
        Rebalanced::Revoked(elements)
    };
    locked(&inbox.rebalances).push_back(rebalanced);
    let queue = inbox.waiting_on.load(Ordering::Acquire);
    if !queue.is_null() {
        // SAFETY: the owner of the queue clears the pointer before it gives the queue up, on the same thread that
        // runs this callback.
        unsafe { rd::rd_kafka_queue_yield(queue) };
    }
}

/// # Safety
/// `rk` and `partitions` are those of the running rebalance callback.
unsafe fn answer(
    rk: *mut rd::rd_kafka_t,
    assigned: bool,
    partitions: *mut rd::rd_kafka_topic_partition_list_t,
) {
    // SAFETY: as the caller promises; an error object belongs to us and is destroyed once.
    unsafe {
        let error = if assigned {
            rd::rd_kafka_incremental_assign(rk, partitions)
        } else {
            rd::rd_kafka_incremental_unassign(rk, partitions)
        };
        if !error.is_null() {
            tracing::debug!(target: "librdkafka", "{}", text::owned(rd::rd_kafka_error_string(error)));
            rd::rd_kafka_error_destroy(error);
        }
    }
}
