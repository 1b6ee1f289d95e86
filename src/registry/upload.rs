//! Blobs on their way up: mount, or one session and one request with the whole blob, in flat memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use url::Url;

use super::error::RegistryError;
use super::reference::Repository;
use super::token::Scope;
use super::{Client, http};
use crate::digest::Digest;
use crate::ledger::Ledger;

/// Bytes read from the file at once.
const PIECE: usize = 256 << 10;
/// The slowest connection that an upload is given time for, in bytes a second.
const SLOWEST: u64 = 32 << 10;

impl Client {
    /// Asks the registry to take a blob over from its repository `from`. `false` when the blob has to be sent.
    ///
    /// # Errors
    /// Anything but a clear yes or no.
    pub async fn mount_blob(&self, repo: &Repository, digest: Digest, from: &str) -> Result<bool, RegistryError> {
        let ledger = Ledger::new();
        let mut url = self.uploads_url(repo)?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let ask = self.post(url.clone(), Scope::mount(repo, from));
        let answer = self.http.send(&ask, &ledger).await?;
        match answer.status().as_u16() {
            201 => {
                answer.discard(&ledger).await;
                Ok(true)
            }
            202 => {
                // The registry has opened a session instead. Nobody waits for it, so it is closed; failing that it expires.
                let session = self.http.location(&answer, &url);
                answer.discard(&ledger).await;
                if let Ok(session) = session {
                    let ask = self.ask(Method::DELETE, session, Scope::push(repo));
                    if let Ok(answer) = self.http.send(&ask, &ledger).await {
                        answer.discard(&ledger).await;
                    }
                }
                Ok(false)
            }
            _ => Err(answer.into_error(&ledger).await),
        }
    }

    /// Sends a blob of `size` bytes: opens a session and sends all in one request. `open` is called anew for each try; `sent` shows the
    /// bytes handed to the connection so far, of the present try.
    ///
    /// # Errors
    /// [`RegistryError::Source`] when the blob cannot be opened; [`RegistryError::Status`] with what the registry has against it.
    pub async fn upload_blob(
        &self,
        repo: &Repository,
        digest: Digest,
        size: u64,
        open: impl Fn() -> io::Result<File> + Send + Sync,
        sent: Arc<AtomicU64>,
    ) -> Result<(), RegistryError> {
        let mut tried = 1;
        loop {
            let error = match self.upload_once(repo, digest, size, &open, &sent).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // A session may have expired or be unknown to the server that the next request reached; a new one may live.
            let again = error.is_transient() || error.is_not_found();
            if !again || tried >= self.http.options.attempts.max(1) {
                return Err(error.after(tried));
            }
            tokio::time::sleep(self.http.pause(tried)).await;
            tried += 1;
        }
    }

    async fn upload_once(
        &self,
        repo: &Repository,
        digest: Digest,
        size: u64,
        open: &(impl Fn() -> io::Result<File> + Send + Sync),
        sent: &Arc<AtomicU64>,
    ) -> Result<(), RegistryError> {
        let ledger = Ledger::new();
        let url = self.uploads_url(repo)?;
        let answer = self.http.send(&self.post(url.clone(), Scope::push(repo)), &ledger).await?;
        if answer.status() != 202 {
            return Err(answer.into_error(&ledger).await);
        }
        let mut session = self.http.location(&answer, answer.url())?;
        answer.discard(&ledger).await;
        session.query_pairs_mut().append_pair("digest", &digest.to_string());
        let body = || {
            sent.store(0, Ordering::Relaxed);
            Ok(reqwest::Body::wrap(FileBody { file: open()?, left: size, sent: sent.clone() }))
        };
        let mut ask = self.ask(Method::PUT, session, Scope::push(repo));
        ask.patience = self.http.options.stall.saturating_mul(10).saturating_add(Duration::from_secs(size / SLOWEST));
        ask.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")));
        ask.headers.push((CONTENT_LENGTH, HeaderValue::from(size)));
        ask.body = Some(&body);
        // The session may live on another host than the registry; credentials stay at home all the same.
        ask.home = url;
        let answer = self.http.send(&ask, &ledger).await?;
        if !answer.status().is_success() {
            return Err(answer.into_error(&ledger).await);
        }
        answer.discard(&ledger).await;
        Ok(())
    }

    fn uploads_url(&self, repo: &Repository) -> Result<Url, RegistryError> {
        self.url(repo, "blobs/uploads/")
    }

    fn post(&self, url: Url, scope: Scope) -> http::Ask<'static> {
        let mut ask = self.ask(Method::POST, url, scope);
        ask.headers.push((CONTENT_LENGTH, HeaderValue::from_static("0")));
        ask
    }
}

/// A file as a request body of known length.
struct FileBody {
    file: File,
    left: u64,
    sent: Arc<AtomicU64>,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let len = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; len];
        // A local file is read where it is needed: the pieces are small, and a thread for each would cost more.
        if let Err(error) = self.file.read_exact(&mut piece) {
            return Poll::Ready(Some(Err(error)));
        }
        self.left -= len as u64;
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
