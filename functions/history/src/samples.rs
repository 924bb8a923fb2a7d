//! Requests, tokens and points for the unit tests.

use shared::{
    domain::{DimensionKey, DimensionName, Group, StatName},
    http::KeyChoice,
};
use time::macros::datetime;

use crate::{
    history_route::HistoryRoute,
    page_token::{AnswerJob, PageToken},
    point::Point,
    question::HistoryRequest,
};

/// When the requests come.
pub(crate) const NOW: i64 = datetime!(2026-11-24 11:30 UTC).unix_timestamp();

/// The request for the counter `counterA` of the dimension `country` with these parameters, as in a
/// URL but not encoded.
pub(crate) fn request(key: &str, parameters: &str) -> Result<HistoryRequest, String> {
    let keys = match key {
        "*" => KeyChoice::All,
        "total" => KeyChoice::Total,
        key => KeyChoice::One(DimensionKey::new(key).unwrap()),
    };
    let pairs = parameters.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let route = HistoryRoute {
        dimension: DimensionName::new("country").unwrap(),
        keys,
        group: Group::Counter,
        stat: StatName::new("counterA").unwrap(),
    };
    HistoryRequest::new(route, &pairs, NOW).map_err(|error| error.to_string())
}

/// The token of a second page.
pub(crate) fn token(request: &HistoryRequest) -> PageToken {
    PageToken {
        fingerprint: request.question.fingerprint(),
        job: AnswerJob::new(Some("EU".to_owned()), &mut fastrand::Rng::with_seed(1)),
        asked_at: request.asked_at,
        limit: request.limit,
        page: "BFAKE=".to_owned(),
    }
}

/// The points of rows that answer a request without parameters.
pub(crate) fn points(rows: &[[&str; 3]]) -> Vec<Point> {
    let question = request("*", "").unwrap().question;
    let cells = |row: &[&str; 3]| row.map(|cell| Some(cell.to_owned())).to_vec();
    rows.iter().map(|row| Point::of(&question, cells(row)).unwrap()).collect()
}
