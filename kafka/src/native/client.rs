//! The handle of a librdkafka client.

use std::ffi::c_char;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::bindings as rd;

use super::callbacks::{self, Inbox};
use super::text::{self, ERROR_TEXT_BYTES};
use crate::connection::Connection;
use crate::error::{Call, Result};

/// What a client is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Admin,
    /// Asks for groups' offsets, and needs a group's name for that.
    GroupAdmin,
    Consumer,
}

/// A librdkafka client. Destroyed without leaving its group: leaving needs a deadline and is
/// [`crate::consumer::BatchConsumer::close`].
pub(crate) struct Client {
    rk: NonNull<rd::rd_kafka_t>,
    // The callbacks' opaque pointer; it must outlive `rk`, whose threads log until it is destroyed.
    inbox: Arc<Inbox>,
    address: String,
}

// SAFETY: librdkafka's client is documented to be completely thread safe.
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

impl Client {
    pub fn new(kind: Kind, connection: &Connection, config: &ClientConfig) -> Result<Arc<Self>> {
        let redactor = connection.redactor();
        let address = connection.bootstrap_servers.clone();
        let call = Call { name: "start a Kafka client", address: &address };
        // rdkafka's own error repeats the value, which may be the password.
        let native = config
            .create_native_config()
            .map_err(|error| call.config(redactor.redact(&error.to_string())))?;
        let inbox = Arc::new(Inbox::new(redactor.clone()));
        callbacks::register(native.ptr(), &inbox, kind);
        let native_kind = match kind {
            Kind::Admin => rd::rd_kafka_type_t::RD_KAFKA_PRODUCER,
            Kind::GroupAdmin | Kind::Consumer => rd::rd_kafka_type_t::RD_KAFKA_CONSUMER,
        };
        let mut reason = [0 as c_char; ERROR_TEXT_BYTES];
        // On success the client owns the configuration; on failure it stays ours.
        let native = ManuallyDrop::new(native);
        // SAFETY: the configuration is valid, the buffer has the stated size, and the opaque pointer lives until
        // after `rd_kafka_destroy`, in `Client`.
        let rk = unsafe { rd::rd_kafka_new(native_kind, native.ptr(), reason.as_mut_ptr(), reason.len()) };
        let Some(rk) = NonNull::new(rk) else {
            drop(ManuallyDrop::into_inner(native));
            // SAFETY: librdkafka ends the text with a zero byte within the buffer.
            return Err(call.config(redactor.redact(&unsafe { text::owned(reason.as_ptr()) })));
        };
        if kind == Kind::Consumer {
            // SAFETY: the client is alive. From here on one queue carries records and callbacks.
            unsafe { rd::rd_kafka_poll_set_consumer(rk.as_ptr()) };
        }
        Ok(Arc::new(Self { rk, inbox, address }))
    }

    pub fn as_ptr(&self) -> *mut rd::rd_kafka_t {
        self.rk.as_ptr()
    }

    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// The start of a call, for its errors.
    pub fn call(&self, name: &'static str) -> Call<'_> {
        Call { name, address: &self.address }
    }

    /// Runs the callbacks that wait; only for clients that aren't consumers.
    pub fn run_callbacks(&self) {
        // SAFETY: the client is alive; a zero timeout doesn't block.
        unsafe { rd::rd_kafka_poll(self.as_ptr(), 0) };
    }

    /// Turns a code into a result, with librdkafka's text for it.
    pub fn check(&self, call: &'static str, code: rd::rd_kafka_resp_err_t) -> Result<()> {
        match code as i32 {
            0 => Ok(()),
            number => Err(self.call(call).failed(number, text::describe(code))),
        }
    }

    /// Takes over an error object: null is success.
    ///
    /// # Safety
    /// `error` is null or an error that belongs to the caller, who doesn't use it after.
    pub unsafe fn check_object(&self, call: &'static str, error: *mut rd::rd_kafka_error_t) -> Result<()> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: valid and owned, as the caller promises; destroyed once, after its text was copied.
        let (code, reason) = unsafe {
            let read = (rd::rd_kafka_error_code(error) as i32, text::owned(rd::rd_kafka_error_string(error)));
            rd::rd_kafka_error_destroy(error);
            read
        };
        Err(self.call(call).failed(code, self.inbox.redactor().redact(&reason)))
    }

    /// The error after which the client can't go on, if there was one.
    pub fn fatal_error(&self) -> Option<(i32, String)> {
        let mut reason = [0 as c_char; ERROR_TEXT_BYTES];
        // SAFETY: the client is alive and the buffer has the stated size.
        let code =
            unsafe { rd::rd_kafka_fatal_error(self.as_ptr(), reason.as_mut_ptr(), reason.len()) } as i32;
        // SAFETY: librdkafka ends the text with a zero byte within the buffer.
        (code != 0).then(|| (code, self.inbox.redactor().redact(&unsafe { text::owned(reason.as_ptr()) })))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: the last owner is gone, so no queue, record or call uses the client any more; the flag keeps the
        // call from waiting for a group that may be unreachable.
        unsafe { rd::rd_kafka_destroy_flags(self.rk.as_ptr(), rd::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) }
    }
}
