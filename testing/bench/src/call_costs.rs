//! What calls cost, counted: units of DynamoDB, requests, round trips, and the bytes of answers.
//! All of it is the same on any machine.

use http::Method;
use serde_json::{Value, json};
use shared::domain::UnixSeconds;
use tokio::runtime;

use crate::{
    counted_service::CountedService,
    figures::{CountedTable, figure},
    workload::{batch, batches_of_keys, update, with},
};

/// The start of a period.
const NOW: UnixSeconds = UnixSeconds(360 * 5_000_000);
/// How many keys the dimension has that is queried, and how many counters each.
const KEYS: usize = 1_000;
const STATS: usize = 20;
const COLUMNS: [&str; 5] =
    ["read units", "write units", "requests", "round trips", "bytes of the answer"];

/// The functions on a table of their own.
struct Service {
    functions: CountedService,
    table: CountedTable,
}

/// Counts what calls cost.
///
/// # Errors
/// A call fails.
pub fn count() -> anyhow::Result<CountedTable> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(count_calls())
}

async fn count_calls() -> anyhow::Result<CountedTable> {
    let mut service = Service::start().await?;
    service.post("first", &update(1)).await?;
    service.post("a", &update(1)).await?;
    service.count_post("an update of an id that is new, 2 dimensions", "b", &update(1)).await?;
    service.count_post("its next one", "b", &update(2)).await?;
    service.count_post("the same again", "b", &update(2)).await?;
    let member = |name: &str| with(&update(2), "members", json!({"m": name}));
    service.post("b", &member("first")).await?;
    service.count_post("a member that is new", "b", &member("second")).await?;
    service.count_post("a member that is known", "b", &member("second")).await?;
    let body = batch("batch", &update(1));
    service.count_batch("a batch of 100 ids that are new, under 2 keys", body).await?;

    for body in batches_of_keys(KEYS, STATS) {
        service.post_batch(body).await?;
    }
    for (what, path) in [
        ("a query of 1,000 keys with 20 stats", "/stats/large"),
        ("the same in rows", "/stats/large?format=rows"),
        ("its total alone", "/stats/large?limit=0"),
        ("a page of 100 of its keys", "/stats/large?limit=100"),
        ("one of its keys", "/stats/large?key=key-500"),
        ("one id", "/ids/b"),
    ] {
        service.count_get(what, path).await?;
    }
    Ok(service.table)
}

impl Service {
    async fn start() -> anyhow::Result<Self> {
        let functions = CountedService::start(&local_dynamodb::start_in_memory().await?).await?;
        Ok(Self { functions, table: CountedTable::new("What calls cost", 0.0, &COLUMNS) })
    }

    async fn post(&mut self, id: &str, update: &Value) -> anyhow::Result<Vec<f64>> {
        let path = format!("/stats/{id}");
        self.figures(&Method::POST, &path, update.to_string()).await
    }

    async fn count_post(&mut self, what: &str, id: &str, update: &Value) -> anyhow::Result<()> {
        let figures = self.post(id, update).await?;
        self.table.rows.push((what.to_owned(), figures));
        Ok(())
    }

    async fn post_batch(&self, body: String) -> anyhow::Result<Vec<f64>> {
        self.figures(&Method::POST, "/stats", body).await
    }

    async fn count_batch(&mut self, what: &str, body: String) -> anyhow::Result<()> {
        let figures = self.post_batch(body).await?;
        self.table.rows.push((what.to_owned(), figures));
        Ok(())
    }

    async fn count_get(&mut self, what: &str, path: &str) -> anyhow::Result<()> {
        let figures = self.figures(&Method::GET, path, String::new()).await?;
        self.table.rows.push((what.to_owned(), figures));
        Ok(())
    }

    /// The figures of a call, in the order of [`COLUMNS`].
    async fn figures(&self, method: &Method, path: &str, body: String) -> anyhow::Result<Vec<f64>> {
        let (answer, cost) = self.functions.ask(method, path, body, NOW).await?;
        Ok(vec![
            cost.read_units,
            cost.write_units,
            figure(cost.requests)?,
            figure(cost.round_trips)?,
            figure(serde_json::to_vec(&answer)?.len())?,
        ])
    }
}
