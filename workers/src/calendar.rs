//! The Gregorian calendar, also for the days before it was in use.

/// Days of a month, 1 to 12.
pub const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date. How: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
pub const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the day that isn't always there is the last one.
    let year = if month > 2 { year } else { year - 1 };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}
