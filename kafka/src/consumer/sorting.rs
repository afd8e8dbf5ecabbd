//! Fetched messages, sorted into batches of one partition each.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::bindings as rd;

use super::PartitionRecords;
use super::fetch::Fetched;
use crate::native::Client;

/// One shared name per topic.
#[derive(Default)]
pub(super) struct TopicNames(BTreeMap<String, Arc<str>>);

impl TopicNames {
    pub fn of(&mut self, topic: String) -> Arc<str> {
        self.0.entry(topic).or_insert_with_key(|topic| Arc::from(topic.as_str())).clone()
    }
}

/// A batch that is being filled.
pub(super) struct Sorted {
    handle: *mut rd::rd_kafka_topic_t,
    pub records: PartitionRecords,
}

/// Puts a record where it belongs.
///
/// The message has no error and is of this client.
pub(super) fn sort_in(
    batches: &mut Vec<Sorted>,
    message: Fetched,
    names: &mut TopicNames,
    client: &Arc<Client>,
) {
    let (handle, partition) = (message.topic_handle(), message.partition());
    let is_its_batch = |batch: &Sorted| batch.handle == handle && batch.records.partition() == partition;
    // A fetch brings runs of one partition, so the last batch is almost always the right one.
    let index = batches.iter().rposition(is_its_batch).unwrap_or_else(|| {
        let topic = names.of(message.topic_name().unwrap_or_default());
        let records = PartitionRecords::new(topic, partition, client.clone());
        batches.push(Sorted { handle, records });
        batches.len() - 1
    });
    // SAFETY: the message has no error, is of this partition and client, and is given up here.
    unsafe { batches[index].records.push(message.take()) };
}
