//! Where BigQuery is, and what gives access to it.

use shared::config::ConfigError;

use crate::Credentials;

/// The address of Google's BigQuery.
const GOOGLE: &str = "https://bigquery.googleapis.com";
/// The dataset if `BIGQUERY_DATASET` is not set.
const DEFAULT_DATASET: &str = "statshub";
/// Longest name of a dataset. Source: *Name datasets*, BigQuery documentation.
const MAX_DATASET_CHARS: usize = 1_024;

/// Where BigQuery is, and what gives access to it.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) project: String,
    pub(crate) dataset: String,
    pub(crate) location: Option<String>,
    pub(crate) access: Access,
    /// The URL of BigQuery's host.
    pub(crate) address: String,
}

#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// The emulator at this `host:port`, which needs no credentials.
    Emulator(String),
    /// Google's, with these credentials.
    Google(Credentials),
}

impl Config {
    /// Reads the configuration from the environment. `None` if the service runs without BigQuery:
    /// none of its variables is set, or only those of the dataset and the location.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn from_env() -> Result<Option<Self>, ConfigError> {
        Self::from_variables(shared::config::variable)
    }

    /// Reads the configuration from variables whose values `get` gives.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn from_variables(
        get: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Option<Self>, ConfigError> {
        let project = get("GOOGLE_PROJECT");
        let token = get("GOOGLE_TOKEN");
        let emulator = get("BIGQUERY_EMULATOR_HOST");
        if project.is_none() && token.is_none() && emulator.is_none() {
            return Ok(None);
        }
        let project = project.ok_or_else(|| {
            ConfigError::new(
                "GOOGLE_PROJECT",
                "must be set where GOOGLE_TOKEN or BIGQUERY_EMULATOR_HOST is",
            )
        })?;
        let access = access(emulator, token)?;
        let address = match &access {
            Access::Emulator(host) => format!("http://{host}"),
            Access::Google(_) => GOOGLE.to_owned(),
        };
        Ok(Some(Self {
            project: valid("GOOGLE_PROJECT", project, is_project, "the id of a Google project")?,
            dataset: valid(
                "BIGQUERY_DATASET",
                get("BIGQUERY_DATASET").unwrap_or_else(|| DEFAULT_DATASET.to_owned()),
                is_dataset,
                "the name of a dataset: 1 to 1,024 letters, digits and underscores",
            )?,
            location: get("BIGQUERY_LOCATION")
                .map(|location| {
                    valid("BIGQUERY_LOCATION", location, is_location, "a location such as `EU`")
                })
                .transpose()?,
            access,
            address,
        }))
    }

    /// Warns in the log of credentials that hold a long-lived secret.
    pub fn warn_of_long_lived_credentials(&self) {
        if let Access::Google(credentials) = &self.access
            && credentials.are_long_lived()
        {
            tracing::warn!(
                "GOOGLE_TOKEN is a long-lived key, which everybody may use who finds it: an \
                 external_account needs none (docs/bigquery.md)"
            );
        }
    }

    /// The same configuration with another address, for tests of credentials.
    #[must_use]
    pub fn with_address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// The dataset, which has a table for each dimension.
    #[must_use]
    pub fn dataset(&self) -> &str {
        &self.dataset
    }
}

fn access(emulator: Option<String>, token: Option<String>) -> Result<Access, ConfigError> {
    match (emulator, token) {
        (Some(emulator), _) => {
            valid("BIGQUERY_EMULATOR_HOST", emulator, is_host, "a host and a port, as `host:port`")
                .map(Access::Emulator)
        }
        (None, Some(token)) => Credentials::parse(&token)
            .map(Access::Google)
            .map_err(|problem| ConfigError::new("GOOGLE_TOKEN", problem)),
        (None, None) => Err(ConfigError::new(
            "GOOGLE_TOKEN",
            "must be set where GOOGLE_PROJECT is: Google credentials as JSON",
        )),
    }
}

fn valid(
    variable: &'static str,
    value: String,
    is_valid: fn(&str) -> bool,
    expected: &str,
) -> Result<String, ConfigError> {
    match is_valid(&value) {
        true => Ok(value),
        false => Err(ConfigError::new(variable, format!("{value:?} is not {expected}"))),
    }
}

/// The id of a project: letters, digits and dashes. Old ones begin with a domain, as in
/// `example.com:project`.
fn is_project(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:_".contains(&byte))
}

fn is_dataset(text: &str) -> bool {
    (1..=MAX_DATASET_CHARS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_location(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_host(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
        !host.is_empty() && host.bytes().all(plain) && port.parse::<u16>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = r#"{"type":"authorized_user","client_id":"i","client_secret":"secret","refresh_token":"r"}"#;

    fn config(variables: &[(&str, &str)]) -> Result<Option<Config>, ConfigError> {
        Config::from_variables(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_variables_there_is_no_archive() {
        assert!(config(&[]).unwrap().is_none());
        assert!(
            config(&[("BIGQUERY_DATASET", "d"), ("BIGQUERY_LOCATION", "EU")]).unwrap().is_none()
        );
    }

    #[test]
    fn the_emulator_needs_no_credentials() {
        let variables = [("GOOGLE_PROJECT", "p"), ("BIGQUERY_EMULATOR_HOST", "localhost:9050")];
        let config = config(&variables).unwrap().unwrap();
        assert_eq!((config.project.as_str(), config.dataset()), ("p", "statshub"));
        assert!(matches!(config.access, Access::Emulator(host) if host == "localhost:9050"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let project = ("GOOGLE_PROJECT", "p");
        for (variables, variable) in [
            (vec![project], "GOOGLE_TOKEN"),
            (vec![("GOOGLE_TOKEN", TOKEN)], "GOOGLE_PROJECT"),
            (vec![("BIGQUERY_EMULATOR_HOST", "h:1")], "GOOGLE_PROJECT"),
            (vec![("GOOGLE_PROJECT", "a/b"), ("GOOGLE_TOKEN", TOKEN)], "GOOGLE_PROJECT"),
            (vec![project, ("GOOGLE_TOKEN", "{}")], "GOOGLE_TOKEN"),
            (vec![project, ("GOOGLE_TOKEN", "secret")], "GOOGLE_TOKEN"),
            (vec![project, ("BIGQUERY_EMULATOR_HOST", "localhost")], "BIGQUERY_EMULATOR_HOST"),
            (vec![project, ("BIGQUERY_EMULATOR_HOST", "h:1/x?y:1")], "BIGQUERY_EMULATOR_HOST"),
            (
                vec![project, ("GOOGLE_TOKEN", TOKEN), ("BIGQUERY_DATASET", "a-b")],
                "BIGQUERY_DATASET",
            ),
            (
                vec![project, ("GOOGLE_TOKEN", TOKEN), ("BIGQUERY_LOCATION", "E U")],
                "BIGQUERY_LOCATION",
            ),
        ] {
            let error = config(&variables).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{variable}: ")), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let config = config(&[("GOOGLE_PROJECT", "p"), ("GOOGLE_TOKEN", TOKEN)]).unwrap().unwrap();
        assert!(!format!("{config:?}").contains("secret"));
    }
}
