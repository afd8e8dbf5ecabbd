//! One administrative request: options out, one event back, both freed once.

use std::ffi::{CString, c_char};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;

use super::{Admin, PerName, Refused};
use crate::error::{Result, code};
use crate::native::{Queue, millis, text};

/// How often a wait looks at what the callbacks reported, such as a refused login.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An answer. Freed on drop, and with it everything that was read from it.
pub(super) struct Event(NonNull<rd::rd_kafka_event_t>);

impl Event {
    pub fn as_ptr(&self) -> *mut rd::rd_kafka_event_t {
        self.0.as_ptr()
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event belongs to this value.
        unsafe { rd::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// Options of a request. Freed on drop.
pub(super) struct Options(NonNull<rd::rd_kafka_AdminOptions_t>);

impl Options {
    pub fn as_ptr(&self) -> *mut rd::rd_kafka_AdminOptions_t {
        self.0.as_ptr()
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: the options belong to this value; librdkafka copied what it needs of them.
        unsafe { rd::rd_kafka_AdminOptions_destroy(self.0.as_ptr()) }
    }
}

/// Objects that a request takes as an array of pointers. Freed on drop.
pub(super) struct Objects<T> {
    pointers: Vec<*mut T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Objects<T> {
    /// `destroy` must be the function that frees what is pushed.
    pub fn new(destroy: unsafe extern "C" fn(*mut T)) -> Self {
        Self { pointers: Vec::new(), destroy }
    }

    /// Takes over an object.
    pub fn push(&mut self, object: NonNull<T>) {
        self.pointers.push(object.as_ptr());
    }

    pub fn as_mut_ptr(&mut self) -> *mut *mut T {
        self.pointers.as_mut_ptr()
    }

    pub fn len(&self) -> usize {
        self.pointers.len()
    }

    /// Gives the objects up to someone else who frees them.
    pub fn release(mut self) {
        self.pointers.clear();
    }
}

impl<T> Drop for Objects<T> {
    fn drop(&mut self) {
        for pointer in self.pointers.drain(..) {
            // SAFETY: each object was given to this value and has left the vector.
            unsafe { (self.destroy)(pointer) }
        }
    }
}

impl Admin {
    /// Options for an operation whose request may take `deadline`.
    pub(super) fn options(
        &self,
        call: &'static str,
        operation: rd::rd_kafka_admin_op_t,
        deadline: Duration,
    ) -> Result<Options> {
        // SAFETY: the client is alive.
        let options = unsafe { rd::rd_kafka_AdminOptions_new(self.client.as_ptr(), operation) };
        let Some(options) = NonNull::new(options) else {
            return Err(self.call(call).invalid("the client library doesn't know the call"));
        };
        let options = Options(options);
        let mut reason = [0 as c_char; text::ERROR_TEXT_BYTES];
        // SAFETY: the options are valid and the buffer has the stated size.
        let code = unsafe {
            let timeout_ms = millis(deadline).clamp(1, 3_600_000);
            rd::rd_kafka_AdminOptions_set_request_timeout(
                options.as_ptr(),
                timeout_ms,
                reason.as_mut_ptr(),
                reason.len(),
            )
        };
        self.client.check(call, code)?;
        Ok(options)
    }

    /// Sends a request and waits for its event. `send` must put the request's answer on the queue it is given.
    pub(super) fn ask(
        &self,
        call: &'static str,
        deadline: Duration,
        send: impl FnOnce(*mut rd::rd_kafka_queue_t),
    ) -> Result<Event> {
        let started = Instant::now();
        let Some(queue) = Queue::new(&self.client) else {
            return Err(self.call(call).invalid("no memory for a queue"));
        };
        send(queue.as_ptr());
        loop {
            let left = deadline.saturating_sub(started.elapsed());
            // SAFETY: queue and client are alive; the event, if any, is ours.
            let event = unsafe { rd::rd_kafka_queue_poll(queue.as_ptr(), millis(left.min(LOOK_EVERY))) };
            if let Some(event) = NonNull::new(event) {
                return self.accept(call, deadline, Event(event));
            }
            self.look_at_reports(call)?;
            if left.is_zero() {
                return Err(self.timed_out(call, deadline));
            }
        }
    }

    fn accept(&self, call: &'static str, deadline: Duration, event: Event) -> Result<Event> {
        // SAFETY: the event is valid; the text belongs to it.
        let (number, reason) = unsafe {
            let number = rd::rd_kafka_event_error(event.as_ptr()) as i32;
            (number, text::owned(rd::rd_kafka_event_error_string(event.as_ptr())))
        };
        match number {
            code::NONE => {
                self.set_outage(None);
                Ok(event)
            }
            code::TIMED_OUT | code::TIMED_OUT_QUEUE | code::TRANSPORT => {
                self.look_at_reports(call)?;
                Err(self.timed_out(call, deadline))
            }
            _ => Err(self.call(call).failed(number, self.client.inbox().redactor().redact(&reason))),
        }
    }

    /// Notes broken connections; a refused login ends the call, since waiting won't help it.
    pub(super) fn look_at_reports(&self, call: &'static str) -> Result<()> {
        self.client.run_callbacks();
        for report in self.client.inbox().take_reports() {
            match report.code {
                code::AUTHENTICATION | code::SASL_AUTHENTICATION_FAILED => {
                    return Err(self.call(call).failed(report.code, report.reason));
                }
                code::TRANSPORT | code::RESOLVE | code::SSL => self.set_outage(Some(report.reason)),
                code::ALL_BROKERS_DOWN if self.outage().is_none() => self.set_outage(Some(report.reason)),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn timed_out(&self, call: &'static str, deadline: Duration) -> crate::KafkaError {
        match self.outage() {
            Some(reason) => self.call(call).failed(code::ALL_BROKERS_DOWN, reason),
            None => self.call(call).timed_out(deadline, ""),
        }
    }

    pub(super) fn name(&self, call: &'static str, name: &str) -> Result<CString> {
        text::c_string(self.call(call), name)
    }

    pub(super) fn out_of_memory(&self, call: &'static str) -> crate::KafkaError {
        self.call(call).invalid("no memory for the request")
    }
}

/// The pointers of an array that belongs to an event.
///
/// # Safety
/// `start` is null or points to `count` pointers that live as long as the event they came from, which must outlive
/// `'a`.
pub(super) unsafe fn array<'a, T>(start: *const *const T, count: usize) -> &'a [*const T] {
    if start.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(start, count) }
}

/// What became of each topic.
///
/// # Safety
/// The pointers come from an event that is alive.
pub(super) unsafe fn topic_results(results: &[*const rd::rd_kafka_topic_result_t]) -> PerName {
    // SAFETY: as the caller promises.
    let of = |result: &*const rd::rd_kafka_topic_result_t| unsafe {
        let name = text::owned(rd::rd_kafka_topic_result_name(*result));
        let error = rd::rd_kafka_topic_result_error(*result);
        let reason = text::owned_if_some(rd::rd_kafka_topic_result_error_string(*result));
        (name.clone(), outcome(name, error, reason))
    };
    results.iter().map(of).collect()
}

/// What became of each group.
///
/// # Safety
/// The pointers come from an event that is alive.
pub(super) unsafe fn group_results(results: &[*const rd::rd_kafka_group_result_t]) -> PerName {
    // SAFETY: as the caller promises; the error, if any, belongs to the event.
    let of = |result: &*const rd::rd_kafka_group_result_t| unsafe {
        let name = text::owned(rd::rd_kafka_group_result_name(*result));
        let outcome = match object_error(rd::rd_kafka_group_result_error(*result)) {
            None => Ok(()),
            Some((code, reason)) => Err(Refused { name: name.clone(), code, reason }),
        };
        (name, outcome)
    };
    results.iter().map(of).collect()
}

/// Code and text of an error object that belongs to an event; `None` for null or no error.
///
/// # Safety
/// `error` is null or valid.
pub(super) unsafe fn object_error(error: *const rd::rd_kafka_error_t) -> Option<(i32, String)> {
    if error.is_null() {
        return None;
    }
    // SAFETY: as the caller promises.
    let (code, reason) =
        unsafe { (rd::rd_kafka_error_code(error) as i32, text::owned(rd::rd_kafka_error_string(error))) };
    (code != code::NONE).then_some((code, reason))
}

pub(super) fn outcome(
    name: String,
    error: rd::rd_kafka_resp_err_t,
    reason: Option<String>,
) -> std::result::Result<(), Refused> {
    match error as i32 {
        code::NONE => Ok(()),
        code => Err(Refused { name, code, reason: reason.unwrap_or_else(|| text::describe(error)) }),
    }
}
