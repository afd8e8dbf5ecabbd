//! What step one tells step two: records of the partials topic.
//!
//! Values are keyed by group, so that a group's are all in one partition. Marks have no key: each transaction tells
//! every partition how far its sources have come.

use super::codec::{Reader, Unreadable, Write};
use super::measure::{Group, Shape};

const VALUES: u8 = 1;
const MARKS: u8 = 2;

/// A partition of an input topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePartition {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

impl std::fmt::Display for SourcePartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// How far a source partition has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Which one.
    pub source: SourcePartition,
    /// No record that counts is older than this, in event time; none before its first record.
    pub watermark_ms: Option<i64>,
    /// It was read to the end of its log, and nothing came since.
    pub is_idle: bool,
}

/// A record of the partials topic.
#[derive(Clone, Debug, PartialEq)]
pub enum Partial {
    /// What was added to a group, pane by pane.
    Values(Vec<(i64, Group)>),
    /// How far sources have come.
    Marks(Vec<Mark>),
}

/// The bytes of a group's values in some panes.
pub fn write_values<'g>(shape: &Shape, panes: impl ExactSizeIterator<Item = (i64, &'g Group)>) -> Vec<u8> {
    let mut bytes = vec![VALUES];
    bytes.unsigned(panes.len() as u128);
    for (pane, group) in panes {
        bytes.signed(pane.into());
        shape.write(group, &mut bytes);
    }
    bytes
}

/// The bytes of marks.
pub fn write_marks(marks: &[Mark]) -> Vec<u8> {
    let mut bytes = vec![MARKS];
    bytes.unsigned(marks.len() as u128);
    for mark in marks {
        bytes.bytes(mark.source.topic.as_bytes());
        bytes.signed(mark.source.partition.into());
        bytes.push(u8::from(mark.is_idle) << 1 | u8::from(mark.watermark_ms.is_some()));
        if let Some(watermark_ms) = mark.watermark_ms {
            bytes.signed(watermark_ms.into());
        }
    }
    bytes
}

/// Reads a record's value.
pub fn read(shape: &Shape, bytes: &[u8]) -> Result<Partial, Unreadable> {
    let mut reader = Reader::new(bytes);
    match reader.byte()? {
        VALUES => {
            let mut panes = Vec::new();
            for _ in 0..reader.count()? {
                panes.push((reader.signed64()?, shape.read(&mut reader)?));
            }
            Ok(Partial::Values(panes))
        }
        MARKS => {
            let mut marks = Vec::new();
            for _ in 0..reader.count()? {
                let topic = reader.text()?.to_owned();
                let partition = reader.signed32()?;
                let flags = reader.byte()?;
                let watermark_ms = if flags & 1 == 1 { Some(reader.signed64()?) } else { None };
                let source = SourcePartition { topic, partition };
                marks.push(Mark { source, watermark_ms, is_idle: flags & 2 == 2 });
            }
            Ok(Partial::Marks(marks))
        }
        _ => reader.wrong("values or marks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::measure::{Input, Measure, MeasureKind};

    fn shape() -> Shape {
        let measure = |kind, daily| Measure { name: String::new(), kind, daily };
        Shape {
            measures: vec![measure(MeasureKind::Sum, false), measure(MeasureKind::Count, true)],
            is_table: true,
        }
    }

    #[test]
    fn values_and_marks_are_read_back() {
        let (shape, input) = (shape(), Some(Input { value: "1.25".parse().unwrap(), day: 20_000 }));
        let mut group = shape.empty();
        shape.fold(&mut group, &[input, input], -1).unwrap();
        let panes = vec![(-30_000, group), (0, shape.empty())];
        let bytes = write_values(&shape, panes.iter().map(|(pane, group)| (*pane, group)));
        assert_eq!(read(&shape, &bytes), Ok(Partial::Values(panes)));

        let source = |partition| SourcePartition { topic: "orders".into(), partition };
        let marks = vec![
            Mark { source: source(0), watermark_ms: Some(-5), is_idle: true },
            Mark { source: source(7), watermark_ms: None, is_idle: false },
        ];
        assert_eq!(read(&shape, &write_marks(&marks)), Ok(Partial::Marks(marks)));
    }

    #[test]
    fn a_record_of_somebody_else_is_refused() {
        assert!(read(&shape(), b"{}").is_err());
        assert!(read(&shape(), b"").is_err());
        assert!(read(&shape(), &[VALUES, 3]).is_err());
    }
}
