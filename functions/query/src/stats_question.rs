//! From the parameters of a query to what it asks for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    domain::{
        DimensionKey, DimensionName, Direction, KeyPrefix, KeySelection, NameError, StatName, Sum,
        excerpt,
    },
    http::{PageTokenError, Parameters, RequestError, decode_token, encode_token, fingerprint},
};

use crate::{
    answer_format::{AnswerFormat, FormatError},
    kind::Kind,
    query_problem::QueryProblem,
};

/// Limits of what a query may ask for.
pub mod limits {
    /// Most keys of a page.
    pub const PAGE_KEYS: usize = 10_000;
    /// Most keys that a query names.
    pub const NAMED_KEYS: usize = 100;
    /// Most stats that a query names.
    pub const NAMED_STATS: usize = 100;
    /// Most dimensions that `/metrics` names.
    pub const NAMED_DIMENSIONS: usize = 20;
}

/// What a query asks for, in any format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatsQuestion {
    pub(crate) keys: KeySelection,
    /// None: all of them.
    pub(crate) stats: Option<BTreeSet<StatName>>,
    pub(crate) sort: Sort,
    /// Most keys of a page; none if there are no pages.
    pub(crate) limit: Option<usize>,
    /// The end of the page before.
    pub(crate) after: Option<PageEnd>,
    pub(crate) total: TotalWish,
}

/// In which order the keys come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sort {
    ByKey(Direction),
    ByStat { kind: Kind, stat: StatName, largest_first: bool },
}

/// Whether a total is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TotalWish {
    /// Where the whole dimension is read anyway.
    IfWhole,
    Always,
    Never,
}

/// The last key of a page, and the number by which it was sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageEnd {
    pub(crate) key: DimensionKey,
    pub(crate) number: Option<Sum>,
}

/// What a token holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PageToken {
    /// The fingerprint of the question.
    #[serde(rename = "q")]
    fingerprint: String,
    #[serde(rename = "k")]
    key: String,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    number: Option<String>,
}

/// Why the parameters make no question, in words for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuestionError {
    /// A parameter is unknown, or comes twice.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// There is no such format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A name is not valid.
    #[error("{parameter}: {error}")]
    Name {
        /// The parameter that names it.
        parameter: &'static str,
        /// What is wrong with it.
        error: NameError,
    },
    /// A parameter comes too often.
    #[error("{parameter}: more than {most} are too many for one query")]
    TooMany {
        /// Which one.
        parameter: &'static str,
        /// How often it may come.
        most: usize,
    },
    /// There is no such order.
    #[error(
        "sort: \"{0}\" is not key, counter.NAME, gauge.NAME or current.NAME, nor one of them after \
         a -"
    )]
    UnknownSort(String),
    /// The limit is not a number of keys that a page may have.
    #[error("limit: \"{0}\" is not a number from 0 to {most}", most = limits::PAGE_KEYS)]
    WrongLimit(String),
    /// `total` is neither true nor false.
    #[error("total: \"{0}\" is not true or false")]
    UnknownTotal(String),
    /// Nothing would be left to answer.
    #[error("limit=0 is the total alone: leave out total=false")]
    NothingLeft,
    /// The format has no totals.
    #[error("{0}: the format prometheus has no totals, because Prometheus adds up by itself")]
    NoTotals(&'static str),
    /// There is a page, but no limit.
    #[error("page: repeat the limit of the first page, and its other parameters")]
    PageWithoutLimit,
    /// `page` is no token of this question.
    #[error(transparent)]
    Page(#[from] PageTokenError),
}

impl StatsQuestion {
    /// Everything about a dimension.
    pub(crate) const PLAIN: Self = Self {
        keys: KeySelection::All,
        stats: None,
        sort: Sort::ByKey(Direction::Forward),
        limit: None,
        after: None,
        total: TotalWish::IfWhole,
    };

    /// The question of a query of a dimension, and the format of its answer.
    ///
    /// # Errors
    /// A parameter is unknown, repeated or not valid, or the page is one of another question.
    pub(crate) fn read(
        dimension: &DimensionName,
        parameters: &Parameters,
        headers: &http::HeaderMap,
    ) -> Result<(Self, AnswerFormat), QuestionError> {
        let ([prefix, sort, limit, page, total, format, csv], [keys, stats]) = parameters
            .only_with_lists(
                ["prefix", "sort", "limit", "page", "total", "format", "csv"],
                ["key", "stat"],
            )?;
        let format = AnswerFormat::wanted_by(format, csv, headers)?;
        let mut question = Self {
            keys: selection(&keys, prefix)?,
            stats: named_stats(&stats)?,
            sort: sort.map_or(Ok(Self::PLAIN.sort), Sort::parse)?,
            limit: limit.map(page_limit).transpose()?,
            after: None,
            total: total.map_or(Ok(TotalWish::IfWhole), TotalWish::parse)?,
        };
        if !format.has_totals() {
            question.needs_no_total()?;
        }
        if question.limit == Some(0) && question.total == TotalWish::Never {
            return Err(QuestionError::NothingLeft);
        }
        question.after = page.map(|page| question.page_end(dimension, page)).transpose()?;
        Ok((question, format))
    }

    /// Whether everything about the dimension is asked for, in the usual way.
    pub(crate) fn is_plain(&self) -> bool {
        let total = match self.total {
            TotalWish::Always => TotalWish::IfWhole,
            total => total,
        };
        Self { total, ..self.clone() } == Self::PLAIN
    }

    /// The token of the page after this end.
    ///
    /// # Errors
    /// Never: names and numbers always serialize.
    pub(crate) fn token(
        &self,
        dimension: &DimensionName,
        end: &PageEnd,
    ) -> Result<String, QueryProblem> {
        Ok(encode_token(&PageToken {
            fingerprint: self.fingerprint(dimension),
            key: end.key.as_str().to_owned(),
            number: end.number.map(|number| number.to_string()),
        })?)
    }

    fn page_end(&self, dimension: &DimensionName, token: &str) -> Result<PageEnd, QuestionError> {
        let token: PageToken = decode_token(token).ok_or(PageTokenError::NotAToken)?;
        if self.limit.is_none() {
            return Err(QuestionError::PageWithoutLimit);
        }
        if token.fingerprint != self.fingerprint(dimension) {
            return Err(PageTokenError::OtherQuestion.into());
        }
        // Somebody may have made it up.
        let key = DimensionKey::new(&token.key).map_err(|_| PageTokenError::NotAToken)?;
        let number = token.number.map(|number| number.parse()).transpose();
        let number = number.map_err(|_| PageTokenError::NotAToken)?;
        let is_sorted_by_it = matches!(self.sort, Sort::ByStat { .. }) || number.is_none();
        match self.keys.contains(&key) && is_sorted_by_it && self.limit != Some(0) {
            true => Ok(PageEnd { key, number }),
            false => Err(PageTokenError::NotAToken.into()),
        }
    }

    /// 32 hex digits that no other question has. Pages may differ in their formats, and in whether
    /// they have the total.
    fn fingerprint(&self, dimension: &DimensionName) -> String {
        let (keys, prefix) = match &self.keys {
            KeySelection::All => (None, None),
            KeySelection::WithPrefix(prefix) => (None, Some(prefix.as_str())),
            KeySelection::These(keys) => {
                (Some(keys.iter().map(DimensionKey::as_str).collect::<Vec<_>>()), None)
            }
        };
        let stats = self.stats.as_ref();
        let stats = stats.map(|stats| stats.iter().map(StatName::as_str).collect::<Vec<_>>());
        fingerprint(&json!(
            [dimension.as_str(), keys, prefix, stats, self.sort.text(), self.limit,]
        ))
    }

    /// A total that is asked for expressly needs a format that has totals.
    fn needs_no_total(&self) -> Result<(), QuestionError> {
        match (self.total, self.limit) {
            (TotalWish::Always, _) => Err(QuestionError::NoTotals("total=true")),
            (_, Some(0)) => Err(QuestionError::NoTotals("limit=0")),
            _ => Ok(()),
        }
    }
}

impl Sort {
    fn parse(text: &str) -> Result<Self, QuestionError> {
        let (largest_first, by) = match text.strip_prefix('-') {
            Some(by) => (true, by),
            None => (false, text),
        };
        if by == "key" {
            return Ok(Self::ByKey(match largest_first {
                true => Direction::Backward,
                false => Direction::Forward,
            }));
        }
        let unknown = || QuestionError::UnknownSort(excerpt(text));
        let (kind, stat) = by.split_once('.').ok_or_else(unknown)?;
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).ok_or_else(unknown)?;
        let stat = StatName::new(stat)
            .map_err(|error| QuestionError::Name { parameter: "sort", error })?;
        Ok(Self::ByStat { kind, stat, largest_first })
    }

    fn text(&self) -> String {
        match self {
            Self::ByKey(Direction::Forward) => "key".to_owned(),
            Self::ByKey(Direction::Backward) => "-key".to_owned(),
            Self::ByStat { kind, stat, largest_first } => {
                let sign = if *largest_first { "-" } else { "" };
                format!("{sign}{}.{stat}", kind.name())
            }
        }
    }
}

impl TotalWish {
    fn parse(text: &str) -> Result<Self, QuestionError> {
        match text {
            "true" => Ok(Self::Always),
            "false" => Ok(Self::Never),
            other => Err(QuestionError::UnknownTotal(excerpt(other))),
        }
    }
}

fn selection(keys: &[&str], prefix: Option<&str>) -> Result<KeySelection, QuestionError> {
    let prefix = prefix.map(KeyPrefix::new).transpose();
    let prefix = prefix.map_err(|error| QuestionError::Name { parameter: "prefix", error })?;
    let prefix = prefix.filter(|prefix| !prefix.as_str().is_empty());
    let keys = named(keys, "key", limits::NAMED_KEYS, DimensionKey::new)?;
    Ok(match (keys, prefix) {
        (None, None) => KeySelection::All,
        (None, Some(prefix)) => KeySelection::WithPrefix(prefix),
        (Some(mut keys), prefix) => {
            keys.retain(|key| prefix.as_ref().is_none_or(|prefix| prefix.begins(key)));
            KeySelection::These(keys)
        }
    })
}

fn named_stats(stats: &[&str]) -> Result<Option<BTreeSet<StatName>>, QuestionError> {
    named(stats, "stat", limits::NAMED_STATS, StatName::new)
}

/// The names that the values of a parameter are; none if there are no values.
pub(crate) fn named<T: Ord>(
    texts: &[&str],
    parameter: &'static str,
    most: usize,
    parse: fn(&str) -> Result<T, NameError>,
) -> Result<Option<BTreeSet<T>>, QuestionError> {
    if texts.len() > most {
        return Err(QuestionError::TooMany { parameter, most });
    }
    let names = texts.iter().map(|text| parse(text)).collect::<Result<BTreeSet<_>, _>>();
    let names = names.map_err(|error| QuestionError::Name { parameter, error })?;
    Ok(Some(names).filter(|names| !names.is_empty()))
}

fn page_limit(text: &str) -> Result<usize, QuestionError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().ok().filter(|limit| digits && *limit <= limits::PAGE_KEYS);
    limit.ok_or_else(|| QuestionError::WrongLimit(excerpt(text)))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn read(dimension: &str, query: &str) -> Result<StatsQuestion, String> {
        let dimension = DimensionName::new(dimension).unwrap();
        let parameters = Parameters::parse(query).unwrap();
        let read = StatsQuestion::read(&dimension, &parameters, &HeaderMap::new());
        read.map(|(question, _)| question).map_err(|error| error.to_string())
    }

    fn key(name: &str) -> DimensionKey {
        DimensionKey::new(name).unwrap()
    }

    #[test]
    fn without_parameters_everything_is_asked_for() {
        for query in ["", "format=csv&csv=safe", "total=true", "prefix=", "sort=key"] {
            assert!(read("d", query).unwrap().is_plain(), "{query}");
        }
        for query in ["total=false", "prefix=a", "key=a", "stat=a", "sort=-key", "limit=9"] {
            assert!(!read("d", query).unwrap().is_plain(), "{query}");
        }
    }

    #[test]
    fn names_are_those_of_updates_however_often_they_come() {
        let question = read("d", "key=ES&key=a%2Cb&key=es&stat=a-b&stat=a_b&prefix=").unwrap();
        assert_eq!(question.keys, KeySelection::These([key("a,b"), key("es")].into()));
        assert_eq!(question.stats, Some([StatName::new("a_b").unwrap()].into()));
        let both = read("d", "key=es&key=fr&prefix=E").unwrap();
        assert_eq!(both.keys, KeySelection::These([key("es")].into()));
    }

    #[test]
    fn the_error_names_the_parameter_and_what_to_change() {
        let many = |name: &str, count: usize| vec![format!("{name}=x"); count].join("&");
        for (query, error) in [
            (
                "kye=es",
                "there is no parameter \"kye\": use prefix, sort, limit, page, total, format",
            ),
            ("Key=es", "there is no parameter \"Key\""),
            ("limit=1&limit=1", "limit is given twice"),
            ("prefix=a&prefix=b", "prefix is given twice"),
            ("key=", "key: \"\" is not a valid dimension key"),
            ("key=Total", "key: \"Total\" is not a valid dimension key: it is reserved"),
            ("key=a%00", "key: \"a\\0\" is not a valid dimension key"),
            (&many("key", 101), "key: more than 100 are too many"),
            ("prefix=%0A", "prefix: \"\\n\" is not a valid start of dimension keys"),
            ("stat=a.b", "stat: \"a.b\" is not a valid stat name"),
            (&many("stat", 101), "stat: more than 100 are too many"),
            ("sort=", "sort: \"\" is not key, counter.NAME, gauge.NAME or current.NAME"),
            ("sort=a", "sort: \"a\" is not"),
            ("sort=--key", "sort: \"--key\" is not"),
            ("sort=Counter.a", "sort: \"Counter.a\" is not"),
            ("sort=counter.", "sort: \"\" is not a valid stat name"),
            ("limit=", "limit: \"\" is not a number from 0 to 10000"),
            ("limit=-1", "limit: \"-1\" is not"),
            ("limit=+1", "limit: \" 1\" is not"),
            ("limit=1.0", "limit: \"1.0\" is not"),
            ("limit=10001", "limit: \"10001\" is not"),
            ("limit=99999999999999999999999", "limit: \"99999999999999999999999\" is not"),
            ("total=", "total: \"\" is not true or false"),
            ("total=1", "total: \"1\" is not"),
            ("limit=0&total=false", "limit=0 is the total alone"),
            ("format=prometheus&total=true", "total=true: the format prometheus has no totals"),
            ("format=prometheus&limit=0", "limit=0: the format prometheus has no totals"),
            ("limit=5&page=", "page: it is not the next of an answer"),
            ("limit=5&page=nonsense", "page: it is not the next of an answer"),
        ] {
            let refused = read("d", query).unwrap_err();
            assert!(refused.starts_with(error), "{query}: {refused}");
        }
    }

    #[test]
    fn a_page_is_one_of_the_same_question() {
        let dimension = DimensionName::new("d").unwrap();
        for (query, number) in [
            ("limit=5", None),
            ("limit=5&key=a&key=b&stat=x&stat=y", None),
            ("limit=5&prefix=a&sort=-key", None),
            ("limit=5&sort=-counter.x", Some("-17".parse().unwrap())),
            ("limit=5&sort=gauge.x", None),
        ] {
            let first = read("d", query).unwrap();
            let end = PageEnd { key: key("a"), number };
            let token = first.token(&dimension, &end).unwrap();
            let next = read("d", &format!("{query}&page={token}")).unwrap();
            assert_eq!(next, StatsQuestion { after: Some(end), ..first });
            let other_format = format!("{query}&page={token}&total=true&format=csv");
            assert!(read("d", &other_format).is_ok());
            for (dimension, query) in [
                ("e", query.to_owned()),
                ("d", query.replace("limit=5", "limit=6")),
                ("d", format!("{query}&stat=z")),
                ("d", format!("{query}&key=c")),
                ("d", query.replace("sort=", "sort=-").replace("--", "") + "&stat=q"),
            ] {
                let refused = read(dimension, &format!("{query}&page={token}")).unwrap_err();
                assert!(refused.starts_with("page: it belongs to another path"), "{refused}");
            }
            let without = query.replace("limit=5", "");
            let refused = read("d", &format!("{without}&page={token}")).unwrap_err();
            assert!(refused.starts_with("page: repeat the limit"), "{refused}");
        }
    }

    #[test]
    fn a_token_that_somebody_has_made_up_leads_nowhere() {
        let dimension = DimensionName::new("d").unwrap();
        let question = read("d", "limit=5&prefix=a").unwrap();
        let fingerprint = question.fingerprint(&dimension);
        let token = |key: &str, number: Option<&str>| {
            let (key, number) = (key.to_owned(), number.map(str::to_owned));
            encode_token(&PageToken { fingerprint: fingerprint.clone(), key, number }).unwrap()
        };
        assert!(read("d", &format!("limit=5&prefix=a&page={}", token("ab", None))).is_ok());
        for token in [
            token("b", None),
            token("", None),
            token("a\0", None),
            token("ab", Some("1")),
            token("ab", Some("1.5")),
        ] {
            let refused = read("d", &format!("limit=5&prefix=a&page={token}")).unwrap_err();
            assert!(refused.starts_with("page: it is not the next"), "{refused}");
        }
    }
}
