//! Times in the format of RFC 3339. A crate for that would be shared with the AWS SDK, and other
//! features of it would build the SDK a second time.

const MICROS: i64 = 1_000_000;
const DAY: i64 = 86_400;
/// The calendar repeats after this many days: 400 years.
const DAYS_OF_ERA: i64 = 146_097;

/// A time in UTC, from whole seconds since the Unix epoch.
#[must_use]
pub fn from_seconds(seconds: u64) -> String {
    from_micros(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(MICROS))
}

/// A time in UTC, from microseconds since the Unix epoch. A fraction is shown when there is one.
#[must_use]
pub fn from_micros(micros: i64) -> String {
    let seconds = micros.div_euclid(MICROS);
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let fraction = match micros.rem_euclid(MICROS) {
        0 => String::new(),
        fraction => format!(".{fraction:06}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Year, month and day, from the days since the Unix epoch. Until the last step, years begin in
/// March, so that a leap day is the last of its year.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / (DAYS_OF_ERA - 1);
    let year = (day_of_era - leap_days) / 365;
    let day = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    match month {
        0..10 => (era * 400 + year, month + 3, day),
        _ => (era * 400 + year + 1, month - 9, day),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_the_calendar_has_them() {
        for (seconds, time) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_795_516_800, "2026-11-24T10:40:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(from_seconds(seconds), time);
        }
        assert_eq!(from_micros(-1_000_000), "1969-12-31T23:59:59Z");
        assert_eq!(from_micros(1_795_516_800_000_001), "2026-11-24T10:40:00.000001Z");
        assert_eq!(from_micros(-62_135_596_800_000_000), "0001-01-01T00:00:00Z");
        assert_eq!(from_micros(253_402_300_799_999_999), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn days_follow_each_other() {
        let mut before = date(-1_000);
        for day in -999..200_000 {
            let after = date(day);
            assert!(after > before && (1..=31).contains(&after.2) && (1..=12).contains(&after.1));
            before = after;
        }
    }
}
