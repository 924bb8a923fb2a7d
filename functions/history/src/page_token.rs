//! Page tokens: what a client gives back to get the next page of an answer.
//!
//! A token names the job that holds the answer, but not by its whole id: the id begins with the
//! fingerprint of the question, which is calculated anew. Whatever somebody makes up, it leads only
//! to jobs of this function, and among those to answers to the question that is asked. So tokens
//! need no signature.

use std::fmt;

use bigquery::JobId;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::http::{decode_token, encode_token, fingerprint};

use crate::tiers::{HOUR, LATEST};

/// Most points of a page.
pub(crate) const MAX_POINTS: u32 = 50_000;
/// Hex digits that tell apart the jobs of a question: 128 bits.
const DISTINCT_DIGITS: usize = 32;

/// Which page of which answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageToken {
    /// The fingerprint of the question.
    #[serde(rename = "q")]
    pub(crate) fingerprint: String,
    /// The job that answers it.
    #[serde(flatten)]
    pub(crate) job: AnswerJob,
    /// When the first page was asked for, in seconds since 1970.
    #[serde(rename = "t")]
    pub(crate) asked_at: i64,
    /// Most points of the page if the request names no limit.
    #[serde(rename = "n")]
    pub(crate) limit: u32,
    /// BigQuery's token.
    #[serde(rename = "p")]
    pub(crate) page: String,
}

/// The job that answers a question. With the question's fingerprint it has an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnswerJob {
    #[serde(rename = "r")]
    distinct: String,
    /// Where it runs.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
}

impl AnswerJob {
    /// A job that nobody has started: its digits are random.
    pub(crate) fn new(location: Option<String>, random: &mut fastrand::Rng) -> Self {
        Self { distinct: format!("{:032x}", random.u128(..)), location }
    }

    /// The job that answers a question that others may ask too. Whoever asks in the same hour, while
    /// the table has the same rows, shares it. BigQuery keeps a result for a day, so everybody has
    /// most of a day for its pages.
    pub(crate) fn shared(location: Option<String>, rows_version: &str, asked_at: i64) -> Self {
        let distinct = fingerprint(&json!([asked_at.div_euclid(HOUR), rows_version]));
        Self { distinct, location }
    }

    /// Its id.
    pub(crate) fn id(&self, fingerprint: &str) -> JobId {
        JobId::of(&format!("statshub-history-{fingerprint}-{}", self.distinct))
    }

    fn is_valid(&self) -> bool {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_location = |text: &String| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !text.is_empty() && text.bytes().all(plain)
        };
        self.distinct.len() == DISTINCT_DIGITS
            && self.distinct.bytes().all(is_hex)
            && self.location.as_ref().is_none_or(is_location)
    }
}

impl PageToken {
    /// The token that a client gives back; none if it is not a token.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        decode_token(text).filter(Self::is_valid)
    }

    fn is_valid(&self) -> bool {
        self.job.is_valid()
            && (0..=LATEST).contains(&self.asked_at)
            && (1..=MAX_POINTS).contains(&self.limit)
            && !self.page.is_empty()
    }
}

/// As a client gets it.
impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_token(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::http::MAX_TOKEN_BYTES;

    use super::*;
    use crate::samples::{request, token};

    fn encoded(json: &Value) -> String {
        encode_token(json).unwrap()
    }

    #[test]
    fn a_token_comes_back_as_it_was() {
        let token = token(&request("es", "").unwrap());
        let text = token.to_string();
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert_eq!(PageToken::parse(&text).unwrap(), token);
        let nowhere = PageToken { job: AnswerJob { location: None, ..token.job.clone() }, ..token };
        assert_eq!(PageToken::parse(&nowhere.to_string()).unwrap(), nowhere);
    }

    #[test]
    fn a_job_is_one_of_this_function_and_of_the_question() {
        let token = token(&request("es", "").unwrap());
        let id = token.job.id(&token.fingerprint);
        let id = id.as_str();
        assert_eq!(id, format!("statshub-history-{}-{}", token.fingerprint, token.job.distinct));
        assert_eq!(id.len(), "statshub-history-".len() + 32 + 1 + 32);
        let mut random = fastrand::Rng::with_seed(1);
        assert_ne!(AnswerJob::new(None, &mut random), AnswerJob::new(None, &mut random));
    }

    #[test]
    fn a_shared_job_is_that_of_an_hour_and_of_the_rows_of_the_table() {
        let job = |version: &str, asked_at| AnswerJob::shared(None, version, asked_at);
        assert_eq!(job("1 2", 7_200), job("1 2", 10_799));
        assert_ne!(job("1 2", 7_200), job("1 2", 10_800));
        assert_ne!(job("1 2", 7_200), job("1 3", 7_200));
        assert!(job("1 2", 0).is_valid());
    }

    #[test]
    fn a_text_that_is_not_a_token_is_refused() {
        let token = token(&request("es", "").unwrap());
        let json = serde_json::to_value(&token).unwrap();
        let with = |name: &str, value: Value| {
            let mut changed = json.clone();
            changed.as_object_mut().unwrap().insert(name.to_owned(), value);
            encoded(&changed)
        };
        assert_eq!(PageToken::parse(&encoded(&json)).as_ref(), Some(&token));
        let digits = token.job.distinct.as_str();
        for text in [
            String::new(),
            "bm9uc2Vuc2U".to_owned(),
            "%".to_owned(),
            token.to_string() + "=",
            "A".repeat(MAX_TOKEN_BYTES + 1),
            with("r", json!("")),
            with("r", json!(format!("{digits}0"))),
            with("r", json!(digits.to_uppercase().replace('0', "A"))),
            with("r", json!("../../datasets/statshub/tables/d")),
            with("r", json!("x'; DROP TABLE `country`; -- aaaa")),
            with("l", json!("")),
            with("l", json!("EU&pageToken=x")),
            with("t", json!(-1)),
            with("t", json!(LATEST + 1)),
            with("t", json!(1.5)),
            with("n", json!(0)),
            with("n", json!(MAX_POINTS + 1)),
            with("p", json!("")),
            with("p", Value::Null),
            with("more", json!(1)),
        ] {
            assert_eq!(PageToken::parse(&text), None, "{text}");
        }
    }
}
