//! Incarnations of an aggregation: what tells whether state that is there still means the same.

use std::fmt::Write as _;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::duration::Duration;
use crate::pipeline::aggregation::{Aggregation, Group, Measure, Window};
use crate::pipeline::transform::{Explode, Format, Lookup};

/// How state is written. Raised when a version can't read what the one before wrote, so that it begins anew.
const LAYOUT: u32 = 1;
/// Bytes of the hash.
const BYTES: usize = 5;
/// `wait` of a lookup that says none, in milliseconds.
const DEFAULT_WAIT_MS: u64 = 30_000;

/// What an aggregation means: two that are equal here can go on with each other's state. The order of lists counts,
/// because state refers to groups, measures and topics by their place.
#[derive(Serialize)]
struct Meaning<'a> {
    layout: u32,
    from: &'a [String],
    format: Format,
    latest_by: Option<&'a str>,
    lookups: Vec<LookupMeaning<'a>>,
    explode: Option<&'a Explode>,
    event_time: Option<&'a str>,
    watermark_ms: u64,
    allowed_lateness_ms: u64,
    time_zone: &'a str,
    window: &'a Window,
    filter: Option<&'a str>,
    group_by: &'a [Group],
    measures: &'a [Measure],
}

#[derive(Serialize)]
struct LookupMeaning<'a> {
    name: &'a str,
    topic: &'a str,
    format: Option<Format>,
    key: &'a str,
    wait_ms: u64,
}

/// The incarnation of an aggregation whose lookups have their `format`: 10 hexadecimal digits of a hash of what it
/// means. When, where to and by how many processes values are written is no part of that.
pub fn incarnation(aggregation: &Aggregation) -> String {
    // Taken apart whole, so that a field that is added has to be put on one side or the other.
    let Aggregation {
        name: _,
        from,
        format,
        latest_by,
        lookups,
        explode,
        event_time,
        watermark,
        allowed_lateness,
        idle_retention: _,
        time_zone,
        window,
        filter,
        group_by,
        measures,
        emit: _,
        to: _,
        workers: _,
    } = aggregation;
    let meaning = Meaning {
        layout: LAYOUT,
        from,
        format: *format,
        latest_by: latest_by.as_deref(),
        lookups: lookups.iter().map(lookup).collect(),
        explode: explode.as_ref(),
        event_time: event_time.as_deref(),
        watermark_ms: watermark.map_or(0, Duration::as_ms),
        allowed_lateness_ms: allowed_lateness.map_or(0, Duration::as_ms),
        time_zone: time_zone.as_deref().unwrap_or("UTC"),
        window,
        filter: filter.as_deref(),
        group_by,
        measures,
    };
    // Plain structs and texts always serialise.
    let text = serde_json::to_vec(&meaning).unwrap_or_default();
    Sha256::digest(&text).iter().take(BYTES).fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn lookup(lookup: &Lookup) -> LookupMeaning<'_> {
    let Lookup { name, topic, format, key, wait } = lookup;
    let wait_ms = wait.map_or(DEFAULT_WAIT_MS, Duration::as_ms);
    LookupMeaning { name, topic, format: *format, key, wait_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALES: &str = "{name: sales, from: [orders], format: debezium, eventTime: event.at, watermark: 10s, window: {tumbling: 30s}, \
        lookups: [{name: product, topic: product, format: debezium, match: event.product}], where: event.ok, \
        groupBy: [{name: category, value: product.category}], measures: [{name: items, sum: event.quantity}], \
        emit: {every: 1s}, idleRetention: 1h, to: [{topic: sales}], workers: {replicas: {min: 1, max: 1}}}";

    fn of(text: &str) -> String {
        incarnation(&serde_yaml::from_str(text).unwrap())
    }

    fn changed(from: &str, to: &str) -> String {
        assert!(SALES.contains(from), "{from}");
        of(&SALES.replace(from, to))
    }

    /// When this test fails for code that was only tidied, every aggregation out there would be rebuilt.
    #[test]
    fn an_incarnation_is_the_same_in_every_build() {
        assert_eq!(of(SALES), "13d59cef25");
    }

    #[test]
    fn what_an_aggregation_means_changes_its_incarnation() {
        for (from, to) in [
            ("[orders]", "[orders, refunds]"),
            ("format: debezium, eventTime", "latestBy: event.id, eventTime"),
            ("topic: product, format: debezium", "topic: product, format: json"),
            ("match: event.product", "match: event.product, wait: 5s"),
            ("window:", "explode: {as: item, value: event.items}, window:"),
            ("event.at", "event.then"),
            ("watermark: 10s", "watermark: 11s"),
            ("window:", "allowedLateness: 1s, window:"),
            ("window:", "timeZone: Europe/Madrid, window:"),
            ("tumbling: 30s", "tumbling: 60s"),
            ("event.ok", "event.good"),
            ("{name: category", "{name: kind"),
            ("product.category", "product.kind"),
            ("sum: event.quantity", "avg: event.quantity"),
            ("{name: items", "{name: count, count: {}}, {name: items"),
        ] {
            assert_ne!(changed(from, to), of(SALES), "{from} -> {to}");
        }
    }

    #[test]
    fn when_and_where_to_values_are_written_does_not() {
        for (from, to) in [
            ("name: sales", "name: takings"),
            ("every: 1s", "every: 5s"),
            ("idleRetention: 1h", "idleRetention: 2h"),
            ("{topic: sales}", "{store: metrics, redis: {key: k, ttl: 1h}}"),
            ("max: 1", "max: 3"),
        ] {
            assert_eq!(changed(from, to), of(SALES), "{from} -> {to}");
        }
    }

    #[test]
    fn what_is_said_by_default_may_be_written_out() {
        for (from, to) in [
            ("window:", "timeZone: UTC, allowedLateness: 0s, window:"),
            ("tumbling: 30s", "tumbling: 30000ms"),
            ("match: event.product", "match: event.product, wait: 30s"),
        ] {
            assert_eq!(changed(from, to), of(SALES), "{from} -> {to}");
        }
    }
}
