//! A stat as an event of a stream, for `EventSource` in browsers.
//!
//! Source: *Server-sent events*, HTML Standard. An answer has one event and ends. The browser comes
//! back by itself after the time that `retry` names, so no connection is kept and paid for.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;
use shared::{
    domain::{DimensionKey, Group, KeySelection, KeyStats, Sum, TOTAL, Total, UnixSeconds},
    http::{KeyChoice, Response},
    lambda::Call,
    store::{KeyOrder, Store},
};

use crate::{kind::Kind, query_problem::QueryProblem, query_route::StreamedStat, room::Room};

/// After how many milliseconds a browser comes back.
const RETRY_MILLISECONDS: u32 = 30_000;

/// What the first statshub streamed.
#[derive(Debug, Serialize)]
struct EventJson {
    intervals: [IntervalJson; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct IntervalJson {
    as_of_seconds: u64,
    /// By key.
    values: BTreeMap<String, Sum>,
}

/// The answer with the value of a stat as it is now.
///
/// # Errors
/// The store fails, or the answer would be too large.
pub(crate) async fn response(
    store: &Store,
    asked: StreamedStat<'_>,
    call: Call,
) -> Result<Response, QueryProblem> {
    let values = values(store, asked, call).await?;
    let body = body(call.now, values)?;
    match Response::fits(&body) {
        true => Ok(Response::new(StatusCode::OK, "text/event-stream; charset=utf-8", body)),
        false => Err(QueryProblem::AnswerTooLarge),
    }
}

fn body(now: UnixSeconds, values: BTreeMap<String, Sum>) -> Result<String, QueryProblem> {
    let intervals = [IntervalJson { as_of_seconds: now.0, values }];
    // JSON has no line ends in it, which would end the data.
    let data = serde_json::to_string(&EventJson { intervals })?;
    Ok(format!("retry: {RETRY_MILLISECONDS}\ndata: {data}\n\n"))
}

async fn values(
    store: &Store,
    asked: StreamedStat<'_>,
    call: Call,
) -> Result<BTreeMap<String, Sum>, QueryProblem> {
    let kind = match asked.group {
        Group::Counter => Kind::Counter,
        Group::Gauge => Kind::Gauge,
    };
    let selection = match asked.keys {
        KeyChoice::One(key) => KeySelection::These([key.clone()].into()),
        KeyChoice::All | KeyChoice::Total => KeySelection::All,
    };
    let order = KeyOrder { selection: &selection, ..KeyOrder::ALL };
    let mut keys = store.keys_in_order(asked.dimension, order, call.now, call.deadline);
    let (mut values, mut total, room) = (BTreeMap::new(), Total::default(), Room::new());
    let only = [asked.stat.clone()].into();
    let mut note = |key: &str, stats: &KeyStats| {
        if let Some(value) = kind.find(stats, asked.stat) {
            room.take(key)?;
            room.take(&value.to_string())?;
            values.insert(key.to_owned(), value);
        }
        Ok::<_, QueryProblem>(())
    };
    while let Some((key, stats)) = keys.next().await? {
        match asked.keys {
            KeyChoice::Total => total.add(&stats.only(&only))?,
            KeyChoice::All | KeyChoice::One(_) => note(DimensionKey::as_str(&key), &stats)?,
        }
    }
    note(TOTAL, total.stats())?;
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_what_the_first_statshub_streamed() {
        let values = [("es".to_owned(), Sum::from(5)), ("f\nr".to_owned(), Sum::MAX)].into();
        let nines = "9".repeat(38);
        assert_eq!(
            body(UnixSeconds(1_795_000_000), values).unwrap(),
            format!(
                "retry: 30000\ndata: {{\"intervals\":[{{\"asOfSeconds\":1795000000,\
                 \"values\":{{\"es\":5,\"f\\nr\":{nines}}}}}]}}\n\n"
            )
        );
    }
}
