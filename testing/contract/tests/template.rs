//! That `template.yaml` says what the code says.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "template/variables.rs"]
mod variables;

use std::collections::{BTreeMap, BTreeSet};

use contract::{
    read,
    yaml::{resources, template},
};
use serde_json::{Value, json};
use shared::{
    config::{Config, ConfigError},
    domain::limits,
    http::{Endpoint, endpoints},
    lambda::call_metrics::LinesPer,
};

use variables::{parsers, read_below};

/// The functions, and where the code is that they run, besides what they share.
const FUNCTIONS: [(&str, &[&str]); 5] = [
    ("Update", &["shared/src", "functions/update/src"]),
    ("Query", &["shared/src", "functions/query/src"]),
    ("History", &["shared/src", "bigquery/src", "functions/history/src"]),
    ("Dashboard", &["shared/src", "functions/dashboard/src"]),
    ("Archive", &["shared/src", "bigquery/src", "functions/archive/src"]),
];

/// What the functions read, but only one of them uses.
const USED_BY_ONE: [(&str, &str); 1] = [("QUERY_CACHE", "Query")];

/// The variables that the template sets for a function.
fn set_for(template: &Value, function: &str) -> BTreeMap<String, Value> {
    let common = &template["Globals"]["Function"]["Environment"]["Variables"];
    let own = &template["Resources"][function]["Properties"]["Environment"]["Variables"];
    let both = [common, own].into_iter().filter_map(Value::as_object).flatten();
    both.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The variables in the table of docs/configuration.md, each with whether it has a default.
fn documented() -> BTreeMap<String, bool> {
    let page = read("docs/configuration.md");
    let section = page.split("\n## Variables\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut found = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (variables, default) = (cells.next().unwrap(), cells.next().unwrap());
        let has_default =
            !default.is_empty() && !default.starts_with("none: a function does not start");
        for variable in variables.split('`').skip(1).step_by(2) {
            found.insert(variable.to_owned(), has_default);
        }
    }
    found
}

#[test]
fn the_table_is_the_one_of_the_code() {
    let client = aws_sdk_dynamodb::Client::from_conf(
        aws_sdk_dynamodb::Config::builder()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
            .build(),
    );
    let created = shared::table::create_table(&client, "t").unwrap();
    let created = created.as_input();
    let key_schema: Vec<_> = created.get_key_schema().iter().flatten().collect();
    let attributes: Vec<_> = created.get_attribute_definitions().iter().flatten().collect();
    let time_to_live = shared::table::time_to_live(&client, "t").unwrap();
    let time_to_live = time_to_live.as_input().get_time_to_live_specification().as_ref().unwrap();
    let expected = json!({
        "BillingMode": created.get_billing_mode().as_ref().unwrap().as_str(),
        "KeySchema": key_schema
            .iter()
            .map(|key| json!({
                "AttributeName": key.attribute_name(), "KeyType": key.key_type().as_str(),
            }))
            .collect::<Vec<_>>(),
        "AttributeDefinitions": attributes
            .iter()
            .map(|attribute| json!({
                "AttributeName": attribute.attribute_name(),
                "AttributeType": attribute.attribute_type().as_str(),
            }))
            .collect::<Vec<_>>(),
        "TimeToLiveSpecification": {
            "AttributeName": time_to_live.attribute_name(), "Enabled": time_to_live.enabled(),
        },
    });
    let template = template();
    let table = table(&template);
    for (property, value) in expected.as_object().unwrap() {
        let found = match table[property]["Ref"].as_str() {
            Some(parameter) => &template["Parameters"][parameter]["Default"],
            None => &table[property],
        };
        assert_eq!(found, value, "{property}");
    }
    // The code makes no indexes and no stream, so there are none.
    for property in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes", "StreamSpecification"] {
        assert!(table[property].is_null(), "{property}");
    }
}

#[test]
fn the_functions_are_those_of_the_code() {
    let template = template();
    let functions = resources(&template, "AWS::Serverless::Function");
    let names: BTreeSet<_> = functions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, FUNCTIONS.map(|(name, _)| name).into());
    for name in names {
        let binary = &template["Resources"][name]["Metadata"]["BuildProperties"]["Binary"];
        assert_eq!(binary, &name.to_lowercase());
    }
}

#[test]
fn what_a_function_reads_is_set_or_has_a_documented_default() {
    let (template, documented) = (template(), documented());
    for (function, folders) in FUNCTIONS {
        let set = set_for(&template, function);
        for variable in read_below(folders) {
            assert!(
                set.contains_key(&variable) || documented.get(&variable) == Some(&true),
                "{function} reads {variable}: set it in template.yaml, or give it a default in the \
                 table of docs/configuration.md"
            );
        }
    }
}

#[test]
fn the_documented_variables_are_those_that_are_read() {
    let read: BTreeSet<_> =
        FUNCTIONS.into_iter().flat_map(|(_, folders)| read_below(folders)).collect();
    // The SDK and the Lambda runtime read those.
    let documented = documented().into_keys().filter(|name| !name.starts_with("AWS_"));
    assert_eq!(documented.collect::<BTreeSet<_>>(), read, "docs/configuration.md");
}

#[test]
fn only_what_a_function_reads_is_set() {
    let template = template();
    for (function, folders) in FUNCTIONS {
        let read = read_below(folders);
        for variable in set_for(&template, function).into_keys() {
            assert!(
                read.contains(&variable),
                "template.yaml sets {variable} for {function}, which does not read it"
            );
            let user = USED_BY_ONE.iter().find(|(name, _)| *name == variable);
            assert!(
                user.is_none_or(|(_, user)| *user == function),
                "{function} ignores {variable}"
            );
        }
    }
}

#[test]
fn every_parameter_is_explained_and_used() {
    let template = template();
    let parameters = template["Parameters"].as_object().unwrap();
    let interface = &template["Metadata"]["AWS::CloudFormation::Interface"];
    let groups = interface["ParameterGroups"].as_array().unwrap();
    let grouped = groups.iter().flat_map(|group| group["Parameters"].as_array().unwrap());
    let grouped: Vec<_> = grouped.map(|name| name.as_str().unwrap()).collect();
    let labels = interface["ParameterLabels"].as_object().unwrap();
    let names: BTreeSet<_> = parameters.keys().map(String::as_str).collect();
    assert_eq!(grouped.len(), names.len(), "each is in one group");
    assert_eq!(grouped.into_iter().collect::<BTreeSet<_>>(), names);
    assert_eq!(labels.keys().map(String::as_str).collect::<BTreeSet<_>>(), names);
    for (name, parameter) in parameters {
        assert!(parameter["Description"].is_string(), "{name} has a description");
        let has_pattern = parameter["AllowedPattern"].is_string();
        assert_eq!(has_pattern, parameter["ConstraintDescription"].is_string(), "{name}");
        if parameter["Type"] == "String" {
            assert!(has_pattern || parameter["AllowedValues"].is_array(), "{name} is limited");
        }
    }
}

/// A function of the template's defaults, as the functions get them.
fn defaults(template: &Value, function: &str) -> impl Fn(&'static str) -> Option<String> {
    let set = set_for(template, function);
    let parameters = template["Parameters"].clone();
    move |variable| {
        let default = &parameters[set.get(variable)?["Ref"].as_str()?]["Default"];
        let text = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        (!text.is_empty() && text != "null").then_some(text)
    }
}

#[test]
fn the_defaults_of_parameters_are_those_of_the_code() -> Result<(), ConfigError> {
    let template = template();
    let open = |get: &dyn Fn(&'static str) -> Option<String>, variable| match variable {
        "STATSHUB_AUTH" => Some("off".to_owned()),
        other => get(other),
    };
    let query = defaults(&template, "Query");
    assert_eq!(
        Config::from_variables(|variable| open(&query, variable))?,
        Config::from_variables(|variable| open(&|_| None, variable))?
    );
    assert_eq!(
        archive::Schedule::from_variables(defaults(&template, "Archive"))?,
        archive::Schedule::from_variables(|_| None)?
    );
    let lines_per = query("METRICS_LINES");
    assert_eq!(LinesPer::parse(lines_per.as_deref())?, LinesPer::parse(None)?);
    let history = defaults(&template, "History");
    assert_eq!(history::ScanLimit::from_variables(&history)?, history::ScanLimit::default());
    // No project, no archive.
    assert!(bigquery::Config::from_variables(history)?.is_none());
    Ok(())
}

#[test]
fn nothing_may_do_more_than_it_must() {
    let template = template();
    for (role, properties) in resources(&template, "AWS::IAM::Role") {
        assert!(properties["ManagedPolicyArns"].is_null(), "{role}");
        // The pipeline may make no role without this.
        assert_eq!(properties["PermissionsBoundary"]["Fn::If"][0], "HasPermissionsBoundary");
        for policy in properties["Policies"].as_array().unwrap() {
            for statement in policy["PolicyDocument"]["Statement"].as_array().unwrap() {
                // One that is there on a condition.
                let statement = statement["Fn::If"].get(1).unwrap_or(statement);
                let actions = &statement["Action"];
                let all = actions.as_array().cloned().unwrap_or_else(|| vec![actions.clone()]);
                for action in all.iter().map(|action| action.as_str().unwrap()) {
                    assert!(!action.contains('*'), "{role}: {action}");
                    let names_resource = statement["Resource"]["Fn::GetAtt"].is_string();
                    assert!(names_resource || action.starts_with("xray:Put"), "{role}: {action}");
                }
            }
        }
    }
    for (function, properties) in resources(&template, "AWS::Serverless::Function") {
        assert_eq!(properties["Role"], json!({"Fn::GetAtt": format!("{function}Role.Arn")}));
        assert!(properties["Policies"].is_null(), "{function}");
    }
}

/// Names that must be an account's only ones have the stack's in them, so that it may have two
/// stacks.
#[test]
fn two_stacks_share_no_name() {
    let template = template();
    let schedule = &template["Resources"]["Archive"]["Properties"]["Events"]["Every10Minutes"];
    let mut names = vec![schedule["Properties"]["Name"].clone()];
    for (_, group) in resources(&template, "AWS::Logs::LogGroup") {
        names.push(group["LogGroupName"].clone());
    }
    for (_, dashboard) in resources(&template, "AWS::CloudWatch::Dashboard") {
        names.push(dashboard["DashboardName"].clone());
    }
    for name in names {
        let text = name["Fn::Sub"].as_str();
        assert!(text.is_some_and(|text| text.contains("${AWS::StackName}")), "{name}");
    }
    // All others get names from CloudFormation.
    for property in ["FunctionName", "TableName", "RoleName", "QueueName", "AlarmName"] {
        let resources = template["Resources"].as_object().unwrap();
        let fixed = resources.iter().find(|(_, resource)| {
            !resource["Properties"][property].is_null()
                && resource["Type"] != "AWS::Lambda::Permission"
        });
        assert!(fixed.is_none(), "{fixed:?}");
    }
}

#[test]
fn the_routes_go_to_the_functions_that_answer_them() {
    let template = template();
    let routes: BTreeMap<_, _> = resources(&template, "AWS::ApiGatewayV2::Route")
        .into_iter()
        .map(|(_, route)| {
            let target = route["Target"]["Fn::Sub"].as_str().unwrap();
            let integration = target.strip_prefix("integrations/${").unwrap().trim_end_matches('}');
            let function = &template["Resources"][integration]["Properties"]["IntegrationUri"];
            let function = function["Fn::GetAtt"].as_str().unwrap().trim_end_matches(".Arn");
            (route["RouteKey"].as_str().unwrap().to_owned(), function.to_owned())
        })
        .collect();
    let mut expected = BTreeMap::from([("$default".to_owned(), "Query".to_owned())]);
    for endpoint in endpoints() {
        for path in gateway_paths(&endpoint) {
            for method in methods(&endpoint) {
                expected.insert(format!("{method} {path}"), capitalized(endpoint.function));
            }
        }
    }
    assert_eq!(routes, expected);
}

/// The methods of an endpoint, with the one that comes along with `GET`.
fn methods(endpoint: &Endpoint) -> Vec<&str> {
    match endpoint.method.as_str() {
        "GET" => vec!["GET", "HEAD"],
        other => vec![other],
    }
}

/// The paths of the routes that lead to an endpoint. In a route of API Gateway, only the last segment
/// may stand for several. What no route takes goes to `Query`, so only the other functions need
/// routes for paths with a slash at their ends.
fn gateway_paths(endpoint: &Endpoint) -> Vec<String> {
    let (before, after) = endpoint.path.split_once("+}").unwrap_or((endpoint.path, ""));
    match (endpoint.path.contains('{'), after) {
        (true, "") => vec![endpoint.path.to_owned()],
        (true, _) => vec![format!("/{}/{{path+}}", before.split('/').nth(1).unwrap())],
        (false, _) if endpoint.function == "query" || endpoint.path == "/" => {
            vec![endpoint.path.to_owned()]
        }
        (false, _) => vec![endpoint.path.to_owned(), format!("{}/", endpoint.path)],
    }
}

fn capitalized(name: &str) -> String {
    name[..1].to_uppercase() + &name[1..]
}

/// `cargo lambda watch` has no route for everything else.
#[test]
fn the_routes_of_cargo_lambda_are_those_of_the_code() {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.metadata.lambda.watch.router]\n").nth(1).unwrap();
    let section = section.split("\n\n").next().unwrap();
    let mut found = BTreeSet::new();
    for entry in section.split("\n\"").map(|entry| entry.trim_start_matches('"')) {
        let (path, routes) = entry.split_once("\" = [").unwrap();
        for route in routes.split('{').skip(1) {
            let words: Vec<_> = route.split('"').collect();
            found.insert((path.to_owned(), words[1].to_owned(), words[3].to_owned()));
        }
    }
    let mut expected = BTreeSet::new();
    for endpoint in endpoints() {
        for path in cargo_lambda_paths(&endpoint) {
            for method in methods(&endpoint) {
                expected.insert((path.clone(), method.to_owned(), endpoint.function.to_owned()));
            }
        }
    }
    assert_eq!(found, expected);
}

fn cargo_lambda_paths(endpoint: &Endpoint) -> Vec<String> {
    let first = endpoint.path.split('/').nth(1).unwrap();
    match (endpoint.path, endpoint.path.split('/').count()) {
        ("/stats" | "/stats/", _) => vec!["/stats".to_owned(), "/stats/".to_owned()],
        ("/stats/{id+}" | "/stats/{dim+}" | "/ids/{id+}", _) => vec![format!("/{first}/{{*id}}")],
        (path, 2) => vec![path.to_owned()],
        _ => vec![format!("/{first}/{{*path}}")],
    }
}

/// The throttle of the API bounds requests, not what one of them writes.
#[test]
fn what_the_table_gives_in_a_second_is_bounded() {
    let template = template();
    let [condition, provisioned, on_demand] = either(&table(&template)["OnDemandThroughput"]);
    assert_eq!((condition, provisioned), (json!("IsProvisioned"), json!({"Ref": "AWS::NoValue"})));
    for name in ["MaxReadRequestUnits", "MaxWriteRequestUnits"] {
        assert_eq!(on_demand[name], json!({"Ref": name}));
    }
    let writes = template["Parameters"]["MaxWriteRequestUnits"]["Default"].as_u64().unwrap();
    // Or the largest update could not be done in the 25 seconds that it has, at 2 units for each
    // member.
    let largest = 2 * u64::try_from(limits::MEMBER_WRITES).unwrap();
    assert!(largest / writes < 25, "{writes}");
}

/// The table.
fn table(template: &Value) -> Value {
    let tables = resources(template, "AWS::DynamoDB::Table");
    let [(_, table)] = tables.as_slice() else { panic!("one table: {tables:?}") };
    table.clone()
}

/// The condition of an `!If` and its two cases.
fn either(value: &Value) -> [Value; 3] {
    value["Fn::If"].as_array().unwrap().clone().try_into().unwrap()
}

/// DynamoDB refuses bounds of the other mode, and capacity that nothing scales would be too little
/// or too much.
#[test]
fn a_table_with_reserved_units_has_more_or_fewer_of_them_as_the_load_changes() {
    let template = template();
    assert_eq!(template["Conditions"]["IsProvisioned"]["Fn::Equals"][1], "PROVISIONED");
    let [condition, provisioned, on_demand] = either(&table(&template)["ProvisionedThroughput"]);
    assert_eq!((condition, on_demand), (json!("IsProvisioned"), json!({"Ref": "AWS::NoValue"})));
    let targets: BTreeMap<_, _> =
        resources(&template, "AWS::ApplicationAutoScaling::ScalableTarget").into_iter().collect();
    let policies = resources(&template, "AWS::ApplicationAutoScaling::ScalingPolicy");
    assert_eq!((targets.len(), policies.len()), (2, 2));
    let mut scaled = BTreeSet::new();
    for (name, policy) in policies {
        let target_name = policy["ScalingTargetId"]["Ref"].as_str().unwrap();
        let target = &targets[target_name];
        let kind = target["ScalableDimension"].as_str().unwrap();
        let kind = kind.strip_prefix("dynamodb:table:").unwrap();
        let (kind, _) = kind.split_once("CapacityUnits").unwrap();
        assert_eq!(target["ResourceId"], json!({"Fn::Sub": "table/${Table}"}));
        let least = json!({"Ref": format!("Min{kind}CapacityUnits")});
        assert_eq!(
            (&target["MinCapacity"], &provisioned[format!("{kind}CapacityUnits")]),
            (&least, &least)
        );
        assert_eq!(target["MaxCapacity"], json!({"Ref": format!("Max{kind}RequestUnits")}));
        let tracking = &policy["TargetTrackingScalingPolicyConfiguration"];
        assert_eq!(tracking["TargetValue"], json!({"Ref": "TargetUtilization"}));
        let metric = &tracking["PredefinedMetricSpecification"]["PredefinedMetricType"];
        assert_eq!(metric, &format!("DynamoDB{kind}CapacityUtilization"));
        for name in [target_name, &name] {
            assert_eq!(template["Resources"][name]["Condition"], "IsProvisioned", "{name}");
        }
        scaled.insert(kind.to_owned());
    }
    assert_eq!(scaled, ["Read", "Write"].map(str::to_owned).into());
}

/// By a URL, a function gets whatever anybody sends, past the throttle of the API.
#[test]
fn only_update_has_a_url_and_only_if_it_is_wanted() {
    let template = template();
    assert_eq!(template["Parameters"]["UpdateUrl"]["Default"], "off");
    let urls = resources(&template, "AWS::Lambda::Url");
    let [(url, properties)] = urls.as_slice() else { panic!("one URL: {urls:?}") };
    assert_eq!(properties["TargetFunctionArn"], json!({"Fn::GetAtt": "Update.Arn"}));
    assert_eq!(properties["AuthType"], "NONE");
    for (function, properties) in resources(&template, "AWS::Serverless::Function") {
        assert!(properties["FunctionUrlConfig"].is_null(), "{function}");
    }
    let open = resources(&template, "AWS::Lambda::Permission");
    let open: Vec<_> = open.into_iter().filter(|(_, it)| it["Principal"] == "*").collect();
    let mut actions = BTreeSet::new();
    for (name, permission) in &open {
        assert_eq!(permission["FunctionName"], json!({"Ref": "Update"}), "{name}");
        // Or anybody could invoke the function by Lambda's own API.
        let by_url_only = permission["FunctionUrlAuthType"] == "NONE"
            || permission["InvokedViaFunctionUrl"] == true;
        assert!(by_url_only, "{name}");
        actions.insert(permission["Action"].as_str().unwrap());
    }
    assert_eq!(actions, ["lambda:InvokeFunction", "lambda:InvokeFunctionUrl"].into());
    assert_eq!(template["Outputs"]["UpdateUrl"]["Condition"], "HasUpdateUrl");
    for name in open.iter().map(|(name, _)| name).chain([url]) {
        assert_eq!(template["Resources"][name]["Condition"], "HasUpdateUrl", "{name}");
    }
}

/// A page that sends updates may do so at both addresses.
#[test]
fn pages_may_send_updates_to_the_url_as_to_the_api() {
    let template = template();
    let [_, api, _] =
        either(&resources(&template, "AWS::ApiGatewayV2::Api")[0].1["CorsConfiguration"]);
    let [condition, url, _] = either(&resources(&template, "AWS::Lambda::Url")[0].1["Cors"]);
    assert_eq!(condition, "HasCors");
    assert_eq!(url["AllowMethods"], json!(["POST"]));
    for same in ["AllowOrigins", "MaxAge"] {
        assert_eq!(url[same], api[same], "{same}");
    }
    // The API has those of queries too.
    for headers in ["AllowHeaders", "ExposeHeaders"] {
        let names = |cors: &Value| -> BTreeSet<String> {
            let names = cors[headers].as_array().unwrap().iter();
            names.map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        assert!(names(&url).is_subset(&names(&api)), "{headers}");
    }
}

/// The minutes of an hour at which a cron expression of EventBridge fires in every hour of every
/// day.
fn minutes(expression: &str) -> Vec<u64> {
    let fields = expression.strip_prefix("cron(").and_then(|text| text.strip_suffix(')')).unwrap();
    let fields: Vec<_> = fields.split(' ').collect();
    let [minute, hour, day, month, weekday, year] = fields[..] else { panic!("{expression}") };
    assert_eq!([hour, month, year], ["*"; 3], "{expression}");
    assert!([("*", "?"), ("?", "*")].contains(&(day, weekday)), "{expression}");
    let (start, step) = minute.split_once('/').unwrap();
    let (start, step) = (start.parse().unwrap(), step.parse().unwrap());
    (start..60).step_by(step).collect()
}

#[test]
fn the_schedule_fires_at_the_start_of_every_slot() {
    let template = template();
    let archive = &template["Resources"]["Archive"]["Properties"];
    let schedule = &archive["Events"]["Every10Minutes"]["Properties"];
    assert_eq!(schedule["ScheduleExpressionTimezone"], "UTC");
    let starts: Vec<_> = (0..60).filter(|minute| minute * 60 % 600 == 0).collect();
    assert_eq!(minutes(schedule["ScheduleExpression"].as_str().unwrap()), starts);
    // Any window is time that a slot loses.
    assert!(schedule.get("FlexibleTimeWindow").is_none_or(|window| window["Mode"] == "OFF"));
    let input: Value = serde_json::from_str(schedule["Input"].as_str().unwrap()).unwrap();
    assert_eq!(input, json!({"time": "<aws.scheduler.scheduled-time>"}));
    assert!(schedule["RetryPolicy"]["MaximumEventAgeInSeconds"].as_u64().unwrap() <= 600);
}

#[test]
fn the_access_log_is_json_without_headers() {
    let format =
        template()["Resources"]["Stage"]["Properties"]["AccessLogSettings"]["Format"].clone();
    let fields: BTreeMap<String, String> = serde_json::from_str(format.as_str().unwrap()).unwrap();
    for field in ["requestId", "status", "latency", "integrationError"] {
        assert!(fields.contains_key(field), "{field}");
    }
    for value in fields.values() {
        for secret in ["header", "authorizer", "path", "query"] {
            assert!(!value.to_lowercase().contains(secret), "{value}");
        }
    }
}

/// The metrics of the functions themselves that the alarms and the dashboard show, each with its
/// function.
fn own_metrics(template: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (_, dashboard) in resources(template, "AWS::CloudWatch::Dashboard") {
        let body = dashboard["DashboardBody"]["Fn::Sub"].as_str().unwrap();
        let body: Value = serde_json::from_str(body).expect("the dashboard is JSON");
        for widget in body["widgets"].as_array().unwrap() {
            for metric in widget["properties"]["metrics"].as_array().unwrap() {
                if metric[0] == "${MetricsNamespace}" {
                    assert_eq!(metric[2], "Function");
                    found.push((metric[1].clone(), metric[3].clone()));
                }
            }
        }
    }
    for (_, alarm) in resources(template, "AWS::CloudWatch::Alarm") {
        if alarm["Namespace"] == json!({"Ref": "MetricsNamespace"}) {
            found.push((alarm["MetricName"].clone(), alarm["Dimensions"][0]["Value"].clone()));
        }
    }
    let text = |value: Value| value.as_str().unwrap().to_owned();
    found.into_iter().map(|(metric, function)| (text(metric), text(function))).collect()
}

#[test]
fn the_metrics_that_are_shown_are_counted_by_the_code() {
    let requests = read("shared/src/lambda/call_metrics.rs");
    let archive = read("functions/archive/src/run_metrics.rs");
    assert!(archive.contains("add_units(line, usage)"));
    let functions = FUNCTIONS.map(|(name, _)| name.to_lowercase());
    let metrics = own_metrics(&template());
    assert!(metrics.len() > 20, "{metrics:?}");
    for (metric, function) in metrics {
        // A line of a metric that its function does not count would be empty for ever.
        let named = format!("\"{metric}\"");
        let is_counted = match function.as_str() {
            "archive" => {
                archive.contains(&named) || ["ReadUnits", "WriteUnits"].contains(&&*metric)
            }
            _ => requests.contains(&named),
        };
        assert!(is_counted, "{function} does not count {metric}");
        assert!(functions.contains(&function), "{function}");
    }
}

#[test]
fn every_alarm_tells_and_is_documented() {
    let (template, guide) = (template(), read("docs/deploying.md"));
    for (name, alarm) in resources(&template, "AWS::CloudWatch::Alarm") {
        assert_eq!(alarm["AlarmActions"]["Fn::If"][0], "HasAlarmTopic", "{name}");
        assert!(
            guide.contains(&format!("`{name}`")),
            "docs/deploying.md tells what to do about {name}"
        );
    }
}

#[test]
fn what_is_missing_in_the_archive_sets_off_an_alarm() {
    let template = template();
    for (name, metric) in
        [("SlotsMissedAlarm", "SlotsMissed"), ("ValuesWithoutColumnAlarm", "ValuesWithoutColumn")]
    {
        let alarm = &template["Resources"][name]["Properties"];
        assert_eq!(alarm["MetricName"], metric);
        assert_eq!(alarm["Dimensions"], json!([{"Name": "Function", "Value": "archive"}]));
        let condition = [&alarm["Statistic"], &alarm["ComparisonOperator"], &alarm["Threshold"]];
        assert_eq!(condition, [&json!("Sum"), &json!("GreaterThanThreshold"), &json!(0)]);
        assert_eq!(alarm["TreatMissingData"], "notBreaching", "{name}");
    }
}

/// Whoever holds a token can bring about 4xx, 5xx, slow answers and throttles, and with luck a crash.
/// Were an update undone by these, so could be the one that removes the token.
#[test]
fn only_a_function_that_does_not_start_undoes_an_update_of_the_stack() {
    let template = template();
    let triggers = &template["Outputs"]["RollbackAlarms"]["Value"];
    assert_eq!(triggers, &json!({"Fn::GetAtt": "StartFailuresAlarm.Arn"}));
    let alarm = &template["Resources"]["StartFailuresAlarm"]["Properties"];
    let filters = resources(&template, "AWS::Logs::MetricFilter");
    assert_eq!(filters.len(), 4, "{filters:?}");
    let log = read("shared/src/lambda/log.rs");
    for (name, filter) in filters {
        let pattern = filter["FilterPattern"].as_str().unwrap();
        let words = pattern.split('"').nth(1).unwrap();
        assert!(log.contains(&format!("\"{words}\"")), "{name}: the code logs {words}");
        assert_eq!(
            pattern,
            format!(
                "{{ ($.fields.message = \"{words}\") || (($.type = \"platform.initReport\") && \
                 ($.record.status = \"error\")) }}"
            )
        );
        let metric = &filter["MetricTransformations"][0];
        assert_eq!(metric["MetricNamespace"], alarm["Namespace"], "{name}");
        assert_eq!(metric["MetricName"], alarm["MetricName"], "{name}");
    }
    // Those words are logged before a function takes its first request, and nowhere else.
    let serving = read("shared/src/lambda/serve.rs");
    let starting = serving.split("lambda_runtime::run_concurrent").next().unwrap();
    let others = serving.matches("start_failed").count() - starting.matches("start_failed").count();
    assert_eq!(
        (starting.matches("start_failed").count(), others),
        (1, 2),
        "configure() and start() are the others"
    );
}

#[test]
fn what_costs_more_than_other_requests_has_a_throttle_of_its_own() {
    let template = template();
    let stage = &template["Resources"]["Stage"];
    let settings = stage["Properties"]["RouteSettings"].as_object().unwrap();
    let routes = resources(&template, "AWS::ApiGatewayV2::Route");
    let usual = template["Parameters"]["ThrottleRate"]["Default"].as_u64().unwrap();
    for (key, parameter) in [
        ("GET /stats/", "AllDimensionsThrottleRate"),
        ("HEAD /stats/", "AllDimensionsThrottleRate"),
        ("GET /history/{path+}", "HistoryThrottleRate"),
        ("HEAD /history/{path+}", "HistoryThrottleRate"),
    ] {
        assert_eq!(settings[key]["ThrottlingRateLimit"], json!({"Ref": parameter}), "{key}");
        assert!(template["Parameters"][parameter]["Default"].as_u64().unwrap() * 50 <= usual);
        // The stage is made after the route, or API Gateway refuses it.
        let (route, _) = routes.iter().find(|(_, route)| route["RouteKey"] == key).unwrap();
        let before = stage["DependsOn"].as_array().unwrap();
        assert!(before.contains(&Value::from(route.as_str())), "{route}");
    }
    assert_eq!(settings.len(), 4);
}

#[test]
fn what_is_watched_is_something() {
    let all: usize = parsers().iter().map(|parser| parser.asks_for.len()).sum();
    assert!(all >= 12, "{all}");
}
