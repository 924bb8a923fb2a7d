//! What a method and a path ask for.

use http::Method;

use super::{ApiError, path::Path};
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
    /// The route of a method and a path. The name at its end may have slashes.
    pub(super) fn find(method: &Method, path: &Path) -> Result<Self, ApiError> {
        let (first, rest) = path.split()?;
        match (&*first, rest) {
            ("stats", rest) => Self::stats(method, &path.decode(rest.unwrap_or_default())?),
            ("history", Some(rest)) => {
                let parts = HistoryParts::of(rest).ok_or(ApiError::NotFound)?;
                match *method {
                    Method::GET | Method::HEAD => Self::history(
                        &path.decode(parts.dimension)?,
                        &path.decode(parts.key)?,
                        &path.decode(parts.group)?,
                        &path.decode(parts.stat)?,
                    ),
                    _ => Err(ApiError::MethodNotAllowed("GET, HEAD")),
                }
            }
            _ => Err(ApiError::NotFound),
        }
    }

    fn stats(method: &Method, name: &str) -> Result<Self, ApiError> {
        match *method {
            // Without an id it is an update all the same, and the id is what is wrong with it.
            Method::POST => Ok(Self::Update(Id::new(name)?)),
            Method::GET | Method::HEAD if name.is_empty() => Ok(Self::AllDimensions),
            // The first statshub's client asks for `/stats/country/`. No dimension ends with a slash.
            Method::GET | Method::HEAD => {
                Ok(Self::Dimension(DimensionName::new(name.strip_suffix('/').unwrap_or(name))?))
            }
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

/// The parts of a history's path. Of these only a key may have slashes.
struct HistoryParts<'a> {
    dimension: &'a str,
    key: &'a str,
    group: &'a str,
    stat: &'a str,
}

impl<'a> HistoryParts<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let (path, stat) = path.rsplit_once('/')?;
        let (path, group) = path.rsplit_once('/')?;
        let (dimension, key) = path.split_once('/')?;
        Some(Self { dimension, key, group, stat })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(method: &Method, path: &[&str]) -> Result<Route, String> {
        let path = Path::decoded(path.join("/"));
        Route::find(method, &path).map_err(|error| error.to_string())
    }

    fn history_key(path: Path) -> Result<String, String> {
        match Route::find(&Method::GET, &path) {
            Ok(Route::History { key, .. }) => Ok(key.as_str().to_owned()),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_name_with_slashes_is_one_name_whoever_decodes_the_path() {
        for (encoded, decoded, name) in [
            ("a%2Fb", "a/b", "a/b"),
            ("a/b", "a/b", "a/b"),
            ("%2F", "/", "/"),
            ("a%2F%2Fb%2F", "a//b/", "a//b/"),
            ("..", "..", ".."),
            ("a%252Fb", "a%2Fb", "a%2Fb"),
            ("a%3Fb%23", "a?b#", "a?b#"),
            ("%C3%A9+%20", "é+ ", "é+ "),
        ] {
            let id = Ok(Route::Update(Id::new(name).unwrap()));
            let post = |path| Route::find(&Method::POST, &path).map_err(|error| error.to_string());
            assert_eq!(post(Path::encoded(format!("stats/{encoded}"))), id, "{encoded}");
            assert_eq!(post(Path::decoded(format!("stats/{decoded}"))), id, "{decoded}");
            let key = Ok(DimensionKey::new(name).unwrap().as_str().to_owned());
            let path = |name| format!("history/d/{name}/counter/x");
            assert_eq!(history_key(Path::encoded(path(encoded))), key, "{encoded}");
            assert_eq!(history_key(Path::decoded(path(decoded))), key, "{decoded}");
        }
    }

    #[test]
    fn one_slash_at_the_end_of_what_is_asked_for_is_nothing() {
        let country = Ok(Route::Dimension(DimensionName::new("country").unwrap()));
        assert_eq!(find(&Method::GET, &["stats", "country", ""]), country);
        assert_eq!(find(&Method::HEAD, &["stats", "country", ""]), country);
        for path in [&["stats", "country", "", ""][..], &["stats", "", ""], &["stats", "a", "b"]] {
            let refused = find(&Method::GET, path).unwrap_err();
            assert!(refused.contains("is not a valid dimension name"), "{refused}");
        }
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
