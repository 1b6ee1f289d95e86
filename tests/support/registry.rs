//! An OCI registry in this process: pull and push, any server's rules for ranges, and a count of every body byte it sends.
//!
//! It shares no code with the product. It runs on a runtime and threads of its own, so tests use it like any other server, and ends when dropped.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::answers;
use super::body::{Counted, Exchange};
use super::content::Content;
use super::layout::{self, Image};
use super::message::{Asked, Reply};
pub use super::range_rules::Mode;
use super::watched::Watched;

/// What a registry does beside holding content.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whose rules for ranges.
    pub mode: Mode,
    /// Bearer tokens are asked for; anybody gets one, or only this user with this password.
    pub tokens: Option<Tokens>,
    /// Blobs are redirected to a second port whose addresses are signed and which refuses `Authorization`.
    pub redirect: Option<Redirect>,
    /// Some requests are answered with 429, or another status that says: later.
    pub busy: Option<Busy>,
    /// Every request is passed on to this server, and its answers are counted on their way.
    pub forward: Option<SocketAddr>,
}

/// How tokens are given.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// User and password that the token server asks for.
    pub user: Option<(String, String)>,
    /// After so many uses a token is refused, as if its time were over.
    pub uses: Option<u64>,
}

/// How blobs are redirected.
#[derive(Clone, Copy, Debug)]
pub struct Redirect {
    /// 302, 307 or 308.
    pub status: u16,
    /// After so many uses an address is refused, as if its time were over.
    pub uses: u64,
}

/// How often, and how, a registry is too busy.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    /// What it answers then.
    pub status: u16,
    /// Every n-th request.
    pub every: u64,
    /// The seconds of `Retry-After`, if it is there.
    pub retry_after: Option<u32>,
}

impl Options {
    /// A plain registry with the rules of `mode`.
    pub fn new(mode: Mode) -> Self {
        Self { mode, tokens: None, redirect: None, busy: None, forward: None }
    }
}

/// A fault to play once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One byte of the next ranged answer that does not reach the blob's end is wrong.
    WrongByte,
    /// From the n-th blob body on (the first is 0), each has a wrong byte.
    WrongFrom(usize),
    /// Each ranged answer that does not reach the blob's end has a wrong byte.
    WrongRanges,
    /// The n-th blob body from now (the first is 0) ends in its middle.
    Truncate(usize),
    /// Every n-th blob body ends in its middle, from now on.
    TruncateEach(usize),
    /// The n-th blob body stops in its middle and does not end.
    Hang(usize),
}

/// A registry that serves until it is dropped.
pub struct Registry {
    state: Arc<State>,
    runtime: Option<Runtime>,
}

/// What all connections share.
pub struct State {
    /// As given.
    pub options: Options,
    /// The address of the registry.
    pub address: SocketAddr,
    /// The address that blobs are redirected to.
    pub target: SocketAddr,
    /// What is held.
    pub content: Mutex<Content>,
    /// Faults to play, in the order given.
    pub faults: Mutex<Vec<Fault>>,
    /// Scope and uses left of every token given.
    pub tokens: Mutex<HashMap<String, (String, u64)>>,
    /// Blob bodies since a [`Fault::Truncate`] was set.
    pub bodies: AtomicUsize,
    /// Redirects given, for signatures that differ.
    pub signatures: AtomicU64,
    /// Uses left of every signature given.
    pub signed: Mutex<HashMap<String, u64>>,
    /// Requests to the registry so far.
    pub asked: AtomicU64,
    /// Blobs that a cache has.
    warm: Mutex<HashSet<String>>,
    exchanges: Mutex<Vec<Arc<Exchange>>>,
    /// Connections that are open.
    open: AtomicUsize,
}

/// A sum over requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests that were answered.
    pub requests: u64,
    /// Bytes of all bodies.
    pub body_bytes: u64,
    /// Those of bodies that the client did not read to their end, of which it may have received less.
    pub abandoned_bytes: u64,
}

impl Registry {
    /// Starts a registry on ports of the kernel's choice.
    pub fn start(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads can be started");
        let listen = || runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback has a free port");
        let (front, target) = (listen(), listen());
        let address = |listener: &TcpListener| listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State {
            options,
            address: address(&front),
            target: address(&target),
            content: Mutex::default(),
            faults: Mutex::default(),
            tokens: Mutex::default(),
            bodies: AtomicUsize::new(0),
            signatures: AtomicU64::new(0),
            signed: Mutex::default(),
            asked: AtomicU64::new(0),
            warm: Mutex::default(),
            exchanges: Mutex::default(),
            open: AtomicUsize::new(0),
        });
        runtime.spawn(accept(front, state.clone(), Door::Front));
        runtime.spawn(accept(target, state.clone(), Door::Target));
        Self { state, runtime: Some(runtime) }
    }

    /// A plain registry with the rules of `mode`.
    pub fn with_mode(mode: Mode) -> Self {
        Self::start(Options::new(mode))
    }

    /// A counter in front of a running registry.
    pub fn in_front_of(server: SocketAddr) -> Self {
        Self::start(Options { forward: Some(server), ..Options::new(Mode::Go) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// What it holds, to put things in or take a look.
    pub fn content(&self) -> std::sync::MutexGuard<'_, Content> {
        self.state.content.lock().expect("no handler panics")
    }

    /// Takes an image of a layout in, as if it had been pushed.
    pub fn load(&self, repository: &str, dir: &Path, name: &str, tag: &str) {
        let image = Image::read(dir, name);
        let read = |digest: &str| Bytes::from(std::fs::read(layout::blob_path(dir, digest)).expect("a blob is there"));
        let mut content = self.content();
        let config = image.manifest["config"]["digest"].as_str().expect("a config").to_owned();
        for digest in image.layers().into_iter().chain([config]) {
            content.add_blob(repository, read(&digest));
        }
        let kind = image.manifest["mediaType"].as_str().expect("a type");
        content.put_manifest(repository, tag, kind, read(&image.digest)).expect("all that it names is there");
    }

    /// Lets the caches have every blob.
    pub fn warm_all(&self) {
        let blobs = self.content().all_blobs();
        blobs.iter().for_each(|digest| self.state.warm(digest));
    }

    /// Plays `fault` once.
    pub fn inject(&self, fault: Fault) {
        self.state.bodies.store(0, Ordering::SeqCst);
        self.state.faults.lock().expect("no handler panics").push(fault);
    }

    /// Faults that were not played yet.
    pub fn faults_left(&self) -> usize {
        self.state.faults.lock().expect("no handler panics").len()
    }

    /// Every request so far. Keep its length to look at later requests only.
    pub fn log(&self) -> Vec<Arc<Exchange>> {
        self.state.exchanges.lock().expect("no handler panics").clone()
    }

    /// The sum over the requests after the first `skip`, once the clients have closed their connections.
    #[track_caller]
    pub fn count_after(&self, skip: usize) -> Count {
        let begun = Instant::now();
        while self.state.open.load(Ordering::SeqCst) > 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "a client keeps a connection open");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut count = Count::default();
        for exchange in self.log().iter().skip(skip) {
            count.requests += 1;
            count.body_bytes += exchange.sent();
            count.abandoned_bytes += if exchange.abandoned() { exchange.sent() } else { 0 };
        }
        count
    }
}

impl State {
    /// Whether a cache has this blob.
    pub fn is_warm(&self, digest: &str) -> bool {
        self.warm.lock().expect("no handler panics").contains(digest) || self.was_read_whole(digest)
    }

    /// From now on a cache has this blob.
    pub fn warm(&self, digest: &str) {
        self.warm.lock().expect("no handler panics").insert(digest.to_owned());
    }

    fn was_read_whole(&self, digest: &str) -> bool {
        let exchanges = self.exchanges.lock().expect("no handler panics");
        exchanges.iter().any(|one| one.path.ends_with(digest) && one.status == 200 && !one.abandoned())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Which of the two ports a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The registry.
    Front,
    /// The place that blobs are redirected to.
    Target,
}

async fn accept(listener: TcpListener, state: Arc<State>, door: Door) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        state.open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(serve(stream, state.clone(), door));
    }
}

/// One connection. When the client breaks it off, what was sent last was not read to its end, however much of it fitted the socket's buffers.
async fn serve(stream: TcpStream, state: Arc<State>, door: Door) {
    let (broken, last) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None::<Arc<Exchange>>)));
    let stream = TokioIo::new(Watched::new(stream, broken.clone()));
    let (shared, newest) = (state.clone(), last.clone());
    let service = service_fn(move |request| {
        let (state, newest) = (shared.clone(), newest.clone());
        async move {
            let (exchange, response) = handle(&state, door, request).await;
            *newest.lock().expect("no handler panics") = Some(exchange);
            Ok::<_, Infallible>(response)
        }
    });
    // How the connection ended is told by the stream; hyper's own result mixes that with bodies that were cut on purpose.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
    if let Some(exchange) = last.lock().expect("no handler panics").as_ref().filter(|_| broken.load(Ordering::SeqCst)) {
        exchange.abandon();
    }
    state.open.fetch_sub(1, Ordering::SeqCst);
}

async fn handle(state: &Arc<State>, door: Door, request: Request<Incoming>) -> (Arc<Exchange>, Response<Counted>) {
    let (head, body) = request.into_parts();
    let reply = match body.collect().await {
        Ok(body) => {
            let asked = Asked::new(door, &head, body.to_bytes());
            let state = state.clone();
            let answer = tokio::task::spawn_blocking(move || answers::answer(&state, &asked)).await;
            answer.unwrap_or_else(|_| Reply::text(500, "the test registry panicked\n"))
        }
        Err(_) => Reply::text(400, "the request's body ended too soon\n"),
    };
    let exchange = Arc::new(Exchange::new(&head, &reply));
    state.exchanges.lock().expect("no handler panics").push(exchange.clone());
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let body = Counted::new(exchange.clone(), reply);
    (exchange, response.body(body).expect("the reply's headers are valid"))
}
