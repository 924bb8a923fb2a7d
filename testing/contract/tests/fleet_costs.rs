//! What a fleet costs a month: the tables in docs/deploying.md.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::doc_markdown,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use contract::{
    fleet_costs::{
        ANSWER_BYTES, AS_DEPLOYED, Deployment, UPDATES_AN_HOUR, api, api_log_bytes, costs, default,
        function_log_bytes, invocation, metrics_of_a_function, price, units, watched_metrics,
    },
    read,
    yaml::template,
};
use shared::lambda::call_metrics::LinesPer;

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
