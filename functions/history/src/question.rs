//! From the names in a path and the parameters of a query to a question.

use serde_json::json;
use shared::{
    domain::{DimensionName, Group, StatName, excerpt},
    http::{CsvCells, KeyChoice, PageTokenError, Parameters, RequestError, fingerprint},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    history_route::HistoryRoute,
    page_token::{MAX_POINTS, PageToken},
    tiers::{LATEST, RangeError, StepLength, Tiers},
};

/// Points of a page if the request names no limit.
const DEFAULT_POINTS: u32 = 10_000;

/// Why the parameters make no question, in words for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuestionError {
    /// A parameter is unknown, or comes twice.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// `from`, `to` and `step` make no range.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// `from` or `to` is no time.
    #[error(
        "{name}: \"{text}\" is not a time since 1970: use RFC 3339, such as 2026-11-24T10:00:00Z, or \
         Unix seconds"
    )]
    NotATime {
        /// Which of them.
        name: &'static str,
        /// What it is instead.
        text: String,
    },
    /// There is no such aggregate.
    #[error("aggregate: \"{0}\" is not last, min, max or avg")]
    UnknownAggregate(String),
    /// The parameter `csv` is not `safe`.
    #[error("csv: \"{0}\" is not safe")]
    UnknownCsv(String),
    /// The limit is not a number of points that a page may have.
    #[error("limit: \"{0}\" is not a number from 1 to {MAX_POINTS}")]
    WrongLimit(String),
    /// `page` is no token of this question.
    #[error(transparent)]
    Page(#[from] PageTokenError),
}

/// A request for a page of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HistoryRequest {
    pub(crate) question: Question,
    /// When the first page was asked for, in seconds since 1970. `question` is relative to this.
    pub(crate) asked_at: i64,
    /// Most points of this page.
    pub(crate) limit: u32,
    /// Which page; none for the first.
    pub(crate) page: Option<PageToken>,
    /// How keys are written in CSV.
    pub(crate) cells: CsvCells,
}

/// What a client asks. All pages of one answer have it in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) dimension: DimensionName,
    pub(crate) keys: KeyChoice,
    pub(crate) group: Group,
    pub(crate) stat: StatName,
    pub(crate) aggregate: Aggregate,
    pub(crate) tiers: Tiers,
}

/// How a point sums up the values in its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregate {
    Last,
    Min,
    Max,
    Avg,
}

impl Aggregate {
    const ALL: [Self; 4] = [Self::Last, Self::Min, Self::Max, Self::Avg];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Min => "min",
            Self::Max => "max",
            Self::Avg => "avg",
        }
    }
}

impl Question {
    /// 32 hex digits that no other question has.
    pub(crate) fn fingerprint(&self) -> String {
        let tiers: Vec<_> = self
            .tiers
            .iter()
            .map(|tier| json!([tier.from, tier.to, tier.step.seconds()]))
            .collect();
        // An array in JSON, so that no two questions are the same text.
        fingerprint(&json!([
            self.dimension.as_str(),
            self.keys.as_str(),
            self.group.name(),
            self.stat.as_str(),
            self.aggregate.name(),
            tiers,
        ]))
    }
}

impl HistoryRequest {
    /// The request for these names with these parameters, that came at `now`.
    ///
    /// # Errors
    /// A parameter is unknown, repeated or not valid, or the page answers another question.
    pub(crate) fn new(
        route: HistoryRoute,
        parameters: &Parameters,
        now: i64,
    ) -> Result<Self, QuestionError> {
        let [from, to, step, aggregate_name, points, page, csv] =
            parameters.only(["from", "to", "step", "aggregate", "limit", "page", "csv"])?;
        let not_safe = || QuestionError::UnknownCsv(excerpt(csv.unwrap_or_default()));
        let cells = CsvCells::parse(csv).ok_or_else(not_safe)?;
        let page = page.map(|text| PageToken::parse(text).ok_or(PageTokenError::NotAToken));
        let page = page.transpose()?;
        let asked_at = page.as_ref().map_or(now, |page| page.asked_at);
        let from = from.map(|text| time("from", text)).transpose()?;
        let to = to.map(|text| time("to", text)).transpose()?;
        let step = step.map(StepLength::parse).transpose()?;
        let tiers = Tiers::of(from, to, step, asked_at)?;
        let aggregate = aggregate_name.map_or(Ok(Aggregate::Last), aggregate)?;
        let limit = points.map(limit).transpose()?;
        let HistoryRoute { dimension, keys, group, stat } = route;
        let question = Question { dimension, keys, group, stat, aggregate, tiers };
        if page.as_ref().is_some_and(|page| page.fingerprint != question.fingerprint()) {
            return Err(PageTokenError::OtherQuestion.into());
        }
        let limit = limit.or(page.as_ref().map(|page| page.limit)).unwrap_or(DEFAULT_POINTS);
        Ok(Self { question, asked_at, limit, page, cells })
    }
}

/// A time by RFC 3339 or in Unix seconds. Fractions of a second are dropped.
fn time(name: &'static str, text: &str) -> Result<i64, QuestionError> {
    let seconds = match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok(),
        // In a form, a plus that is not percent-encoded is a space.
        false => OffsetDateTime::parse(&text.replace(' ', "+"), &Rfc3339)
            .ok()
            .map(OffsetDateTime::unix_timestamp),
    };
    let seconds = seconds.filter(|seconds| (0..=LATEST).contains(seconds));
    seconds.ok_or_else(|| QuestionError::NotATime { name, text: excerpt(text) })
}

fn aggregate(text: &str) -> Result<Aggregate, QuestionError> {
    let known = Aggregate::ALL.into_iter().find(|known| known.name() == text);
    known.ok_or_else(|| QuestionError::UnknownAggregate(excerpt(text)))
}

fn limit(text: &str) -> Result<u32, QuestionError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().ok().filter(|limit| digits && (1..=MAX_POINTS).contains(limit));
    limit.ok_or_else(|| QuestionError::WrongLimit(excerpt(text)))
}

#[cfg(test)]
mod tests {
    use ::time::macros::datetime;

    use super::*;
    use crate::samples::{NOW, request, token};

    #[test]
    fn without_parameters_it_is_the_last_year() {
        let request = request("es", "").unwrap();
        assert_eq!(request.question.tiers, Tiers::of(None, None, None, NOW).unwrap());
        assert_eq!(request.question.aggregate, Aggregate::Last);
        assert_eq!((request.limit, request.page, request.asked_at), (10_000, None, NOW));
    }

    #[test]
    fn times_are_rfc_3339_or_unix_seconds() {
        let expected = request("es", "from=1795478400&to=1795521600").unwrap();
        for parameters in [
            "from=2026-11-24T00:00:00Z&to=2026-11-24T12:00:00Z",
            "from=2026-11-24T01:00:00+01:00&to=2026-11-24t11:00:00-01:00",
            "from=2026-11-24T01:00:00 01:00&to=2026-11-24T12:00:00.9Z",
        ] {
            let request = request("es", parameters);
            let from = datetime!(2026-11-24 0:00 UTC).unix_timestamp();
            assert_eq!(from + 12 * 3_600, expected.question.tiers.last().to, "{parameters}");
            assert_eq!(request.unwrap().question, expected.question, "{parameters}");
        }
    }

    #[test]
    fn the_error_names_the_parameter_and_what_to_change() {
        for (parameters, error) in [
            ("form=1", "there is no parameter \"form\": use from, to, step"),
            ("From=1", "there is no parameter \"From\""),
            ("from=1&from=1", "from is given twice"),
            ("page=a&page=a", "page is given twice"),
            ("from=", "from: \"\" is not a time"),
            ("from=yesterday", "from: \"yesterday\" is not a time since 1970: use RFC 3339"),
            (
                "from=1969-12-31T23:59:59Z",
                "from: \"1969-12-31T23:59:59Z\" is not a time since 1970",
            ),
            ("from=-1", "from: \"-1\" is not"),
            ("from=1e9", "from: \"1e9\" is not"),
            ("to=253402300800", "to: \"253402300800\" is not"),
            ("to=99999999999999999999999", "to: \"99999999999999999999999\" is not"),
            ("to=2026-11-24", "to: \"2026-11-24\" is not"),
            ("to=' OR 1=1; --", "to: \"\\' OR 1=1; --\" is not"),
            ("step=10", "step: \"10\" is not a step"),
            ("step=1y", "step: \"1y\" is not a step"),
            ("step=367d", "step: \"367d\" is not a step from 1s to 366d"),
            ("step=1s", "the range has 604800 steps"),
            ("aggregate=sum", "aggregate: \"sum\" is not last, min, max or avg"),
            ("aggregate=MAX(x)) FROM `t` --", "aggregate: \"MAX(x)) FROM `t` --\" is not"),
            ("limit=0", "limit: \"0\" is not a number from 1 to 50000"),
            ("limit=50001", "limit: \"50001\" is not"),
            ("limit=+5", "limit: \"+5\" is not"),
            ("from=1795521600", "from must be before to"),
            ("from=5&to=5", "from must be before to"),
            ("from=0", "the range is longer than 10 years"),
            ("page=nonsense", "page: "),
        ] {
            let refused = request("es", parameters).unwrap_err();
            assert!(refused.starts_with(error), "{parameters}: {refused}");
        }
        let long = request("es", &format!("step={}", "é\n".repeat(100_000))).unwrap_err();
        assert!(long.len() < 500 && !long.contains('\n'), "{long}");
    }

    #[test]
    fn a_page_is_one_of_the_same_question() {
        let first = request("es", "step=1d").unwrap();
        let page = PageToken { asked_at: NOW - 1_000, ..token(&first) };
        let earlier = Tiers::of(None, None, Some(StepLength::DAY), NOW - 1_000).unwrap();
        let question = Question { tiers: earlier, ..first.question };
        let page = PageToken { fingerprint: question.fingerprint(), limit: 7, ..page };
        let text = page.to_string();

        let next = request("es", &format!("step=1d&page={text}")).unwrap();
        assert_eq!(next.question, question);
        assert_eq!((next.limit, next.asked_at), (7, NOW - 1_000));
        assert_eq!(next.page, Some(page));
        let smaller = request("es", &format!("page={text}&limit=3&step=1d")).unwrap();
        assert_eq!(smaller.limit, 3);

        for (key, parameters) in
            [("fr", "step=1d"), ("*", "step=1d"), ("es", ""), ("es", "step=1d&aggregate=max")]
        {
            let refused = request(key, &format!("{parameters}&page={text}")).unwrap_err();
            assert!(refused.starts_with("page: it belongs to another path"), "{refused}");
        }
    }

    #[test]
    fn each_question_has_a_fingerprint_of_its_own() {
        let mut fingerprints: Vec<_> = [
            ("es", ""),
            ("fr", ""),
            ("*", ""),
            ("total", ""),
            ("es", "aggregate=max"),
            ("es", "step=1d"),
            ("es", "step=1w"),
            ("es", "step=1d&to=1795507200"),
        ]
        .map(|(key, parameters)| request(key, parameters).unwrap().question.fingerprint())
        .into();
        let other = Question { group: Group::Gauge, ..request("es", "").unwrap().question };
        fingerprints.push(other.fingerprint());
        let other = Question { stat: StatName::new("countera").unwrap(), ..other };
        fingerprints.push(other.fingerprint());
        fingerprints
            .push(Question { dimension: DimensionName::new("d").unwrap(), ..other }.fingerprint());
        assert!(fingerprints.iter().all(|text| text.len() == 32));
        let count = fingerprints.len();
        fingerprints.sort();
        fingerprints.dedup();
        assert_eq!(fingerprints.len(), count);
    }
}
