//! `cargo xtask many-keys`: what an update costs in a dimension of a million keys, and in one of a
//! single key.

use std::fmt;

use anyhow::ensure;
use clap::Args;
use fastrand::Rng;
use fault_proxy::Proxy;
use shared::{
    domain::{Id, PeriodLength, UnixSeconds, Update},
    store::{Deadline, Settings, Store},
    usage::{Usage, measured},
};

use crate::filling::fill;

const TABLE: &str = "many-keys";
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// How many keys there are.
#[derive(Debug, Clone, Args)]
pub struct ManyKeysOptions {
    /// How many keys the large dimension has
    #[arg(long, default_value_t = 1_000_000)]
    pub keys: usize,
}

/// What an update has taken.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    read_units: f64,
    write_units: f64,
    requests: u64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read_units, write_units, requests } = self;
        write!(f, "{read_units} read units, {write_units} write units, {requests} requests")
    }
}

/// Measures updates in a dimension of one key and in one of many, and prints both.
///
/// # Errors
/// They differ, or the database fails.
pub async fn run(options: &ManyKeysOptions) -> anyhow::Result<()> {
    let endpoint = local_dynamodb::start_in_memory().await?;
    let direct = local_dynamodb::client(&endpoint);
    local_dynamodb::create_table(&direct, TABLE).await?;
    let proxy = Proxy::start(&endpoint).await?;
    let client = local_dynamodb::client(proxy.endpoint());
    let settings = Settings { max_keys: 2_000_000, ..Settings::new(TABLE, PeriodLength::DEFAULT) };
    let store = || Store::new(client.clone(), settings.clone(), Rng::new());

    for dimension in ["one", "many"] {
        count(&store(), "first", dimension, "k0", 1).await?;
    }
    fill(&direct, TABLE, "many", options.keys).await?;
    for (what, id, key, value) in [
        ("a new id under a key that is there", "i", "k0", 1),
        ("its next update", "i", "k0", 2),
        ("the same again", "i", "k0", 2),
        ("a key that is new", "j", "new", 1),
    ] {
        // A process that knows no name.
        let mut costs = Vec::new();
        for dimension in ["one", "many"] {
            let store = store();
            let sent = proxy.counts().total_requests();
            let usage = count(&store, &format!("{id}-{dimension}"), dimension, key, value).await?;
            costs.push(Cost {
                read_units: usage.read_units,
                write_units: usage.write_units,
                requests: proxy.counts().total_requests() - sent,
            });
        }
        let [one, many] = costs[..] else { continue };
        println!("{what}:\n    1 key: {one}\n    {} keys: {many}", options.keys);
        ensure!(one == many, "{what} costs more among {} keys", options.keys);
    }
    Ok(())
}

async fn count(
    store: &Store,
    id: &str,
    dimension: &str,
    key: &str,
    value: i64,
) -> anyhow::Result<Usage> {
    let body = format!(
        r#"{{"dims":{{"{dimension}":"{key}"}},"counters":{{"c":{value}}},"gauges":{{"g":{value}}}}}"#
    );
    let (id, update) = (Id::new(id)?, Update::from_json(body.as_bytes())?);
    let deadline = Deadline::after(std::time::Duration::from_secs(25));
    let (result, usage) = measured(Box::pin(store.update(&id, &update, None, NOW, deadline))).await;
    result?;
    Ok(usage)
}
