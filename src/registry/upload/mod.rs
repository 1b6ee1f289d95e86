//! Blobs on their way up, in flat memory: mounted from another repository, sent piece by piece, or whole.
//!
//! A blob that is longer than a piece goes up in pieces (`PATCH` with `Content-Range`), so that a connection that breaks costs one piece at
//! most: the registry is asked how far it got, and the rest follows. A registry that takes no pieces gets the blob in one request, and
//! one that takes only smaller ones gets those. Which it is, is remembered for the run.

mod body;
mod session;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use url::{Origin, Url};

use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::reference::Repository;
use super::token::Scope;
use super::{Client, http};
use crate::blob::Blob;
use crate::digest::Digest;
use crate::ledger::Ledger;

/// What a piece has where the registry does not ask for more: a fraction of a second on a fast line, a loss that can be borne on a slow one.
const PIECE: u64 = 32 << 20;
/// A proxy that refuses a piece of this size takes no blobs. It is half of what the most common one takes untold.
const SMALLEST_PIECE: u64 = 512 << 10;

/// How registries take blobs, as far as it was found out.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    manners: Mutex<HashMap<Origin, Manner>>,
}

/// How a registry takes blobs.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// In pieces of so many bytes.
    piece: u64,
    /// In one request only.
    whole: bool,
}

impl Uploads {
    fn manner(&self, url: &Url) -> Manner {
        let manners = self.manners.lock().expect("no holder of this lock panics");
        manners.get(&url.origin()).copied().unwrap_or(Manner { piece: PIECE, whole: false })
    }

    fn learn(&self, url: &Url, manner: Manner) {
        self.manners.lock().expect("no holder of this lock panics").insert(url.origin(), manner);
    }
}

/// A blob and where it goes.
struct Upload<'a> {
    client: &'a Client,
    endpoint: Endpoint,
    /// Where uploads of the repository begin.
    url: Url,
    digest: Digest,
    size: u64,
    open: &'a (dyn Fn() -> io::Result<Blob> + Send + Sync),
    /// Bytes of all blobs that were handed to connections and are not to be sent again.
    sent: Arc<AtomicU64>,
}

impl Client {
    /// Asks the registry to take a blob over from its repository `from`. `false` when the blob has to be sent.
    ///
    /// # Errors
    /// Anything but a clear yes or no.
    pub async fn mount_blob(&self, repo: &Repository, digest: Digest, from: &str) -> Result<bool, RegistryError> {
        let (ledger, endpoint) = (Ledger::new(), self.target(repo).await?);
        let mut url = endpoint.url("blobs/uploads/")?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let ask = self.post(url.clone(), Scope::mount(&endpoint, from));
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
                    let mut ask = self.ask(Method::DELETE, session, Scope::push(&endpoint));
                    ask.home = url;
                    if let Ok(answer) = self.http.send(&ask, &ledger).await {
                        answer.discard(&ledger).await;
                    }
                }
                Ok(false)
            }
            _ => Err(answer.into_error(&ledger).await),
        }
    }

    /// Sends a blob of `size` bytes. `open` is called anew for each request; `sent`, which several uploads may share, grows with the bytes
    /// that are handed to connections, and shrinks by those that have to be sent again.
    ///
    /// # Errors
    /// [`RegistryError::Source`] when the blob cannot be read; [`RegistryError::Status`] with what the registry has against it; the last
    /// failure when the connection breaks again and again.
    pub async fn upload_blob(
        &self,
        repo: &Repository,
        digest: Digest,
        size: u64,
        open: impl Fn() -> io::Result<Blob> + Send + Sync,
        sent: Arc<AtomicU64>,
    ) -> Result<(), RegistryError> {
        let endpoint = self.target(repo).await?;
        let url = endpoint.url("blobs/uploads/")?;
        let upload = Upload { client: self, endpoint, url, digest, size, open: &open, sent };
        upload.run().await
    }

    fn post(&self, url: Url, scope: Scope) -> http::Ask<'static> {
        let mut ask = self.ask(Method::POST, url, scope);
        ask.headers.push((CONTENT_LENGTH, HeaderValue::from_static("0")));
        ask
    }
}
