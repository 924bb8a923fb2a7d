//! What a process does before it ends.

use std::time::Duration;

use http::Method;
use lambda_runtime::Error;
use lambda_runtime_api_client::{BoxError, PooledClient, body::Body, build_request};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};

/// The name of the internal extension; any that no other one has.
const EXTENSION: &str = "statshub-shutdown";
/// How long the registration may take. On Lambda it takes a millisecond.
const LONGEST_REGISTRATION: Duration = Duration::from_secs(1);

/// Has the process do something when it is asked to end (`SIGTERM`), and end then. Call it before
/// the first event is asked for.
///
/// Lambda asks only the functions that have an extension, and gives them 500 ms. This registers an
/// internal one for no events, which costs a request on the loopback interface. Without Lambda's
/// extensions API, as in some emulators, the process works all the same.
///
/// Source: *Lambda execution environment lifecycle*, AWS Lambda Developer Guide.
///
/// # Errors
/// The system does not let the process handle the signal.
pub(super) async fn before_end(last: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let mut asked = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        asked.recv().await;
        last();
        std::process::exit(0);
    });
    match timeout(LONGEST_REGISTRATION, register_extension()).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => tracing::debug!(%cause, "there are no extensions here"),
        Err(_) => tracing::warn!("the extensions API does not answer"),
    }
    Ok(())
}

/// Registers an extension for no events, and has it wait for one: Lambda waits until each extension
/// does.
///
/// Source: *Using the Lambda Extensions API to create extensions*, AWS Lambda Developer Guide.
async fn register_extension() -> Result<(), BoxError> {
    let client = PooledClient::builder().build();
    let request = build_request()
        .method(Method::POST)
        .uri("/2020-01-01/extension/register")
        .header("lambda-extension-name", EXTENSION)
        .header("content-type", "application/json")
        .body(Body::from(r#"{"events":[]}"#))?;
    let response = client.call(request).await?;
    if !response.status().is_success() {
        return Err(format!("the registration was answered by {}", response.status()).into());
    }
    let id = response.headers().get("lambda-extension-identifier");
    let id = id.ok_or("the registration has no identifier")?;
    let next = build_request()
        .uri("/2020-01-01/extension/event/next")
        .header("lambda-extension-identifier", id)
        .body(Body::empty())?;
    let next = client.call(next);
    // No event ever comes, and what ends the waiting ends the process.
    tokio::spawn(async move { drop(next.await) });
    Ok(())
}
