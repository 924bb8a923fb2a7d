//! The JSON of a page of a history.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Number;

use crate::{page_token::PageToken, point::Point, question::Question};

#[derive(Serialize)]
struct HistoryJson<'a> {
    #[serde(rename = "Succeeded")]
    succeeded: bool,
    #[serde(rename = "Error")]
    error: &'static str,
    dim: &'a str,
    kind: &'static str,
    stat: &'a str,
    aggregate: &'static str,
    /// By key.
    series: BTreeMap<&'a str, Vec<PointJson<'a>>>,
    /// The token of the next page. It is there but empty on the last one: programs that follow
    /// cursors look for it there, too.
    next: String,
}

#[derive(Serialize)]
struct PointJson<'a> {
    ts: &'a str,
    step: i64,
    value: &'a Number,
}

/// The body of a page with these points.
///
/// # Errors
/// Never: names and numbers always serialize.
pub(crate) fn body(
    question: &Question,
    points: &[Point],
    next: Option<&PageToken>,
) -> Result<String, serde_json::Error> {
    let mut series = BTreeMap::<_, Vec<_>>::new();
    for Point { key, ts, step, value } in points {
        let point = PointJson { ts, step: step.seconds(), value };
        series.entry(key.as_str()).or_default().push(point);
    }
    serde_json::to_string(&HistoryJson {
        succeeded: true,
        error: "",
        dim: question.dimension.as_str(),
        kind: question.group.name(),
        stat: question.stat.as_str(),
        aggregate: question.aggregate.name(),
        series,
        next: next.map(ToString::to_string).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{points, request, token};

    #[test]
    fn points_are_listed_by_key() {
        let request = request("*", "").unwrap();
        let points = points(&[
            ["es", "1795510800", "50"],
            ["es", "1795514400", "60"],
            ["to\"tal", "1795510800", "70"],
        ]);
        let expected = concat!(
            r#"{"Succeeded":true,"Error":"","dim":"country","kind":"counter","stat":"counterA","#,
            r#""aggregate":"last","series":{"es":[{"ts":"2026-11-24T09:00:00Z","step":3600,"value":50},"#,
            r#"{"ts":"2026-11-24T10:00:00Z","step":3600,"value":60}],"#,
            r#""to\"tal":[{"ts":"2026-11-24T09:00:00Z","step":3600,"value":70}]}"#,
        );
        assert_eq!(
            body(&request.question, &points, None).unwrap(),
            format!(r#"{expected},"next":""}}"#)
        );
        let token = token(&request);
        let with_next = format!(r#"{expected},"next":"{token}"}}"#);
        assert_eq!(body(&request.question, &points, Some(&token)).unwrap(), with_next);
    }

    #[test]
    fn without_points_there_is_an_empty_series() {
        let question = request("*", "aggregate=avg").unwrap().question;
        let body = body(&question, &[], None).unwrap();
        assert!(body.ends_with(r#","aggregate":"avg","series":{},"next":""}"#), "{body}");
    }
}
