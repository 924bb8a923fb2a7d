//! The log, on the standard output, at the level and in the format that Lambda's own variables
//! name.
//!
//! No line of it has a token, a header or a body. Our own code logs none of them. Other crates do
//! at the level `TRACE`, which is therefore left out: the Lambda runtime then logs each event as it
//! came, `Authorization` included, and the AWS SDK each request to DynamoDB.

use std::{env, fmt::Display, io};

use lambda_runtime::tracing::subscriber::{
    Layer,
    filter::{LevelFilter, Targets, filter_fn},
    fmt,
    fmt::MakeWriter,
    layer::SubscriberExt,
    registry,
    util::SubscriberInitExt,
};
use tracing::{Level, Metadata, Subscriber};

use crate::http::Problem;

/// The crates of this workspace that run on Lambda.
const OWN: [&str; 6] = ["archive", "bigquery", "history", "query", "shared", "update"];

/// What a line is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An object of JSON.
    Json,
    /// Text.
    Text,
}

/// Starts the log. A process calls this once.
///
/// `AWS_LAMBDA_LOG_LEVEL` names the level, and `RUST_LOG` may name another one, and others by
/// module. `AWS_LAMBDA_LOG_FORMAT` names the format.
pub fn start() {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    let by_module = env::var("RUST_LOG").unwrap_or_default();
    let filter = filter(level.unwrap_or(LevelFilter::INFO), &by_module);
    let format = match env::var("AWS_LAMBDA_LOG_FORMAT") {
        Ok(format) if format.eq_ignore_ascii_case("json") => Format::Json,
        _ => Format::Text,
    };
    subscriber(filter, format, io::stdout).init();
}

/// A filter that lets this level through, and others by module: `debug,shared=trace`. What is no
/// level is left out. `EnvFilter` has patterns for spans besides, by regular expressions that the
/// functions would be larger with.
fn filter(level: LevelFilter, by_module: &str) -> Targets {
    let mut filter = Targets::new().with_default(level);
    for directive in by_module.split(',').map(str::trim) {
        let (module, level) = match directive.split_once('=') {
            Some((module, level)) => (Some(module), level),
            None => (None, directive),
        };
        filter = match (module, level.parse::<LevelFilter>()) {
            (Some(module), Ok(level)) => filter.with_target(module, level),
            (None, Ok(level)) => filter.with_default(level),
            (_, Err(_)) => filter,
        };
    }
    filter
}

/// Logs why the function does not start. An alarm of `template.yaml` looks for these words.
pub fn start_failed(cause: &dyn Display) {
    tracing::error!(%cause, "the function does not start");
}

/// A subscriber that writes what the filter lets through.
pub fn subscriber(
    filter: Targets,
    format: Format,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    // A line says enough without its module.
    let lines = fmt::layer().with_target(false).with_writer(writer);
    let lines = match format {
        // Lambda takes a line of JSON for one of INFO unless it has a level and an RFC 3339
        // timestamp (source: *Log-level filtering*, AWS Lambda Developer Guide).
        Format::Json => lines.json().boxed(),
        // CloudWatch adds times.
        Format::Text => lines.without_time().boxed(),
    };
    registry().with(lines).with(filter).with(filter_fn(is_harmless))
}

/// Logs a problem with its causes, once. A problem without a cause is the client's to know. Its
/// text may quote the request, and the log shows nothing of a request.
pub fn log_problem(problem: &Problem) {
    let status = problem.status();
    let Some(error) = problem.cause() else {
        tracing::debug!(%status, "refused");
        return;
    };
    let causes = problem.causes();
    if status.is_server_error() {
        tracing::error!(%status, causes, "{error}");
    } else {
        tracing::warn!(%status, causes, "{error}");
    }
}

fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let crate_name = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() < Level::TRACE || OWN.contains(&crate_name)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_of_json_have_a_level_and_an_rfc_3339_timestamp_and_lines_of_text_no_time() {
        let line = |format| {
            let lines = Lines::default();
            let writer = lines.clone();
            let subscriber =
                subscriber(filter(LevelFilter::INFO, ""), format, move || writer.clone());
            tracing::subscriber::with_default(subscriber, || tracing::warn!("careful"));
            String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
        };
        let json: serde_json::Value = serde_json::from_str(&line(Format::Json)).unwrap();
        assert_eq!(json["level"], "WARN");
        let timestamp = json["timestamp"].as_str().unwrap();
        let form: String =
            timestamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert!(form.starts_with("0000-00-00T00:00:00.0") && form.ends_with('Z'), "{timestamp}");
        assert!(line(Format::Text).trim_start().starts_with("WARN"));
    }

    #[test]
    fn modules_have_the_levels_that_are_named_for_them() {
        let filter = filter(LevelFilter::INFO, "warn, shared=trace,,other,x=loud,hyper=off");
        for (module, level, passes) in [
            ("shared::store", Level::TRACE, true),
            ("update", Level::WARN, true),
            ("update", Level::INFO, false),
            ("other", Level::INFO, false),
            ("x", Level::INFO, false),
            ("hyper::client", Level::ERROR, false),
        ] {
            assert_eq!(filter.would_enable(module, &level), passes, "{module} {level}");
        }
    }

    #[test]
    fn traces_of_other_crates_are_left_out_whatever_the_filter_names() {
        for by_module in
            ["trace", "info,lambda_runtime=trace,aws_smithy_runtime=trace,shared=trace"]
        {
            for format in [Format::Text, Format::Json] {
                let lines = Lines::default();
                let writer = lines.clone();
                let filter = filter(LevelFilter::ERROR, by_module);
                let subscriber = subscriber(filter, format, move || writer.clone());
                tracing::subscriber::with_default(subscriber, || {
                    tracing::trace!(target: "lambda_runtime::layers::api_response", "secret");
                    tracing::trace!(target: "aws_smithy_runtime::client::orchestrator", "secret");
                    tracing::trace!(target: "sharedness", "secret");
                    tracing::info!(target: "lambda_runtime", "theirs");
                    tracing::trace!("ours");
                });
                let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
                assert!(lines.contains("theirs") && lines.contains("ours"), "{lines}");
                assert!(!lines.contains("secret"), "{lines}");
                assert_eq!(lines.starts_with('{'), format == Format::Json, "{lines}");
            }
        }
    }
}
