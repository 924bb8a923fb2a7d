//! The page, built and looked at in a browser, against the service.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use service::{
    Build, Database, OPEN, Service, ServiceSettings,
    bigquery_emulator::{Emulator, dataset},
    ports::free_port,
    tools,
    workspace::{root, run, say, target},
};
use statshub::{make_token::NewToken, run_archive, run_sql, timestamp};

/// A day, so that gauges stay in their period while the tests look at them, unless it is midnight.
const PERIOD_SECONDS: u32 = 24 * 60 * 60;

/// Whether the files of the page are to be as they are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageFiles {
    /// They become what is built.
    Written,
    /// A difference is an error.
    Checked,
}

/// Builds the page from its sources.
///
/// # Errors
/// The tools can't be installed, the build fails, or what is committed is another one.
pub fn build(files: PageFiles) -> anyhow::Result<()> {
    let mut build = Command::new("node");
    build.arg(root().join("page/build.mjs")).arg(tools::page_tools()?);
    if files == PageFiles::Checked {
        build.arg("--check");
    }
    run(&mut build)
}

/// Builds the page, compares it with what is committed, and tries it in a browser.
///
/// # Errors
/// A test fails, or the tools or the browser can't be installed.
pub fn test() -> anyhow::Result<()> {
    build(PageFiles::Checked)?;
    let browser = tools::chromium()?;
    let folder = target("page");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let bigquery = Emulator { port: free_port()?, data: folder.join("bigquery") };
    let archived = service(&folder, "archived", OPEN, Some(bigquery.clone()))?;
    let [reader, writer] = [NewToken::new("reader", "read")?, NewToken::new("writer", "write")?];
    let entries = format!("{},{}", reader.entry, writer.entry);
    let closed = service(&folder, "closed", &entries, None)?;
    let project = run_sql::DEFAULT_PROJECT;
    // The table of the archive has to be there before the tests add the past to it.
    let client = statshub::HttpClient::new(&archived.url());
    client.post("/stats/archived", r#"{"dims":{"archived":"es"},"counters":{"hits":1500300}}"#)?;
    run_archive::invoke(&archived.url(), &timestamp::from_seconds(run_archive::now()))?;
    let mut tests = Command::new("node");
    tests
        .args(["--test", "--test-reporter", "spec"])
        .env("PAGE_TOOLS", tools::page_tools()?)
        .env("PAGE_BROWSER", browser)
        .env("PAGE_PICTURES", folder.join("pictures"))
        .env("STATSHUB_URL", archived.url())
        .env("STATSHUB_DYNAMODB", archived.dynamodb_endpoint())
        .env(
            "STATSHUB_QUERIES",
            format!("http://{}/bigquery/v2/projects/{project}/queries", bigquery.host()),
        )
        .env("STATSHUB_DATASET", dataset())
        .env("STATSHUB_CLOSED_URL", closed.url())
        .env("STATSHUB_READER", &reader.secret)
        .env("STATSHUB_WRITER", &writer.secret);
    run(tests.args(test_files()?))?;
    say("the page does in a browser what docs/page.md says");
    Ok(())
}

fn test_files() -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join("page/tests"))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".test.mjs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn service(
    folder: &Path,
    name: &str,
    auth: &str,
    bigquery: Option<Emulator>,
) -> anyhow::Result<Service> {
    Service::start(ServiceSettings {
        port: free_port()?,
        bind: "127.0.0.1".to_owned(),
        build: Build::WithTests,
        database: Database::Embedded(folder.join(format!("{name}.sqlite"))),
        bigquery,
        auth: auth.to_owned(),
        variables: vec![("STATS_PERIOD_SECONDS".to_owned(), PERIOD_SECONDS.to_string())],
        exchanges: None,
    })
}
