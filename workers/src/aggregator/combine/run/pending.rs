//! A transaction under way: carried out on a thread of its own, so that meanwhile records are taken for the next one.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use acequia_crds::stage::AggregationWork;
use acequia_kafka::consumer::GroupMetadata;
use acequia_kafka::error::KafkaError;
use acequia_kafka::producer::{CommitAt, Producer};

use super::{POINTS, row_key};
use crate::aggregator::combine::letters::dead_letter;
use crate::aggregator::combine::step::Writes;
use crate::aggregator::partial::write_marks;
use crate::aggregator::transaction::{Outcome, carry_out};

/// Where records go.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    partials: String,
    partials_partitions: i32,
    rows: Option<String>,
    rows_partitions: i32,
    late: Option<String>,
    dead_letters: String,
}

/// What a transaction holds.
pub(super) struct Transaction {
    pub writes: Writes,
    pub offsets: Vec<CommitAt>,
    pub group: GroupMetadata,
    /// How many records it was made of.
    pub records: u64,
}

/// See the [module](self).
pub(super) struct Pending {
    pub offsets: Vec<CommitAt>,
    /// How many records it was made of, and how many of these come late or can't be read.
    pub records: u64,
    pub late: u64,
    pub dead_letters: u64,
    thread: JoinHandle<Result<Outcome, KafkaError>>,
}

impl Pending {
    /// Begins to carry out a transaction. The one before must have ended.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn begin(
        producer: Arc<Producer>,
        topics: Topics,
        transaction: Transaction,
    ) -> Result<Self, KafkaError> {
        let Transaction { writes, offsets, group, records } = transaction;
        let (late, dead_letters) = (writes.late.len() as u64, writes.dead_letters.len() as u64);
        let committed = offsets.clone();
        let thread = Builder::new()
            .name("combine commit".to_owned())
            .spawn(move || {
                let send = |producer: &Producer| topics.send(producer, &writes);
                carry_out(&producer, POINTS, &committed, &group, send)
            })
            .map_err(|error| fatal(format!("there is no thread for it: {error}")))?;
        Ok(Self { offsets, records, late, dead_letters, thread })
    }

    /// Whether its end wouldn't be waited for.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// As of [`carry_out`].
    pub fn outcome(self) -> Result<Outcome, KafkaError> {
        self.thread.join().unwrap_or_else(|_| Err(fatal("its thread has panicked".to_owned())))
    }
}

fn fatal(reason: String) -> KafkaError {
    KafkaError::Fatal { call: "carry out a transaction", address: String::new(), reason }
}

impl Topics {
    pub fn new(work: &AggregationWork, partials_partitions: i32, rows_partitions: i32) -> Self {
        Self {
            partials: work.partials_topic.clone(),
            partials_partitions,
            rows: work.rows_topic.clone(),
            rows_partitions,
            late: work.late_topic.clone(),
            dead_letters: work.dead_letter_topic.clone(),
        }
    }

    fn send(&self, producer: &Producer, writes: &Writes) -> Result<(), KafkaError> {
        for (group, value) in &writes.partials {
            producer.send(&self.partials, None, Some(group), Some(value))?;
        }
        if let Some(topic) = &self.rows {
            for (source, key, value) in &writes.rows {
                let partition = source.partition % self.rows_partitions.max(1);
                producer.send(topic, Some(partition), Some(&row_key(source, key)), value.as_deref())?;
            }
        }
        if let Some(topic) = &self.late {
            for late in &writes.late {
                producer.send(topic, None, late.key.as_deref(), Some(&late.value))?;
            }
        }
        for letter in &writes.dead_letters {
            let key = letter.key.as_deref();
            producer.send(&self.dead_letters, None, key, Some(&dead_letter(letter)))?;
        }
        if !writes.marks.is_empty() {
            let marks = write_marks(&writes.marks);
            for partition in 0..self.partials_partitions {
                producer.send(&self.partials, Some(partition), None, Some(&marks))?;
            }
        }
        Ok(())
    }
}
