//! The configuration, from the environment: read once, at start-up, into types.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

use crate::{
    auth::{Auth, PublicRead},
    domain::{DimensionName, PeriodLength},
    store::{DEFAULT_MAX_BYTES, DEFAULT_MAX_DIMENSIONS, DEFAULT_MAX_KEYS},
};

/// The table's name if `TABLE_NAME` is not set.
pub const DEFAULT_TABLE_NAME: &str = "statshub";
/// Which dimensions are cached, and for how many seconds, if `QUERY_CACHE` is not set.
pub const DEFAULT_QUERY_CACHE: &str = "country=60";

/// The configuration of all functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `TABLE_NAME`: the table.
    pub table_name: String,
    /// `STATS_PERIOD_SECONDS`: how long a period of gauges is.
    pub period_length: PeriodLength,
    /// `MAX_KEYS_PER_DIMENSION`: how many keys a dimension may have.
    pub max_keys_per_dimension: u64,
    /// `DIMENSIONS`: the dimensions that may be reported; any, if there is no list.
    pub dimensions: Option<BTreeSet<DimensionName>>,
    /// `MAX_DIMENSIONS`: how many dimensions there may be.
    pub max_dimensions: u64,
    /// `MAX_BYTES_PER_KEY`: how many bytes the stats of a dimension key may have.
    pub max_bytes_per_key: u32,
    /// `MAX_BYTES_PER_ID`: how many bytes may be kept of an id.
    pub max_bytes_per_id: u32,
    /// `QUERY_CACHE`: for how long the answers to queries of a dimension are kept.
    pub query_cache: BTreeMap<DimensionName, Duration>,
    /// `STATSHUB_AUTH`, and `STATSHUB_PUBLIC_READ`: who may do what.
    pub auth: Auth,
}

/// A variable that is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct ConfigError {
    variable: &'static str,
    problem: String,
}

impl ConfigError {
    /// An error about a variable, and what is wrong with it.
    #[must_use]
    pub fn new(variable: &'static str, problem: impl Into<String>) -> Self {
        Self { variable, problem: problem.into() }
    }
}

/// A variable of the environment; `None` if it is absent or empty. A deployment leaves a variable
/// empty for its default.
#[must_use]
pub fn variable(name: &'static str) -> Option<String> {
    // A value that is not UTF-8 is wrong for every variable, and the error about it shows it.
    let value = std::env::var_os(name)?.to_string_lossy().into_owned();
    (!value.is_empty()).then_some(value)
}

impl Config {
    /// Reads the configuration from the environment.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(variable)
    }

    /// Reads the configuration from variables, whose values `get` returns.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn from_variables(
        get: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        // A deployment leaves a variable empty for its default.
        let get = |variable| get(variable).filter(|value| !value.is_empty());
        let read = |variable, parse: fn(&str) -> Option<_>, expected: &str| {
            let value: Option<String> = get(variable);
            let parsed = value.as_deref().map(|text| parse(text).ok_or(text)).transpose();
            parsed.map_err(|text| ConfigError {
                variable,
                problem: format!("{text:?} is not {expected}"),
            })
        };
        let period_length = read(
            "STATS_PERIOD_SECONDS",
            |text| text.parse::<NonZeroU32>().ok(),
            "a number of seconds, at least 1",
        )?;
        let max_keys = read(
            "MAX_KEYS_PER_DIMENSION",
            |text| text.parse::<NonZeroU32>().ok(),
            "a number of keys, at least 1",
        )?;
        let max_dimensions = read(
            "MAX_DIMENSIONS",
            |text| text.parse::<NonZeroU32>().ok(),
            "a number of dimensions, at least 1",
        )?;
        let bytes = |variable| {
            let expected = "a number of bytes, from 1024 to 400000";
            let bytes = read(variable, |text| text.parse::<NonZeroU32>().ok(), expected)?;
            let bytes = bytes.map_or(DEFAULT_MAX_BYTES, NonZeroU32::get);
            match (1_024..=400_000).contains(&bytes) {
                true => Ok(bytes),
                false => Err(ConfigError::new(variable, format!("{bytes} is not {expected}"))),
            }
        };
        let query_cache = get("QUERY_CACHE").unwrap_or_else(|| DEFAULT_QUERY_CACHE.to_owned());
        Ok(Self {
            table_name: get("TABLE_NAME").unwrap_or_else(|| DEFAULT_TABLE_NAME.to_owned()),
            period_length: period_length.map_or(PeriodLength::DEFAULT, PeriodLength::new),
            max_keys_per_dimension: max_keys.map_or(DEFAULT_MAX_KEYS, |keys| keys.get().into()),
            dimensions: get("DIMENSIONS").as_deref().map(parse_dimensions).transpose()?,
            max_dimensions: max_dimensions.map_or(DEFAULT_MAX_DIMENSIONS, |most| most.get().into()),
            max_bytes_per_key: bytes("MAX_BYTES_PER_KEY")?,
            max_bytes_per_id: bytes("MAX_BYTES_PER_ID")?,
            query_cache: parse_query_cache(&query_cache)?,
            auth: parse_auth(get("STATSHUB_AUTH"), get("STATSHUB_PUBLIC_READ"))?,
        })
    }
}

/// `country,user`
fn parse_dimensions(text: &str) -> Result<BTreeSet<DimensionName>, ConfigError> {
    let names = text.split(',').map(|name| DimensionName::new(name.trim()));
    names.collect::<Result<_, _>>().map_err(|error| ConfigError {
        variable: "DIMENSIONS",
        problem: format!("{text:?} is not a list such as `country,user`: {error}"),
    })
}

/// `country=60,user=5`, or `off`.
fn parse_query_cache(text: &str) -> Result<BTreeMap<DimensionName, Duration>, ConfigError> {
    if text == "off" {
        return Ok(BTreeMap::new());
    }
    let entries = text.split(',').map(|entry| {
        let (dimension, seconds) = entry.split_once('=')?;
        let dimension = DimensionName::new(dimension.trim()).ok()?;
        let seconds = seconds.trim().parse::<u32>().ok()?;
        Some((dimension, Duration::from_secs(seconds.into())))
    });
    entries.collect::<Option<_>>().ok_or_else(|| ConfigError {
        variable: "QUERY_CACHE",
        problem: format!("{text:?} is not `off` or a list such as `country=60,user=5` (seconds)"),
    })
}

/// Neither error shows a value: somebody may have set a variable to a token.
fn parse_auth(auth: Option<String>, public_read: Option<String>) -> Result<Auth, ConfigError> {
    let public_read = match public_read.as_deref() {
        None | Some("off") => PublicRead::Nothing,
        Some("stats") => PublicRead::Stats,
        Some("on") => PublicRead::All,
        Some(_) => {
            return Err(ConfigError::new(
                "STATSHUB_PUBLIC_READ",
                "is neither on nor stats nor off",
            ));
        }
    };
    Auth::parse(&auth.unwrap_or_default(), public_read)
        .map_err(|error| ConfigError::new("STATSHUB_AUTH", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Scope;

    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_variables(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn only_auth_has_no_default() {
        let config = config(&[("STATSHUB_AUTH", "off")]).unwrap();
        assert_eq!(config.table_name, "statshub");
        assert_eq!(config.period_length, PeriodLength::DEFAULT);
        assert_eq!(config.max_keys_per_dimension, 1_000_000);
        let cached: Vec<_> =
            config.query_cache.iter().map(|(d, t)| (d.as_str(), t.as_secs())).collect();
        assert_eq!(cached, [("country", 60)]);
    }

    #[test]
    fn closed_by_default() {
        for auth in [&[][..], &[("STATSHUB_AUTH", "")], &[("STATSHUB_AUTH", "on")]] {
            assert_eq!(config(auth).unwrap_err().variable, "STATSHUB_AUTH");
        }
        let public = config(&[("STATSHUB_PUBLIC_READ", "on")]);
        assert_eq!(public.unwrap_err().variable, "STATSHUB_AUTH");
    }

    #[test]
    fn who_may_do_what() {
        let hash = "0".repeat(64);
        let token = format!("reader:read:{hash}");
        for (public_read, needs_token) in
            [("", true), ("off", true), ("stats", false), ("on", false)]
        {
            let variables = [("STATSHUB_AUTH", &*token), ("STATSHUB_PUBLIC_READ", public_read)];
            let auth = config(&variables).unwrap().auth;
            assert!(auth.needs_token(Scope::Write));
            assert_eq!(auth.needs_token(Scope::Read), needs_token, "{public_read:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_auth_is_named_and_not_shown() {
        let off = ("STATSHUB_AUTH", "off");
        for (variables, shown) in [
            (&[("STATSHUB_AUTH", "a:read:secret")][..], "STATSHUB_AUTH: entry 1: the hash must be"),
            (&[("STATSHUB_AUTH", "secret")], "STATSHUB_AUTH: entry 1 is not of the form"),
            (&[off, ("STATSHUB_PUBLIC_READ", "secret")], "STATSHUB_PUBLIC_READ: is neither on nor"),
        ] {
            let error = config(variables).unwrap_err();
            assert!(error.to_string().starts_with(shown), "{error}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn a_wrong_value_is_refused_by_the_name_of_its_variable() {
        for (variable, value) in [
            ("STATS_PERIOD_SECONDS", "0"),
            ("STATS_PERIOD_SECONDS", "6m"),
            ("MAX_KEYS_PER_DIMENSION", "0"),
            ("MAX_KEYS_PER_DIMENSION", "many"),
            ("MAX_DIMENSIONS", "0"),
            ("DIMENSIONS", "country,,user"),
            ("DIMENSIONS", "a/b"),
            ("MAX_BYTES_PER_KEY", "1023"),
            ("MAX_BYTES_PER_KEY", "400001"),
            ("MAX_BYTES_PER_ID", "0"),
            ("QUERY_CACHE", "country"),
            ("QUERY_CACHE", "country=1m"),
            ("QUERY_CACHE", "a/b=1"),
        ] {
            let error = config(&[("STATSHUB_AUTH", "off"), (variable, value)]).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("{variable}: {value:?}"))
                    || error.to_string().contains(value),
                "{error}"
            );
        }
    }

    #[test]
    fn values_override_defaults() {
        let config = config(&[
            ("STATSHUB_AUTH", "off"),
            ("TABLE_NAME", "other"),
            ("STATS_PERIOD_SECONDS", "10"),
            ("MAX_KEYS_PER_DIMENSION", "5"),
            ("MAX_DIMENSIONS", "6"),
            ("DIMENSIONS", "Country, user"),
            ("MAX_BYTES_PER_KEY", "1024"),
            ("MAX_BYTES_PER_ID", "400000"),
            ("QUERY_CACHE", "Country=5, user=0"),
        ])
        .unwrap();
        assert_eq!(config.table_name, "other");
        assert_eq!(config.period_length, PeriodLength::new(NonZeroU32::new(10).unwrap()));
        assert_eq!(config.max_keys_per_dimension, 5);
        assert_eq!(config.max_dimensions, 6);
        let dimensions: Vec<_> =
            config.dimensions.iter().flatten().map(ToString::to_string).collect();
        assert_eq!(dimensions, ["country", "user"]);
        assert_eq!((config.max_bytes_per_key, config.max_bytes_per_id), (1_024, 400_000));
        assert_eq!(config.query_cache.len(), 2);
    }
}
