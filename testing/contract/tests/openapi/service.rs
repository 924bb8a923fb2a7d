//! All functions, on an embedded DynamoDB and a fake of BigQuery.

use std::{collections::BTreeMap, time::Duration};

use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;
use bigquery::{BigQuery, Columns, Group, Pace, TableId};
use fake_bigquery::FakeBigQuery;
use http::Method;
use serde_json::json;
use shared::{
    auth::Auth,
    config::Config,
    deadline::Deadline,
    domain::{DimensionName, PeriodLength, StatName, UnixSeconds},
    http::endpoints,
    lambda::{Call, answer_event},
    store::{Settings, Store},
};

use crate::description::Exchange;

/// 2026-11-24T11:30:00Z, the start of a period.
const NOW: UnixSeconds = UnixSeconds(1_795_519_800);

pub struct Service {
    update: update::Function,
    query: query::Function,
    history: history::Function,
    dashboard: dashboard::Function,
    _bigquery: FakeBigQuery,
}

impl Service {
    /// The service. Nothing is counted yet. The counter `done` of the key `red` of the dimension
    /// `team` is archived twice.
    pub async fn new() -> Self {
        let client = local_dynamodb::in_memory_with_table("statshub").await.unwrap();
        let store = || {
            let settings = Settings::new("statshub", PeriodLength::DEFAULT);
            Store::new(client.clone(), settings, fastrand::Rng::new())
        };
        let open = |name: &str| (name == "STATSHUB_AUTH").then(|| "off".to_owned());
        let config = Config::from_variables(open).unwrap();
        let fake = FakeBigQuery::start().await.unwrap();
        let archive = archive(&fake).await;
        let (limit, random) = (history::ScanLimit::default(), fastrand::Rng::with_seed(1));
        Self {
            update: update::Function::new(&config, store()),
            query: query::Function::new(&config, store()),
            history: history::Function::new(Some(archive), limit, random),
            dashboard: dashboard::Function::new().unwrap(),
            _bigquery: fake,
        }
    }

    /// The exchange with the answer of the function that the path belongs to.
    pub async fn answer(&self, mut exchange: Exchange) -> Exchange {
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": exchange.path,
            "rawQueryString": exchange.query, "headers": exchange.request_headers,
            "requestContext": {
                "stage": "$default", "http": {"method": exchange.method, "path": exchange.path}
            },
            "body": String::from_utf8(exchange.request_body.clone()).unwrap(),
            "isBase64Encoded": false
        });
        let event: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
        let call = Call { now: NOW, deadline: Deadline::after(Duration::from_secs(20)) };
        let response = match function(&exchange) {
            "update" => answer_event(&self.update, &Auth::Off, event, call).await,
            "query" => answer_event(&self.query, &Auth::Off, event, call).await,
            "dashboard" => answer_event(&self.dashboard, &Auth::Off, event, call).await,
            _ => answer_event(&self.history, &Auth::Off, event, call).await,
        };
        let headers = response.headers.iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        exchange.headers = headers.collect::<BTreeMap<_, _>>();
        exchange.status = u16::try_from(response.status_code).unwrap();
        exchange.body = response.body.as_deref().unwrap_or_default().to_vec();
        exchange
    }
}

/// The function that answers: `endpoints` has one for each method and first segment.
fn function(exchange: &Exchange) -> &'static str {
    let method = if exchange.method == "HEAD" { "GET" } else { &exchange.method };
    let method = Method::try_from(method).unwrap();
    let first = |path: &str| path.split('/').nth(1).unwrap().to_owned();
    let mut endpoints = endpoints();
    let endpoint =
        endpoints.find(|it| it.method == method && first(it.path) == first(&exchange.path));
    endpoint.unwrap().function
}

async fn archive(fake: &FakeBigQuery) -> BigQuery {
    fake.create_dataset("statshub");
    let host = fake.address().to_string();
    let config = bigquery::Config::from_variables(|name| match name {
        "GOOGLE_PROJECT" => Some("project".to_owned()),
        "BIGQUERY_EMULATOR_HOST" => Some(host.clone()),
        _ => None,
    });
    let random = fastrand::Rng::with_seed(1);
    let archive = BigQuery::new(&config.unwrap().unwrap(), Pace::default(), random).unwrap();
    let soon = || Deadline::after(Duration::from_secs(20));
    let id = TableId::from(&DimensionName::new("team").unwrap());
    let table = archive.table_or_new(&id, soon()).await.unwrap();
    let mut columns = Columns::of(&table.schema).unwrap();
    columns.column(Group::Counter, &StatName::new("done").unwrap()).unwrap();
    let schema = columns.missing_from(&table.schema).unwrap().unwrap();
    assert!(archive.change_schema(&id, &table, &schema, soon()).await.unwrap());
    let fields = json!({"fields": [
        {"name": "key", "type": "STRING"},
        {"name": "ts", "type": "INTEGER"},
        {"name": "value", "type": "INTEGER"},
    ]});
    let rows = [["red", "1795510800", "5"], ["red", "1795514400", "7"]];
    let rows = rows.map(|row| row.map(|cell| Some(cell.to_owned())).to_vec());
    fake.set_query_result(fields, rows.to_vec());
    archive
}
