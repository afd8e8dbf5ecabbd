//! The rows of looked-up topics, in memory: loaded to the topics' ends before the first record, then followed.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use acequia_crds::pipeline::transform::{Format, Lookup};
use acequia_kafka::Connection;
use acequia_kafka::admin::OffsetOf;
use acequia_kafka::consumer::{Fault, LogReader, Position, Records};
use acequia_kafka::error::KafkaError;
use acequia_kafka::log::extent;
use foldhash::fast::RandomState;

use crate::aggregator::record::{Found, Lookups, lookup_key, lookup_row};

/// How long Kafka may take to describe a topic.
const ASK_DEADLINE: Duration = Duration::from_secs(10);
/// Records a poll may bring.
const POLL_RECORDS: usize = 10_000;
/// How long a record waits for a row, unless the manifest says otherwise.
const WAIT: Duration = Duration::from_secs(30);
/// Memory of an entry beside its bytes, about.
const ENTRY_BYTES: usize = 96;

/// The latest row of each key of each lookup's topic.
#[derive(Debug)]
pub struct Rows {
    lookups: Vec<Table>,
    size_bytes: usize,
    missed: u64,
}

#[derive(Debug)]
struct Table {
    topic: String,
    format: Format,
    wait: Duration,
    rows: HashMap<String, Box<[u8]>, RandomState>,
    /// Since when records wait for a row.
    waiting: HashMap<String, Instant>,
    /// Rows that were waited for in vain: nobody waits for them again until they are there.
    given_up: HashSet<String>,
}

impl Rows {
    /// None yet. A lookup without a format is read as JSON.
    pub fn new(lookups: &[Lookup]) -> Self {
        let table = |lookup: &Lookup| Table {
            topic: lookup.topic.clone(),
            format: lookup.format.unwrap_or(Format::Json),
            wait: lookup.wait.map_or(WAIT, |wait| Duration::from_millis(wait.as_ms())),
            rows: HashMap::default(),
            waiting: HashMap::new(),
            given_up: HashSet::new(),
        };
        Self { lookups: lookups.iter().map(table).collect(), size_bytes: 0, missed: 0 }
    }

    /// The topics, each once.
    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self.lookups.iter().map(|table| table.topic.clone()).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// Takes one record of a topic; an error is a sentence about a record that is passed over.
    pub fn take(&mut self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), String> {
        for table in self.lookups.iter_mut().filter(|table| table.topic == topic) {
            let Some(key) = key else { return Err("a record without a key names no row".to_owned()) };
            let key = lookup_key(table.format, key).map_err(|rejected| rejected.cause)?;
            let row = match value {
                Some(value) => lookup_row(table.format, value).map_err(|rejected| rejected.cause)?,
                None => None,
            };
            let size = |key: &str, row: &[u8]| key.len() + row.len() + ENTRY_BYTES;
            if let Some(row) = row {
                table.waiting.remove(&key);
                table.given_up.remove(&key);
                self.size_bytes += size(&key, row);
                if let Some(old) = table.rows.insert(key.clone(), row.into()) {
                    self.size_bytes -= size(&key, &old);
                }
            } else if let Some(old) = table.rows.remove(&key) {
                self.size_bytes -= size(&key, &old);
            }
        }
        Ok(())
    }

    /// A record waits for a row; returns whether it has waited long enough, so that the row now counts as absent.
    pub fn wait(&mut self, lookup: usize, key: &str, now: Instant) -> bool {
        let Some(table) = self.lookups.get_mut(lookup) else { return true };
        let since = *table.waiting.entry(key.to_owned()).or_insert(now);
        if now.duration_since(since) < table.wait {
            return false;
        }
        table.waiting.remove(key);
        table.given_up.insert(key.to_owned());
        self.missed += 1;
        true
    }

    /// Rows that were waited for in vain.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Bytes of memory, about.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

impl Lookups for Rows {
    fn row(&self, lookup: usize, key: &str) -> Found<'_> {
        let Some(table) = self.lookups.get(lookup) else { return Found::Absent };
        match table.rows.get(key) {
            Some(row) => Found::Row(row),
            None if table.given_up.contains(key) => Found::Absent,
            None => Found::Missing,
        }
    }
}

/// Reads the topics of the lookups; nothing where there are none.
pub struct Follower {
    reader: Option<LogReader>,
    ends: Vec<Position>,
}

impl Follower {
    /// Begins to read all topics from their start.
    ///
    /// # Errors
    /// A topic doesn't exist, or Kafka doesn't answer.
    pub fn start(connection: &Connection, rows: &Rows, client_id: &str) -> Result<Self, KafkaError> {
        let topics = rows.topics();
        if topics.is_empty() {
            return Ok(Self { reader: None, ends: Vec::new() });
        }
        let mut reader = LogReader::connect(connection, client_id)?;
        let mut ends = Vec::new();
        for topic in topics {
            let extent = extent(connection, &topic, OffsetOf::LatestCommitted, ASK_DEADLINE)?;
            reader.follow(&extent.starts)?;
            ends.extend(extent.ends);
        }
        Ok(Self { reader: Some(reader), ends })
    }

    /// Takes what has come; returns whether the ends that the topics had at the start are reached, and what is wrong.
    pub fn follow(&mut self, rows: &mut Rows, timeout: Duration) -> (bool, Vec<Fault>) {
        let Some(reader) = &mut self.reader else { return (true, Vec::new()) };
        let polled = reader.poll(POLL_RECORDS, timeout);
        take_all(rows, &polled.records);
        if !self.ends.is_empty() && reader.has_reached(&self.ends) {
            self.ends.clear();
        }
        (self.ends.is_empty(), polled.faults)
    }
}

fn take_all(rows: &mut Rows, records: &Records) {
    for record in records.iter() {
        if let Err(cause) = rows.take(record.topic, record.key, record.value) {
            let (topic, partition, offset) = (record.topic, record.partition, record.offset);
            tracing::warn!(%topic, partition, offset, cause, "a row to look up can't be read: passed over");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        let lookup = |name: &str, format| Lookup {
            name: name.into(),
            topic: "product".into(),
            format: Some(format),
            key: "event.product_id".into(),
            wait: None,
        };
        Rows::new(&[lookup("one", Format::Debezium), lookup("two", Format::Debezium)])
    }

    #[test]
    fn the_latest_row_counts_until_it_is_deleted() {
        let mut rows = rows();
        assert_eq!(rows.row(0, "5"), Found::Missing);
        let put = br#"{"before":null,"after":{"id":5,"category":"Toys"},"op":"c"}"#;
        rows.take("product", Some(br#"{"id":5}"#), Some(put)).unwrap();
        assert_eq!(rows.row(1, "5"), Found::Row(br#"{"id":5,"category":"Toys"}"#));
        rows.take("product", Some(br#"{"id":5}"#), Some(br#"{"after":null,"op":"d"}"#)).unwrap();
        rows.take("product", Some(br#"{"id":5}"#), None).unwrap();
        assert_eq!((rows.row(0, "5"), rows.size_bytes()), (Found::Missing, 0));
        assert!(rows.take("product", None, Some(put)).is_err());
    }

    #[test]
    fn a_row_is_waited_for_once_and_counts_as_absent_until_it_comes() {
        let (mut rows, now) = (rows(), Instant::now());
        assert!(!rows.wait(0, "9", now));
        assert!(!rows.wait(0, "9", now + WAIT / 2));
        assert!(rows.wait(0, "9", now + WAIT));
        assert_eq!((rows.row(0, "9"), rows.missed()), (Found::Absent, 1));
        let put = br#"{"before":null,"after":{"id":9},"op":"c"}"#;
        rows.take("product", Some(br#"{"id":9}"#), Some(put)).unwrap();
        assert_eq!(rows.row(0, "9"), Found::Row(br#"{"id":9}"#));
    }
}
