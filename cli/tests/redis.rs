//! `statshub migrate-from-redis`, the program itself, on a Redis that a first statshub has filled and
//! an embedded DynamoDB.
//!
//! `cargo xtask test redis` starts the Redis that `STATSHUB_TEST_REDIS` names.

#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    process::{Command, Output},
    time::SystemTime,
};

use redis::{Cmd, FromRedisValue, cmd};
use serde_json::{Value, json};
use shared::{
    domain::{DimensionName, Id, UnixSeconds, Update},
    store::Store,
};
use support::soon;

const IGNORED: &str = "the test step `redis` starts Redis";
const TABLE: &str = "stats";
const DIMENSIONS: [&str; 2] = ["country", "user"];
const PERIOD: u64 = 360;

/// What an answer shows, by key and stat, such as `es counter.hits`.
type Shown = BTreeMap<String, i128>;

/// The first statshub: what it writes to Redis, and what it answers.
struct FirstStatshub {
    connection: redis::Connection,
    url: String,
}

impl FirstStatshub {
    /// One with an empty database of its own.
    fn new(database: u8) -> Self {
        let host = std::env::var("STATSHUB_TEST_REDIS").expect(IGNORED);
        let url = format!("redis://{host}/{database}");
        let connection = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
        let mut first = Self { connection, url };
        first.run::<()>(&cmd("FLUSHDB"));
        first
    }

    fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> T {
        command.query(&mut self.connection).unwrap()
    }

    fn get(&mut self, key: &str) -> i64 {
        self.run::<Option<i64>>(cmd("GET").arg(key)).unwrap_or_default()
    }

    /// Counts an update. Dashes of ids and stats become underscores.
    fn post(&mut self, id: &str, body: &Value, period: u64) {
        let id = id.replace('-', "_");
        let empty = json!({});
        let part = |name: &str| body.get(name).unwrap_or(&empty).as_object().unwrap().clone();
        let dims: Vec<_> = part("dims").into_iter().collect();
        let rollups = |kind: &str, stat: &str| -> Vec<String> {
            let rollup = |(name, key): &(String, Value)| {
                format!("{kind}:dim:{name}:{}:{stat}", key.as_str().unwrap())
            };
            dims.iter().map(rollup).collect()
        };
        for (name, value) in part("counters") {
            let (stat, value) = (name.replace('-', "_"), value.as_i64().unwrap());
            let detail = format!("counter:detail:{id}:{stat}");
            let old = self.get(&detail);
            self.run::<()>(cmd("SET").arg(&detail).arg(value));
            for rollup in rollups("counter", &stat) {
                self.run::<()>(cmd("INCRBY").arg(rollup).arg(value - old));
            }
            self.run::<()>(cmd("SADD").arg("key:counter").arg(&stat));
        }
        for (name, value) in part("increments") {
            let (stat, value) = (name.replace('-', "_"), value.as_i64().unwrap());
            let detail = format!("counter:detail:{id}:{stat}");
            for key in rollups("counter", &stat).into_iter().chain([detail]) {
                self.run::<()>(cmd("INCRBY").arg(key).arg(value));
            }
            self.run::<()>(cmd("SADD").arg("key:counter").arg(&stat));
        }
        for (name, value) in part("gauges") {
            let (stat, value) = (name.replace('-', "_"), value.as_i64().unwrap());
            let detail = format!("gauge:detail:{id}:{stat}:{period}");
            let old = self.get(&detail);
            let expires = period + 3 * PERIOD;
            self.run::<()>(cmd("SET").arg(&detail).arg(value).arg("EXAT").arg(expires));
            for rollup in rollups("gauge", &format!("{stat}:{period}")) {
                self.run::<()>(cmd("INCRBY").arg(&rollup).arg(value - old));
                self.run::<()>(cmd("EXPIREAT").arg(&rollup).arg(expires));
            }
            self.run::<()>(cmd("SADD").arg("key:gauge").arg(&stat));
        }
        for (name, member) in part("members") {
            let (stat, member) = (name.replace('-', "_"), member.as_str().unwrap().to_owned());
            let detail = format!("member:detail:{id}:{stat}");
            for set in rollups("member", &stat).into_iter().chain([detail]) {
                self.run::<()>(cmd("SADD").arg(set).arg(&member));
            }
            self.run::<()>(cmd("SADD").arg("key:member").arg(&stat));
        }
        for (name, key) in &dims {
            self.run::<()>(cmd("SADD").arg("dim").arg(name));
            self.run::<()>(cmd("SADD").arg(format!("dim:{name}")).arg(key.as_str().unwrap()));
        }
    }

    /// What it answers to a query of a dimension at this period.
    fn shown(&mut self, dimension: &str, period: u64) -> Shown {
        let mut shown = Shown::new();
        let keys: Vec<String> = self.run(cmd("SMEMBERS").arg(format!("dim:{dimension}")));
        for key in keys {
            for (kind, group, end) in [
                ("counter", "counter", String::new()),
                ("gauge", "gauge", format!(":{}", period - PERIOD)),
                ("gauge", "current", format!(":{period}")),
            ] {
                for stat in self.run::<Vec<String>>(cmd("SMEMBERS").arg(format!("key:{kind}"))) {
                    let rollup = format!("{kind}:dim:{dimension}:{key}:{stat}{end}");
                    if let Some(value) = self.run::<Option<i64>>(cmd("GET").arg(rollup)) {
                        shown.insert(format!("{key} {group}.{stat}"), value.into());
                    }
                }
            }
            for stat in self.run::<Vec<String>>(cmd("SMEMBERS").arg("key:member")) {
                let set = format!("member:dim:{dimension}:{key}:{stat}");
                let size = self.run::<i64>(cmd("SCARD").arg(set));
                if size > 0 {
                    shown.insert(format!("{key} gauge.{stat}"), size.into());
                }
            }
        }
        shown
    }
}

/// This statshub.
struct Successor {
    endpoint: String,
    store: Store,
}

impl Successor {
    async fn new() -> Self {
        let endpoint = local_dynamodb::start_in_memory().await.unwrap();
        let store = support::table(&local_dynamodb::client(&endpoint), TABLE).await;
        Self { endpoint, store }
    }

    async fn post(&self, id: &str, body: &Value, now: UnixSeconds) {
        let update = Update::from_json(body.to_string().as_bytes()).unwrap();
        self.store.update(&Id::new(id).unwrap(), &update, None, now, soon()).await.unwrap();
    }

    async fn shown(&self, dimension: &str, now: UnixSeconds) -> Shown {
        let dimension = DimensionName::new(dimension).unwrap();
        let mut shown = Shown::new();
        let summary = self.store.summary(&dimension, now, soon()).await.unwrap();
        for (key, stats) in summary.keys() {
            let groups = [
                ("counter", &stats.counters),
                ("gauge", &stats.gauges),
                ("current", &stats.gauges_current),
                ("gauge", &stats.members),
            ];
            for (group, sums) in groups {
                for (stat, sum) in sums {
                    let name = format!("{key} {group}.{stat}");
                    shown.insert(name, sum.to_string().parse().unwrap());
                }
            }
        }
        shown
    }

    async fn statshub(&self, arguments: &[&str]) -> Output {
        let mut command = support::statshub(&self.endpoint, arguments);
        command.env("TABLE_NAME", TABLE);
        support::output(command).await
    }

    /// Migrates, and returns what the program prints as JSON, and its warnings.
    async fn migrate(&self, from: &FirstStatshub, more: &[&str]) -> (Value, String) {
        let base = ["migrate-from-redis", "--redis", &from.url, "--json"];
        let fast = ["--units-per-second", "1000000"];
        let output = self.statshub(&[&base[..], &fast, more].concat()).await;
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(matches!(output.status.code(), Some(0 | 3)), "{errors}");
        (serde_json::from_slice(&output.stdout).unwrap(), errors)
    }

    async fn assert_audited(&self) {
        let audit = self.statshub(&["audit"]).await;
        assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
    }
}

/// The start of the current period, and now.
fn period_and_now() -> (u64, UnixSeconds) {
    let now = UnixSeconds::from(SystemTime::now());
    (now.0 - now.0 % PERIOD, now)
}

/// An id, and a random update of it: within it, the same as clients send.
fn random_update(random: &mut fastrand::Rng) -> (String, Value) {
    let id = format!("id-{}-x", random.u8(..25));
    let mut dims = serde_json::Map::new();
    for dimension in DIMENSIONS {
        if random.u8(..4) > 0 {
            dims.insert(dimension.to_owned(), format!("k{}", random.u8(..6)).into());
        }
    }
    let body = json!({
        "dims": dims,
        "counters": {format!("c-{}", random.u8(..3)): random.i64(-1_000..1_000_000_000_000)},
        "increments": {format!("i{}", random.u8(..2)): random.i64(-5..100)},
        "gauges": {format!("g{}", random.u8(..2)): random.i64(0..50)},
        "members": {"m": format!("member {}", random.u8(..60))},
    });
    (id, body)
}

/// Plays a scenario in one period of gauges: if that ends meanwhile, again from the start.
async fn in_one_period(scenario: impl AsyncFn(u64, UnixSeconds)) {
    loop {
        let (period, now) = period_and_now();
        scenario(period, now).await;
        if period_and_now().0 == period {
            return;
        }
    }
}

async fn assert_same(first: &mut FirstStatshub, new: &Successor, period: u64, now: UnixSeconds) {
    for dimension in DIMENSIONS {
        assert_eq!(new.shown(dimension, now).await, first.shown(dimension, period), "{dimension}");
    }
}

/// The ids of all random updates, as clients name them.
fn list_of_ids() -> (std::path::PathBuf, String) {
    let ids: Vec<_> = (0..25).map(|id| format!("id-{id}-x")).collect();
    let path = std::env::temp_dir().join(format!("statshub-ids-{:x}", fastrand::u64(..)));
    std::fs::write(&path, ids.join("\n")).unwrap();
    let name = path.to_str().unwrap().to_owned();
    (path, name)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test step `redis` starts Redis"]
async fn every_rollup_is_what_the_first_statshub_answers_and_stays_so_with_the_next_updates() {
    let (path, ids) = list_of_ids();
    in_one_period(async |period, now| {
        let mut random = fastrand::Rng::with_seed(5);
        let (mut first, new) = (FirstStatshub::new(1), Successor::new().await);
        for i in 0..400 {
            let (id, body) = random_update(&mut random);
            first.post(&id, &body, if i < 150 { period - PERIOD } else { period });
        }
        let (preview, _) = new.migrate(&first, &["--ids", &ids, "-n"]).await;
        assert_eq!(new.shown("country", now).await, Shown::new());
        let (migrated, _) = new.migrate(&first, &["--ids", &ids]).await;
        for what in ["dimensions", "keys", "rollups", "gaugeRollups", "members", "ids"] {
            assert_eq!(preview[what], migrated[what], "{what}");
        }
        assert_eq!(migrated["ids"], migrated["idsWritten"]);
        assert_same(&mut first, &new, period, now).await;
        new.assert_audited().await;

        let (again, _) = new.migrate(&first, &["--ids", &ids]).await;
        assert_eq!((&again["rollupsChanged"], &again["idsWritten"]), (&json!(0), &json!(0)));
        assert_same(&mut first, &new, period, now).await;

        for _ in 0..300 {
            let (id, body) = random_update(&mut random);
            first.post(&id, &body, period);
            new.post(&id, &body, now).await;
        }
        assert_same(&mut first, &new, period, now).await;
        new.assert_audited().await;
    })
    .await;
    std::fs::remove_file(path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test step `redis` starts Redis"]
async fn a_second_run_takes_over_what_has_changed_and_leaves_alone_who_has_moved() {
    let (path, ids) = list_of_ids();
    in_one_period(async |period, now| {
        let mut random = fastrand::Rng::with_seed(6);
        let (mut first, new) = (FirstStatshub::new(2), Successor::new().await);
        let mut post = |first: &mut FirstStatshub| {
            let (id, body) = random_update(&mut random);
            first.post(&id, &body, period);
        };
        (0..200).for_each(|_| post(&mut first));
        new.migrate(&first, &["--ids", &ids, "--no-gauges"]).await;
        (0..100).for_each(|_| post(&mut first));
        let moved = json!({"dims": {"country": "k1"}, "counters": {"c-0": 7}});
        new.post("id-3-x", &moved, now).await;

        let (second, _) = new.migrate(&first, &["--ids", &ids]).await;
        assert_eq!(second["idsKept"], 1);
        new.assert_audited().await;
        // What the id that has moved already has counted here comes on top.
        let moved = new.shown("country", now).await["k1 counter.c_0"]
            - first.shown("country", period)["k1 counter.c_0"];
        assert_ne!(moved, 0);
        let mut expected = first.shown("country", period);
        *expected.get_mut("k1 counter.c_0").unwrap() += moved;
        assert_eq!(new.shown("country", now).await, expected);
        assert_eq!(new.shown("user", now).await, first.shown("user", period));
    })
    .await;
    std::fs::remove_file(path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test step `redis` starts Redis"]
async fn ids_whose_dashes_are_not_restored_are_warned_about_and_would_count_twice() {
    let (mut first, new) = (FirstStatshub::new(3), Successor::new().await);
    let uuid = "0a1b2c3d-0000-4000-8000-0123456789ab";
    let body = json!({"dims": {"country": "es"}, "counters": {"hits": 5}});
    let (period, now) = period_and_now();
    for id in [uuid, "a-b"] {
        first.post(id, &body, period);
    }
    let (migrated, warning) = new.migrate(&first, &["--uuids"]).await;
    assert_eq!((&migrated["ids"], &migrated["idsDoubtful"]), (&json!(2), &json!(1)));
    assert!(warning.contains("such as a_b") && warning.contains("a second time"), "{warning}");
    let hits = async || new.shown("country", now).await["es counter.hits"];
    assert_eq!(hits().await, 10);
    new.post(uuid, &body, now).await;
    assert_eq!(hits().await, 10);
    new.post("a-b", &body, now).await;
    assert_eq!(hits().await, 15);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test step `redis` starts Redis"]
async fn names_that_the_service_does_not_take_are_left_out_and_said_so() {
    let (mut first, new) = (FirstStatshub::new(4), Successor::new().await);
    let (period, now) = period_and_now();
    let body = json!({"dims": {"a.b": "k", "country": "es"}, "counters": {"hits": 5, "9": 1}});
    first.post("a", &body, period);
    let output = new.statshub(&["migrate-from-redis", "--redis", &first.url]).await;
    assert_eq!(output.status.code(), Some(3));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("a.b") && errors.contains("\"9\""), "{errors}");
    assert_eq!(new.shown("country", now).await, [("es counter.hits".to_owned(), 5)].into());
    new.assert_audited().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test step `redis` starts Redis"]
async fn a_key_with_more_stats_than_one_condition_holds_is_taken_over_whole() {
    let (mut first, new) = (FirstStatshub::new(5), Successor::new().await);
    let (period, now) = period_and_now();
    let counters: serde_json::Map<_, _> =
        (0..350).map(|i| (format!("stat{i}"), json!(i))).collect();
    first.post("a", &json!({"dims": {"country": "es"}, "counters": counters}), period);
    new.migrate(&first, &[]).await;
    assert_eq!(new.shown("country", now).await, first.shown("country", period));
    new.assert_audited().await;
    let done = new.statshub(&["delete", "--id", "migrated-from-redis", "--yes"]).await;
    assert!(done.status.success());
    new.assert_audited().await;
}

#[test]
fn a_redis_that_is_not_there_is_an_error_that_says_what_to_do() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_statshub"));
    let output = command.args(["migrate-from-redis", "--redis", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("REDIS_ADDR") && error.contains("REDIS_PASS"), "{error}");
}
