//! The three services in this process: statshub, and two layouts in Redis.

use std::time::SystemTime;

use anyhow::ensure;
use aws_sdk_dynamodb::Client;
use http::Method;
use serde_json::{Map, Value, json};
use shared::domain::UnixSeconds;

use super::{
    periods::Periods,
    redis_client::Traffic,
    redis_service::{Layout, RedisService},
    stage::{Asked, Call, Fill, SET, dimension, key},
};
use crate::{
    counted_service::{CallCost, CountedService},
    filling,
    workload::TABLE,
};

/// How many members are reported at once.
const MEMBERS_AT_ONCE: usize = 500;

/// Where the three services keep what they count.
#[derive(Debug, Clone)]
pub struct Stores {
    /// The endpoint of a DynamoDB.
    pub dynamodb: String,
    /// The `redis://` URL of the first statshub's layout. What the database holds is deleted.
    pub first: String,
    /// That of the layout with hashes.
    pub hashes: String,
}

/// The three services.
pub struct Contenders {
    statshub: CountedService,
    dynamodb: Client,
    first: RedisService,
    hashes: RedisService,
    now: UnixSeconds,
}

/// What a call cost each of the three.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub statshub: CallCost,
    pub first: Traffic,
    pub hashes: Traffic,
}

impl Contenders {
    /// Opens stores, which are empty then.
    ///
    /// # Errors
    /// A store fails.
    pub async fn open(stores: &Stores) -> anyhow::Result<Self> {
        let mut first = RedisService::connect(Layout::First, &stores.first)?;
        let mut hashes = RedisService::connect(Layout::Hashes, &stores.hashes)?;
        first.clear()?;
        hashes.clear()?;
        Ok(Self {
            statshub: CountedService::start(&stores.dynamodb).await?,
            dynamodb: local_dynamodb::client(&stores.dynamodb),
            first,
            hashes,
            // Gauges of one period, however long it takes.
            now: UnixSeconds(Periods::at(SystemTime::now().into()).current),
        })
    }

    /// What statshub, the first statshub and the layout with hashes answer to a request.
    ///
    /// # Errors
    /// One of them fails.
    pub async fn answers(
        &mut self,
        method: &Method,
        path: &str,
        body: &str,
    ) -> anyhow::Result<[Value; 3]> {
        let (answer, _) = self.statshub.ask(method, path, body.to_owned(), self.now).await?;
        let answer: Value = serde_json::to_value(answer)?;
        let statshub = answer.get("body").and_then(Value::as_str).unwrap_or_default();
        let is_update = *method == Method::POST;
        let first = self.first.answer(is_update, path, body, self.now)?;
        let hashes = self.hashes.answer(is_update, path, body, self.now)?;
        Ok([
            serde_json::from_str(statshub)?,
            serde_json::from_str(&first)?,
            serde_json::from_str(&hashes)?,
        ])
    }

    async fn post(&mut self, id: &str, body: &Value) -> anyhow::Result<()> {
        let [statshub, first, hashes] =
            self.answers(&Method::POST, &format!("/stats/{id}"), &body.to_string()).await?;
        ensure!(statshub == first && first == hashes, "{statshub}, {first}, {hashes}");
        Ok(())
    }

    /// Fills the stores, all with the same.
    pub(super) async fn fill(&mut self, fill: &Fill) -> anyhow::Result<()> {
        let counters = fill.counters();
        let keys: Vec<_> = (1..fill.keys).map(key).collect();
        let as_json: Map<_, _> =
            counters.iter().map(|(stat, value)| (stat.clone(), json!(value))).collect();
        for dimension in (0..fill.dimensions).map(dimension) {
            let body = json!({"dims": {&dimension: key(0)}, "counters": as_json});
            self.post(&format!("filler-{dimension}"), &body).await?;
            if !keys.is_empty() {
                filling::fill(&self.dynamodb, TABLE, &dimension, fill.keys).await?;
            }
            self.first.add_rollups(&dimension, &keys, &counters)?;
            self.hashes.add_rollups(&dimension, &keys, &counters)?;
        }
        if fill.foreign_stats > 0 {
            let foreign = (0..fill.foreign_stats).map(|stat| (format!("foreign_{stat}"), json!(1)));
            let foreign: Map<_, _> = foreign.collect();
            let body = json!({"dims": {"foreign": key(0)}, "counters": foreign});
            self.post("foreigner", &body).await?;
        }
        let members: Vec<_> =
            (0..fill.members).map(|member| format!("filled-{member:06}")).collect();
        for members in members.chunks(MEMBERS_AT_ONCE) {
            let body = json!({"dims": {dimension(0): key(0)}, "multiMembers": {SET: members}});
            self.post("filler-of-sets", &body).await?;
        }
        Ok(())
    }

    /// Counts what a call costs, the second time that it is made.
    pub(super) async fn count(&mut self, call: Call) -> anyhow::Result<Counts> {
        let warm = call.request("counted", 0);
        self.answers(&warm.method, &warm.path, &warm.body).await?;
        let Asked { method, path, body } = call.request("counted", 1);
        self.first.take_traffic();
        self.hashes.take_traffic();
        let is_update = method == Method::POST;
        self.first.answer(is_update, &path, &body, self.now)?;
        self.hashes.answer(is_update, &path, &body, self.now)?;
        let (_, statshub) = self.statshub.ask(&method, &path, body, self.now).await?;
        Ok(Counts {
            statshub,
            first: self.first.take_traffic(),
            hashes: self.hashes.take_traffic(),
        })
    }
}
