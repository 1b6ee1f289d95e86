//! A server that answers exactly what a test tells it to: truthfully or not, whole or cut short.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One request as it came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// One answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Only so many bytes of the body are sent before the connection is closed.
    pub cut: Option<usize>,
    /// The connection is closed without a word.
    pub silent: bool,
    /// The pause after each byte of the body.
    pub pause: Option<std::time::Duration>,
    /// After the body come zeros, in chunks, for as long as somebody reads them.
    pub endless: bool,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// No answer at all.
    pub fn silence() -> Self {
        Self { silent: true, ..Self::default() }
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn trickle(mut self, pause: std::time::Duration) -> Self {
        self.pause = Some(pause);
        self
    }

    pub fn endless(mut self) -> Self {
        self.endless = true;
        self
    }

    pub fn cut(mut self, at: usize) -> Self {
        self.cut = Some(at);
        self
    }
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// A running server; ends with the value.
pub struct Server {
    pub address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    sent: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("an address").to_string();
        let (seen, sent) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let handler: Handler = Arc::new(handler);
        let task = tokio::spawn({
            let (seen, sent) = (seen.clone(), sent.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, handler.clone(), seen.clone(), sent.clone()));
                }
            }
        });
        Self { address, seen, sent, task }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("the log").clone()
    }

    /// A look at what came, without a copy of it.
    pub fn look<T>(&self, look: impl FnOnce(&[Seen]) -> T) -> T {
        look(&self.seen.lock().expect("the log"))
    }

    /// The `Range` headers, in order of arrival.
    pub fn ranges(&self) -> Vec<String> {
        self.seen().iter().filter_map(|seen| seen.header("range").map(str::to_owned)).collect()
    }

    /// Body bytes written.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, handler: Handler, log: Arc<Mutex<Vec<Seen>>>, sent: Arc<AtomicU64>) {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = read(&mut stream).await {
        log.lock().expect("the log").push(seen.clone());
        let reply = handler(&seen);
        if reply.silent {
            return;
        }
        let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
        if !reply.endless && !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
            head += &format!("Content-Length: {}\r\n", reply.body.len());
        }
        for (name, value) in &reply.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        if stream.get_mut().write_all(head.as_bytes()).await.is_err() {
            return;
        }
        let body = &reply.body[..reply.cut.unwrap_or(reply.body.len())];
        if seen.method != "HEAD" {
            for piece in body.chunks(if reply.pause.is_some() { 1 } else { 8 << 10 }) {
                if stream.get_mut().write_all(piece).await.is_err() {
                    return;
                }
                sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
                if let Some(pause) = reply.pause {
                    tokio::time::sleep(pause).await;
                }
            }
            if reply.endless {
                let chunk = [&b"2000\r\n"[..], &[0; 8 << 10], b"\r\n"].concat();
                while stream.get_mut().write_all(&chunk).await.is_ok() {}
                return;
            }
        }
        if reply.cut.is_some() {
            let _ = stream.get_mut().shutdown().await;
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut seen = Seen::default();
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|&len| len > 0)?;
    let mut words = line.split_whitespace();
    (seen.method, seen.target) = (words.next()?.to_owned(), words.next()?.to_owned());
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        seen.headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    seen.body = vec![0; length];
    stream.read_exact(&mut seen.body).await.ok()?;
    Some(seen)
}
