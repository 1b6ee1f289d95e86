//! Connections: accepted up to a limit, each with bounded heads and buffers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::limits;
use crate::store::Layout;

use super::answer::{Question, Source, answer};
use super::body::{Body, Counters};

/// How long to wait before accepting again when the system has no more file descriptors or memory.
const BREATH: Duration = Duration::from_millis(100);

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether addresses beyond loopback are allowed. Everyone who reaches the address can read everything in the layout.
    pub public: bool,
    /// Connections at a time; more wait to be accepted.
    pub connections: usize,
    /// Where requests and bytes are counted.
    pub counters: Arc<Counters>,
}

impl Default for Options {
    fn default() -> Self {
        Self { public: false, connections: 256, counters: Arc::default() }
    }
}

/// Why serving does not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener does not say where it listens.
    #[error("cannot tell the address that is listened on")]
    Address(#[source] io::Error),
    /// An address that others can reach, without leave.
    #[error("{0} can be reached from other machines; serving there must be asked for explicitly")]
    Public(SocketAddr),
}

/// Serves `layout` on `listener` until the future is dropped, which also ends the connections. `index.json` is read anew for every
/// request, so what another process adds to the layout is there at once.
///
/// # Errors
/// [`ServeError::Public`] when the address is not a loopback one and `options` do not allow that.
pub async fn serve(layout: Layout, listener: TcpListener, options: Options) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Address)?;
    if !options.public && !address.ip().to_canonical().is_loopback() {
        return Err(ServeError::Public(address));
    }
    let source = Source { layout, counters: options.counters };
    let slots = Arc::new(Semaphore::new(options.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    loop {
        let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, source.clone(), slot));
            }
            // One connection's fault, or a shortage that passes: neither is a reason to stop.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, source: Source, _slot: OwnedSemaphorePermit) {
    // Bodies go out in large pieces; what is held back would only be the end of one.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| respond(source.clone(), request));
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::REQUEST_TIME)
        .max_buf_size(limits::REQUEST_HEAD)
        .max_headers(limits::REQUEST_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = result {
        tracing::debug!(%error, "a connection broke off");
    }
}

async fn respond(source: Source, request: Request<Incoming>) -> Result<Response<Body>, tokio::task::JoinError> {
    let (head, _) = request.into_parts();
    let question = Question {
        method: head.method,
        path: head.uri.path().into(),
        query: head.uri.query().map(Into::into),
        headers: head.headers,
    };
    tokio::task::spawn_blocking(move || answer(&source, &question)).await
}
