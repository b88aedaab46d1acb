//! `GET /metrics`, and nothing else.

use super::page::Source;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::prometheus_text;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The only path.
const PATH: &str = "/metrics";
/// How many may ask at once; one more waits.
const AT_ONCE: usize = 8;
/// How long a request, and its answer, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a page is good: DIR is not looked at more often, whoever asks.
const FRESH: Duration = Duration::from_secs(1);
/// How soon it is tried again to take a connection, where the system has no descriptor left.
const RETRY: Duration = Duration::from_millis(200);

/// The last page, and when it was made.
type Cached = Arc<Mutex<Option<(Instant, Bytes)>>>;

/// Answers until the listener can't be used.
pub(super) async fn serve(source: &Source, listener: TcpListener) {
    let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    let listener = match listener {
        Ok(listener) => listener,
        Err(e) => return tracing::warn!("--metrics-listen: {e}; tried again"),
    };
    if let Ok(at) = listener.local_addr() {
        tracing::info!("metrics: http://{at}{PATH}");
    }
    let cached = Cached::default();
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= AT_ONCE {
            connections.join_next().await;
        }
        tokio::select! {
            Some(_) = connections.join_next() => {}
            taken = listener.accept() => match taken {
                Ok((stream, _)) => {
                    connections.spawn(answer(source.clone(), Arc::clone(&cached), stream));
                }
                Err(e) => {
                    tracing::debug!("--metrics-listen: {e}");
                    tokio::time::sleep(RETRY).await;
                }
            },
        }
    }
}

async fn answer(source: Source, cached: Cached, stream: TcpStream) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = respond(&source, &cached, &request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let talk = http.serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(PATIENCE, talk).await;
}

fn respond(source: &Source, cached: &Cached, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let said = |status, text: &'static str| {
        let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *answer.status_mut() = status;
        answer
    };
    if request.uri().path() != PATH {
        return said(StatusCode::NOT_FOUND, "there is /metrics, and nothing else\n");
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut answer = said(StatusCode::METHOD_NOT_ALLOWED, "GET it\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    let mut answer = Response::new(Full::new(page(source, cached)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(prometheus_text::CONTENT_TYPE));
    answer
}

fn page(source: &Source, cached: &Cached) -> Bytes {
    let now = source.env.clock.steady();
    let mut cached = cached.lock().unwrap_or_else(PoisonError::into_inner);
    match &*cached {
        Some((made, page)) if now.duration_since(*made) < FRESH => page.clone(),
        _ => {
            let page = Bytes::from(source.page(true));
            *cached = Some((now, page.clone()));
            page
        }
    }
}
