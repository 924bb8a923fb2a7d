//! The client: a dataset of BigQuery, and the addresses of what is in it.

use std::{error::Error, sync::Mutex};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::redirect;
use serde::de::DeserializeOwned;
use shared::{config::ConfigError, deadline::Deadline};

use crate::{
    BigQueryError, Config, Pace, Pauses,
    config::Access,
    credentials::AccessTokens,
    send::{Once, Reply, Sender},
};

/// What stays as it is in a segment of a path.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A dataset of BigQuery.
#[derive(Debug)]
pub struct BigQuery {
    pub(crate) sender: Sender,
    base: String,
    pub(crate) project: String,
    pub(crate) dataset: String,
    pub(crate) location: Option<String>,
}

impl BigQuery {
    /// The dataset that the configuration names. Call it within a runtime of tokio.
    ///
    /// # Errors
    /// The credentials lack something, or the machine has no certificates.
    pub fn new(config: &Config, pace: Pace, random: fastrand::Rng) -> Result<Self, ConfigError> {
        // The provider of the AWS SDK, for one in the binary. The second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(pace.connect)
            // A resumable upload answers with 308, which must not be followed.
            .redirect(redirect::Policy::none());
        let http = match &config.access {
            // Without TLS no certificates are needed, and the emulator is near.
            Access::Emulator(_) => http.no_proxy().tls_certs_only([]),
            Access::Google(_) => http,
        };
        let http =
            http.build().map_err(|error| ConfigError::new("GOOGLE_PROJECT", causes(&error)))?;
        let tokens = AccessTokens::new(&config.access)
            .map_err(|error| ConfigError::new("GOOGLE_TOKEN", causes(&error)))?;
        Ok(Self {
            sender: Sender { http, tokens, pace, random: Mutex::new(random) },
            base: config.address.clone(),
            project: config.project.clone(),
            dataset: config.dataset.clone(),
            location: config.location.clone(),
        })
    }

    /// The dataset.
    #[must_use]
    pub fn dataset(&self) -> &str {
        &self.dataset
    }

    /// Pauses for a caller that asks again for something that is not there yet.
    #[must_use]
    pub fn pauses(&self) -> Pauses<'_> {
        self.sender.pauses()
    }

    /// The address of something in a project.
    pub(crate) fn url(&self, project: &str, path: &[&str]) -> String {
        self.address("bigquery/v2", project, path)
    }

    /// The address to which jobs with content are uploaded.
    pub(crate) fn upload_url(&self, project: &str) -> String {
        self.address("upload/bigquery/v2", project, &["jobs"])
    }

    fn address(&self, service: &str, project: &str, path: &[&str]) -> String {
        let mut address = format!("{}/{service}/projects", self.base);
        for segment in [project].iter().chain(path) {
            address.push('/');
            address.extend(utf8_percent_encode(segment, &UNRESERVED));
        }
        address
    }

    /// Sends a request until it is answered, and reads the JSON of the answer.
    ///
    /// # Errors
    /// See [`BigQueryError`].
    pub(crate) async fn request<T: DeserializeOwned>(
        &self,
        deadline: Deadline,
        request: impl Fn(&reqwest::Client) -> reqwest::RequestBuilder,
    ) -> Result<T, BigQueryError> {
        let exchange = Once { request, read: Reply::json };
        self.sender.send(exchange, self.sender.limits(deadline)).await
    }
}

/// An error with its causes, in a line.
fn causes(error: &dyn Error) -> String {
    let mut causes = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        causes = format!("{causes}: {cause}");
        next = cause.source();
    }
    causes
}
