//! Exact sums.

use std::{fmt, num::TryFromIntError, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// So many digits fit into 64 bits, the sign included.
const SHORT_DIGITS: usize = 18;

/// An exact integer of up to 38 decimal digits: what a DynamoDB number holds without rounding.
///
/// Source: *Supported data types and naming rules*, Amazon DynamoDB Developer Guide ("up to 38
/// digits of precision").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sum(i128);

/// A sum would need more than 38 digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sum would need more than 38 digits")]
pub struct Overflow;

/// A text is not an integer of up to 38 digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an integer of up to 38 digits")]
pub struct ParseSumError(String);

impl Sum {
    /// The additive identity.
    pub const ZERO: Self = Self(0);
    /// The greatest sum, 38 nines; the least one is its negative.
    pub const MAX: Self = Self(99_999_999_999_999_999_999_999_999_999_999_999_999);

    /// The sum of both.
    ///
    /// # Errors
    /// The sum would need more than 38 digits.
    pub fn checked_add(self, other: Self) -> Result<Self, Overflow> {
        // Two 38-digit numbers add up to less than 2^127, so the addition itself can't overflow.
        // The check costs nothing and spares the reader the proof.
        self.0.checked_add(other.0).ok_or(Overflow).and_then(Self::bounded)
    }

    /// The difference of both.
    ///
    /// # Errors
    /// The difference would need more than 38 digits.
    pub fn checked_sub(self, other: Self) -> Result<Self, Overflow> {
        self.checked_add(Self(-other.0))
    }

    fn bounded(value: i128) -> Result<Self, Overflow> {
        if value.unsigned_abs() <= Self::MAX.0.unsigned_abs() {
            Ok(Self(value))
        } else {
            Err(Overflow)
        }
    }
}

impl From<i64> for Sum {
    fn from(value: i64) -> Self {
        Self(value.into())
    }
}

impl TryFrom<Sum> for i64 {
    type Error = TryFromIntError;

    fn try_from(sum: Sum) -> Result<Self, Self::Error> {
        sum.0.try_into()
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Sum {
    type Err = ParseSumError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Most sums are short, and 64 bits are several times as fast as 128.
        if text.len() <= SHORT_DIGITS {
            let short = text.parse::<i64>().map(Self::from);
            return short.map_err(|_| ParseSumError(text.to_owned()));
        }
        text.parse()
            .ok()
            .and_then(|value| Self::bounded(value).ok())
            .ok_or_else(|| ParseSumError(text.to_owned()))
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.0) {
            Ok(short) => serializer.serialize_i64(short),
            Err(_) => serializer.serialize_i128(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i128::deserialize(deserializer)
            .and_then(|value| Self::bounded(value).map_err(de::Error::custom))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_to_38_digits_and_refused_beyond() {
        assert_eq!(Sum::MAX.to_string(), "9".repeat(38));
        assert_eq!(Sum::MAX.checked_add(Sum::from(1)), Err(Overflow));
        let least = Sum::ZERO.checked_sub(Sum::MAX).unwrap();
        assert_eq!(least.checked_sub(Sum::from(1)), Err(Overflow));
        assert_eq!(least.checked_add(Sum::MAX), Ok(Sum::ZERO));
    }

    #[test]
    fn the_difference_of_the_widest_values_is_exact() {
        let difference = Sum::from(i64::MIN).checked_sub(Sum::from(i64::MAX)).unwrap();
        assert_eq!(difference.to_string(), "-18446744073709551615");
    }

    #[test]
    fn parsing_takes_only_what_display_writes() {
        for digits in 1..=38 {
            for text in ["9".repeat(digits), format!("-{}", "9".repeat(digits))] {
                assert_eq!(text.parse::<Sum>().unwrap().to_string(), text);
            }
        }
        for text in ["", "-", "1.0", "1e3", " 1", "1_000", &"9".repeat(39)] {
            assert!(text.parse::<Sum>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn json_holds_all_digits() {
        let digits = serde_json::to_string(&Sum::MAX).unwrap();
        assert_eq!(digits, "9".repeat(38));
        assert_eq!(serde_json::from_str::<Sum>(&digits).unwrap(), Sum::MAX);
        assert_eq!(serde_json::from_str::<Sum>("-7").unwrap().to_string(), "-7");
        for refused in ["9".repeat(39), "1.5".to_owned(), "\"1\"".to_owned()] {
            assert!(serde_json::from_str::<Sum>(&refused).is_err(), "{refused}");
        }
        let least = Sum::from(i64::MIN);
        assert_eq!(serde_json::to_string(&least).unwrap(), i64::MIN.to_string());
        let less = least.checked_sub(Sum::from(1)).unwrap();
        assert_eq!(serde_json::to_string(&less).unwrap(), "-9223372036854775809");
    }
}
