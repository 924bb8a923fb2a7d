//! The clients of docs/api.md, run as they stand.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use service::{
    tools::require,
    workspace::{root, say, target},
};
use statshub::HttpClient;
use ureq::http::Request;

/// The page with the clients, and with the panels of Grafana.
pub(crate) const PAGE: &str = "docs/api.md";
/// The address that the crontab names.
const PAGE_URL: &str = "http://localhost:9000";

/// A block of code of the page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CodeBlock {
    language: String,
    /// The name of the file that it belongs into.
    file: Option<String>,
    pub(crate) code: String,
}

/// Runs all clients twice against a service, with a token that lets them read and write.
///
/// # Errors
/// One fails, or counts something else than one run at a time; or its interpreter is missing.
pub fn run(url: &str, token: &str) -> anyhow::Result<()> {
    let blocks = blocks(&fs::read_to_string(root().join(PAGE))?);
    let folder = target("e2e/clients");
    fs::create_dir_all(&folder)?;
    let mut names = Vec::new();
    for block in blocks {
        if let Some(file) = &block.file {
            let mut client = program(&block, file, &folder)?;
            client.env("STATSHUB_URL", url).env("STATSHUB_TOKEN", token);
            counts_one_run_at_a_time(&mut client).with_context(|| file.clone())?;
            names.push(block.language);
        } else if block.language == "crontab" {
            for _ in 0..2 {
                run_as_cron_does(&block.code, url, token, &folder)?;
            }
            reported_by_cron(url, token)?;
            names.push(block.language);
        }
    }
    ensure!(names == ["python", "js", "rust", "crontab"], "the clients of {PAGE} are {names:?}");
    say(&format!("the clients of {PAGE} count: {}", names.join(", ")));
    Ok(())
}

/// The command that runs a client.
fn program(block: &CodeBlock, file: &str, folder: &Path) -> anyhow::Result<Command> {
    let path = folder.join(file);
    fs::write(&path, &block.code)?;
    let interpreter = match block.language.as_str() {
        "python" => "python3",
        "js" => {
            let how = "Node.js 18 or newer is needed to run a client of docs/api.md: \
                       https://nodejs.org/, or `apt install nodejs`";
            require("node", &["--version"], how)?;
            "node"
        }
        // The same text, as a unit test makes sure.
        "rust" => return Ok(Command::new(target("debug/examples/report"))),
        other => bail!("nobody knows how to run a client in {other}"),
    };
    let mut command = Command::new(interpreter);
    command.arg(path);
    Ok(command)
}

fn counts_one_run_at_a_time(client: &mut Command) -> anyhow::Result<()> {
    for expected in ["runs: 1\n", "runs: 2\n"] {
        let output = client.output().with_context(|| format!("{client:?}"))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() && printed == expected,
            "it should print {expected:?}, but: {} {printed:?} {errors}",
            output.status
        );
    }
    Ok(())
}

/// Runs the command of a crontab's only line, with as few variables as cron has.
fn run_as_cron_does(crontab: &str, url: &str, token: &str, home: &Path) -> anyhow::Result<()> {
    fs::write(home.join(".statshub-token"), token)?;
    let command =
        command_of(crontab).context("a line of a crontab has five times and a command")?;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command.replace(PAGE_URL, url)).current_dir(home).env_clear();
    shell.env("HOME", home).env("PATH", "/usr/bin:/bin").env("SHELL", "/bin/sh");
    let output = shell.output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // Cron sends a mail of whatever is printed.
    ensure!(output.status.success() && said.is_empty(), "{crontab}: {} {said}", output.status);
    Ok(())
}

/// The command of a line: what comes after five times, up to the first `%` without a backslash, which
/// would begin its input.
fn command_of(line: &str) -> Option<String> {
    let mut rest = line.trim();
    for _ in 0..5 {
        rest = rest.split_once(' ')?.1.trim_start();
    }
    let marked = rest.replace("\\%", "\0");
    (!rest.is_empty() && !marked.contains('%')).then(|| marked.replace('\0', "%"))
}

fn reported_by_cron(url: &str, token: &str) -> anyhow::Result<()> {
    let request = Request::get("/stats/client?key=cron&format=rows")
        .header("Authorization", format!("Bearer {token}"));
    let answer = HttpClient::new(url).send(request.body(String::new())?)?;
    let rows: Value = serde_json::from_str(answer.body())?;
    let row = rows.get(0).context("nothing is reported")?;
    let (stat, value) = (row.get("stat"), row.get("value").and_then(Value::as_u64));
    let is_reported = stat == Some(&"freeKilobytes".into()) && value.is_some_and(|value| value > 0);
    ensure!(is_reported, "{rows}");
    Ok(())
}

/// The blocks of code of a page.
pub(crate) fn blocks(page: &str) -> Vec<CodeBlock> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
        let code = lines.by_ref().take_while(|line| *line != "```");
        blocks.push(CodeBlock {
            language: language.to_owned(),
            file: rest.strip_prefix("file=").map(str::to_owned),
            code: code.flat_map(|line| [line, "\n"]).collect(),
        });
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The Rust client, as it is built with the tests.
    const RUST_CLIENT: &str = "testing/scenarios/examples/report.rs";

    #[test]
    fn blocks_have_a_language_and_some_a_file() {
        let page = "a\n```sh\nb\n```\n```js file=c.mjs\nd\n\ne\n```\n";
        let block = |language: &str, file: Option<&str>, code: &str| CodeBlock {
            language: language.to_owned(),
            file: file.map(str::to_owned),
            code: code.to_owned(),
        };
        let expected = [block("sh", None, "b\n"), block("js", Some("c.mjs"), "d\n\ne\n")];
        assert_eq!(blocks(page), expected);
    }

    #[test]
    fn the_command_of_a_crontab_is_what_cron_makes_of_it() {
        let command = |line| command_of(line);
        assert_eq!(command("*/5 * * * *  a b \\% c\n").as_deref(), Some("a b % c"));
        for line in ["", "* * * * *", "* * * * a", "* * * * * a % b"] {
            assert_eq!(command(line), None, "{line}");
        }
    }

    #[test]
    fn the_rust_client_of_the_page_is_the_one_that_is_built() {
        let blocks = blocks(&fs::read_to_string(root().join(PAGE)).unwrap());
        let mut rust = blocks.iter().filter(|block| block.language == "rust");
        let built = fs::read_to_string(root().join(RUST_CLIENT)).unwrap();
        assert_eq!(rust.next().unwrap().code, built);
        assert_eq!(rust.next(), None);
    }
}
