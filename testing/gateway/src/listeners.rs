//! The two listeners: one for clients, one for the processes of functions. A client on another
//! machine thus can't take events away from the functions.

use std::sync::Arc;

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioTimer;
use loopback::accept;
use tokio::net::TcpListener;

use crate::{functions::Functions, http_api::HttpApi, runtime_api};

/// Serves clients for as long as this future is polled.
pub async fn clients(listener: TcpListener, api: Arc<HttpApi>) {
    accept(listener, move |stream, peer| {
        let api = api.clone();
        async move {
            let service = service_fn(move |request| api.clone().answer(request, peer));
            // A client that breaks off is no news.
            let _ = http1().serve_connection(stream, service).await;
        }
    })
    .await;
}

/// Serves the processes of functions for as long as this future is polled.
pub async fn processes(listener: TcpListener, functions: Arc<Functions>) {
    accept(listener, move |stream, _| {
        let functions = functions.clone();
        async move {
            let connected = std::sync::OnceLock::new();
            let service = service_fn(|request| {
                // The first request says whose connection it is.
                let function = runtime_api::function(request.uri().path());
                if let Some(function) = function.and_then(|(name, _)| functions.get(name)) {
                    connected.get_or_init(|| function.connect());
                }
                runtime_api::answer(functions.clone(), request)
            });
            let _ = http1().serve_connection(stream, service).await;
        }
    })
    .await;
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    builder
}
