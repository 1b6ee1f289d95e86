//! Bodies that stream from a file in flat memory, and are counted.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::span::Span;

/// Bytes read from a file at a time; a body holds one such buffer.
const READ: u64 = 256 << 10;

/// What a server has sent so far. Shared through an [`Arc`], read at any time.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    body_bytes: AtomicU64,
}

impl Counters {
    /// Requests answered, of any outcome.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of response bodies handed to connections, multipart framing included. A reader that hangs up has received fewer.
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// A response's body.
#[derive(Debug)]
pub struct Body {
    pieces: VecDeque<Piece>,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    counters: Arc<Counters>,
}

/// A stretch of a body.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes of a file.
    File(Arc<File>, Span),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, span) => span.len(),
        }
    }
}

impl Body {
    pub(super) fn new(pieces: impl IntoIterator<Item = Piece>, counters: &Arc<Counters>) -> Self {
        let pieces: VecDeque<Piece> = pieces.into_iter().filter(|piece| piece.len() > 0).collect();
        let left = pieces.iter().map(Piece::len).sum();
        Self { pieces, left, reading: None, counters: counters.clone() }
    }

    pub(super) fn len(&self) -> u64 {
        self.left
    }

    fn give(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.left -= bytes.len() as u64;
        self.counters.body_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.reading.is_none() {
            match this.pieces.pop_front() {
                None => return Poll::Ready(None),
                Some(Piece::Bytes(bytes)) => return this.give(bytes),
                Some(Piece::File(file, span)) => {
                    let middle = span.end().min(span.start() + READ);
                    if let Some(rest) = Span::new(middle, span.end()) {
                        this.pieces.push_front(Piece::File(file.clone(), rest));
                    }
                    let len = (middle - span.start()) as usize;
                    this.reading = Some(tokio::task::spawn_blocking(move || read(&file, span.start(), len)));
                }
            }
        }
        let Some(task) = &mut this.reading else {
            return Poll::Ready(None);
        };
        let read = ready!(Pin::new(task).poll(context));
        this.reading = None;
        match read.map_err(io::Error::other).flatten() {
            Ok(bytes) => this.give(bytes),
            // The length is announced already, so all that is left is to break off; hyper then closes the connection.
            Err(error) => {
                tracing::error!(%error, "a blob could not be read to its end");
                this.pieces.clear();
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

fn read(file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; len];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer.into())
}
