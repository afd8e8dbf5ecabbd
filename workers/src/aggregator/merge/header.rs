//! What a partials partition knows beside its groups: how far the sources are, and which windows have closed.

use std::collections::BTreeMap;

use crate::aggregator::codec::{Reader, Unreadable, Write};
use crate::aggregator::partial::{Mark, SourcePartition};

/// A claim of silence that is older than this, by the broker's time, doesn't count: its worker may be gone.
const CLAIM_HOLDS_MS: i64 = 30_000;

/// How far a source is, as it was last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Its watermark; none before its first record.
    pub watermark_ms: Option<i64>,
    /// Since when it claims to have nothing to read, by the broker's time.
    pub idle_since_ms: Option<i64>,
    /// When it said so last, by the broker's time.
    pub told_ms: i64,
}

/// Since when a window is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Offset of the record that closed it.
    pub offset: i64,
    /// The broker's time of that record.
    pub at_ms: i64,
}

/// Everything but the groups. Small, so that a transaction can keep a copy to go back to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The broker's time of the first record.
    pub birth_ms: Option<i64>,
    /// The broker's time of the last record.
    pub latest_ms: i64,
    /// Sources by identity.
    pub sources: BTreeMap<SourcePartition, SourceState>,
    /// Closed windows that are kept, by pane.
    pub closed: BTreeMap<i64, Closed>,
    /// Windows that end here or before are gone, if they aren't kept.
    pub gone_until_ms: Option<i64>,
    /// Output → every value whose offset is lower is in it.
    pub flushed: BTreeMap<String, i64>,
}

/// Up to where all sources have been read, in event time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LowWatermark {
    /// Up to here.
    At(i64),
    /// No source says anything: what was counted is all there is.
    End,
    /// A source hasn't been heard of, or has no watermark yet: this one.
    Unknown(SourcePartition),
}

impl Header {
    /// A source tells how far it is.
    pub fn mark(&mut self, mark: &Mark, told_ms: i64) {
        let source = self.sources.entry(mark.source.clone()).or_default();
        source.watermark_ms = source.watermark_ms.max(mark.watermark_ms);
        source.idle_since_ms = match (mark.is_idle, source.idle_since_ms) {
            (false, _) => None,
            (true, since) => Some(since.unwrap_or(told_ms)),
        };
        source.told_ms = told_ms;
    }

    /// The least watermark of the expected sources. One that has been silent for `idle_retention_ms` no longer counts.
    pub fn low_watermark(&self, expected: &[SourcePartition], idle_retention_ms: i64) -> LowWatermark {
        let mut low: Option<i64> = None;
        for id in expected {
            let state = self.sources.get(id).copied().unwrap_or_default();
            let silent_ms = state.idle_since_ms.map_or(0, |since_ms| self.latest_ms - since_ms);
            if state.idle_since_ms.is_some() && silent_ms >= idle_retention_ms && self.holds(&state) {
                continue;
            }
            let Some(watermark_ms) = state.watermark_ms else { return LowWatermark::Unknown(id.clone()) };
            low = Some(low.map_or(watermark_ms, |low| low.min(watermark_ms)));
        }
        low.map_or(LowWatermark::End, LowWatermark::At)
    }

    /// The source that holds the watermark back.
    pub fn slowest(&self, expected: &[SourcePartition]) -> Option<SourcePartition> {
        expected
            .iter()
            .min_by_key(|id| self.sources.get(*id).and_then(|state| state.watermark_ms).unwrap_or(i64::MIN))
            .cloned()
    }

    /// Whether every expected source claims to have nothing to read, and said so lately.
    pub fn is_silent(&self, expected: &[SourcePartition]) -> bool {
        let is_idle = |state: &SourceState| state.idle_since_ms.is_some() && self.holds(state);
        !expected.is_empty() && expected.iter().all(|id| self.sources.get(id).is_some_and(is_idle))
    }

    fn holds(&self, state: &SourceState) -> bool {
        self.latest_ms - state.told_ms <= CLAIM_HOLDS_MS
    }

    /// The bytes of its entry in the changelog.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        optional(&mut bytes, self.birth_ms);
        bytes.signed(self.latest_ms.into());
        bytes.unsigned(self.sources.len() as u128);
        for (id, state) in &self.sources {
            bytes.bytes(id.topic.as_bytes());
            bytes.signed(id.partition.into());
            optional(&mut bytes, state.watermark_ms);
            optional(&mut bytes, state.idle_since_ms);
            bytes.signed(state.told_ms.into());
        }
        bytes.unsigned(self.closed.len() as u128);
        for (pane_ms, closed) in &self.closed {
            bytes.signed((*pane_ms).into());
            bytes.signed(closed.offset.into());
            bytes.signed(closed.at_ms.into());
        }
        optional(&mut bytes, self.gone_until_ms);
        bytes.unsigned(self.flushed.len() as u128);
        for (output, offset) in &self.flushed {
            bytes.bytes(output.as_bytes());
            bytes.signed((*offset).into());
        }
        bytes
    }

    /// Reads what [`Self::write`] wrote.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader::new(bytes);
        let mut header = Self { birth_ms: read_optional(&mut reader)?, ..Self::default() };
        header.latest_ms = reader.signed64()?;
        for _ in 0..reader.count()? {
            let topic = reader.text()?.to_owned();
            let id = SourcePartition { topic, partition: reader.signed32()? };
            let state = SourceState {
                watermark_ms: read_optional(&mut reader)?,
                idle_since_ms: read_optional(&mut reader)?,
                told_ms: reader.signed64()?,
            };
            header.sources.insert(id, state);
        }
        for _ in 0..reader.count()? {
            let pane_ms = reader.signed64()?;
            let closed = Closed { offset: reader.signed64()?, at_ms: reader.signed64()? };
            header.closed.insert(pane_ms, closed);
        }
        header.gone_until_ms = read_optional(&mut reader)?;
        for _ in 0..reader.count()? {
            let output = reader.text()?.to_owned();
            header.flushed.insert(output, reader.signed64()?);
        }
        Ok(header)
    }
}

fn optional(bytes: &mut Vec<u8>, value: Option<i64>) {
    bytes.push(value.is_some().into());
    if let Some(value) = value {
        bytes.signed(value.into());
    }
}

fn read_optional(reader: &mut Reader<'_>) -> Result<Option<i64>, Unreadable> {
    if reader.byte()? == 1 { reader.signed64().map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(partition: i32) -> SourcePartition {
        SourcePartition { topic: "orders".into(), partition }
    }

    fn mark(partition: i32, watermark_ms: Option<i64>, is_idle: bool) -> Mark {
        Mark { source: id(partition), watermark_ms, is_idle }
    }

    /// Three partitions, told at the broker's times in front.
    fn header(told: &[(i64, Mark)]) -> Header {
        let mut header = Header::default();
        for (at_ms, mark) in told {
            header.latest_ms = header.latest_ms.max(*at_ms);
            header.mark(mark, *at_ms);
        }
        header
    }

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn the_slowest_source_holds_the_watermark_back_and_one_never_heard_of_stops_it() {
        let expected = [id(0), id(1), id(2)];
        let mut header = header(&[(1, mark(0, Some(50), false)), (1, mark(1, Some(20), false))]);
        assert_eq!(header.low_watermark(&expected, HOUR_MS), LowWatermark::Unknown(id(2)));
        assert_eq!(header.slowest(&expected), Some(id(2)));
        header.mark(&mark(2, Some(70), true), 2);
        assert_eq!(header.low_watermark(&expected, HOUR_MS), LowWatermark::At(20));
        header.mark(&mark(1, Some(10), false), 3);
        assert_eq!(header.low_watermark(&expected, HOUR_MS), LowWatermark::At(20), "it never falls");
    }

    #[test]
    fn silence_counts_only_while_its_claim_is_fresh() {
        let expected = [id(0), id(1)];
        let mut header = header(&[(1_000, mark(0, Some(5), true)), (1_000, mark(1, None, true))]);
        assert!(header.is_silent(&expected));
        header.mark(&mark(0, Some(5), true), 40_000);
        header.latest_ms = 40_000;
        assert!(!header.is_silent(&expected), "nobody renewed the second claim");
        header.mark(&mark(1, None, false), 40_000);
        assert!(!header.is_silent(&expected));
    }

    #[test]
    fn a_source_that_is_silent_for_long_no_longer_counts() {
        let expected = [id(0), id(1)];
        let mut header = header(&[(0, mark(0, Some(5), false)), (0, mark(1, None, true))]);
        header.latest_ms = HOUR_MS - 1;
        header.mark(&mark(1, None, true), HOUR_MS - 1);
        assert_eq!(header.low_watermark(&expected, HOUR_MS), LowWatermark::Unknown(id(1)));
        header.latest_ms = HOUR_MS;
        assert_eq!(header.low_watermark(&expected, HOUR_MS), LowWatermark::At(5));
        header.mark(&mark(0, Some(5), true), HOUR_MS);
        assert_eq!(header.low_watermark(&[id(1)], HOUR_MS), LowWatermark::End);
    }

    #[test]
    fn a_header_is_read_back() {
        let mut header = header(&[(5, mark(0, Some(-5), true)), (6, mark(1, None, false))]);
        header.birth_ms = Some(5);
        header.closed.insert(-30_000, Closed { offset: 7, at_ms: 6 });
        header.gone_until_ms = Some(-60_000);
        header.flushed.insert("redis".into(), 12);
        assert_eq!(Header::read(&header.write()), Ok(header));
        assert!(Header::read(b"").is_err());
    }
}
