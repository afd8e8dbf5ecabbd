//! The task of an output, for tests against a real Redis and a real PostgreSQL.

// Each test binary uses its own part of this, and all of it is for tests.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use acequia_crds::pipeline::aggregation::Aggregation;
use acequia_crds::pipeline::store::Store;
use acequia_workers::aggregator::output::{
    Batch, OutputEvent, OutputHandle, Row, Span, Target, Version, spawn,
};
use acequia_workers::secrets::SecretsFolder;
use acequia_workers::stop::{self, StopRequest};
use rust_decimal::Decimal;

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// The moment of which rows are, unless a test says otherwise: 2100-01-01, so that nothing has expired.
pub const NOW_MS: i64 = 4_102_444_800_000;

/// The aggregation of these lines of a manifest, without its name and `from`.
pub fn aggregation(lines: &str) -> Aggregation {
    serde_yaml::from_str(&format!("name: sales\nfrom: [t]\n{lines}")).unwrap()
}

/// A row of this version; the measures are numbers, none for null, and nothing at all removes the group.
pub fn row(group: &str, measures: Option<&[Option<&str>]>, version: (i64, i64, i64)) -> Row {
    let numbers = |texts: &[Option<&str>]| {
        texts.iter().map(|text| text.map(|text| text.parse::<Decimal>().unwrap())).collect()
    };
    let (birth_ms, offset, sequence) = version;
    Row {
        window: None,
        group: group.as_bytes().to_vec(),
        measures: measures.map(numbers),
        is_final: false,
        revision: 1,
        watermark_ms: None,
        version: Version { birth_ms, offset, sequence },
        changed_ms: NOW_MS,
    }
}

/// The window of 30 s with this number, counted from [`NOW_MS`].
pub fn window(number: i64) -> Span {
    let start_ms = NOW_MS + number * 30_000;
    Span { start_ms, end_ms: start_ms + 30_000 }
}

/// Every order of `0..count`.
pub fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let insert = |order: Vec<usize>| {
        (0..count).map(move |at| {
            let mut order = order.clone();
            order.insert(at, count - 1);
            order
        })
    };
    permutations(count - 1).into_iter().flat_map(insert).collect()
}

/// A task of an output that runs.
pub struct Output {
    handle: OutputHandle,
    // The task would end without it.
    _stop: StopRequest,
    number: u64,
}

impl Output {
    /// Starts the task of the only output of an aggregation.
    pub fn start(aggregation: &Aggregation, store: &str, secrets: &SecretsFolder, incarnation: &str) -> Self {
        Self::start_of("local/test/shop", aggregation, store, secrets, incarnation)
    }

    pub fn start_of(
        pipeline: &str,
        aggregation: &Aggregation,
        store: &str,
        secrets: &SecretsFolder,
        incarnation: &str,
    ) -> Self {
        let store: Store = serde_yaml::from_str(store).unwrap();
        let stores = BTreeMap::from([(store.name.clone(), store)]);
        let target = Target::new(&aggregation.to[0], aggregation, &stores, incarnation).unwrap();
        let (request, stop) = stop::channel();
        let identity = (pipeline.to_owned(), "aggregation-sales".to_owned());
        let handle = spawn(target, identity, secrets.clone(), stop);
        Self { handle, _stop: request, number: 0 }
    }

    /// Sends rows without waiting for what becomes of them.
    pub async fn send(&mut self, rows: Vec<Row>) -> u64 {
        self.number += 1;
        self.handle.batches.send(Batch { number: self.number, rows }).await.unwrap();
        self.number
    }

    /// Writes rows; returns what was said before they were written.
    pub async fn write(&mut self, rows: Vec<Row>) -> Vec<OutputEvent> {
        let number = self.send(rows).await;
        self.wait(|event| *event == OutputEvent::Written { number })
    }

    /// Waits for an event; returns those before it.
    pub fn wait(&mut self, is_wanted: impl Fn(&OutputEvent) -> bool) -> Vec<OutputEvent> {
        let until = Instant::now() + DEADLINE;
        let mut before = Vec::new();
        loop {
            match self.handle.events.recv_deadline(until) {
                Ok(event) if is_wanted(&event) => return before,
                Ok(event) => before.push(event),
                Err(error) => panic!("{error}; so far: {before:?}"),
            }
        }
    }
}

pub fn is_failing(event: &OutputEvent) -> bool {
    matches!(event, OutputEvent::Failing { .. })
}
