//! What keeps a sink from its work, for the state it reports.

use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_kafka::consumer::Fault;
use acequia_kafka::error::KafkaError;

/// A trouble of Kafka that isn't told again for this long is over.
const FORGET_AFTER: Duration = Duration::from_secs(12);

/// The troubles of a sink.
#[derive(Debug, Default)]
pub struct Troubles {
    store: Option<String>,
    kafka: Option<(String, Instant)>,
}

/// What a poll found wrong that the reader itself can do something about.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ToMend {
    /// Partitions whose next offset isn't in the log any more.
    pub lost: Vec<(Arc<str>, i32)>,
    /// The last commit wasn't taken; without another one, lag tools would see a lag for as long as nothing new comes.
    pub commit_again: bool,
}

impl Troubles {
    /// The store can't be used.
    pub fn store_failed(&mut self, error: String) {
        self.store = Some(error);
    }

    /// The store can be used.
    pub fn store_works(&mut self) {
        self.store = None;
    }

    /// Kafka can't be used.
    pub fn kafka_failed(&mut self, error: String, now: Instant) {
        self.kafka = Some((error, now));
    }

    /// Takes what a poll found wrong.
    ///
    /// # Errors
    /// The client can't go on.
    pub fn take(&mut self, faults: Vec<Fault>, now: Instant) -> Result<ToMend, KafkaError> {
        let mut to_mend = ToMend::default();
        for fault in faults {
            match fault {
                Fault::OutOfRange { topic, partition } => to_mend.lost.push((topic, partition)),
                Fault::CommitLost => to_mend.commit_again = true,
                Fault::Fenced(error) | Fault::Other(error @ KafkaError::Fatal { .. }) => return Err(error),
                Fault::UnknownTopic { topic } => {
                    let error = format!("topic {topic} doesn't exist; it is read once it is created");
                    self.kafka_failed(error, now);
                }
                Fault::Unreachable(error) | Fault::Denied(error) => self.kafka_failed(error.to_string(), now),
                Fault::MaxPollExceeded => tracing::warn!("the group gave this worker up: it polled too late"),
                Fault::Commit(error) | Fault::Other(error) => tracing::warn!(%error, "Kafka"),
            }
        }
        Ok(to_mend)
    }

    /// Kafka has answered.
    pub fn kafka_works(&mut self) {
        self.kafka = None;
    }

    /// Kafka answers questions. A trouble that was told just now may be another one.
    pub fn kafka_answers(&mut self, now: Instant) {
        self.kafka = self.kafka.take().filter(|(_, since)| now.duration_since(*since) < FORGET_AFTER / 2);
    }

    /// Whether Kafka should be asked if it is back.
    pub fn kafka_in_doubt(&self) -> bool {
        self.kafka.is_some()
    }

    /// The worst trouble.
    pub fn worst(&self, now: Instant) -> Option<&str> {
        let kafka = self.kafka.as_ref().filter(|(_, since)| now.duration_since(*since) < FORGET_AFTER);
        self.store.as_deref().or(kafka.map(|(error, _)| error.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reader_can_mend_is_given_back_and_the_rest_is_told() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        let lost = Fault::OutOfRange { topic: "orders".into(), partition: 2 };
        let unknown = Fault::UnknownTopic { topic: "refunds".into() };
        let to_mend = troubles.take(vec![Fault::CommitLost, lost, unknown], now);
        assert_eq!(to_mend, Ok(ToMend { lost: vec![("orders".into(), 2)], commit_again: true }));
        assert!(troubles.worst(now).is_some_and(|told| told.contains("refunds doesn't exist")));
        assert_eq!(troubles.take(Vec::new(), now), Ok(ToMend::default()));
    }

    #[test]
    fn the_store_comes_first_and_old_troubles_of_kafka_are_forgotten() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        troubles.kafka_failed("no broker".into(), now);
        assert_eq!(troubles.worst(now), Some("no broker"));
        assert_eq!(troubles.worst(now + FORGET_AFTER), None);
        troubles.store_failed("no database".into());
        assert_eq!(troubles.worst(now), Some("no database"));
        troubles.store_works();
        troubles.kafka_works();
        assert_eq!(troubles.worst(now), None);
    }
}
