//! The sessions of the documentation, played as they stand: every command, and every line of its
//! output.

use std::{
    fs, mem,
    process::Command,
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail, ensure};

use bench::large_answers;
use service::{
    AUTH_VARIABLE, Build, Database, OPEN, Service, ServiceSettings,
    bigquery_emulator::Emulator,
    ports::free_port,
    workspace::{root, say, target},
};
use statshub::{HttpClient, api_access::URL_VARIABLE, make_token::NewToken};
use ureq::http::{Method, Request};

use crate::{description_check, documented_clients, grafana_panels, prometheus_scrape};

/// The pages with a session, in the order in which one service gets them: the archive of
/// docs/api.md lists all dimensions, which must not include those of other pages.
const PAGES: [&str; 3] = ["docs/api.md", "README.md", "docs/operations.md"];

/// The address that the commands name.
const PAGE_URL: &str = "http://localhost:9000";

/// Short enough to wait for, long enough for all that a session does within one.
const PERIOD: Duration = Duration::from_secs(20);
/// Of the dimension `country`.
const CACHED: Duration = Duration::from_secs(6);

/// Commands of a page that follow each other without a wait.
#[derive(Debug, Default, PartialEq, Eq)]
struct Block {
    /// What the text before it says has passed.
    wait: Option<Wait>,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// The answers that are cached have been forgotten.
    Cache,
    /// The next period has begun.
    Period,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Step {
    command: String,
    output: String,
}

/// Answers of several megabytes that are asked for.
const LARGE_ANSWERS: usize = 10;

/// Plays the sessions against functions that were built and started for them.
pub fn run() -> anyhow::Result<()> {
    let sessions = sessions()?;
    let folder = target("e2e");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let exchanges = folder.join("exchanges.ndjson");
    let bigquery = Emulator { port: free_port()?, data: folder.join("bigquery") };
    let mut service = Service::start(ServiceSettings {
        port: free_port()?,
        bind: "127.0.0.1".to_owned(),
        build: Build::WithTests,
        database: Database::Embedded(folder.join("statshub.sqlite")),
        bigquery: Some(bigquery.clone()),
        auth: OPEN.to_owned(),
        variables: vec![
            ("STATS_PERIOD_SECONDS".to_owned(), PERIOD.as_secs().to_string()),
            ("QUERY_CACHE".to_owned(), format!("country={}", CACHED.as_secs())),
        ],
        exchanges: Some(exchanges.clone()),
    })?;
    wait_for_next_period();
    for (page, blocks) in sessions {
        let mut played = 0;
        for block in blocks {
            match block.wait {
                Some(Wait::Cache) => thread::sleep(CACHED),
                Some(Wait::Period) => wait_for_next_period(),
                None => {}
            }
            for step in &block.steps {
                play(step, &service.url(), &bigquery).context(page)?;
                played += 1;
            }
        }
        say(&format!("the session of {page}, {played} commands, answers as printed"));
    }
    let client = HttpClient::new(&service.url());
    large_answers::all_arrive(&client, LARGE_ANSWERS)?;
    prometheus_scrape::run(&client, &service.url())?;
    grafana_panels::run(&client)?;
    a_function_that_dies_is_started_again(&mut service)?;
    programs_use_the_service_with_a_token(&mut service)?;
    only_who_has_a_token_is_let_in(&mut service)?;
    without_auth_no_function_starts(&service)?;
    description_check::compare_exchanges(&exchanges)
}

/// Plays the commands that need nothing but a service, in each session up to the one that waits for
/// the next period, and returns their number. The commands `reader` and `writer` replace `curl` for
/// queries and for updates. The service caches the dimension `country` for `cached`.
pub fn play_on(
    url: &str,
    (reader, writer): (&str, &str),
    variables: &[(&str, &str)],
    cached: Duration,
) -> anyhow::Result<usize> {
    let mut played = 0;
    for (page, blocks) in sessions()? {
        for block in blocks {
            match block.wait {
                Some(Wait::Cache) => thread::sleep(cached),
                Some(Wait::Period) => break,
                None => {}
            }
            for step in block.steps.iter().filter(|step| step.command.starts_with("curl ")) {
                let curl = if step.command.contains(" -d ") { writer } else { reader };
                let mut shell = shell(&step.command.replacen("curl", curl, 1), url);
                compare(step, shell.envs(variables.iter().copied())).context(page)?;
                played += 1;
            }
        }
    }
    Ok(played)
}

/// The session of each page.
fn sessions() -> anyhow::Result<Vec<(&'static str, Vec<Block>)>> {
    let session = |page| {
        let blocks = parse(&fs::read_to_string(root().join(page))?).context(page)?;
        ensure!(!blocks.is_empty(), "{page} has no session");
        Ok((page, blocks))
    };
    PAGES.into_iter().map(session).collect()
}

fn play(step: &Step, url: &str, bigquery: &Emulator) -> anyhow::Result<()> {
    compare(step, shell(&step.command, url).envs(bigquery.variables()))
}

fn shell(command: &str, url: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command.replace(PAGE_URL, url)).current_dir(root());
    shell.env(URL_VARIABLE, url);
    // The program `statshub`, as it was built with the functions.
    let path = std::env::var("PATH").unwrap_or_default();
    shell.env("PATH", format!("{}:{path}", target("debug").display()));
    shell
}

fn compare(step: &Step, shell: &mut Command) -> anyhow::Result<()> {
    let output = shell.output()?;
    // The lines of CSV end as RFC 4180 wants it, which no terminal shows.
    let printed = String::from_utf8(output.stdout)?.replace("\r\n", "\n");
    if without_times(printed.trim()) != without_times(step.output.trim()) {
        bail!(
            "{}\nshould print:\n{}\nbut prints:\n{printed}{}",
            step.command,
            step.output,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// The text with each time by RFC 3339, in whole seconds, replaced by the same word: times are not
/// the same in two runs.
fn without_times(text: &str) -> String {
    const FORM: &str = "0000-00-00T00:00:00Z";
    let is_time = |text: &str| {
        text.len() == FORM.len()
            && text.chars().zip(FORM.chars()).all(|(character, form)| match form {
                '0' => character.is_ascii_digit(),
                other => character == other,
            })
    };
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.get(..FORM.len()).is_some_and(is_time) {
            replaced.push_str("(time)");
            rest = rest.get(FORM.len()..).unwrap_or_default();
        } else {
            replaced.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    replaced
}

fn a_function_that_dies_is_started_again(service: &mut Service) -> anyhow::Result<()> {
    service.kill("update")?;
    let client = HttpClient::new(&service.url());
    for _ in 0..100 {
        service.look_after()?;
        if service.is_running("update")? {
            let (status, body) =
                client.post("/stats/after-the-crash", r#"{"counters":{"a":1}}"#)?;
            ensure!(status == 200, "after a function died: {status} {body}");
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("a function that was killed is not started again")
}

fn programs_use_the_service_with_a_token(service: &mut Service) -> anyhow::Result<()> {
    let token = NewToken::new("programs", "read+write")?;
    service.let_in(&token.entry)?;
    documented_clients::run(&service.url(), &token.secret)?;
    description_check::try_by_schemathesis(&service.url(), &token.secret)
}

/// The tokens and entries of `cargo xtask token`, over HTTP.
fn only_who_has_a_token_is_let_in(service: &mut Service) -> anyhow::Result<()> {
    let (old, new) = (NewToken::new("old", "write")?, NewToken::new("new", "write")?);
    let reader = NewToken::new("reader", "read")?;
    let invalid = Some("Bearer realm=\"statshub\", error=\"invalid_token\"");
    let lacks_write =
        Some("Bearer realm=\"statshub\", error=\"insufficient_scope\", scope=\"write\"");
    for (let_in, of_old) in [(&[&old, &new, &reader][..], 200), (&[&new, &reader], 401)] {
        let entries: Vec<_> = let_in.iter().map(|token| token.entry.as_str()).collect();
        service.let_in(&entries.join(","))?;
        let client = HttpClient::new(&service.url());
        for (method, path, token, status, challenge) in [
            (Method::POST, "/stats/a", None, 401, Some("Bearer realm=\"statshub\"")),
            (Method::POST, "/stats/a", Some(&old), of_old, invalid.filter(|_| of_old == 401)),
            (Method::POST, "/stats/a", Some(&new), 200, None),
            (Method::POST, "/stats/a", Some(&reader), 403, lacks_write),
            (Method::GET, "/stats/", Some(&reader), 200, None),
            (Method::GET, "/nowhere", Some(&reader), 404, None),
            (Method::GET, "/nowhere", None, 401, Some("Bearer realm=\"statshub\"")),
            (Method::GET, "/history/a/b/counter/c", None, 401, Some("Bearer realm=\"statshub\"")),
        ] {
            let secret = token.map(|token: &NewToken| token.secret.as_str());
            let answer = try_token(&client, &method, path, secret)?;
            let entry = token.map(|token| &token.entry);
            ensure!(
                (answer.0, answer.1.as_deref()) == (status, challenge),
                "{method} {path} with the token of {entry:?}: {answer:?}"
            );
        }
    }
    say("only who has a token is let in");
    Ok(())
}

/// The status and the challenge (`WWW-Authenticate`) of the answer to a GET, or to the POST of an
/// empty update, by a client with this token, or without one.
fn try_token(
    client: &HttpClient,
    method: &Method,
    path: &str,
    token: Option<&str>,
) -> anyhow::Result<(u16, Option<String>)> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let body = if method == Method::POST { "{}" } else { "" };
    let answer = client.send(request.body(body.to_owned())?)?;
    let challenge = answer.headers().get("WWW-Authenticate");
    let challenge = challenge.map(|value| value.to_str().map(str::to_owned)).transpose()?;
    Ok((answer.status().as_u16(), challenge))
}

fn without_auth_no_function_starts(service: &Service) -> anyhow::Result<()> {
    for function in ["update", "query", "history", "dashboard", "archive"] {
        let output = service.run_without_auth(function)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        ensure!(
            !output.status.success() && said.contains(AUTH_VARIABLE),
            "{function} without {AUTH_VARIABLE}: {} {said}",
            output.status
        );
    }
    say("without STATSHUB_AUTH no function starts");
    Ok(())
}

fn wait_for_next_period() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let period = PERIOD.as_millis();
    let left = period - now.as_millis() % period;
    thread::sleep(Duration::from_millis(u64::try_from(left).unwrap_or_default()));
}

/// The blocks ```` ```console ```` of a text, with what their info strings say has passed before.
fn parse(text: &str) -> anyhow::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```console") else {
            continue;
        };
        let mut block = Block {
            wait: match info.trim() {
                "" => None,
                "after=cache" => Some(Wait::Cache),
                "after=period" => Some(Wait::Period),
                other => bail!("unknown info string {other:?}"),
            },
            steps: Vec::new(),
        };
        let mut open = String::new();
        for line in lines.by_ref().take_while(|line| *line != "```") {
            if !open.is_empty() {
                open.push('\n');
                open.push_str(line);
            } else if let Some(command) = line.strip_prefix("$ ") {
                command.clone_into(&mut open);
            } else {
                let step = block.steps.last_mut().context("output before a command")?;
                step.output.push_str(line);
                step.output.push('\n');
            }
            if !open.is_empty() && is_whole(&open) {
                block.steps.push(Step { command: mem::take(&mut open), output: String::new() });
            }
        }
        blocks.push(block);
    }
    Ok(blocks)
}

/// Whether a command ends here: no quote is open and no line is to be continued.
fn is_whole(command: &str) -> bool {
    command.matches('\'').count().is_multiple_of(2) && !command.ends_with('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(command: &str, output: &str) -> Step {
        Step { command: command.to_owned(), output: output.to_owned() }
    }

    #[test]
    fn commands_may_have_several_lines_and_outputs_too() {
        let text = "Text\n```console\n$ curl x -d '{\n  \"a\": 1}'\nok\n$ a \\\n  b\nc\nd\n```\nMore\n\
                    ```sh\nignored\n```\n```console after=period\n$ e\n```\n";
        let first = Block {
            wait: None,
            steps: vec![step("curl x -d '{\n  \"a\": 1}'", "ok\n"), step("a \\\n  b", "c\nd\n")],
        };
        let second = Block { wait: Some(Wait::Period), steps: vec![step("e", "")] };
        assert_eq!(parse(text).unwrap(), [first, second]);
    }

    #[test]
    fn times_are_not_compared() {
        let with =
            |time: &str| format!("{{\"_dim\":\"größe\",\"_ts\":\"{time}\",\"a\":12}}\n{time}");
        let replaced = without_times(&with("2026-11-24T10:40:00Z"));
        assert_eq!(replaced, without_times(&with("2027-01-02T03:04:05Z")));
        assert_eq!(replaced, with("(time)"));
        for other in
            ["2026-11-24", "2026-11-24 10:40:00Z", "2026-11-24T10:40:0xZ", "ö2026-11-24T10:40:00"]
        {
            assert_eq!(without_times(other), other);
        }
    }
}
