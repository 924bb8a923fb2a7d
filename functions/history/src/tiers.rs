//! Which steps a history is divided into. All times are whole seconds since the Unix epoch, UTC.
//!
//! Steps that are longer ago may be coarser, so a range is a sequence of tiers. Within a tier all
//! steps have the same length.

use shared::domain::excerpt;

pub(crate) const HOUR: i64 = 60 * 60;
pub(crate) const DAY: i64 = 24 * HOUR;
pub(crate) const WEEK: i64 = 7 * DAY;

/// The last second of the year 9999, where RFC 3339 and BigQuery end.
pub(crate) const LATEST: i64 = 253_402_300_799;

/// The slots of the archive begin at multiples of this.
const SLOT: i64 = 10 * 60;

/// How far back each step is the usual one.
const MONTH: i64 = 31 * DAY;
const YEAR: i64 = 366 * DAY;
/// Longest range: ten years, of which three may be leap years.
const LONGEST_RANGE: i64 = 3_653 * DAY;
/// Most steps of a range.
const MAX_STEPS: i64 = 100_000;
/// The epoch is a Thursday, three days after a Monday. The offset is not the four days to the next
/// Monday, with a minus: BigQuery's `MOD` of a negative dividend is negative, and no archived time
/// makes this one negative.
const MONDAY_OFFSET: i64 = 3 * DAY;

/// Why a range is refused, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RangeError {
    #[error("step: \"{0}\" is not a step: use a number and s, m, h, d or w, such as 10m or 1d")]
    NotAStep(String),
    #[error("step: \"{0}\" is not a step from 1s to 366d")]
    NoSuchStep(String),
    #[error("from must be before to, which is now if it is not given")]
    Empty,
    #[error("the range is longer than 10 years: choose a later from or an earlier to")]
    TooLong,
    #[error(
        "the range has {0} steps, of at most 100000: choose a longer step, a later from or an earlier to"
    )]
    TooManySteps(i64),
}

/// The length of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepLength(i64);

impl StepLength {
    pub(crate) const HOUR: Self = Self(HOUR);
    pub(crate) const DAY: Self = Self(DAY);
    pub(crate) const WEEK: Self = Self(WEEK);

    /// Reads a step such as `10m`.
    pub(crate) fn parse(text: &str) -> Result<Self, RangeError> {
        let not_a_step = || RangeError::NotAStep(excerpt(text));
        let mut number = text.chars();
        let unit = match number.next_back() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => HOUR,
            Some('d') => DAY,
            Some('w') => WEEK,
            _ => return Err(not_a_step()),
        };
        let number = number.as_str();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(not_a_step());
        }
        let seconds = number.parse().ok().and_then(|number: i64| number.checked_mul(unit));
        let seconds = seconds.filter(|seconds| (1..=YEAR).contains(seconds));
        seconds.map(Self).ok_or_else(|| RangeError::NoSuchStep(excerpt(text)))
    }

    pub(crate) fn seconds(self) -> i64 {
        self.0
    }

    /// How much to add to a time so that steps begin at multiples of their length. Steps of whole
    /// weeks begin on Mondays, others at multiples since the epoch.
    pub(crate) fn offset(self) -> i64 {
        if self.0 % WEEK == 0 { MONDAY_OFFSET } else { 0 }
    }

    /// The start of the step that a time is in.
    fn start(self, time: i64) -> i64 {
        time - (time + self.offset()).rem_euclid(self.0)
    }

    /// The step that suits a range of this length.
    fn for_range(length: i64) -> Self {
        if length <= WEEK {
            Self::HOUR
        } else if length <= MONTH {
            Self::DAY
        } else {
            Self::WEEK
        }
    }

    /// How far back this step is the usual one.
    fn usual_range(self) -> i64 {
        if self.0 <= HOUR {
            WEEK
        } else if self.0 <= DAY {
            MONTH
        } else {
            YEAR
        }
    }
}

/// A range of steps of one length, which is not empty and begins with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tier {
    pub(crate) from: i64,
    /// Exclusive. The next tier begins here.
    pub(crate) to: i64,
    pub(crate) step: StepLength,
}

impl Tier {
    fn steps(&self) -> i64 {
        (self.to - self.from + self.step.0 - 1) / self.step.0
    }
}

/// A range of time, and its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiers {
    /// The oldest first.
    older: Option<[Tier; 2]>,
    last: Tier,
}

impl Tiers {
    /// The tiers of a range. Arguments that are none take their usual values.
    ///
    /// A range that ends now ends with the present slot. That is the same, since nothing is archived
    /// between now and then; and whoever asks again within the slot asks for the same range.
    pub(crate) fn of(
        from: Option<i64>,
        to: Option<i64>,
        step: Option<StepLength>,
        now: i64,
    ) -> Result<Self, RangeError> {
        let ends_now = to.is_none();
        let to = to.unwrap_or(now);
        let mut tiers = match (from, step) {
            (None, None) => Self::usual(to),
            (None, Some(step)) => Self::single(to - step.usual_range(), to, step),
            (Some(from), step) => {
                if from >= to {
                    return Err(RangeError::Empty);
                }
                if to - from > LONGEST_RANGE {
                    return Err(RangeError::TooLong);
                }
                Self::single(from, to, step.unwrap_or_else(|| StepLength::for_range(to - from)))
            }
        };
        let steps = tiers.iter().map(Tier::steps).sum();
        if steps > MAX_STEPS {
            return Err(RangeError::TooManySteps(steps));
        }
        if ends_now {
            tiers.last.to += (-now).rem_euclid(SLOT);
        }
        Ok(tiers)
    }

    fn single(from: i64, to: i64, step: StepLength) -> Self {
        Self { older: None, last: Tier { from: step.start(from), to, step } }
    }

    /// Hours for the last week, before that days for a month, before that weeks for a year. Each
    /// tier begins where a step of the one before would, so that no step is cut.
    fn usual(to: i64) -> Self {
        let weeks = StepLength::WEEK.start(to - YEAR);
        let days = StepLength::WEEK.start(to - MONTH);
        let hours = StepLength::DAY.start(to - WEEK);
        Self {
            older: Some([
                Tier { from: weeks, to: days, step: StepLength::WEEK },
                Tier { from: days, to: hours, step: StepLength::DAY },
            ]),
            last: Tier { from: hours, to, step: StepLength::HOUR },
        }
    }

    /// The tiers, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Tier> {
        self.older().chain([&self.last])
    }

    /// All tiers but the last.
    pub(crate) fn older(&self) -> impl Iterator<Item = &Tier> {
        self.older.iter().flatten()
    }

    /// The last tier.
    pub(crate) fn last(&self) -> &Tier {
        &self.last
    }

    /// The start of the first step.
    pub(crate) fn from(&self) -> i64 {
        self.older().next().unwrap_or(&self.last).from
    }

    /// The step that a time in the range is in.
    pub(crate) fn step_at(&self, time: i64) -> StepLength {
        let older = self.older().find(|tier| time < tier.to);
        older.unwrap_or(&self.last).step
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::{Weekday, macros::datetime};

    use super::*;

    fn at(time: time::OffsetDateTime) -> i64 {
        time.unix_timestamp()
    }

    fn tiers(tiers: &Tiers) -> Vec<(i64, i64, i64)> {
        tiers.iter().map(|tier| (tier.from, tier.to, tier.step.0)).collect()
    }

    #[test]
    fn the_usual_tiers_begin_on_mondays_and_at_midnight() {
        let now = at(datetime!(2026-11-24 11:30 UTC));
        let tiers = tiers(&Tiers::of(None, None, None, now).unwrap());
        let weeks = at(datetime!(2025-11-17 0:00 UTC));
        let days = at(datetime!(2026-10-19 0:00 UTC));
        let hours = at(datetime!(2026-11-17 0:00 UTC));
        assert_eq!(tiers, [(weeks, days, WEEK), (days, hours, DAY), (hours, now, HOUR)]);
    }

    #[test]
    fn an_end_alone_stands_for_now() {
        let now = at(datetime!(2026-11-24 11:30 UTC));
        let earlier = at(datetime!(2024-02-29 0:00 UTC));
        assert_eq!(Tiers::of(None, Some(earlier), None, now), Tiers::of(None, None, None, earlier));
    }

    #[test]
    fn within_a_slot_a_range_that_ends_now_is_the_same_and_has_the_slots_before_now() {
        let slot = at(datetime!(2026-11-24 11:20 UTC));
        for (from, step) in [(None, None), (Some(slot - DAY), None), (None, Some(StepLength::HOUR))]
        {
            let range = |now| tiers(&Tiers::of(from, None, step, now).unwrap());
            let end = |now| range(now).last().unwrap().1;
            assert_eq!(range(slot + 1), range(slot + 600));
            // At its start the slot is not yet before now.
            assert_eq!(
                [end(slot), end(slot + 1), end(slot + 601)],
                [0, 600, 1_200].map(|s| slot + s)
            );
        }
    }

    #[test]
    fn a_range_has_the_step_of_its_length_and_a_step_the_range_of_its_tier() {
        let now = at(datetime!(2026-11-24 11:30 UTC));
        for (length, step) in [
            (1, HOUR),
            (WEEK, HOUR),
            (WEEK + 1, DAY),
            (31 * DAY, DAY),
            (31 * DAY + 1, WEEK),
            (3_653 * DAY, WEEK),
        ] {
            let range = Tiers::of(Some(now - length), None, None, now).unwrap();
            let step = StepLength(step);
            assert_eq!(tiers(&range), [(step.start(now - length), now, step.0)], "{length}");
        }
        for (step, length) in [
            ("10m", WEEK),
            ("1h", WEEK),
            ("61m", 31 * DAY),
            ("1d", 31 * DAY),
            ("25h", 366 * DAY),
            ("1w", 366 * DAY),
            ("366d", 366 * DAY),
        ] {
            let step = StepLength::parse(step).unwrap();
            let range = Tiers::of(None, None, Some(step), now).unwrap();
            assert_eq!(tiers(&range), [(step.start(now - length), now, step.0)]);
        }
    }

    #[test]
    fn steps_are_from_a_second_to_a_year() {
        for (text, seconds) in
            [("1s", 1), ("90s", 90), ("10m", 600), ("2h", 7_200), ("7d", WEEK), ("366d", YEAR)]
        {
            assert_eq!(StepLength::parse(text), Ok(StepLength(seconds)));
        }
        for text in ["", "s", "10", "1.5h", "+1h", "-1h", "1 h", "1H", "1y", "h1", "1é", "１h"] {
            assert_eq!(StepLength::parse(text), Err(RangeError::NotAStep(text.to_owned())));
        }
        for text in ["0s", "367d", "53w", "99999999999999999999s", "9223372036854775807w"] {
            assert_eq!(StepLength::parse(text), Err(RangeError::NoSuchStep(text.to_owned())));
        }
    }

    #[test]
    fn ranges_that_are_empty_or_too_long_are_refused() {
        let now = at(datetime!(2026-11-24 11:30 UTC));
        let of = |from, to, step| Tiers::of(from, to, step, now).unwrap_err();
        assert_eq!(of(Some(now), None, None), RangeError::Empty);
        assert_eq!(of(Some(5), Some(5), None), RangeError::Empty);
        assert_eq!(of(Some(6), Some(5), Some(StepLength::HOUR)), RangeError::Empty);
        assert_eq!(of(Some(now - LONGEST_RANGE - 1), None, None), RangeError::TooLong);
        assert_eq!(
            of(Some(0), Some(100_001), Some(StepLength(1))),
            RangeError::TooManySteps(100_001)
        );
        assert!(Tiers::of(Some(0), Some(100_000), Some(StepLength(1)), now).is_ok());
    }

    #[test]
    fn weeks_begin_on_mondays() {
        let monday = datetime!(2026-11-23 0:00 UTC);
        assert_eq!(monday.weekday(), Weekday::Monday);
        assert_eq!(StepLength::WEEK.start(at(monday)), at(monday));
        assert_eq!(StepLength::WEEK.start(at(monday) - 1), at(monday) - WEEK);
        assert_eq!(StepLength::WEEK.start(0), -3 * DAY);
        let two_weeks = StepLength::parse("2w").unwrap();
        let start = two_weeks.start(at(monday));
        let start = time::OffsetDateTime::from_unix_timestamp(start).unwrap();
        assert_eq!(start.weekday(), Weekday::Monday);
    }

    fn any_step() -> impl Strategy<Value = StepLength> {
        prop_oneof![
            (1..=YEAR).prop_map(StepLength),
            (1..=52_i64).prop_map(|weeks| StepLength(weeks * WEEK)),
            Just(StepLength::HOUR),
            Just(StepLength::DAY),
            Just(StepLength::WEEK),
        ]
    }

    /// Every time in the range is in exactly one step, as the SQL calculates it, which lies in one
    /// tier; and tiers follow each other without a gap.
    fn check(range: &Tiers, time: i64) {
        let mut expected = range.from();
        for tier in range.iter() {
            assert_eq!(tier.from, expected, "a gap, or an overlap");
            assert!(tier.from < tier.to, "an empty tier");
            assert_eq!((tier.from + tier.step.offset()).rem_euclid(tier.step.0), 0, "not aligned");
            expected = tier.to;
        }
        assert_eq!(expected, range.last.to);
        for tier in range.older() {
            assert_eq!((tier.to - tier.from) % tier.step.0, 0, "a step is cut");
        }
        let step = range.step_at(time);
        // As `MOD` of BigQuery, which takes the sign of the dividend.
        let start = time - (time + step.offset()) % step.0;
        assert_eq!(start, step.start(time));
        assert!((start..start + step.0).contains(&time));
        assert!(start >= range.from());
        assert_eq!(range.step_at(start), step, "a step begins in another tier");
    }

    proptest! {
        #[test]
        fn the_usual_tiers_cover_their_range(to in YEAR..LATEST, part in 0.0..1.0) {
            let range = Tiers::of(None, Some(to), None, 0).unwrap();
            prop_assert!(range.from() <= to - YEAR && range.from() > to - YEAR - WEEK);
            check(&range, within(&range, part));
        }

        #[test]
        fn given_ranges_are_covered(
            from in 0..LATEST,
            length in 1..LONGEST_RANGE,
            step in proptest::option::of(any_step()),
            part in 0.0..1.0,
        ) {
            let to = from + length;
            match Tiers::of(Some(from), Some(to), step, 0) {
                Ok(range) => {
                    prop_assert!(range.from() <= from && range.last.to == to);
                    prop_assert!(range.from() > from - range.step_at(from).0);
                    prop_assert!(range.iter().map(Tier::steps).sum::<i64>() <= MAX_STEPS);
                    check(&range, within(&range, part));
                }
                Err(error) => prop_assert!(matches!(error, RangeError::TooManySteps(_))),
            }
        }

        #[test]
        fn steps_without_a_range_are_covered(to in YEAR..LATEST, step in any_step(), part in 0.0..1.0) {
            if let Ok(range) = Tiers::of(None, Some(to), Some(step), 0) {
                check(&range, within(&range, part));
            }
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn within(range: &Tiers, part: f64) -> i64 {
        let length = range.last.to - range.from();
        range.from() + ((length as f64 * part) as i64).min(length - 1)
    }
}
