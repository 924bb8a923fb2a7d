//! The answer to a batch: one result for each entry.

use std::collections::BTreeSet;

use http::StatusCode;
use serde::Serialize;
use shared::{
    domain::Id,
    http::{Problem, Response},
    lambda::log::log_problem,
    store::{Outcome, StoreError},
};

/// The answer to a batch.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BatchAnswer<'a> {
    succeeded: bool,
    error: String,
    #[serde(rename = "items")]
    items: Vec<Item<'a>>,
    /// Whether a client should send what failed again, a little later.
    #[serde(skip)]
    is_worth_retrying: bool,
}

/// The result of an entry: what its answer would be if it had come alone.
#[derive(Debug, Serialize)]
struct Item<'a> {
    id: &'a str,
    status: u16,
    #[serde(rename = "Error")]
    error: String,
}

impl<'a> BatchAnswer<'a> {
    /// The answer with these results. Logs why entries failed: entries that failed together share a
    /// cause, which is logged once.
    pub(crate) fn new(
        results: impl Iterator<Item = (&'a Id, Result<Outcome, StoreError>)>,
    ) -> Self {
        let (mut items, mut logged, mut is_worth_retrying) = (Vec::new(), BTreeSet::new(), false);
        for (id, result) in results {
            let (status, error) = match result {
                Ok(_) => (StatusCode::OK, String::new()),
                Err(error) => {
                    let problem = Problem::from(error);
                    is_worth_retrying |= problem.is_worth_retrying();
                    let cause = problem.cause().map(ToString::to_string);
                    if logged.insert((cause, problem.causes())) {
                        log_problem(&problem);
                    }
                    (problem.status(), problem.to_string())
                }
            };
            items.push(Item { id: id.as_str(), status: status.as_u16(), error });
        }
        let failed = items.iter().filter(|item| !item.error.is_empty()).count();
        let error = match failed {
            0 => String::new(),
            _ => format!("{failed} of {} failed", items.len()),
        };
        Self { succeeded: failed == 0, error, items, is_worth_retrying }
    }

    /// The response: a 200, whatever became of the entries.
    ///
    /// # Errors
    /// Never: ids and texts always serialize.
    pub(crate) fn response(&self) -> Result<Response, serde_json::Error> {
        let response = Response::json(StatusCode::OK, serde_json::to_string(self)?);
        Ok(if self.is_worth_retrying { response.retry_later() } else { response })
    }
}
