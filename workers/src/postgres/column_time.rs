//! Dates and times as PostgreSQL sends them: counted from 2000-01-01.

use crate::calendar::{days_in, days_since_1970};

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_MICROS: i64 = EPOCH_DAYS * DAY_MICROS;
const DAY_MICROS: i64 = 86_400 * 1_000_000;
/// PostgreSQL's first and last instant, in its own count (4714-11-24 BC, 294276-12-31).
const FIRST_MICROS: i64 = -211_813_488_000_000_000;
const END_MICROS: i64 = 9_223_371_331_200_000_000;

/// The instant of microseconds since 1970, in PostgreSQL's count; none when out of its range.
pub(super) fn instant(unix_micros: i64) -> Option<i64> {
    unix_micros.checked_sub(EPOCH_MICROS).filter(|micros| (FIRST_MICROS..END_MICROS).contains(micros))
}

/// A date with a time, and an offset from UTC; without one it is UTC. `2026-11-22T10:00:00.5+01:00`,
/// `2026-11-22 10:00`, `2026-11-22`, `infinity`.
pub(super) fn timestamp(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(i64::MAX),
        "-infinity" => return Some(i64::MIN),
        _ => {}
    }
    let mut reader = Reader { rest: text.as_bytes() };
    let days = reader.date()?;
    if reader.rest.is_empty() {
        return instant(days.checked_mul(DAY_MICROS)?);
    }
    if !matches!(reader.next()?, b'T' | b't' | b' ') {
        return None;
    }
    let micros = reader.time()?;
    let offset = reader.offset()?;
    reader.end()?;
    instant(days.checked_mul(DAY_MICROS)?.checked_add(micros)?.checked_sub(offset)?)
}

/// A date alone; a `Z` behind it, as Debezium writes it, says nothing. Days in PostgreSQL's count.
pub(super) fn date(text: &str) -> Option<i32> {
    let mut reader = Reader { rest: text.as_bytes() };
    let days = reader.date()?;
    reader.eat(b'Z');
    reader.end()?;
    i32::try_from(days - EPOCH_DAYS).ok()
}

/// A time of day; a `Z` behind it says nothing. Microseconds since midnight.
pub(super) fn time(text: &str) -> Option<i64> {
    let mut reader = Reader { rest: text.as_bytes() };
    let micros = reader.time()?;
    reader.eat(b'Z');
    reader.end()?;
    (micros <= DAY_MICROS).then_some(micros)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    /// So many digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let digits = self.rest.get(..count)?;
        self.rest = &self.rest[count..];
        digits.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    }

    /// Days since 1970.
    fn date(&mut self) -> Option<i64> {
        let signed = self.eat(b'+');
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let fits = if signed { (4..=6).contains(&digits) } else { digits == 4 };
        let year = if fits { self.digits(digits)? } else { return None };
        self.eat(b'-').then_some(())?;
        let month = self.digits(2)?;
        self.eat(b'-').then_some(())?;
        let day = self.digits(2)?;
        let valid = year >= 1 && (1..=12).contains(&month) && day >= 1 && day <= days_in(year, month);
        valid.then(|| days_since_1970(year, month, day))
    }

    /// Microseconds since midnight. 24:00 is the end of the day, a 60th second the next minute.
    fn time(&mut self) -> Option<i64> {
        let hour = self.digits(2)?;
        self.eat(b':').then_some(())?;
        let minute = self.digits(2)?;
        let (mut second, mut micros) = (0, 0);
        if self.eat(b':') {
            second = self.digits(2)?;
            if self.eat(b'.') {
                micros = self.fraction()?;
            }
        }
        if hour > 24 || minute > 59 || second > 60 || (hour == 24 && (minute, second, micros) != (0, 0, 0)) {
            return None;
        }
        Some(((hour * 60 + minute) * 60 + second) * 1_000_000 + micros)
    }

    /// Microseconds of a fraction of a second, rounded.
    fn fraction(&mut self) -> Option<i64> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return None;
        }
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        let digit = |at: usize| digits.get(at).map_or(0, |digit| i64::from(digit - b'0'));
        let micros = (0..6).fold(0, |micros, at| micros * 10 + digit(at));
        Some(micros + i64::from(digit(6) >= 5))
    }

    /// Microseconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        self.eat(b' ');
        let sign = match self.rest.first() {
            None => return Some(0),
            Some(b'Z' | b'z') => {
                self.rest = &self.rest[1..];
                return Some(0);
            }
            Some(b'+') => 1,
            Some(b'-') => -1,
            Some(_) => return None,
        };
        self.rest = &self.rest[1..];
        let hours = self.digits(2)?;
        let colon = self.eat(b':');
        let minutes = if colon || !self.rest.is_empty() { self.digits(2)? } else { 0 };
        (hours <= 15 && minutes <= 59).then(|| sign * (hours * 60 + minutes) * 60 * 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unix(text: &str) -> Option<i64> {
        timestamp(text).map(|micros| micros + EPOCH_MICROS)
    }

    #[test]
    fn every_usual_way_to_write_an_instant_is_read() {
        let expected = 1_795_341_600_000_000;
        for text in [
            "2026-11-22T10:00:00Z",
            "2026-11-22t10:00:00z",
            "2026-11-22 10:00:00",
            "2026-11-22T10:00",
            "2026-11-22T11:00:00+01:00",
            "2026-11-22T09:30:00-0030",
            "2026-11-22 11:00:00+01",
            "2026-11-22T10:00:00.000000Z",
            "2026-11-22 10:00:00 Z",
        ] {
            assert_eq!(unix(text), Some(expected), "{text}");
        }
        assert_eq!(unix("2026-11-22T10:00:00.1234565Z"), Some(expected + 123_457));
        assert_eq!(unix("2026-11-22T09:59:59.9999999Z"), Some(expected));
        assert_eq!(timestamp("2000-01-01"), Some(0));
        assert_eq!(timestamp("infinity"), Some(i64::MAX));
        assert_eq!(date("2024-02-29"), date("2024-03-01").map(|day| day - 1));
        assert_eq!(date("2000-01-02Z"), Some(1));
        assert_eq!(time("24:00:00"), Some(DAY_MICROS));
        assert_eq!(time("10:11:12.5Z"), Some(36_672_500_000));
    }

    #[test]
    fn what_is_no_instant_is_not_read() {
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-04-31",
            "2026-00-10",
            "0000-01-01",
            "2026-11-22T25:00:00Z",
            "2026-11-22T24:00:01Z",
            "2026-11-22T10:60:00Z",
            "2026-11-22T10:00:61Z",
            "2026-11-22T10:00:00.Z",
            "2026-11-22T10:00:00+16:00",
            "2026-11-22T10:00:00Zx",
            "2026-11-22x10:00:00",
            "22.11.2026",
            "2026-1-2",
            "now",
            "+294277-01-01T00:00:00Z",
            "2026-11-22T10:00:00 Europe/Rome",
            "99999-01-01",
        ] {
            assert_eq!(timestamp(text), None, "{text}");
        }
        assert_eq!(time("24:00:01"), None);
        assert_eq!(time("10"), None);
        assert_eq!(date("2026-11-22T10:00:00Z"), None);
    }

    proptest! {
        #[test]
        fn instants_are_the_ones_another_library_computes(micros in -62_135_596_800_000_000..253_402_300_799_999_999_i64) {
            let time = jiff::Timestamp::from_microsecond(micros).unwrap();
            prop_assert_eq!(unix(&time.to_string()), Some(micros));
            let civil = jiff::tz::TimeZone::UTC.to_datetime(time);
            prop_assert_eq!(unix(&civil.to_string()), Some(micros));
        }
    }
}
