//! Requests and their answers, apart from stats.

use anyhow::ensure;

use super::{
    client_tokens::ClientTokens,
    exercise::{Api, ClientCall},
};

/// A method, a path and a body; the status of the answer, and a part of the answer's body.
type Exchange = (&'static str, &'static str, &'static str, u16, &'static str);

const OTHERS: [Exchange; 16] = [
    ("GET", "/stats/unheard-of", "", 200, r#"{"unheard-of":{"total":{}}}"#),
    ("HEAD", "/stats/country", "", 200, ""),
    ("HEAD", "/stats/", "", 200, ""),
    ("POST", "/stats/an%20id%20of%20%C3%B1", r#"{"counters":{"c":1}}"#, 200, "true"),
    ("POST", "/stats/myid1", "no JSON", 400, "JSON"),
    ("GET", "/dimensions", "", 200, r#""country""#),
    ("GET", "/page/main-0.js", "", 404, "load the page again"),
    ("HEAD", "/", "", 200, ""),
    ("POST", "/", "{}", 405, "GET, HEAD"),
    ("GET", "/nothing", "", 404, "nothing at this path"),
    ("HEAD", "/nothing", "", 404, ""),
    ("DELETE", "/stats/country", "", 405, "GET, HEAD, POST"),
    ("GET", "/history/country/total/counter/counterA", "", 404, "there is no history"),
    ("HEAD", "/history/country/total/counter/counterA", "", 404, ""),
    ("GET", "/history/country/total/other/counterA", "", 400, "other"),
    ("POST", "/history/country/total/counter/counterA", "{}", 405, "GET, HEAD"),
];

pub fn of_others(api: &Api) -> anyhow::Result<()> {
    for (method, path, body, status, part) in OTHERS {
        let answer = api.send(ClientCall { method, path, body, ..ClientCall::default() })?;
        let is_as_expected = answer.0 == status && answer.1.contains(part);
        ensure!(is_as_expected, "{method} {path}: {answer:?}, not {status} with {part:?}");
        ensure!(method != "HEAD" || answer.1.is_empty(), "HEAD {path} has a body: {}", answer.1);
    }
    Ok(())
}

/// A browser without a token gets the page and all its files, with the headers that guard them.
pub fn of_the_page(api: &Api) -> anyhow::Result<()> {
    let get = |path: &str| {
        let answer = api.get_without_token(path)?;
        let policy = answer.headers().get("content-security-policy");
        ensure!(answer.status() == 200 && policy.is_some(), "GET {path}: {answer:?}");
        anyhow::Ok(answer.into_body())
    };
    let page = get("/")?;
    ensure!(page.starts_with("<!doctype html>"), "GET /: {page}");
    let files: Vec<_> =
        page.split("\"page/").skip(1).filter_map(|it| it.split('"').next()).collect();
    ensure!(files.len() >= 3, "the page names {files:?}");
    for file in files {
        get(&format!("/page/{file}"))?;
    }
    Ok(())
}

/// Each token lets its client do what its scope says, and nothing else, on the routes of each
/// function.
pub fn of_tokens(api: &Api, access: &ClientTokens) -> anyhow::Result<()> {
    let (read, write) = (access.read.as_str(), access.write.as_str());
    for (method, path, good, bad) in [
        ("POST", "/stats/someone", write, read),
        ("GET", "/stats/", read, write),
        ("GET", "/stats/country", read, write),
        ("GET", "/dimensions", read, write),
        ("GET", "/history/country/total/counter/counterA", read, write),
    ] {
        let call = ClientCall {
            method,
            path,
            body: if method == "POST" { "{}" } else { "" },
            idempotency_key: None,
        };
        let status = |token| anyhow::Ok(api.send_with(call, token)?.0);
        let (none, wrong) = (status(None)?, status(Some("deploy-test-wrong"))?);
        let (good, bad) = (status(Some(good))?, status(Some(bad))?);
        ensure!(
            (none, wrong, bad) == (401, 401, 403) && [200, 404].contains(&good),
            "{method} {path}: {none} without a token, {wrong} with a wrong one, {bad} with one of the other \
             scope, {good} with the right one"
        );
    }
    Ok(())
}
