//! What a fleet costs a month: the tables in docs/deploying.md, calculated from prices, from what
//! the template deploys and from what the functions log.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::doc_markdown,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "template/yaml.rs"]
mod yaml;

use std::time::Duration;

use contract::read;
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
use yaml::{resources, template};

/// Prices of `us-east-1` in 2025, in dollars, without free tiers. Sources: the pages *Pricing* of
/// DynamoDB, API Gateway, Lambda, CloudWatch and EC2 (data transfer).
mod price {
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
    pub const API_FIRST_REQUESTS: f64 = 300e6;
    /// Of a request to Lambda.
    pub const INVOCATION: f64 = 0.20 / 1e6;
    /// Of a GB for a second, on arm64.
    pub const GB_SECOND: f64 = 0.000_013_333_4;
    /// Of a GB that CloudWatch Logs takes.
    pub const LOGGED_GB: f64 = 0.50;
    /// Of a GB that goes out to the internet.
    pub const SENT_GB: f64 = 0.09;
    /// Of a month of a metric that an alarm watches, and of a metric of one's own.
    pub const WATCHED_METRIC: f64 = 0.10;
    pub const OWN_METRIC: f64 = 0.30;
}

/// A month of 30 days, in hours.
const HOURS: f64 = 720.0;
/// Every 5 minutes.
const UPDATES_AN_HOUR: f64 = 12.0;
/// What `shared/tests/costs.rs` measures of an update of counters and gauges.
const READ_UNITS: f64 = 1.0;
/// How long Lambda bills an update for: two round trips to DynamoDB, and some work.
const BILLED: Duration = Duration::from_millis(15);
/// What CloudWatch Logs adds to each event. Source: *PutLogEvents*, CloudWatch Logs API Reference.
const EVENT_OVERHEAD: f64 = 26.0;
/// The most that the detail of an id has if its write costs two units.
const DETAIL_BYTES: f64 = 1_000.0;
/// An answer to an update, with headers.
const ANSWER_BYTES: f64 = 500.0;
/// The functions that a fleet and its dashboards use.
const FUNCTIONS_WITH_METRICS: f64 = 2.0;

/// Of an update under so many dimensions.
fn write_units(dimensions: f64) -> f64 {
    2.0 + 2.0 * dimensions
}

#[derive(Clone, Copy, PartialEq)]
struct Deployment {
    is_provisioned: bool,
    by_url: bool,
    lines_per: LinesPer,
}

const AS_DEPLOYED: Deployment =
    Deployment { is_provisioned: false, by_url: false, lines_per: LinesPer::Minute };

/// Dollars a month.
#[derive(Debug, Clone, Copy)]
struct Costs {
    dynamodb: f64,
    api: f64,
    lambda: f64,
    logs: f64,
    traffic: f64,
    observation: f64,
}

impl Costs {
    fn together(&self) -> f64 {
        self.dynamodb + self.api + self.lambda + self.logs + self.traffic + self.observation
    }
}

fn costs(clients: f64, deployment: Deployment) -> Costs {
    let template = template();
    let updates = clients * UPDATES_AN_HOUR * HOURS;
    let of_api = if deployment.by_url { 0.0 } else { updates };
    Costs {
        dynamodb: units(updates, 3.0, deployment.is_provisioned)
            + clients * DETAIL_BYTES / 1e9 * price::STORED_GB,
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

/// Of the units of these updates, if they come evenly.
fn units(updates: f64, dimensions: f64, is_provisioned: bool) -> f64 {
    let (writes, reads) = (updates * write_units(dimensions), updates * READ_UNITS);
    if !is_provisioned {
        return writes * price::WRITE_UNIT + reads * price::READ_UNIT;
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

fn default(template: &Value, parameter: &str) -> f64 {
    template["Parameters"][parameter]["Default"].as_f64().unwrap()
}

fn api(requests: f64) -> f64 {
    let [first, others] = price::API_REQUESTS;
    let more = (requests - price::API_FIRST_REQUESTS).max(0.0);
    (requests - more) * first + more * others
}

fn invocation(template: &Value) -> f64 {
    let memory = &template["Resources"]["Update"]["Properties"]["MemorySize"];
    let gb = memory.as_f64().unwrap() / 1_024.0;
    price::INVOCATION + gb * BILLED.as_secs_f64() * price::GB_SECOND
}

/// What the function logs of an update, where a process has many of them.
fn function_log_bytes(lines_per: LinesPer) -> f64 {
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
fn api_log_bytes(template: &Value) -> f64 {
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
fn observation(template: &Value, deployment: Deployment) -> f64 {
    // Two for each kind of unit to add capacity, and two to remove it.
    let of_scaling = if deployment.is_provisioned { 8 } else { 0 };
    let watched = (watched_metrics(template, deployment.by_url) + of_scaling) as f64;
    let own = FUNCTIONS_WITH_METRICS * metrics_of_a_function() as f64;
    watched * price::WATCHED_METRIC + own * price::OWN_METRIC
}

/// How many metrics the alarms watch.
fn watched_metrics(template: &Value, by_url: bool) -> usize {
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

fn metrics_of_a_function() -> usize {
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

/// `$1,235`
fn dollars(amount: f64) -> String {
    let digits = format!("{amount:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("${text}")
}

fn cents(amount: f64) -> String {
    format!("${amount:.2}")
}

const FLEETS: [(&str, f64); 3] =
    [("1,000", 1_000.0), ("100,000", 100_000.0), ("1,000,000", 1_000_000.0)];

fn assert_documented(rows: &[String]) {
    let page = read("docs/deploying.md");
    for row in rows {
        assert!(page.contains(row), "docs/deploying.md must have these rows:\n{}", rows.join("\n"));
    }
}

#[test]
fn what_a_fleet_costs_is_what_the_guide_says() {
    assert_documented(&FLEETS.map(|(clients, number)| {
        let costs = costs(number, AS_DEPLOYED);
        let updates = number * UPDATES_AN_HOUR / 3_600.0;
        let parts = [
            costs.dynamodb,
            costs.api,
            costs.lambda,
            costs.logs,
            costs.traffic,
            costs.observation,
            costs.together(),
        ];
        let updates = dollars(updates).replace('$', "");
        format!("| {clients} | {updates} | {} |", parts.map(dollars).join(" | "))
    }));
}

#[test]
fn what_each_parameter_saves_is_what_the_guide_says() {
    assert_documented(&FLEETS.map(|(clients, number)| {
        let together = |deployment| dollars(costs(number, deployment).together());
        let provisioned = Deployment { is_provisioned: true, ..AS_DEPLOYED };
        let columns = [
            together(AS_DEPLOYED),
            together(provisioned),
            together(Deployment { by_url: true, ..AS_DEPLOYED }),
            together(Deployment { by_url: true, ..provisioned }),
            together(Deployment { lines_per: LinesPer::Call, ..AS_DEPLOYED }),
        ];
        format!("| {clients} | {} |", columns.join(" | "))
    }));
}

#[test]
fn what_a_million_updates_cost_is_what_the_guide_says() {
    let template = template();
    let million = 1e6;
    let gb = |bytes: f64| million * bytes / 1e9;
    let logs = function_log_bytes(LinesPer::Minute) + api_log_bytes(&template);
    assert_documented(&[
        format!(
            "| DynamoDB: 6 write units and 1 read unit each | {} |",
            cents(units(million, 2.0, false))
        ),
        format!("| the API | {} |", cents(api(million))),
        format!(
            "| Lambda: 256 MB for some 15 ms each | {} |",
            cents(million * invocation(&template))
        ),
        format!(
            "| logs: {:.0} bytes of the API and {:.0} of the function each | {} |",
            api_log_bytes(&template),
            function_log_bytes(LinesPer::Minute),
            cents(gb(logs) * price::LOGGED_GB)
        ),
        format!("| traffic: answers of half a KB | {} |", cents(gb(ANSWER_BYTES) * price::SENT_GB)),
    ]);
}

#[test]
fn what_the_alarms_and_metrics_cost_is_what_the_guide_says() {
    let watched = watched_metrics(&template(), false);
    let billed = (watched - 10) as f64 * price::WATCHED_METRIC;
    assert_documented(&[
        format!("| alarms, {watched} metrics of which 10 are free | {} |", cents(billed)),
        format!("has {} metrics of its own", metrics_of_a_function()),
    ]);
}

/// Below, on demand is cheaper.
#[test]
fn from_which_utilization_on_reserved_units_are_cheaper_is_what_the_guide_says() {
    let of_a_unit = |hour: f64, unit: f64| hour / 3_600.0 / unit;
    let writes = of_a_unit(price::WRITE_CAPACITY_HOUR, price::WRITE_UNIT);
    let reads = of_a_unit(price::READ_CAPACITY_HOUR, price::READ_UNIT);
    assert_eq!(format!("{writes:.2} {reads:.2}"), "0.29 0.29");
    assert_documented(&["more than 29 % of the reserved units".to_owned()]);
}

/// What somebody can spend who has a token, before a limit of the template stops them.
#[test]
fn what_a_flood_can_cost_is_what_the_guide_says() {
    let template = template();
    let an_hour = |per_second: f64, price: f64| per_second * 3_600.0 * price;
    let writes = an_hour(default(&template, "MaxWriteRequestUnits"), price::WRITE_UNIT);
    let reads = an_hour(default(&template, "MaxReadRequestUnits"), price::READ_UNIT);
    let logged = api_log_bytes(&template) + function_log_bytes(LinesPer::Minute);
    let request = price::API_REQUESTS[0]
        + invocation(&template)
        + logged / 1e9 * price::LOGGED_GB
        + ANSWER_BYTES / 1e9 * price::SENT_GB;
    let requests = an_hour(default(&template, "ThrottleRate"), request);
    assert_documented(&[
        format!("| token `write` | updates | {}: write units |", cents(writes)),
        format!("| | | {}: read units |", cents(reads)),
        format!("| | | {}: the API, Lambda, logs, traffic |", cents(requests)),
    ]);
}
