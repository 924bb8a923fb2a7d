//! How much of the archive one answer may read, which is what BigQuery bills.

use shared::config::ConfigError;

const MAX_BYTES_BILLED: &str = "HISTORY_MAX_BYTES_BILLED";
/// 10 GiB: some cents at most.
const DEFAULT_BYTES: u64 = 10 * 1_024 * 1_024 * 1_024;
/// BigQuery bills this much for any query, so a lower limit would refuse all of them. Source:
/// *Pricing*, BigQuery documentation.
const LEAST_BYTES: u64 = 10 * 1_024 * 1_024;

/// `HISTORY_MAX_BYTES_BILLED`: how many bytes of the archive one answer may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimit(u64);

impl Default for ScanLimit {
    fn default() -> Self {
        Self(DEFAULT_BYTES)
    }
}

impl ScanLimit {
    /// Reads the limit from the environment's variables, of which `get` returns the values.
    ///
    /// # Errors
    /// The variable is not a number of bytes, or one that BigQuery would not take.
    pub fn from_variables(
        get: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let Some(text) = get(MAX_BYTES_BILLED) else {
            return Ok(Self::default());
        };
        // BigQuery takes an INT64.
        let bytes = text.parse().ok().filter(|bytes| i64::try_from(*bytes).is_ok());
        let bytes = bytes.filter(|bytes| *bytes >= LEAST_BYTES);
        bytes.map(Self).ok_or_else(|| {
            let problem = format!(
                "{text:?} is not a number of bytes, at least {LEAST_BYTES}, which BigQuery bills for \
                 any query"
            );
            ConfigError::new(MAX_BYTES_BILLED, problem)
        })
    }

    /// The number of bytes, at most that of an `i64`.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(value: &str) -> Result<u64, String> {
        let limit = ScanLimit::from_variables(|_| Some(value.to_owned()));
        limit.map(ScanLimit::bytes).map_err(|error| error.to_string())
    }

    #[test]
    fn a_limit_that_refuses_all_or_nothing_is_refused() {
        assert_eq!(limit("10485760"), Ok(10_485_760));
        for wrong in ["0", "10485759", "-1", "1e9", "10GB", "9223372036854775808"] {
            let error = limit(wrong).unwrap_err();
            assert!(error.starts_with(&format!("HISTORY_MAX_BYTES_BILLED: {wrong:?}")), "{error}");
        }
        assert_eq!(ScanLimit::from_variables(|_| None).unwrap().bytes(), 10_737_418_240);
    }
}
