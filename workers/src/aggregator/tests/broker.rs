//! What is in Kafka: everything that outlives a worker.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::case::Case;
use super::log::{BEGIN_MS, Log, TODAY};
use super::reference::At;
use crate::aggregator::combine::step::Writes;
use crate::aggregator::merge::state::Rules;
use crate::aggregator::output::Row;
use crate::aggregator::partial::{SourcePartition, write_marks};

/// What goes wrong, so that the checker is seen to notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// One transaction's partial values don't arrive.
    PartialsLost,
    /// They arrive twice.
    PartialsDoubled,
    /// State stays as it was when its transaction was thrown away.
    NotRolledBack,
    /// What was taken while a transaction was under way stays when that is thrown away.
    KeptMeanwhile,
    /// A change of a group isn't in the changelog.
    GroupLost,
    /// A change of a row isn't in the changelog.
    RowLost,
    /// A source's watermark is told too high.
    ClosedEarly,
    /// What is taken back is what an event says was there before.
    BeforeTrusted,
    /// What no transaction has committed is shown.
    ShownUncommitted,
    /// A store takes whatever comes last.
    VersionsIgnored,
}

/// A record of the partials topic.
#[derive(Clone, Debug)]
pub struct PartialRecord {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// A partition of the partials topic, as those see it who read what is committed.
#[derive(Debug, Default)]
pub struct Partials {
    pub records: Vec<PartialRecord>,
    next: i64,
}

/// What is committed of a source.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    pub offset: usize,
    pub note: Option<String>,
}

/// Kafka, and the input in it.
#[derive(Debug)]
pub struct Broker {
    pub case: Case,
    pub rules: Rules,
    pub logs: Vec<Log>,
    pub expected: Vec<SourcePartition>,
    pub fault: Fault,
    pub now_ms: i64,
    pub today: i32,
    pub partials: Vec<Partials>,
    /// The changelog of rows, compacted.
    pub rows: BTreeMap<(SourcePartition, Vec<u8>), Vec<u8>>,
    /// The changelog of groups, compacted.
    pub state: BTreeMap<(usize, Vec<u8>), Vec<u8>>,
    /// What step one has read, by source.
    pub read: Vec<Committed>,
    /// What step two has merged, by partition: offset after the last record.
    pub merged: Vec<Option<i64>>,
    pub late: Vec<At>,
    pub dead_letters: Vec<At>,
    /// The output that is a topic.
    pub documents: Vec<Row>,
    /// How often each partials partition was claimed.
    pub claims: Vec<Cell<u64>>,
    commits: usize,
}

impl Broker {
    pub fn new(case: &Case, logs: Vec<Log>, fault: Fault) -> Self {
        let partitions = case.partials_partitions();
        Self {
            case: case.clone(),
            rules: case.rules(),
            expected: logs.iter().map(|log| log.source.clone()).collect(),
            fault,
            // The input has been there for a while, so windows can be forgotten as soon as they are final.
            now_ms: BEGIN_MS + 600_000,
            today: TODAY,
            partials: (0..partitions).map(|_| Partials::default()).collect(),
            rows: BTreeMap::new(),
            state: BTreeMap::new(),
            read: logs.iter().map(|_| Committed::default()).collect(),
            merged: vec![None; partitions],
            late: Vec::new(),
            dead_letters: Vec::new(),
            documents: Vec::new(),
            claims: vec![Cell::new(0); partitions],
            commits: 0,
            logs,
        }
    }

    /// A transaction of step one.
    pub fn commit_step_one(&mut self, mut writes: Writes, read: &[(usize, Committed)]) {
        self.now_ms += 1;
        self.commits += usize::from(!writes.partials.is_empty());
        let is_second = self.commits == 2 && !writes.partials.is_empty();
        let times = match self.fault {
            Fault::PartialsLost if is_second => 0,
            Fault::PartialsDoubled if is_second => 2,
            _ => 1,
        };
        for (group, value) in &writes.partials {
            let partition = group.iter().map(|byte| usize::from(*byte)).sum::<usize>() % self.partials.len();
            for _ in 0..times {
                self.append(partition, group.to_vec(), value.clone());
            }
        }
        if self.fault == Fault::ClosedEarly {
            let ahead = writes.marks.iter_mut().filter_map(|mark| mark.watermark_ms.as_mut());
            ahead.for_each(|watermark_ms| *watermark_ms += 2 * super::case::SIZE_MS);
        }
        if !writes.marks.is_empty() {
            let marks = write_marks(&writes.marks);
            for partition in 0..self.partials.len() {
                self.append(partition, Vec::new(), marks.clone());
            }
        }
        // A marker takes an offset.
        self.partials.iter_mut().for_each(|partials| partials.next += 1);
        for (source, key, value) in writes.rows {
            match value {
                _ if self.fault == Fault::RowLost && is_second => {}
                Some(value) => _ = self.rows.insert((source, key), value),
                None => _ = self.rows.remove(&(source, key)),
            }
        }
        self.late.extend(writes.late.into_iter().map(|passed| (passed.source, passed.offset)));
        let dead = writes.dead_letters.into_iter().map(|passed| (passed.source, passed.offset));
        self.dead_letters.extend(dead);
        for (source, committed) in read {
            self.read[*source] = committed.clone();
        }
    }

    fn append(&mut self, partition: usize, key: Vec<u8>, value: Vec<u8>) {
        let timestamp_ms = self.now_ms;
        let Partials { records, next } = &mut self.partials[partition];
        records.push(PartialRecord { offset: *next, timestamp_ms, key, value });
        *next += 1;
    }

    /// A transaction that was thrown away leaves its offsets behind.
    pub fn abort_step_one(&mut self) {
        self.now_ms += 1;
        self.partials.iter_mut().for_each(|partials| partials.next += 3);
    }

    /// A transaction of step two.
    pub fn commit_step_two(
        &mut self,
        changelog: Vec<(usize, Vec<u8>, Option<Vec<u8>>)>,
        documents: Vec<Row>,
        merged: &[(usize, i64)],
    ) {
        self.now_ms += 1;
        for (partition, key, value) in changelog {
            match value {
                // The last byte of a group's key, so that some are lost and not the header.
                Some(_) if self.fault == Fault::GroupLost && key.ends_with(b"]") => {}
                Some(value) => _ = self.state.insert((partition, key), value),
                None => _ = self.state.remove(&(partition, key)),
            }
        }
        self.documents.extend(documents);
        for (partition, offset) in merged {
            self.merged[*partition] = Some(*offset);
        }
    }
}
