//! What a producer's client tells beside answers: records that weren't delivered, and outages.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError as Native;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;

use super::Undelivered;
use crate::error::{Call, code};
use crate::native::logs;
use crate::secret::Redactor;

/// Filled by callbacks, which run inside the polls of the producer's thread.
pub(super) struct Deliveries {
    pub redactor: Redactor,
    address: String,
    undelivered: Mutex<Vec<Undelivered>>,
    // What the last broken connection said, until a record is delivered.
    outage: Mutex<Option<String>>,
}

impl Deliveries {
    pub fn new(redactor: Redactor, address: String) -> Self {
        Self { redactor, address, undelivered: Mutex::default(), outage: Mutex::default() }
    }

    pub fn take(&self) -> Vec<Undelivered> {
        std::mem::take(&mut *self.undelivered.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn take_first(&self) -> Option<Undelivered> {
        let mut undelivered = self.undelivered.lock().unwrap_or_else(PoisonError::into_inner);
        (!undelivered.is_empty()).then(|| undelivered.remove(0))
    }

    pub fn outage(&self) -> Option<String> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_outage(&self, outage: Option<String>) {
        *self.outage.lock().unwrap_or_else(PoisonError::into_inner) = outage;
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        logs::write(level as i32, facility, &self.redactor.redact(line));
    }

    fn error(&self, error: Native, reason: &str) {
        let reason = self.redactor.redact(reason);
        logs::write(7, "ERROR", &reason);
        match error.rdkafka_error_code().map(|code| code as i32) {
            Some(code::ALL_BROKERS_DOWN) if self.outage().is_some() => {}
            Some(
                code::TRANSPORT
                | code::RESOLVE
                | code::SSL
                | code::ALL_BROKERS_DOWN
                | code::AUTHENTICATION
                | code::SASL_AUTHENTICATION_FAILED,
            ) => self.set_outage(Some(reason)),
            _ => {}
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        let Err((error, record)) = delivered else { return };
        let number = error.rdkafka_error_code().map_or(code::FATAL, |code| code as i32);
        let call = Call { name: "deliver a record", address: &self.address };
        let reason = match self.outage() {
            Some(outage) if number == code::MSG_TIMED_OUT => outage,
            _ => self.redactor.redact(&error.to_string()),
        };
        let error = call.failed(number, format!("{}: {reason}", record.topic()));
        let undelivered =
            Undelivered { topic: record.topic().to_owned(), key: record.key().map(<[u8]>::to_vec), error };
        self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).push(undelivered);
    }
}
