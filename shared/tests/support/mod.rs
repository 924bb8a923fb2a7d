//! A store on a table of its own, on a real DynamoDB API: the one that `STATSHUB_TEST_DYNAMODB`
//! names, else an embedded one.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
    time::Duration,
};

use aws_sdk_dynamodb::Client;
use fault_proxy::Proxy;
use local_dynamodb::request_count::{Counting, Requests};
use shared::{
    domain::{
        DimensionName, DimensionSummary, Fingerprint, Id, IdempotencyKey, KeyStats, PeriodLength,
        StatName, Sum, UnixSeconds, Update,
    },
    store::{Deadline, Outcome, Settings, Store, StoreError},
};

/// The start of a period.
pub const NOW: UnixSeconds = UnixSeconds(360 * 5_000_000);

pub struct TestStore {
    pub store: Store,
    pub client: Client,
    pub settings: Settings,
    pub requests: Arc<Requests>,
}

impl TestStore {
    pub async fn new() -> Self {
        let endpoint = match std::env::var("STATSHUB_TEST_DYNAMODB") {
            Ok(endpoint) => endpoint,
            Err(_) => local_dynamodb::start_in_memory().await.unwrap(),
        };
        let requests = Arc::new(Requests::default());
        let config = local_dynamodb::client_config(&endpoint);
        let client = Client::from_conf(config.interceptor(Counting(requests.clone())).build());
        Self { requests, ..Self::on(&endpoint, client).await }
    }

    /// A store with other settings.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut test = Self::new().await;
        change(&mut test.settings);
        test.store = test.another();
        test
    }

    /// A store on a new embedded DynamoDB, with a proxy between them.
    pub async fn behind_a_proxy() -> (Proxy, Self) {
        let endpoint = local_dynamodb::start_in_memory().await.unwrap();
        let proxy = Proxy::start(&endpoint).await.unwrap();
        let client = Client::from_conf(local_dynamodb::client_config(proxy.endpoint()).build());
        let test = Self::on(&endpoint, client).await;
        (proxy, test)
    }

    /// A store with this client, on a new table of the DynamoDB at `endpoint`.
    pub async fn on(endpoint: &str, client: Client) -> Self {
        let table = format!("test-{:016x}", fastrand::u64(..));
        local_dynamodb::create_table(&local_dynamodb::client(endpoint), &table).await.unwrap();
        let settings = Settings::new(table, PeriodLength::DEFAULT);
        let store = Store::new(client.clone(), settings.clone(), fastrand::Rng::new());
        Self { store, client, settings, requests: Arc::default() }
    }

    /// A second store on the same table, as another process has it.
    pub fn another(&self) -> Store {
        Store::new(self.client.clone(), self.settings.clone(), fastrand::Rng::new())
    }

    pub async fn post(&self, id: &str, body: &str) -> Outcome {
        self.post_at(NOW, id, body).await
    }

    pub async fn post_at(&self, now: UnixSeconds, id: &str, body: &str) -> Outcome {
        post(&self.store, now, id, body).await.unwrap()
    }

    pub async fn post_with_key(
        &self,
        now: UnixSeconds,
        key: &str,
        body: &str,
    ) -> Result<Outcome, StoreError> {
        let key = IdempotencyKey::new(key).unwrap();
        let fingerprint = Fingerprint::of(body.as_bytes());
        let update = Update::from_json(body.as_bytes()).unwrap();
        self.store.update(&id("i"), &update, Some((&key, fingerprint)), now, soon()).await
    }

    /// What a query sees. Reading key by key has to see the same.
    pub async fn summary_at(&self, now: UnixSeconds, dimension: &str) -> DimensionSummary {
        let summary = self.read_by_key(now, dimension).await;
        let dimension = DimensionName::new(dimension).unwrap();
        assert_eq!(summary, self.store.summary(&dimension, now, soon()).await.unwrap());
        summary
    }

    pub async fn read_by_key(&self, now: UnixSeconds, dimension: &str) -> DimensionSummary {
        let dimension = DimensionName::new(dimension).unwrap();
        let mut summary = DimensionSummary::default();
        let mut keys = self.store.keys(&dimension, now, soon());
        let mut read = BTreeSet::new();
        while let Some((key, stats)) = keys.next().await.unwrap() {
            assert!(read.insert(key.clone()), "{key} comes twice");
            summary.add(key, &stats).unwrap();
        }
        summary
    }

    /// A dimension's stats, a line for each key and one for the total.
    pub async fn shown(&self, dimension: &str) -> String {
        self.shown_at(NOW, dimension).await
    }

    pub async fn shown_at(&self, now: UnixSeconds, dimension: &str) -> String {
        let summary = self.summary_at(now, dimension).await;
        let mut lines = String::new();
        for (key, stats) in summary.keys() {
            writeln!(lines, "{key}:{}", line(stats)).unwrap();
        }
        write!(lines, "total:{}", line(summary.total())).unwrap();
        lines
    }

    pub async fn dimensions(&self) -> Vec<String> {
        let dimensions = self.store.dimensions(soon()).await.unwrap();
        dimensions.iter().map(ToString::to_string).collect()
    }
}

pub async fn post(
    store: &Store,
    now: UnixSeconds,
    name: &str,
    body: &str,
) -> Result<Outcome, StoreError> {
    let update = Update::from_json(body.as_bytes()).unwrap();
    store.update(&id(name), &update, None, now, soon()).await
}

pub fn id(name: &str) -> Id {
    Id::new(name).unwrap()
}

/// Far enough away for any test.
pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(120))
}

fn line(stats: &KeyStats) -> String {
    let mut line = String::new();
    let groups = [
        ("c", &stats.counters),
        ("g", &stats.gauges),
        ("now", &stats.gauges_current),
        ("m", &stats.members),
    ];
    for (group, sums) in groups {
        for (stat, sum) in sums {
            write!(line, " {group}.{stat}={sum}").unwrap();
        }
    }
    line
}

pub fn sums(stats: &BTreeMap<StatName, Sum>) -> BTreeMap<String, String> {
    stats.iter().map(|(stat, sum)| (stat.to_string(), sum.to_string())).collect()
}
