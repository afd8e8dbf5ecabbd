//! What the step tells of itself.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use acequia_crds::stage_report::SourceReport;

use super::Loop;
use crate::aggregator::merge::header::LowWatermark;
use crate::aggregator::merge::state::State;
use crate::aggregator::partial::SourcePartition;

/// How often state and lag are told.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// Sources that a report names.
const REPORTED_SOURCES: usize = 100;

impl Loop {
    pub(super) fn report(&mut self) {
        let now = Instant::now();
        if now < self.report_at {
            return;
        }
        self.report_at = now + REPORT_EVERY;
        self.it.member.report();
        let states = || self.partitions.values().map(|partition| &partition.state);
        let bytes: usize = states().map(State::size_bytes).sum();
        let all = self.it.health.set_state_bytes("merge", bytes as u64);
        self.it.state_bytes.store(all, Ordering::Relaxed);
        let open_windows = states().map(State::open_windows).max().unwrap_or(0) as u64;
        let groups = states().map(State::group_count).sum::<usize>() as u64;
        let dropped = states().map(State::dropped).sum();
        let header = states().map(State::header).next();
        let low = header.map(|header| header.low_watermark(&self.expected, self.it.rules.idle_retention_ms));
        let source = |id: &SourcePartition| {
            let state = header.and_then(|header| header.sources.get(id)).copied().unwrap_or_default();
            SourceReport {
                source: id.to_string(),
                watermark_ms: state.watermark_ms,
                idle: state.idle_since_ms.is_some(),
            }
        };
        let is_windowed = self.it.rules.window != crate::aggregator::window::Window::Global;
        let named = self.expected.iter().filter(|_| is_windowed).take(REPORTED_SOURCES);
        let sources: Vec<SourceReport> = named.map(source).collect();
        let held_back_by = header.filter(|_| is_windowed).and_then(|header| {
            let slowest = header.slowest(&self.expected)?;
            let state = header.sources.get(&slowest);
            let why = match state {
                None => "it hasn't been heard of",
                Some(state) if state.watermark_ms.is_none() => "it has had no record yet",
                Some(state) if state.idle_since_ms.is_some() => "it is idle",
                Some(_) => "its events are the oldest",
            };
            Some(format!("{slowest}: {why}"))
        });
        self.it.health.report(|report| {
            report.open_windows = open_windows;
            report.groups = groups;
            report.dropped = dropped;
            report.watermark_ms = if let Some(LowWatermark::At(low)) = low { Some(low) } else { None };
            report.sources = sources;
            report.held_back_by = held_back_by;
        });
    }
}
