//! Response bodies that are counted as they leave, and can end too soon.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::message::Reply;

/// The largest piece handed out at once. Small, so that a body that the client drops is not counted far beyond what it read.
const PIECE: usize = 16 << 10;

/// One request and what was sent for it.
#[derive(Debug)]
pub struct Exchange {
    /// `GET` and so on.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// Whether there was an `Authorization` header.
    pub authorized: bool,
    /// The answer's status.
    pub status: u16,
    /// How long each piece of the body is, and what of a blob it is.
    pub layout: Vec<(u64, Option<Range<u64>>)>,
    sent: AtomicU64,
    ended: AtomicBool,
    broken: AtomicBool,
}

impl Exchange {
    /// A request whose answer has sent nothing yet.
    pub fn new(head: &hyper::http::request::Parts, reply: &Reply) -> Self {
        let header =
            |name: &str| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Self {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            range: header("range"),
            authorized: header("authorization").is_some(),
            status: reply.status,
            layout: reply.body.iter().map(|piece| piece.len() as u64).zip(reply.spans.iter().cloned()).collect(),
            sent: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }
    }

    /// Bytes of the body that were handed to the connection.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// What of a blob was sent, in the order in which it was.
    pub fn parts(&self) -> Vec<Range<u64>> {
        let mut left = self.sent();
        let mut parts = Vec::new();
        for (len, span) in &self.layout {
            let now = left.min(*len);
            left -= now;
            parts.extend(span.as_ref().filter(|_| now > 0).map(|span| span.start..span.start + now));
        }
        parts
    }

    /// The client broke off the connection on which this was the last answer.
    pub fn abandon(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    /// Whether the client may have received less than was sent: it broke off, or the body was not sent to its end (or to where it was cut).
    pub fn abandoned(&self) -> bool {
        self.broken.load(Ordering::SeqCst) || !self.ended.load(Ordering::SeqCst)
    }
}

/// A body in memory.
pub struct Counted {
    exchange: Arc<Exchange>,
    pieces: VecDeque<Bytes>,
    /// Bytes promised and not yet sent.
    promised: u64,
    /// Bytes that will be sent before the connection breaks.
    allowed: u64,
    /// Whether nothing comes after that, rather than a break.
    hangs: bool,
    /// The pause before the break, in which the connection sends what it holds.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Counted {
    /// The body of `reply`: its pieces in their order, up to where it is cut or hangs.
    pub fn new(exchange: Arc<Exchange>, reply: Reply) -> Self {
        let all = reply.body.iter().map(|piece| piece.len() as u64).sum();
        let allowed = reply.cut.or(reply.hang).unwrap_or(all).min(all);
        let promised = reply.false_length.unwrap_or(all);
        exchange.ended.store(allowed == 0, Ordering::SeqCst);
        Self { exchange, pieces: reply.body.into(), promised, allowed, hangs: reply.hang.is_some(), pause: None }
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        let most = PIECE.min(usize::try_from(self.allowed).unwrap_or(PIECE));
        while self.pieces.front().is_some_and(Bytes::is_empty) {
            self.pieces.pop_front();
        }
        let front = self.pieces.front_mut().filter(|_| most > 0)?;
        let piece = front.split_to(most.min(front.len()));
        self.allowed -= piece.len() as u64;
        self.promised -= piece.len() as u64;
        self.exchange.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
        self.exchange.ended.fetch_or(self.allowed == 0, Ordering::SeqCst);
        Some(piece)
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(piece) = self.next_piece() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if self.promised == 0 {
            return Poll::Ready(None);
        }
        if self.hangs {
            return Poll::Pending;
        }
        // hyper drops what it has buffered when a body fails, so it gets the time to flush first.
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(30))));
        std::task::ready!(pause.as_mut().poll(cx));
        Poll::Ready(Some(Err(io::Error::other("cut on purpose"))))
    }

    fn is_end_stream(&self) -> bool {
        self.promised == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.promised)
    }
}
