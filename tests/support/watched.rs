//! A connection that remembers whether the other side broke it off.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A stream whose errors set a flag. A client that closes a socket with unread bytes in it resets the connection; one that has read all
/// closes it cleanly, which is no error.
pub struct Watched {
    stream: TcpStream,
    broken: Arc<AtomicBool>,
    ending: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    /// Watches `stream`; the first error sets `broken`.
    pub fn new(stream: TcpStream, broken: Arc<AtomicBool>) -> Self {
        Self { stream, broken, ending: None }
    }

    /// The other side has ended its half. A client that breaks off does that too, and its reset follows at once: it gets the time to come.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ending = self.ending.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(30))));
        std::task::ready!(ending.as_mut().poll(cx));
        if !matches!(self.stream.take_error(), Ok(None)) {
            self.broken.store(true, Ordering::SeqCst);
        }
        Poll::Ready(Ok(()))
    }

    fn look<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(result, Poll::Ready(Err(_))) {
            self.broken.store(true, Ordering::SeqCst);
        }
        result
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A body that was cut on purpose ends the connection before anything was read from it again.
        if !matches!(self.stream.take_error(), Ok(None)) {
            self.broken.store(true, Ordering::SeqCst);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ending.is_some() {
            return self.poll_end(cx);
        }
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if matches!(result, Poll::Ready(Ok(()))) && buffer.filled().len() == before {
            return self.poll_end(cx);
        }
        self.look(result)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.look(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.look(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A client that is gone already makes this fail, and has read everything all the same.
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
