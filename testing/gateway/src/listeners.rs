//! The two listeners: clients come to one, the processes of functions to the other. So whoever may reach the
//! service from elsewhere can't take its events away from the functions.

use std::{net::SocketAddr, sync::Arc};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::{api::Api, functions::Functions, runtime_api};

/// Serves clients, as long as this future is polled.
pub async fn clients(listener: TcpListener, api: Arc<Api>) {
    accept(listener, |stream, peer| {
        let api = api.clone();
        async move {
            let service = service_fn(move |request| api.clone().answer(request, peer));
            // A client that breaks off is no news.
            let _ = http1().serve_connection(stream, service).await;
        }
    })
    .await;
}

/// Serves the processes of functions, as long as this future is polled.
pub async fn processes(listener: TcpListener, functions: Arc<Functions>) {
    accept(listener, |stream, _| {
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

async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    serve: impl Fn(TokioIo<tokio::net::TcpStream>, SocketAddr) -> F,
) {
    loop {
        // Too many open files, say: those that are open go on.
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve(TokioIo::new(stream), peer));
    }
}
