//! What the function is told once.

use shared::config::ConfigError;

const MAX_BYTES_BILLED: &str = "HISTORY_MAX_BYTES_BILLED";
/// 10 GiB: some cents at most.
const DEFAULT_MAX_BYTES_BILLED: u64 = 10 * 1_024 * 1_024 * 1_024;
/// What BigQuery bills for any query, so that with less all would be refused. Source: *Pricing*, BigQuery
/// documentation.
const LEAST_BYTES_BILLED: u64 = 10 * 1_024 * 1_024;

/// What the function is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `HISTORY_MAX_BYTES_BILLED`: how many bytes of the archive an answer may cost.
    pub max_bytes_billed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_bytes_billed: DEFAULT_MAX_BYTES_BILLED }
    }
}

impl Settings {
    /// Reads the settings from variables, of which `get` gives the values.
    ///
    /// # Errors
    /// A variable is wrong.
    pub fn from_variables(
        get: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let Some(text) = get(MAX_BYTES_BILLED) else {
            return Ok(Self::default());
        };
        // BigQuery takes an INT64.
        let bytes = text.parse().ok().filter(|bytes| i64::try_from(*bytes).is_ok());
        let max_bytes_billed = bytes.filter(|bytes| *bytes >= LEAST_BYTES_BILLED);
        let max_bytes_billed = max_bytes_billed.ok_or_else(|| {
            let problem = format!(
                "{text:?} is not a number of bytes, at least {LEAST_BYTES_BILLED}, which BigQuery bills \
                 for any query"
            );
            ConfigError::new(MAX_BYTES_BILLED, problem)
        })?;
        Ok(Self { max_bytes_billed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(value: &str) -> Result<u64, String> {
        let settings = Settings::from_variables(|_| Some(value.to_owned()));
        settings.map(|settings| settings.max_bytes_billed).map_err(|error| error.to_string())
    }

    #[test]
    fn a_limit_that_refuses_all_or_nothing_is_refused() {
        assert_eq!(settings("10485760"), Ok(10_485_760));
        for wrong in ["0", "10485759", "-1", "1e9", "10GB", "9223372036854775808"] {
            let error = settings(wrong).unwrap_err();
            assert!(error.starts_with(&format!("HISTORY_MAX_BYTES_BILLED: {wrong:?}")), "{error}");
        }
        assert_eq!(Settings::from_variables(|_| None).unwrap().max_bytes_billed, 10_737_418_240);
    }
}
