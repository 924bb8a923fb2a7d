//! What calls cost, counted: units of DynamoDB, requests, round trips, and the bytes of answers.
//! All of it is the same on any machine.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use aws_sdk_dynamodb::Client;
use bytes::Bytes;
use fastrand::Rng;
use gateway::event::{Arrival, function_url};
use http::{Method, Request, StatusCode};
use local_dynamodb::request_count::{Counting, Requests};
use serde_json::{Value, json, value::RawValue};
use shared::{
    config::Config,
    domain::{PeriodLength, UnixSeconds},
    http::HttpEvent,
    lambda::{Call, HttpFunction, answer_and_record},
    store::{Deadline, Settings, Store},
};

use tokio::runtime;

use crate::{
    figures::CountedTable,
    workload::{TABLE, batch, batches_of_keys, update, with},
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
    config: Config,
    requests: Arc<Requests>,
    update: update::Function,
    query: query::Function,
    table: CountedTable,
}

/// Counts what calls cost.
///
/// # Errors
/// A call fails.
pub fn count() -> anyhow::Result<CountedTable> {
    // On one thread, what is sent at once is on its way before anything is answered.
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
        let endpoint = local_dynamodb::start_in_memory().await?;
        local_dynamodb::create_table(&local_dynamodb::client(&endpoint), TABLE).await?;
        let requests = Arc::new(Requests::default());
        let client = local_dynamodb::client_config(&endpoint);
        let client = Client::from_conf(client.interceptor(Counting(requests.clone())).build());
        let store = |seed| {
            let settings = Settings::new(TABLE, PeriodLength::DEFAULT);
            Store::new(client.clone(), settings, Rng::with_seed(seed))
        };
        let config = Config::from_variables(|name| match name {
            "STATSHUB_AUTH" | "QUERY_CACHE" => Some("off".to_owned()),
            _ => None,
        })?;
        let table = CountedTable::new("What calls cost", 0.0, &COLUMNS);
        let (update, query) =
            (update::Function::new(&config, store(1)), query::Function::new(&config, store(2)));
        Ok(Self { config, requests, update, query, table })
    }

    async fn post(&mut self, id: &str, update: &Value) -> anyhow::Result<Vec<f64>> {
        let path = format!("/stats/{id}");
        self.figures(&self.update, &Method::POST, &path, update.to_string()).await
    }

    async fn count_post(&mut self, what: &str, id: &str, update: &Value) -> anyhow::Result<()> {
        let figures = self.post(id, update).await?;
        self.table.rows.push((what.to_owned(), figures));
        Ok(())
    }

    async fn post_batch(&self, body: String) -> anyhow::Result<Vec<f64>> {
        self.figures(&self.update, &Method::POST, "/stats", body).await
    }

    async fn count_batch(&mut self, what: &str, body: String) -> anyhow::Result<()> {
        let figures = self.post_batch(body).await?;
        self.table.rows.push((what.to_owned(), figures));
        Ok(())
    }

    async fn count_get(&mut self, what: &str, path: &str) -> anyhow::Result<()> {
        let figures = self.figures(&self.query, &Method::GET, path, String::new()).await?;
        self.table.rows.push((what.to_owned(), figures));
        Ok(())
    }

    /// The figures of a call, in the order of [`COLUMNS`].
    async fn figures(
        &self,
        function: &impl HttpFunction,
        method: &Method,
        path: &str,
        body: String,
    ) -> anyhow::Result<Vec<f64>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Bytes::from(body))?;
        let event = function_url(&request, &Arrival::default()).to_string();
        let event = HttpEvent::read(&RawValue::from_string(event)?)?;
        let call = Call { now: NOW, deadline: Deadline::after(Duration::from_secs(120)) };
        self.requests.take();
        let answered = Box::pin(answer_and_record(function, &self.config.auth, event, call)).await;
        let (answer, Some(record)) = answered else { anyhow::bail!("{path} is a preflight") };
        let status = StatusCode::OK.as_u16();
        ensure!(answer.status_code == i64::from(status), "{method} {path}: {answer:?}");
        let (requests, round_trips) = self.requests.take();
        let count = |count: usize| u32::try_from(count).map(f64::from);
        Ok(vec![
            record.usage.read_units,
            record.usage.write_units,
            count(requests.len())?,
            count(round_trips)?,
            count(serde_json::to_vec(&answer)?.len())?,
        ])
    }
}
