//! What a method and a path ask for.

use http::Method;

use super::ApiError;
use crate::domain::{DimensionKey, DimensionName, Group, Id, StatName, TOTAL, excerpt};

/// The segment of a path that stands for all keys.
const ALL_KEYS: &str = "*";

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /stats/{id}`: count an update of an id.
    Update(Id),
    /// `GET /stats/{dim}`: the stats of a dimension.
    Dimension(DimensionName),
    /// `GET /stats/`: the stats of all dimensions.
    AllDimensions,
    /// `GET /history/{dim}/{key}/{kind}/{stat}`: what is archived of a stat.
    History {
        /// The dimension.
        dimension: DimensionName,
        /// Which of its keys.
        key: HistoryKey,
        /// Which of its groups the stat is in.
        group: Group,
        /// The stat.
        stat: StatName,
    },
}

/// The keys whose history is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryKey {
    /// `*`: all of them, and the total.
    All,
    /// The sum over all keys.
    Total,
    /// One of them.
    Key(DimensionKey),
}

impl HistoryKey {
    /// As it is in a path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => ALL_KEYS,
            Self::Total => TOTAL,
            Self::Key(key) => key.as_str(),
        }
    }

    fn new(key: &str) -> Result<Self, ApiError> {
        match key {
            ALL_KEYS => Ok(Self::All),
            key if key.eq_ignore_ascii_case(TOTAL) => Ok(Self::Total),
            key => Ok(Self::Key(DimensionKey::new(key)?)),
        }
    }
}

impl Route {
    /// The route of a method and the decoded segments of a path.
    pub(super) fn find(method: &Method, path: &[String]) -> Result<Self, ApiError> {
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        match path[..] {
            ["stats"] => Self::stats(method, ""),
            ["stats", name] => Self::stats(method, name),
            ["history", dimension, key, group, stat] => match *method {
                Method::GET | Method::HEAD => Self::history(dimension, key, group, stat),
                _ => Err(ApiError::MethodNotAllowed("GET, HEAD")),
            },
            _ => Err(ApiError::NotFound),
        }
    }

    fn stats(method: &Method, name: &str) -> Result<Self, ApiError> {
        match *method {
            // Without an id it is an update all the same, and the id is what is wrong with it.
            Method::POST => Ok(Self::Update(Id::new(name)?)),
            Method::GET | Method::HEAD if name.is_empty() => Ok(Self::AllDimensions),
            Method::GET | Method::HEAD => Ok(Self::Dimension(DimensionName::new(name)?)),
            _ if name.is_empty() => Err(ApiError::MethodNotAllowed("GET, HEAD")),
            _ => Err(ApiError::MethodNotAllowed("GET, HEAD, POST")),
        }
    }

    fn history(dimension: &str, key: &str, group: &str, stat: &str) -> Result<Self, ApiError> {
        let dimension = DimensionName::new(dimension)?;
        let key = HistoryKey::new(key)?;
        let Some(group) = Group::ALL.into_iter().find(|known| known.name() == group) else {
            let group = excerpt(group);
            let error = format!("\"{group}\" is not a kind of stat: use counter or gauge");
            return Err(ApiError::Malformed(error));
        };
        Ok(Self::History { dimension, key, group, stat: StatName::new(stat)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: &Method, path: &[&str]) -> Result<Route, String> {
        let path: Vec<_> = path.iter().map(|segment| (*segment).to_owned()).collect();
        Route::find(method, &path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_history_is_of_a_key_of_all_keys_or_of_the_total() {
        for (text, key) in [
            ("*", HistoryKey::All),
            ("Total", HistoryKey::Total),
            ("ES", HistoryKey::Key(DimensionKey::new("es").unwrap())),
            ("**", HistoryKey::Key(DimensionKey::new("**").unwrap())),
            ("'; DROP", HistoryKey::Key(DimensionKey::new("'; drop").unwrap())),
        ] {
            let route = find(&Method::GET, &["history", "Country", text, "gauge", "a-b"]);
            let expected = Route::History {
                dimension: DimensionName::new("country").unwrap(),
                key,
                group: Group::Gauge,
                stat: StatName::new("a_b").unwrap(),
            };
            assert_eq!(route, Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_history_of_what_cannot_be_is_refused_in_words() {
        for (path, error) in [
            (["a`b", "*", "counter", "x"], "\"a`b\" is not a valid dimension name"),
            (["d", "a\0", "counter", "x"], "\"a\\0\" is not a valid dimension key"),
            (["d", "", "counter", "x"], "\"\" is not a valid dimension key"),
            (["d", "*", "counters", "x"], "\"counters\" is not a kind of stat"),
            (["d", "*", "counter", "x` FROM y"], "\"x` FROM y\" is not a valid stat name"),
            (["d", "*", "counter", ""], "\"\" is not a valid stat name"),
        ] {
            let mut path = path.to_vec();
            path.insert(0, "history");
            let refused = find(&Method::GET, &path).unwrap_err();
            assert!(refused.starts_with(error), "{refused}");
        }
        for path in [&["history"][..], &["history", "d", "*", "counter"]] {
            assert!(find(&Method::GET, path).unwrap_err().starts_with("there is nothing"));
        }
        let path = ["history", "d", "*", "counter", "x"];
        assert_eq!(find(&Method::POST, &path).unwrap_err(), "this path takes GET, HEAD");
    }
}
