//! Days of a time zone, as numbers.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::calendar::days_since_1970;

const DAY_MS: i64 = 86_400_000;

/// The days of a time zone. A day goes from its first midnight up to the next day's, so each time is in exactly one,
/// and a day is no earlier than the one before, even where clocks are put back over midnight.
#[derive(Clone, Debug)]
pub(super) struct Days {
    /// None: UTC, where all days are equally long.
    zone: Option<TimeZone>,
}

/// A day and its bounds, so that the zone isn't asked for each record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KnownDay {
    start_ms: i64,
    end_ms: i64,
    number: i32,
}

/// Why there are no days of a zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{zone}` is no time zone of the IANA database; write, for example, `Europe/Madrid`")]
pub(super) struct UnknownZone {
    zone: String,
}

impl Days {
    /// The days of a zone; none: UTC.
    pub fn new(zone: Option<&str>) -> Result<Self, UnknownZone> {
        let zone = match zone {
            None | Some("UTC") => None,
            Some(name) => Some(TimeZone::get(name).map_err(|_| UnknownZone { zone: name.to_owned() })?),
        };
        Ok(Self { zone })
    }

    /// The number of the day that a time falls on, counted from 1970-01-01; none beyond the calendar. `known`: the day
    /// of the time before.
    pub fn number(&self, ms: i64, known: &mut KnownDay) -> Option<i32> {
        let Some(zone) = &self.zone else {
            return i32::try_from(ms.div_euclid(DAY_MS)).ok();
        };
        if !(known.start_ms..known.end_ms).contains(&ms) {
            *known = day_of(ms, zone)?;
        }
        Some(known.number)
    }
}

fn day_of(ms: i64, zone: &TimeZone) -> Option<KnownDay> {
    let time = jiff::Timestamp::from_millisecond(ms).ok()?;
    let date = zone.to_datetime(time).date();
    let (yesterday, tomorrow) = (date.yesterday().ok()?, date.tomorrow().ok()?);
    let (start_ms, end_ms) = (start(date, zone)?, start(tomorrow, zone)?);
    // Where clocks are put back over midnight, a day's last minutes come once more after the next one has begun.
    if ms < start_ms {
        Some(known(yesterday, start(yesterday, zone)?, start_ms))
    } else if ms >= end_ms {
        Some(known(tomorrow, end_ms, start(tomorrow.tomorrow().ok()?, zone)?))
    } else {
        Some(known(date, start_ms, end_ms))
    }
}

/// Midnight; where it doesn't exist, the time that the clocks show then; where it comes twice, the first one.
fn start(date: Date, zone: &TimeZone) -> Option<i64> {
    Some(zone.to_timestamp(date.to_datetime(jiff::civil::Time::midnight())).ok()?.as_millisecond())
}

fn known(date: Date, start_ms: i64, end_ms: i64) -> KnownDay {
    let number = days_since_1970(date.year().into(), date.month().into(), date.day().into());
    KnownDay { start_ms, end_ms, number: number as i32 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(zone: &str, time: &str) -> i32 {
        let ms = time.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        Days::new(Some(zone)).unwrap().number(ms, &mut KnownDay::default()).unwrap()
    }

    fn date(text: &str) -> i32 {
        let date: Date = text.parse().unwrap();
        days_since_1970(date.year().into(), date.month().into(), date.day().into()) as i32
    }

    #[test]
    fn a_day_follows_the_clocks_of_its_zone() {
        for (zone, time, day) in [
            ("UTC", "2026-11-22T23:59:59.999Z", "2026-11-22"),
            ("UTC", "1969-12-31T23:59:59.999Z", "1969-12-31"),
            ("Europe/Madrid", "2026-11-22T22:59:59.999Z", "2026-11-22"),
            ("Europe/Madrid", "2026-11-22T23:00:00Z", "2026-11-23"),
            ("America/New_York", "2026-11-22T04:59:59Z", "2026-11-21"),
        ] {
            assert_eq!(number(zone, time), date(day), "{zone} {time}");
        }
    }

    #[test]
    fn the_days_on_which_clocks_change_are_shorter_and_longer() {
        // 23 hours: clocks go forward at 02:00.
        assert_eq!(number("Europe/Madrid", "2026-03-28T22:59:59Z"), date("2026-03-28"));
        assert_eq!(number("Europe/Madrid", "2026-03-28T23:00:00Z"), date("2026-03-29"));
        assert_eq!(number("Europe/Madrid", "2026-03-29T21:59:59Z"), date("2026-03-29"));
        assert_eq!(number("Europe/Madrid", "2026-03-29T22:00:00Z"), date("2026-03-30"));
        // 25 hours: clocks go back at 03:00.
        assert_eq!(number("Europe/Madrid", "2026-10-24T22:00:00Z"), date("2026-10-25"));
        assert_eq!(number("Europe/Madrid", "2026-10-25T22:59:59Z"), date("2026-10-25"));
        assert_eq!(number("Europe/Madrid", "2026-10-25T23:00:00Z"), date("2026-10-26"));
    }

    #[test]
    fn a_day_without_midnight_begins_with_its_first_hour() {
        // São Paulo went from 23:59:59 to 01:00:00.
        assert_eq!(number("America/Sao_Paulo", "2018-11-04T02:59:59Z"), date("2018-11-03"));
        assert_eq!(number("America/Sao_Paulo", "2018-11-04T03:00:00Z"), date("2018-11-04"));
    }

    #[test]
    fn minutes_that_come_again_after_midnight_stay_in_the_new_day() {
        // St. John's went from 00:00:59 of the 29th back to 23:01 of the 28th.
        let again = "2006-10-29T02:40:00Z";
        assert_eq!(number("America/St_Johns", "2006-10-29T02:29:59Z"), date("2006-10-28"));
        assert_eq!(number("America/St_Johns", "2006-10-29T02:30:30Z"), date("2006-10-29"));
        assert_eq!(number("America/St_Johns", again), date("2006-10-29"));
    }

    #[test]
    fn an_unknown_zone_is_named() {
        let message = Days::new(Some("Europe/Madird")).unwrap_err().to_string();
        assert!(message.starts_with("`Europe/Madird` is no time zone"), "{message}");
    }

    proptest! {
        #[test]
        fn a_days_number_does_not_depend_on_what_was_asked_before(
            times in prop::collection::vec(1_100_000_000_000_i64..1_200_000_000_000, 1..40),
            zone in prop::sample::select(vec!["America/St_Johns", "Europe/Madrid", "America/Sao_Paulo", "Pacific/Apia"]),
        ) {
            let days = Days::new(Some(zone)).unwrap();
            let mut warm = KnownDay::default();
            for ms in times {
                prop_assert_eq!(days.number(ms, &mut warm), days.number(ms, &mut KnownDay::default()));
            }
        }

        #[test]
        fn a_later_time_is_never_on_an_earlier_day(
            ms in 1_100_000_000_000_i64..1_200_000_000_000,
            later in 0_i64..200_000_000,
            zone in prop::sample::select(vec!["America/St_Johns", "Europe/Madrid", "America/Sao_Paulo"]),
        ) {
            let days = Days::new(Some(zone)).unwrap();
            let number = |ms| days.number(ms, &mut KnownDay::default()).unwrap();
            prop_assert!(number(ms) <= number(ms + later));
        }
    }
}
