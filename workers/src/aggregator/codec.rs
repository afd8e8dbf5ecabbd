//! The binary form of partial values and state: small, self-delimiting, and the same for equal values.
//!
//! Whole numbers are zigzag varints (<https://protobuf.dev/programming-guides/encoding/#varints>), a decimal is its
//! mantissa and scale, text and bytes carry their length in front.

use rust_decimal::Decimal;

/// Why bytes can't be read: they come from another version, or from somebody else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes that this version didn't write: {expected} expected at byte {at}")]
pub struct Unreadable {
    /// Where reading stopped.
    pub at: usize,
    /// What had to come.
    pub expected: &'static str,
}

/// Appends values to bytes.
pub trait Write {
    /// A count or another number that isn't negative.
    fn unsigned(&mut self, value: u128);
    /// A number with a sign.
    fn signed(&mut self, value: i128);
    /// Bytes with their length in front.
    fn bytes(&mut self, value: &[u8]);
    /// An exact number.
    fn decimal(&mut self, value: Decimal);
}

impl Write for Vec<u8> {
    fn unsigned(&mut self, mut value: u128) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn signed(&mut self, value: i128) {
        self.unsigned(((value << 1) ^ (value >> 127)) as u128);
    }

    fn bytes(&mut self, value: &[u8]) {
        self.unsigned(value.len() as u128);
        self.extend_from_slice(value);
    }

    fn decimal(&mut self, value: Decimal) {
        // Without zeros at the end, so that equal values are equal bytes.
        let value = value.normalize();
        self.push(value.scale() as u8);
        self.signed(value.mantissa());
    }
}

/// Takes values from bytes, from front to back.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Whether everything was taken.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// For a value that is readable and yet makes no sense.
    pub fn wrong<T>(&self, expected: &'static str) -> Result<T, Unreadable> {
        Err(Unreadable { at: self.at, expected })
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Unreadable> {
        let Some(byte) = self.bytes.get(self.at) else { return self.wrong("one more byte") };
        self.at += 1;
        Ok(*byte)
    }

    /// What [`Write::unsigned`] wrote.
    pub fn unsigned(&mut self) -> Result<u128, Unreadable> {
        let mut value = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        self.wrong("the end of a number")
    }

    /// What [`Write::signed`] wrote.
    pub fn signed(&mut self) -> Result<i128, Unreadable> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i128 ^ -((value & 1) as i128))
    }

    /// The same, where it fits 64 bits.
    pub fn signed64(&mut self) -> Result<i64, Unreadable> {
        let value = self.signed()?;
        i64::try_from(value).or_else(|_| self.wrong("a number of 64 bits"))
    }

    /// The same, where it fits 32 bits.
    pub fn signed32(&mut self) -> Result<i32, Unreadable> {
        let value = self.signed()?;
        i32::try_from(value).or_else(|_| self.wrong("a number of 32 bits"))
    }

    /// A count; no more than there are bytes, so that nobody reserves memory for nonsense.
    pub fn count(&mut self) -> Result<usize, Unreadable> {
        let value = self.unsigned()?;
        match usize::try_from(value) {
            Ok(count) if count <= self.bytes.len() => Ok(count),
            _ => self.wrong("a count that fits"),
        }
    }

    /// What [`Write::bytes`] wrote.
    pub fn bytes(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.count()?;
        let Some(found) = self.bytes.get(self.at..self.at + length) else { return self.wrong("more bytes") };
        self.at += length;
        Ok(found)
    }

    /// The same as text.
    pub fn text(&mut self) -> Result<&'a str, Unreadable> {
        let bytes = self.bytes()?;
        str::from_utf8(bytes).or_else(|_| self.wrong("text in UTF-8"))
    }

    /// What [`Write::decimal`] wrote.
    pub fn decimal(&mut self) -> Result<Decimal, Unreadable> {
        let scale = self.byte()?;
        let mantissa = self.signed()?;
        Decimal::try_from_i128_with_scale(mantissa, scale.into()).or_else(|_| self.wrong("a decimal"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            unsigned: u128, signed: i128, bytes: Vec<u8>,
            mantissa in -(1_i128 << 95)..(1_i128 << 95), scale in 0_u32..=28,
        ) {
            let decimal = Decimal::from_i128_with_scale(mantissa, scale);
            let mut written = Vec::new();
            written.unsigned(unsigned);
            written.signed(signed);
            written.bytes(&bytes);
            written.decimal(decimal);
            let mut reader = Reader::new(&written);
            prop_assert_eq!(reader.unsigned(), Ok(unsigned));
            prop_assert_eq!(reader.signed(), Ok(signed));
            prop_assert_eq!(reader.bytes(), Ok(bytes.as_slice()));
            prop_assert_eq!(reader.decimal(), Ok(decimal));
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while !reader.is_at_end() && reader.bytes().is_ok() && reader.decimal().is_ok() {}
        }
    }

    #[test]
    fn equal_decimals_are_equal_bytes() {
        let written = |text: &str| {
            let mut bytes = Vec::new();
            bytes.decimal(text.parse().unwrap());
            bytes
        };
        assert_eq!(written("1.50"), written("1.5"));
        assert_eq!(written("0.00"), written("0"));
    }
}
