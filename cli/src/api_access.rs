//! How a command reaches the HTTP API: where it is, and the token that it sends.

use anyhow::{Context, bail, ensure};
use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use ureq::http::{Request, Response, request};

use crate::{HttpClient, aws_cli::AwsCli};

/// The variable with the address of the service.
pub const URL_VARIABLE: &str = "STATSHUB_URL";
/// The variable with the token: it is no option, which other processes could read.
pub const TOKEN_VARIABLE: &str = "STATSHUB_TOKEN";
/// The address of a service that `cargo xtask dev` runs.
pub const LOCAL_URL: &str = "http://localhost:9000";

/// What a path or a query may contain as it is.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Which service a command talks to.
#[derive(Debug, Args)]
#[command(next_help_heading = "The service")]
pub struct ApiOptions {
    #[arg(long, conflicts_with = "stack")]
    #[arg(
        help = "Its address. The token is in STATSHUB_TOKEN [default: http://localhost:9000] [env: STATSHUB_URL]"
    )]
    url: Option<String>,
    /// The stack that it belongs to, in place of --url. This needs the AWS CLI
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
}

/// The HTTP API of a service.
#[derive(Debug, Clone)]
pub struct Api {
    url: String,
    client: HttpClient,
    token: Option<String>,
}

impl ApiOptions {
    /// The API of the service, with the token of the environment.
    ///
    /// # Errors
    /// There is no such stack, or CloudFormation can't be asked.
    pub fn open(&self) -> anyhow::Result<Api> {
        let url = match &self.stack {
            Some(stack) => AwsCli::default().stack(stack)?.output("Url")?.to_owned(),
            // Not by clap, for which a variable would conflict with `--stack`.
            None => {
                self.url.clone().or_else(|| variable(URL_VARIABLE)).unwrap_or(LOCAL_URL.to_owned())
            }
        };
        Ok(Api::new(&url, variable(TOKEN_VARIABLE)))
    }
}

impl Api {
    /// The API at an address.
    #[must_use]
    pub fn new(url: &str, token: Option<String>) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self { client: HttpClient::new(&url), url, token }
    }

    /// The answer to a GET that succeeds, or a 304 to one with an `If-None-Match`.
    ///
    /// # Errors
    /// There is no answer, or one of another status; the message says what to do.
    pub fn get(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        if_none_match: Option<&str>,
    ) -> anyhow::Result<Response<String>> {
        let mut request = Request::get(format!("{path}{}", query(parameters)));
        if let Some(etag) = if_none_match {
            request = request.header("if-none-match", etag);
        }
        let answer = self.send(request, String::new())?;
        match answer.status().as_u16() {
            200 | 304 => Ok(answer),
            _ => bail!(self.refusal(&answer)),
        }
    }

    /// The answer to a request, whatever its status is.
    ///
    /// # Errors
    /// There is no answer.
    pub fn send(
        &self,
        mut request: request::Builder,
        body: String,
    ) -> anyhow::Result<Response<String>> {
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(body).with_context(|| {
            format!(
                "this can't be sent: are {URL_VARIABLE} and {TOKEN_VARIABLE} what they should be?"
            )
        })?;
        self.client.send(request).with_context(|| {
            format!(
                "{} does not answer. --url, {URL_VARIABLE} or --stack say where the service is; `cargo xtask dev` runs \
                 one at {LOCAL_URL}",
                self.url
            )
        })
    }

    /// What a refusal means, and what to do about it.
    #[must_use]
    pub fn refusal(&self, answer: &Response<String>) -> String {
        let status = answer.status();
        let reason = reason(answer.body());
        let advice = match (status.as_u16(), &self.token) {
            (401, None) => {
                "\nSet STATSHUB_TOKEN to a token of the service: see statshub token --help"
            }
            (401, Some(_)) => "\nThe service does not know the token in STATSHUB_TOKEN",
            (403, _) => "\nThe token in STATSHUB_TOKEN lacks the scope: see statshub token --help",
            (429 | 503, _) => "\nThe service is busy: try again later",
            _ => "",
        };
        format!("{} answers {status}: {reason}{advice}", self.url)
    }
}

/// The body of every answer that is no success: of the service, or of API Gateway.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "Error", alias = "message")]
    error: String,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn reason(body: &str) -> String {
    serde_json::from_str(body).map_or_else(|_| body.to_owned(), |Refusal { error }| error)
}

/// A name as a segment of a path.
#[must_use]
pub fn segment(name: &str) -> String {
    utf8_percent_encode(name, &PLAIN).to_string()
}

fn query(parameters: &[(&str, &str)]) -> String {
    let pairs =
        parameters.iter().map(|(name, value)| format!("{}={}", segment(name), segment(value)));
    let pairs: Vec<_> = pairs.collect();
    match pairs.is_empty() {
        true => String::new(),
        false => format!("?{}", pairs.join("&")),
    }
}

/// The body of a successful answer, as JSON.
///
/// # Errors
/// It is something else.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a str) -> anyhow::Result<T> {
    let parsed = serde_json::from_str(body);
    parsed.context("the answer is not what this program expects: is it a service of statshub?")
}

/// Whether an answer may be another one if the same request is sent again.
#[must_use]
pub fn is_passing(status: u16) -> bool {
    matches!(status, 429 | 500 | 502..=504)
}

/// A name, which paths of the API need.
///
/// # Errors
/// It is empty.
pub fn named<'a>(name: &'a str, what: &str) -> anyhow::Result<&'a str> {
    ensure!(!name.is_empty(), "the {what} is empty");
    Ok(name)
}
