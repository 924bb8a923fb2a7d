//! The functions `update` and `query` in this process, with what their calls cost.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use aws_lambda_events::event::apigw::ApiGatewayV2httpResponse;
use aws_sdk_dynamodb::Client;
use bytes::Bytes;
use fastrand::Rng;
use gateway::event::{Arrival, function_url};
use http::{Method, Request, StatusCode};
use local_dynamodb::request_count::{Counting, Requests};
use serde_json::value::RawValue;
use shared::{
    config::Config,
    domain::{PeriodLength, UnixSeconds},
    http::HttpEvent,
    lambda::{Call, HttpFunction, answer_and_record},
    store::{Deadline, Settings, Store},
};

use crate::workload::TABLE;

/// The functions on a table of their own.
pub struct CountedService {
    config: Config,
    requests: Arc<Requests>,
    update: update::Function,
    query: query::Function,
}

/// What a call cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CallCost {
    /// Units of DynamoDB.
    pub read_units: f64,
    /// The same.
    pub write_units: f64,
    /// How many requests went to DynamoDB.
    pub requests: usize,
    /// How often an answer of DynamoDB was waited for. It is exact if the runtime has one thread:
    /// then what is sent at once is on its way before anything is answered.
    pub round_trips: usize,
}

impl CountedService {
    /// Creates the table in a DynamoDB.
    ///
    /// # Errors
    /// DynamoDB fails.
    pub async fn start(endpoint: &str) -> anyhow::Result<Self> {
        local_dynamodb::create_table(&local_dynamodb::client(endpoint), TABLE).await?;
        let requests = Arc::new(Requests::default());
        let client = local_dynamodb::client_config(endpoint);
        let client = Client::from_conf(client.interceptor(Counting(requests.clone())).build());
        let store = |seed| {
            let settings = Settings::new(TABLE, PeriodLength::DEFAULT);
            Store::new(client.clone(), settings, Rng::with_seed(seed))
        };
        let config = Config::from_variables(|name| match name {
            "STATSHUB_AUTH" | "QUERY_CACHE" => Some("off".to_owned()),
            _ => None,
        })?;
        let (update, query) =
            (update::Function::new(&config, store(1)), query::Function::new(&config, store(2)));
        Ok(Self { config, requests, update, query })
    }

    /// The answer to a request, and what it cost: of `update` to a POST, of `query` to all else.
    ///
    /// # Errors
    /// It is not answered by 200.
    pub async fn ask(
        &self,
        method: &Method,
        path: &str,
        body: String,
        now: UnixSeconds,
    ) -> anyhow::Result<(ApiGatewayV2httpResponse, CallCost)> {
        match *method {
            Method::POST => self.ask_function(&self.update, method, path, body, now).await,
            _ => self.ask_function(&self.query, method, path, body, now).await,
        }
    }

    async fn ask_function(
        &self,
        function: &impl HttpFunction,
        method: &Method,
        path: &str,
        body: String,
        now: UnixSeconds,
    ) -> anyhow::Result<(ApiGatewayV2httpResponse, CallCost)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Bytes::from(body))?;
        let event = function_url(&request, &Arrival::default()).to_string();
        let event = HttpEvent::read(&RawValue::from_string(event)?)?;
        let call = Call { now, deadline: Deadline::after(Duration::from_secs(120)) };
        self.requests.take();
        let answered = Box::pin(answer_and_record(function, &self.config.auth, event, call)).await;
        let (answer, Some(record)) = answered else { anyhow::bail!("{path} is a preflight") };
        let status = StatusCode::OK.as_u16();
        ensure!(answer.status_code == i64::from(status), "{method} {path}: {answer:?}");
        let (requests, round_trips) = self.requests.take();
        let cost = CallCost {
            read_units: record.usage.read_units,
            write_units: record.usage.write_units,
            requests: requests.len(),
            round_trips,
        };
        Ok((answer, cost))
    }
}
