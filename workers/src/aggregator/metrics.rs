//! How far an aggregation is, as metrics: what its report says, at the moment it is asked.

use acequia_crds::stage_report::AggregationReport;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::service::Progress;

/// Adds them to those of the worker.
pub fn register(progress: &Progress) {
    let collector = Box::new(Report(progress.clone()));
    progress.register(|registry| registry.register_collector(collector));
}

#[derive(Debug)]
struct Report(Progress);

impl Collector for Report {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(report) = self.0.aggregation() else { return Ok(()) };
        watermarks(&mut encoder, &report)?;
        let gauges = [
            ("open_windows", "Windows that still take records", report.open_windows),
            ("groups", "Groups of all windows that are kept", report.groups),
            ("rows", "Rows of tables whose contributions are kept", report.rows),
            ("state_bytes", "Memory of all state, about", report.state_bytes),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, None, value as f64)?;
        }
        let counters = [
            ("late_records", "Records that came too late", report.late),
            ("dropped_values", "Values that came for windows that idleRetention had ended", report.dropped),
            ("lookups_missed", "Lookups that found no row in time", report.lookups_missed),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        if let Some(delay_ms) = report.visible_after_ms {
            let help = "From closing a window to its values in the outputs, the last time";
            gauge(&mut encoder, "visible_after", help, Some(&Unit::Seconds), delay_ms as f64 / 1000.0)?;
        }
        Ok(())
    }
}

fn watermarks(
    encoder: &mut DescriptorEncoder<'_>,
    report: &AggregationReport,
) -> Result<(), std::fmt::Error> {
    let help = "Up to where a source partition has been read, in event time since 1970";
    let gauge = ConstGauge::new(0.0);
    let mut family = encoder.encode_descriptor(
        "watermark",
        help,
        Some(&Unit::Seconds),
        EncodeMetric::metric_type(&gauge),
    )?;
    for source in &report.sources {
        let Some(watermark_ms) = source.watermark_ms else { continue };
        let labels = [("source", source.source.as_str())];
        ConstGauge::new(watermark_ms as f64 / 1000.0).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: f64,
) -> Result<(), std::fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, unit, EncodeMetric::metric_type(&gauge))?)
}

#[cfg(test)]
mod tests {
    use acequia_crds::stage_report::SourceReport;

    use super::*;

    #[test]
    fn watermarks_and_counts_are_metrics() {
        let progress = Progress::new("h".into());
        register(&progress);
        let source = SourceReport { source: "orders[0]".into(), watermark_ms: Some(1_500), idle: false };
        let report = AggregationReport {
            sources: vec![source],
            open_windows: 2,
            late: 3,
            visible_after_ms: Some(250),
            ..AggregationReport::default()
        };
        progress.set_aggregation(report);
        let text = progress.metrics().unwrap();
        for line in [
            "acequia_watermark_seconds{source=\"orders[0]\"} 1.5",
            "acequia_open_windows 2.0",
            "acequia_late_records_total 3",
            "acequia_visible_after_seconds 0.25",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
