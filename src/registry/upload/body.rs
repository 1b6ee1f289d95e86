//! A part of a blob as the body of a request.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::blob::Blob;

/// Bytes read at once.
const READ: usize = 256 << 10;

/// What the sender and the body share.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Bytes of this request that were handed to the connection.
    pub(super) handed: Arc<AtomicU64>,
    /// Why the blob could not be read on.
    pub(super) fault: Arc<Mutex<Option<io::Error>>>,
}

/// Bytes of a blob from an offset on, of known length.
pub(super) struct BlobBody {
    pub(super) blob: Blob,
    pub(super) at: u64,
    pub(super) left: u64,
    pub(super) progress: Progress,
    /// Bytes of all uploads.
    pub(super) sent: Arc<AtomicU64>,
}

impl Body for BlobBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let len = usize::try_from(self.left).unwrap_or(READ).min(READ);
        let mut piece = vec![0; len];
        // A local file is read where it is needed: the pieces are small, and a thread for each would cost more.
        if let Err(error) = self.blob.read_exact_at(&mut piece, self.at) {
            let kind = error.kind();
            *self.progress.fault.lock().expect("no holder of this lock panics") = Some(error);
            return Poll::Ready(Some(Err(kind.into())));
        }
        self.at += len as u64;
        self.left -= len as u64;
        self.progress.handed.fetch_add(len as u64, Ordering::Relaxed);
        self.sent.fetch_add(len as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
