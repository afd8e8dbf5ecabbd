//! PostgreSQL's binary COPY format: rows in a buffer that is used again and again.

use std::ops::Range;

use crate::expression::FieldSpans;

/// What comes before the first row.
pub const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What comes after the last row.
pub const TRAILER: &[u8] = &[0xff, 0xff];

/// Encoded rows. Where each one begins is kept, so they can be sent again in parts.
#[derive(Clone, Debug, Default)]
pub struct CopyBuffer {
    pub(super) bytes: Vec<u8>,
    starts: Vec<usize>,
    /// Where the fields of the record at hand were found; kept here so that a row allocates nothing.
    pub(super) spans: FieldSpans,
}

impl CopyBuffer {
    /// Number of rows.
    pub fn row_count(&self) -> usize {
        self.starts.len()
    }

    /// Bytes of all rows, without header and trailer.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The bytes of the rows from `first` up to but not including `end`; nothing where there are none.
    pub fn rows(&self, first: usize, end: usize) -> &[u8] {
        let start = |row: usize| self.starts.get(row).copied().unwrap_or(self.bytes.len());
        self.bytes.get(Range { start: start(first), end: start(end) }).unwrap_or_default()
    }

    /// Takes all rows out and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }

    /// Begins a row of so many columns. Returns what [`abandon`](Self::abandon) needs.
    pub(super) fn begin(&mut self, columns: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&columns.to_be_bytes());
        start
    }

    /// The row that began there is whole.
    pub(super) fn finish(&mut self, start: usize) {
        self.starts.push(start);
    }

    /// Takes back the row that began there.
    pub(super) fn abandon(&mut self, start: usize) {
        self.bytes.truncate(start);
    }
}

/// Appends one field: its length, then what `encode` appends. On an error the length is left unset.
pub(super) fn field<E>(
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    let head = out.len();
    out.extend_from_slice(&[0; 4]);
    encode(out)?;
    let length = (out.len() - head - 4) as u32;
    if let Some(place) = out.get_mut(head..head + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Appends NULL.
pub(super) fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(&(-1_i32).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_can_be_taken_in_parts() {
        let mut buffer = CopyBuffer::default();
        for row in 0..3_u8 {
            let start = buffer.begin(1);
            field(&mut buffer.bytes, |out| {
                out.push(row);
                Ok::<_, ()>(())
            })
            .unwrap();
            buffer.finish(start);
        }
        let broken = buffer.begin(1);
        buffer.abandon(broken);
        assert_eq!(buffer.rows(1, 2), [0, 1, 0, 0, 0, 1, 1]);
        assert_eq!([buffer.rows(0, 2), buffer.rows(2, 3)].concat(), buffer.rows(0, 3));
        assert!(buffer.rows(3, 4).is_empty());
        assert_eq!((buffer.row_count(), buffer.len()), (3, 21));
    }
}
