//! That `docs/openapi.yaml` says what the code says, and the reverse.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "openapi/description.rs"]
mod description;
#[path = "openapi/service.rs"]
mod service;

use std::collections::{BTreeMap, BTreeSet};

use contract::{read, workspace};
use description::{Description, Exchange, Operation};
use http::StatusCode;
use query::limits as query_limits;
use serde_json::{Value, json};
use service::Service;
use shared::{
    domain::{DimensionKey, DimensionName, Id, IdempotencyKey, Member, StatName, limits},
    http::{MAX_TOKEN_BYTES, endpoints},
};

/// A path with all names alike, and without a slash at its end, which makes no difference.
fn shape(path: &str) -> String {
    let segments = path.split('/').map(|it| if it.starts_with('{') { "{}" } else { it });
    segments.collect::<Vec<_>>().join("/").trim_end_matches('/').to_owned()
}

#[test]
fn the_paths_methods_and_scopes_are_those_of_the_code() {
    let description = Description::load();
    let mut expected = BTreeSet::new();
    for endpoint in endpoints() {
        let security = match endpoint.scope {
            None => json!([]),
            Some(scope) => json!([{"token": [scope.name()]}]),
        };
        let method = endpoint.method.as_str().to_lowercase();
        let methods = if method == "get" { vec!["get", "head"] } else { vec![&*method] };
        for method in methods {
            expected.insert((method.to_owned(), shape(endpoint.path), security.to_string()));
        }
    }
    let operations = description.operations();
    let found = operations.iter().map(|operation| {
        let security = operation.value["security"].to_string();
        (operation.method.to_owned(), shape(operation.path), security)
    });
    assert_eq!(found.collect::<BTreeSet<_>>(), expected);
    assert_eq!(operations.len(), expected.len());
    let ids: BTreeSet<_> =
        operations.iter().map(|it| it.value["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len());
}

/// A path of an operation, with names that are valid.
fn sample_path(operation: Operation<'_>) -> String {
    let path = operation.path.replace("{kind}", "gauge");
    let segments = path.split('/').map(|it| if it.starts_with('{') { "x" } else { it });
    segments.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn the_parameters_are_those_that_the_functions_know() {
    let (description, service) = (Description::load(), Service::new().await);
    for operation in description.operations() {
        // Whoever answers names the parameters that it knows. A HEAD gets the same.
        let exchange = Exchange {
            method: operation.method.to_uppercase(),
            path: sample_path(operation),
            query: "nonsense=1".to_owned(),
            request_body: b"{}".to_vec(),
            ..Exchange::default()
        };
        let answer = service.answer(exchange).await;
        let error: Value = serde_json::from_slice(&answer.body).unwrap();
        let error = error["Error"].as_str().unwrap();
        let (refused, known) = error.split_once(": ").unwrap();
        assert_eq!(refused, "there is no parameter \"nonsense\"", "{} {error}", operation.path);
        let known: BTreeSet<_> = match known.strip_prefix("use ") {
            Some(list) => list.replace(" and ", ", ").split(", ").map(str::to_owned).collect(),
            None => BTreeSet::new(),
        };
        let described = description.query_parameters(operation);
        assert_eq!(described, known, "{} {}", operation.method, operation.path);
    }
}

/// The statuses that the sources of the functions name, tests excepted.
fn statuses_of_the_code() -> BTreeSet<u16> {
    let names: BTreeMap<_, _> = (100..600)
        .filter_map(|number| {
            let reason = StatusCode::from_u16(number).unwrap().canonical_reason()?;
            Some((reason.to_uppercase().replace([' ', '-'], "_"), number))
        })
        .collect();
    let folders = [
        "functions/update/src",
        "functions/query/src",
        "functions/history/src",
        "functions/dashboard/src",
        "shared/src/http",
        "shared/src/lambda",
    ];
    let files = folders.iter().flat_map(|folder| {
        let files = std::fs::read_dir(workspace().join(folder)).unwrap();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
    });
    let mut found = BTreeSet::new();
    for text in files {
        let code = text.split("#[cfg(test)]").next().unwrap();
        for rest in code.split("StatusCode::").skip(1) {
            let name: String =
                rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            found.extend(names.get(&name));
        }
    }
    found
}

#[test]
fn the_statuses_are_those_of_the_code_and_of_the_reference() {
    let description = Description::load();
    let mut described: BTreeSet<u16> = BTreeSet::new();
    for operation in description.operations() {
        let responses = operation.value["responses"].as_object().unwrap();
        described.extend(responses.keys().map(|status| status.parse::<u16>().unwrap()));
    }
    // Methods that no operation has.
    assert!(description.document["components"]["responses"]["MethodNotAllowed"].is_object());
    described.insert(405);

    let mut code = statuses_of_the_code();
    // Preflights of browsers are a matter of CORS.
    assert!(code.remove(&204));
    assert_eq!(described, code);

    let page = read("docs/api.md");
    let errors = page.split("\n## Errors\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = errors.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let documented = rows.flat_map(|cell| cell.split(", ")).filter_map(|it| it.parse().ok());
    described.retain(|status| *status >= 400);
    assert_eq!(described, documented.collect::<BTreeSet<u16>>());
}

#[test]
fn the_headers_of_the_reference_are_described() {
    let (page, text) = (read("docs/api.md"), read("docs/openapi.yaml").to_lowercase());
    let section = page.split("\n## Headers\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut count = 0;
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().unwrap();
        for name in cell.split('`').skip(1).step_by(2) {
            let name = name.split(':').next().unwrap().to_lowercase();
            // A bearer token is a matter of the security scheme.
            assert!(name == "authorization" || text.contains(&name), "{name}");
            count += 1;
        }
    }
    assert!(count > 10, "{section}");
}

/// A number with a comma between each three digits.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut groups: Vec<_> = digits.as_bytes().rchunks(3).collect();
    groups.reverse();
    let groups = groups.into_iter().map(|group| std::str::from_utf8(group).unwrap());
    groups.collect::<Vec<_>>().join(",")
}

#[test]
fn the_limits_are_those_of_the_code() {
    let document = Description::load().document;
    let parameter = |path: &str, method: &str, name: &str| {
        let item = &document["paths"][path];
        let lists = [&item["parameters"], &item[method]["parameters"]];
        let mut all = lists.into_iter().filter_map(Value::as_array).flatten();
        all.find(|it| it["name"] == name).unwrap()["schema"].clone()
    };
    let schemas = &document["components"]["schemas"];
    let update = &schemas["Update"]["properties"];
    let of_dimension = |name| parameter("/stats/{name}", "get", name);
    for (what, found, limit) in [
        ("dimensions", &update["dims"]["maxProperties"], limits::DIMENSIONS),
        ("stats", &schemas["Values"]["maxProperties"], limits::STATS),
        ("sets", &update["members"]["maxProperties"], limits::STATS),
        ("sets", &update["multiMembers"]["maxProperties"], limits::STATS),
        ("members", &update["multiMembers"]["additionalProperties"]["maxItems"], limits::MEMBERS),
        ("entries", &schemas["Batch"]["maxItems"], limits::BATCH_ENTRIES),
        (
            "items",
            &schemas["BatchAnswer"]["properties"]["items"]["maxItems"],
            limits::BATCH_ENTRIES,
        ),
        ("keys", &of_dimension("key")["maxItems"], query_limits::NAMED_KEYS),
        ("stats", &of_dimension("stat")["maxItems"], query_limits::NAMED_STATS),
        ("page", &of_dimension("limit")["maximum"], query_limits::PAGE_KEYS),
        (
            "dimensions",
            &parameter("/metrics", "get", "dim")["maxItems"],
            query_limits::NAMED_DIMENSIONS,
        ),
        ("token", &schemas["PageToken"]["maxLength"], MAX_TOKEN_BYTES),
    ] {
        assert_eq!(found, &json!(limit), "{what}");
    }
    let body =
        |path: &str| document["paths"][path]["post"]["requestBody"]["description"].to_string();
    let parts = schemas["Update"]["description"].as_str().unwrap().replace('\n', " ");
    for (text, limit) in [
        (body("/stats/{name}"), limits::BODY_BYTES),
        (body("/stats/"), limits::BATCH_BODY_BYTES),
        (body("/stats/"), limits::BATCH_ENTRIES),
        (parts.clone(), limits::STATS),
        (parts.clone(), limits::MEMBERS),
        (parts, limits::MEMBER_WRITES),
    ] {
        assert!(text.contains(&grouped(limit)), "{limit}: {text}");
    }
}

#[tokio::test]
async fn the_bounds_of_limit_are_those_of_the_functions() {
    let (description, service) = (Description::load(), Service::new().await);
    for (path, name) in [
        ("/stats/x", "/stats/{name}"),
        ("/history/x/x/gauge/x", "/history/{dim}/{key}/{kind}/{stat}"),
    ] {
        let operations = description.operations();
        let get = operations.iter().find(|it| it.path == name && it.method == "get").unwrap();
        let parameters = description.parameters(*get);
        let limit = &parameters.iter().find(|it| it["name"] == "limit").unwrap()["schema"];
        let expected = format!("is not a number from {} to {}", limit["minimum"], limit["maximum"]);
        let exchange = Exchange {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: "limit=-1".to_owned(),
            ..Exchange::default()
        };
        let answer = String::from_utf8(service.answer(exchange).await.body).unwrap();
        assert!(answer.contains(&expected), "{answer}");
    }
}

/// Whether the code takes a name.
type IsName = fn(&str) -> bool;

const NAMES: [(&str, IsName); 6] = [
    ("Id", |name| Id::new(name).is_ok()),
    ("DimensionName", |name| DimensionName::new(name).is_ok()),
    ("DimensionKey", |name| DimensionKey::new(name).is_ok()),
    ("StatName", |name| StatName::new(name).is_ok()),
    ("Member", |name| Member::new(name).is_ok()),
    ("IdempotencyKey", |name| IdempotencyKey::new(name).is_ok()),
];

#[test]
fn names_of_ascii_are_valid_where_the_code_takes_them_and_the_longest_is_as_long() {
    let description = Description::load();
    let ascii = || (0..128_u8).map(char::from);
    let ones = ascii().map(String::from);
    let ends = ascii().flat_map(|c| [format!("a{c}"), format!("{c}a"), format!("a{c}a")]);
    let words = ["", "total", "Total", "TOTAL", "totals", " total"].map(str::to_owned);
    let names: Vec<_> = ones.chain(ends).chain(words).collect();
    for (schema, is_name) in NAMES {
        let reference = json!({"$ref": format!("#/components/schemas/{schema}")});
        let is_valid = |name: &str| description.validate(&reference, &json!(name)).is_ok();
        for name in &names {
            assert_eq!(is_valid(name), is_name(name), "{schema} {name:?}");
        }
        let schema = &description.document["components"]["schemas"][schema];
        let longest = usize::try_from(schema["maxLength"].as_u64().unwrap()).unwrap();
        assert!(is_name(&"a".repeat(longest)) && !is_name(&"a".repeat(longest + 1)), "{schema}");
    }
}

#[test]
fn no_name_that_the_code_takes_is_invalid_in_other_scripts_either() {
    let description = Description::load();
    for name in ["é", "país", "हिन्दी", "日本", "ǅ", "a\u{3000}b", "٣", "‿", "—", "𝒳", "ﬀ"]
    {
        for (schema, is_name) in NAMES {
            let reference = json!({"$ref": format!("#/components/schemas/{schema}")});
            let valid = description.validate(&reference, &json!(name));
            assert!(valid.is_ok() || !is_name(name), "{schema} {name:?} {valid:?}");
        }
    }
}

#[test]
fn the_version_is_that_of_the_workspace() {
    let document = Description::load().document;
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn whatever_is_not_described_is_found() {
    let description = Description::load();
    let succeeded = br#"{"Succeeded":true,"Error":""}"#;
    let headers = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let good = Exchange {
        method: "POST".to_owned(),
        path: "/stats/a".to_owned(),
        request_body: b"{}".to_vec(),
        status: 200,
        headers: headers(&[("content-type", "application/json")]),
        body: succeeded.to_vec(),
        ..Exchange::default()
    };
    assert_eq!(description.check(&good), Ok(()));
    let json = ("content-type", "application/json");
    for (bad, error) in [
        (Exchange { status: 201, ..good.clone() }, "status"),
        (Exchange { path: "/stat/a".to_owned(), ..good.clone() }, "no such operation"),
        (Exchange { method: "PUT".to_owned(), ..good.clone() }, "no such operation"),
        (Exchange { query: "a=1".to_owned(), ..good.clone() }, "parameter a"),
        (Exchange { request_body: br#"{"gauge":{}}"#.to_vec(), ..good.clone() }, "gauge"),
        (Exchange { body: br#"{"Succeeded":true}"#.to_vec(), ..good.clone() }, "Error"),
        (Exchange { body: b"{".to_vec(), ..good.clone() }, "EOF"),
        (Exchange { headers: headers(&[json, ("x-new", "1")]), ..good.clone() }, "x-new"),
        (
            Exchange { headers: headers(&[json, ("x-statshub-units", "1")]), ..good.clone() },
            "units",
        ),
        (Exchange { headers: headers(&[("content-type", "text/html")]), ..good.clone() }, "html"),
    ] {
        let found = description.check(&bad).unwrap_err();
        assert!(found.contains(error), "{error}: {found}");
    }
}
