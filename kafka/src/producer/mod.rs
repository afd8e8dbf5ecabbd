//! A producer with a bounded queue that reports every record it couldn't deliver.

mod deliveries;
mod transaction;

pub use transaction::CommitAt;

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::connection::Connection;
use crate::error::{Call, KafkaError, Result, code};
use deliveries::Deliveries;

/// How long delivery reports are waited for at once.
const REPORT_PAUSE: Duration = Duration::from_micros(500);

/// Settings of a [`Producer`]. [`ProducerSettings::new`] has the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerSettings {
    /// What the broker's logs and quotas know the client by.
    pub client_id: String,
    /// Makes transactions possible; a second producer with the same id fences the first. Default: none.
    pub transactional_id: Option<String>,
    /// After this time the broker aborts an open transaction. Default: 10 000.
    pub transaction_timeout_ms: u32,
    /// How long records wait for others to share a request with. Default: 5.
    pub linger_ms: u32,
    /// Most bytes of a request per partition. Default: 1 000 000.
    pub batch_bytes: u32,
    /// How many records may wait before [`Producer::send`] waits too. Default: 200 000.
    pub queued_max_records: u32,
    /// How many KiB may wait before [`Producer::send`] waits too. Default: 65 536.
    pub queued_max_kbytes: u32,
    /// After this time a record that no broker took is given up. Default: 120 000.
    pub delivery_timeout_ms: u32,
}

impl ProducerSettings {
    /// The defaults: idempotent, acknowledged by all replicas in sync, lz4.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            transactional_id: None,
            transaction_timeout_ms: 10_000,
            linger_ms: 5,
            batch_bytes: 1_000_000,
            queued_max_records: 200_000,
            queued_max_kbytes: 65_536,
            delivery_timeout_ms: 120_000,
        }
    }

    fn client_config(&self, connection: &Connection) -> ClientConfig {
        let mut config = connection.client_config(&self.client_id);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            // The same key goes to the same partition as with Kafka's own clients.
            .set("partitioner", "murmur2_random")
            .set("linger.ms", self.linger_ms.to_string())
            .set("batch.size", self.batch_bytes.to_string())
            .set("batch.num.messages", "100000")
            .set("queue.buffering.max.messages", self.queued_max_records.to_string())
            .set("queue.buffering.max.kbytes", self.queued_max_kbytes.to_string())
            .set("delivery.timeout.ms", self.delivery_timeout_ms.to_string())
            .set("allow.auto.create.topics", "false");
        if let Some(transactional_id) = &self.transactional_id {
            config
                .set("transactional.id", transactional_id)
                .set("transaction.timeout.ms", self.transaction_timeout_ms.to_string())
                // A commit returns before its markers are written, and until they are the next transaction is told
                // to come again, which takes the broker some milliseconds and not the library's first 100.
                .set("retry.backoff.ms", "5")
                // A record can't outlive its transaction.
                .set(
                    "delivery.timeout.ms",
                    self.transaction_timeout_ms.min(self.delivery_timeout_ms).to_string(),
                );
        }
        config
    }
}

/// A producer, used by one thread at a time.
pub struct Producer {
    native: BaseProducer<Deliveries>,
    address: String,
    delivery_timeout: Duration,
}

/// A record that wasn't delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// The topic it was for.
    pub topic: String,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Why.
    pub error: KafkaError,
}

impl Producer {
    /// Starts a client. Returns at once; whether a broker answers shows later.
    pub fn connect(connection: &Connection, settings: &ProducerSettings) -> Result<Self> {
        let redactor = connection.redactor();
        let address = connection.bootstrap_servers.clone();
        let deliveries = Deliveries::new(redactor.clone(), address.clone());
        let native = settings.client_config(connection).create_with_context(deliveries).map_err(|error| {
            Call { name: "start a producer", address: &address }.config(redactor.redact(&error.to_string()))
        })?;
        let delivery_timeout = Duration::from_millis(settings.delivery_timeout_ms.into());
        Ok(Self { native, address, delivery_timeout })
    }

    /// Queues a record; `partition` is chosen by the key's hash if absent, and a `None` value is a tombstone. Waits
    /// while the queue is full. Success means queued: failures show in [`Self::flush`] and
    /// [`Self::take_undelivered`].
    pub fn send(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<()> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        record.partition = partition;
        record.key = key;
        record.payload = value;
        let mut waiting_since: Option<Instant> = None;
        loop {
            let (error, back) = match self.native.send(record) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(self.failed("send", &error));
            }
            let since = *waiting_since.get_or_insert_with(Instant::now);
            if since.elapsed() > self.delivery_timeout {
                let reason = self.deliveries().outage().unwrap_or_else(|| "the queue stayed full".to_owned());
                return Err(self.call("send").timed_out(self.delivery_timeout, reason));
            }
            self.native.poll(Duration::from_millis(10));
            record = back;
        }
    }

    /// Serves delivery reports and logs, waiting at most `timeout`. [`Self::send`] does it only when the queue is
    /// full, so call it now and then.
    pub fn poll(&self, timeout: Duration) {
        self.native.poll(timeout);
    }

    /// Waits until every queued record is delivered or given up.
    ///
    /// # Errors
    /// The first undelivered record's error (the others stay for [`Self::take_undelivered`]), or the deadline.
    pub fn flush(&self, deadline: Duration) -> Result<()> {
        self.drain("flush", deadline)?;
        match self.deliveries().take_first() {
            Some(undelivered) => Err(undelivered.error),
            None => Ok(()),
        }
    }

    /// The records that weren't delivered since the last call.
    pub fn take_undelivered(&self) -> Vec<Undelivered> {
        self.native.poll(Duration::ZERO);
        self.deliveries().take()
    }

    /// How many records wait for a broker.
    pub fn in_flight(&self) -> usize {
        usize::try_from(self.native.in_flight_count()).unwrap_or(0)
    }

    fn drain(&self, call: &'static str, deadline: Duration) -> Result<()> {
        let started = Instant::now();
        while self.native.in_flight_count() > 0 {
            if started.elapsed() >= deadline {
                return Err(self.timed_out(call, deadline));
            }
            self.take_reports();
        }
        Ok(())
    }

    /// Takes delivery reports; a short pause where there is none. A poll of the library with a timeout of a millisecond
    /// would spin for all of it, since it waits for what is left of it in whole milliseconds.
    fn take_reports(&self) {
        let before = self.native.in_flight_count();
        self.native.poll(Duration::ZERO);
        if self.native.in_flight_count() >= before {
            std::thread::sleep(REPORT_PAUSE);
        }
    }

    /// A fenced producer is told from other ends by the error that came first.
    fn fatal_code(&self) -> i32 {
        match self.native.client().fatal_error().map(|(first, _)| first as i32) {
            Some(code @ (code::PRODUCER_FENCED | code::FENCED)) => code,
            _ => code::FATAL,
        }
    }

    fn timed_out(&self, call: &'static str, deadline: Duration) -> KafkaError {
        self.native.poll(Duration::ZERO);
        match self.deliveries().outage() {
            Some(reason) => self.call(call).failed(code::ALL_BROKERS_DOWN, reason),
            None => self.call(call).timed_out(deadline, ""),
        }
    }

    fn failed(&self, call: &'static str, error: &Native) -> KafkaError {
        let reason = self.deliveries().redactor.redact(&error.to_string());
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => self.call(call).failed(self.fatal_code(), reason),
            Some(number) => self.call(call).failed(number as i32, reason),
            None => self.call(call).invalid(reason),
        }
    }

    fn call(&self, name: &'static str) -> Call<'_> {
        Call { name, address: &self.address }
    }

    fn deliveries(&self) -> &Deliveries {
        self.native.client().context()
    }
}
