//! Where a text in a JSON document stops: found for 64 bytes at once, whatever is in them.
//!
//! Texts and names are short and of changing length, so a search that begins anew in each of them costs more in
//! branches that can't be foreseen than in bytes.

use wide::u8x16;

/// The stops of the 64 bytes at hand. Begins with none at hand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stops {
    /// The bytes at hand.
    start: usize,
    end: usize,
    /// A bit for each, the first one lowest: whether it is a stop.
    bits: u64,
}

impl Stops {
    /// The first quote, backslash or control character at or behind `at`; the end of the bytes where there is none. The
    /// bytes are the same ones each time.
    #[inline]
    pub fn next(&mut self, bytes: &[u8], mut at: usize) -> usize {
        loop {
            if (self.start..self.end).contains(&at) {
                let rest = self.bits >> (at - self.start);
                if rest != 0 {
                    return at + rest.trailing_zeros() as usize;
                }
                at = self.end;
            }
            let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return bytes.len() };
            (self.start, self.end, self.bits) = match rest.first_chunk::<64>() {
                Some(block) => (at, at + 64, stops_of(block)),
                None => {
                    let mut block = [b' '; 64];
                    block[..rest.len()].copy_from_slice(rest);
                    (at, bytes.len(), stops_of(&block))
                }
            };
        }
    }
}

fn stops_of(block: &[u8; 64]) -> u64 {
    let vectors = block.as_chunks::<16>().0.iter().enumerate();
    vectors.fold(0, |bits, (index, bytes)| {
        let bytes = u8x16::new(*bytes);
        let is_control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
        let is_stop = bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\')) | is_control;
        bits | u64::from(is_stop.to_bitmask()) << (16 * index)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_is_a_stop_or_none() {
        for byte in 0..=u8::MAX {
            let is_stop = matches!(byte, b'"' | b'\\' | 0..0x20);
            for at in 0..64 {
                let mut block = [b'x'; 64];
                block[at] = byte;
                assert_eq!(stops_of(&block), u64::from(is_stop) << at, "{byte} at {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_next_stop_is_the_one_that_a_search_finds(
            bytes in prop::collection::vec(prop_oneof![4 => Just(b'x'), 1 => any::<u8>()], 0..300),
            steps in prop::collection::vec(0_usize..90, 0..20),
        ) {
            let (mut stops, mut at) = (Stops::default(), 0);
            for step in steps {
                at = (at + step).min(bytes.len());
                let found = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
                prop_assert_eq!(stops.next(&bytes, at), found.map_or(bytes.len(), |found| at + found));
            }
        }
    }
}
