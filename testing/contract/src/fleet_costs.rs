//! What a fleet costs a month: calculated from prices, from what the template deploys and from what
//! the functions log. The one home of all prices.

#![allow(
    clippy::cast_precision_loss,
    clippy::doc_markdown,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::unwrap_used
)]

use std::time::Duration;

use serde_json::Value;
use shared::{
    auth::Caller,
    domain::UnixSeconds,
    lambda::{
        call_metrics::{CallMetrics, CallRecord, LinesPer},
        emf::MAX_VALUES,
        metrics::Metrics,
    },
    usage::Usage,
};

use crate::yaml::{resources, template};

/// Prices of `us-east-1` in 2025, in dollars, without free tiers. Sources: the pages *Pricing* of
/// DynamoDB, API Gateway, Lambda, CloudWatch and EC2 (data transfer).
pub mod price {
    /// Of a write unit of DynamoDB, on demand.
    pub const WRITE_UNIT: f64 = 0.625 / 1e6;
    /// Of a read unit of DynamoDB, on demand.
    pub const READ_UNIT: f64 = 0.125 / 1e6;
    /// Of an hour of a write unit a second that is reserved.
    pub const WRITE_CAPACITY_HOUR: f64 = 0.000_65;
    /// Of an hour of a read unit a second that is reserved.
    pub const READ_CAPACITY_HOUR: f64 = 0.000_13;
    /// Of a month of a GB in DynamoDB, and in its backup.
    pub const STORED_GB: f64 = 0.25 + 0.20;
    /// Of a request to an HTTP API: the first 300 million of a month, and the others.
    pub const API_REQUESTS: [f64; 2] = [1.00 / 1e6, 0.90 / 1e6];
    /// How many requests of a month are the first ones.
    pub const API_FIRST_REQUESTS: f64 = 300e6;
    /// Of a request to Lambda.
    pub const INVOCATION: f64 = 0.20 / 1e6;
    /// Of a GB for a second, on arm64.
    pub const GB_SECOND: f64 = 0.000_013_333_4;
    /// Of a GB that CloudWatch Logs takes.
    pub const LOGGED_GB: f64 = 0.50;
    /// Of a GB that goes out to the internet.
    pub const SENT_GB: f64 = 0.09;
    /// Of a month of a metric that an alarm watches.
    pub const WATCHED_METRIC: f64 = 0.10;
    /// Of a month of a metric of one's own.
    pub const OWN_METRIC: f64 = 0.30;
}

/// A month of 30 days, in hours.
pub const HOURS: f64 = 720.0;
/// Every 5 minutes.
pub const UPDATES_AN_HOUR: f64 = 12.0;
/// What `shared/tests/costs.rs` measures of an update of counters and gauges.
pub const READ_UNITS: f64 = 1.0;
/// How long Lambda bills an update for: two round trips to DynamoDB, and some work.
pub const BILLED: Duration = Duration::from_millis(15);
/// What CloudWatch Logs adds to each event. Source: *PutLogEvents*, CloudWatch Logs API Reference.
const EVENT_OVERHEAD: f64 = 26.0;
/// The most that the detail of an id has if its write costs two units.
const DETAIL_BYTES: f64 = 1_000.0;
/// An answer to an update, with headers.
pub const ANSWER_BYTES: f64 = 500.0;
/// The functions that a fleet and its dashboards use.
const FUNCTIONS_WITH_METRICS: f64 = 2.0;

/// Of an update under so many dimensions.
#[must_use]
pub fn write_units(dimensions: f64) -> f64 {
    2.0 + 2.0 * dimensions
}

/// What is deployed, as far as parameters change what it costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deployment {
    /// Units are reserved.
    pub is_provisioned: bool,
    /// Updates come by a URL of their own, without the API.
    pub by_url: bool,
    /// How often metrics are logged.
    pub lines_per: LinesPer,
}

/// The template's defaults.
pub const AS_DEPLOYED: Deployment =
    Deployment { is_provisioned: false, by_url: false, lines_per: LinesPer::Minute };

/// Dollars a month.
#[derive(Debug, Clone, Copy)]
pub struct Costs {
    /// Units, and what is stored.
    pub dynamodb: f64,
    /// Requests.
    pub api: f64,
    /// Requests, and memory while they last.
    pub lambda: f64,
    /// Of the API and of the function.
    pub logs: f64,
    /// Answers.
    pub traffic: f64,
    /// Alarms and metrics.
    pub observation: f64,
}

impl Costs {
    /// All of it.
    #[must_use]
    pub fn together(&self) -> f64 {
        self.dynamodb + self.api + self.lambda + self.logs + self.traffic + self.observation
    }
}

/// What is done in a month, on demand.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many ids are stored.
    pub clients: f64,
    /// Write units.
    pub write_units: f64,
    /// Read units.
    pub read_units: f64,
    /// Calls of the function.
    pub calls: f64,
    /// Seconds that they last, together.
    pub billed: f64,
}

/// What a load costs, by the API.
#[must_use]
pub fn of_load(load: Load) -> Costs {
    let template = template();
    let logged = function_log_bytes(AS_DEPLOYED.lines_per) + api_log_bytes(&template);
    Costs {
        dynamodb: on_demand(load.write_units, load.read_units) + stored(load.clients),
        api: api(load.calls),
        lambda: load.calls * price::INVOCATION + load.billed * gb(&template) * price::GB_SECOND,
        logs: load.calls * logged / 1e9 * price::LOGGED_GB,
        traffic: load.calls * ANSWER_BYTES / 1e9 * price::SENT_GB,
        observation: observation(&template, AS_DEPLOYED),
    }
}

/// What a fleet costs that reports under 3 dimensions every 5 minutes.
#[must_use]
pub fn costs(clients: f64, deployment: Deployment) -> Costs {
    let template = template();
    let updates = clients * UPDATES_AN_HOUR * HOURS;
    let of_api = if deployment.by_url { 0.0 } else { updates };
    Costs {
        dynamodb: units(updates, 3.0, deployment.is_provisioned) + stored(clients),
        api: api(of_api),
        lambda: updates * invocation(&template),
        logs: (updates * function_log_bytes(deployment.lines_per)
            + of_api * api_log_bytes(&template))
            / 1e9
            * price::LOGGED_GB,
        traffic: updates * ANSWER_BYTES / 1e9 * price::SENT_GB,
        observation: observation(&template, deployment),
    }
}

/// Of what is stored of ids, in a month.
fn stored(clients: f64) -> f64 {
    clients * DETAIL_BYTES / 1e9 * price::STORED_GB
}

/// Of units that are not reserved.
fn on_demand(writes: f64, reads: f64) -> f64 {
    writes * price::WRITE_UNIT + reads * price::READ_UNIT
}

/// Of the units of these updates, if they come evenly.
#[must_use]
pub fn units(updates: f64, dimensions: f64, is_provisioned: bool) -> f64 {
    let (writes, reads) = (updates * write_units(dimensions), updates * READ_UNITS);
    if !is_provisioned {
        return on_demand(writes, reads);
    }
    let template = template();
    let reserved = |units: f64, least: &str| {
        let utilization = default(&template, "TargetUtilization") / 100.0;
        (units / HOURS / 3_600.0 / utilization).max(default(&template, least))
    };
    let an_hour = reserved(writes, "MinWriteCapacityUnits") * price::WRITE_CAPACITY_HOUR
        + reserved(reads, "MinReadCapacityUnits") * price::READ_CAPACITY_HOUR;
    an_hour * HOURS
}

/// The default of a numeric parameter of the template.
#[must_use]
pub fn default(template: &Value, parameter: &str) -> f64 {
    template["Parameters"][parameter]["Default"].as_f64().unwrap()
}

/// Of requests of a month to the API.
#[must_use]
pub fn api(requests: f64) -> f64 {
    let [first, others] = price::API_REQUESTS;
    let more = (requests - price::API_FIRST_REQUESTS).max(0.0);
    (requests - more) * first + more * others
}

/// Of a call of Update.
#[must_use]
pub fn invocation(template: &Value) -> f64 {
    price::INVOCATION + gb(template) * BILLED.as_secs_f64() * price::GB_SECOND
}

/// The memory of Update.
fn gb(template: &Value) -> f64 {
    let memory = &template["Resources"]["Update"]["Properties"]["MemorySize"];
    memory.as_f64().unwrap() / 1_024.0
}

/// What the function logs of an update, where a process has many of them.
#[must_use]
pub fn function_log_bytes(lines_per: LinesPer) -> f64 {
    let metrics = CallMetrics::new(Metrics::of("statshub", "update"), lines_per);
    let call = |number: u64| CallRecord {
        at: UnixSeconds(1_795_524_939),
        // Of various lengths in digits.
        took: Duration::from_micros(7_000 + 93 * number),
        usage: Usage {
            read_units: READ_UNITS,
            write_units: write_units(3.0),
            dimensions_updated: 3,
            ..Usage::default()
        },
        caller: Caller::Token { name: "clients".into(), may_read: false },
        has_failed: false,
    };
    let calls = u64::try_from(MAX_VALUES).unwrap();
    let lines: Vec<_> = (0..calls).flat_map(|number| metrics.record(&call(number))).collect();
    assert_eq!(metrics.rest(), None, "all are written");
    let bytes = lines.iter().map(|line| line.to_string().len() as f64 + EVENT_OVERHEAD);
    bytes.sum::<f64>() / calls as f64
}

/// What the API logs of an update.
#[must_use]
pub fn api_log_bytes(template: &Value) -> f64 {
    let settings = &template["Resources"]["Stage"]["Properties"]["AccessLogSettings"];
    let format = settings["Format"].as_str().unwrap();
    let mut line: serde_json::Map<String, Value> = serde_json::from_str(format).unwrap();
    for (variable, value) in [
        ("$context.requestId", "JKJaXmPLvHcESHA="),
        ("$context.requestTime", "14/Mar/2024:07:04:16 +0000"),
        ("$context.identity.sourceIp", "203.0.113.100"),
        ("$context.httpMethod", "POST"),
        ("$context.routeKey", "POST /stats/{id+}"),
        ("$context.status", "200"),
        ("$context.responseLength", "29"),
        ("$context.responseLatency", "21"),
        ("$context.integrationStatus", "200"),
        ("$context.integrationLatency", "18"),
        ("$context.error.message", "-"),
        ("$context.integrationErrorMessage", "-"),
    ] {
        let field = line.values_mut().find(|field| **field == variable);
        *field.unwrap_or_else(|| panic!("the log has no {variable}")) = value.into();
    }
    let all = Value::Object(line).to_string();
    assert!(!all.contains("$context"), "{all}");
    all.len() as f64 + EVENT_OVERHEAD
}

/// Of alarms and metrics, however many clients there are.
#[must_use]
pub fn observation(template: &Value, deployment: Deployment) -> f64 {
    // Two for each kind of unit to add capacity, and two to remove it.
    let of_scaling = if deployment.is_provisioned { 8 } else { 0 };
    let watched = (watched_metrics(template, deployment.by_url) + of_scaling) as f64;
    let own = FUNCTIONS_WITH_METRICS * metrics_of_a_function() as f64;
    watched * price::WATCHED_METRIC + own * price::OWN_METRIC
}

/// How many metrics the alarms watch.
#[must_use]
pub fn watched_metrics(template: &Value, by_url: bool) -> usize {
    let alarms = resources(template, "AWS::CloudWatch::Alarm");
    let watched = alarms.into_iter().filter_map(|(name, alarm)| {
        let exists = template["Resources"][&name]["Condition"] != "HasUpdateUrl" || by_url;
        let metrics = alarm["Metrics"].as_array().map_or(1, |metrics| {
            metrics.iter().filter(|metric| !metric["MetricStat"].is_null()).count()
        });
        exists.then_some(metrics)
    });
    watched.sum()
}

/// How many metrics of its own a function has.
#[must_use]
pub fn metrics_of_a_function() -> usize {
    let metrics = CallMetrics::new(Metrics::of("statshub", "update"), LinesPer::Call);
    let call = CallRecord {
        at: UnixSeconds(0),
        took: Duration::ZERO,
        usage: Usage::default(),
        caller: Caller::Anyone,
        has_failed: false,
    };
    let line: Value = serde_json::from_str(&metrics.record(&call)[0].to_string()).unwrap();
    line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap().len()
}
