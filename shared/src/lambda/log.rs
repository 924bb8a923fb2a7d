//! The log, on the standard output, as Lambda's own variables want it.
//!
//! Tokens, headers and bodies are in no line of it. What is written here does not log them; what the crates
//! below do at the level `TRACE` does, so that is left out: the Lambda runtime then logs each event as it
//! came, `Authorization` included, and the AWS SDK each request to DynamoDB.

use std::{env, io};

use lambda_runtime::tracing::subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, filter_fn},
    fmt,
    fmt::MakeWriter,
    layer::SubscriberExt,
    registry,
    util::SubscriberInitExt,
};
use tracing::{Level, Metadata, Subscriber};

/// The crates of this workspace that run on Lambda.
const OWN: [&str; 6] = ["archive", "bigquery", "history", "query", "shared", "update"];

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An object of JSON.
    Json,
    /// Text.
    Text,
}

/// Logs from now on. Once in a process.
///
/// `AWS_LAMBDA_LOG_LEVEL`, else `RUST_LOG`, has the level, and `RUST_LOG` may have others by module;
/// `AWS_LAMBDA_LOG_FORMAT` has the format.
pub fn start() {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").or_else(|_| env::var("RUST_LOG"));
    let level = level.ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let format = match env::var("AWS_LAMBDA_LOG_FORMAT") {
        Ok(format) if format.eq_ignore_ascii_case("json") => Format::Json,
        _ => Format::Text,
    };
    subscriber(filter, format, io::stdout).init();
}

/// Writes what the filter lets through.
pub fn subscriber(
    filter: EnvFilter,
    format: Format,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    // Lambda adds times, and a line says enough without its module.
    let lines = fmt::layer().with_target(false).without_time().with_writer(writer);
    let lines = match format {
        Format::Json => lines.json().boxed(),
        Format::Text => lines.boxed(),
    };
    registry().with(lines).with(filter).with(filter_fn(is_harmless))
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
    fn what_others_trace_is_left_out_whatever_is_asked_for() {
        for filter in ["trace", "info,lambda_runtime=trace,aws_smithy_runtime=trace,shared=trace"] {
            for format in [Format::Text, Format::Json] {
                let lines = Lines::default();
                let writer = lines.clone();
                let subscriber = subscriber(EnvFilter::new(filter), format, move || writer.clone());
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
