//! Reading from whoever has it: each manifest and blob comes from the first mirror that gives it, else from the registry itself.
//!
//! The choice is made anew for every manifest and blob, because a mirror may have the one and not the other. What a mirror lacks is
//! remembered, and a mirror that does not answer is not asked again in this run.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Mutex;

use super::coverage::Coverage;
use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::manifest::Manifest;
use super::ranges::SpanSink;
use super::reference::Repository;
use super::sources::{By, Place};
use super::{Client, InOrder};
use crate::digest::Digest;
use crate::ledger::{Cause, Ledger};
use crate::plan::requests::Prediction;
use crate::span::Span;

/// What was learned about mirrors in this run.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    /// Hosts that do not answer.
    down: Mutex<HashSet<String>>,
    /// What a mirror was asked for and does not have, or has wrong.
    lacking: Mutex<HashSet<(Repository, Digest)>>,
    /// Which mirrors have given bytes of a blob, by the name that it was asked for under.
    gave_of: Mutex<HashMap<(Repository, Digest), HashSet<Repository>>>,
    /// Which place gave the manifest of a tag: what belongs to the image may be there and nowhere else.
    gave: Mutex<HashMap<Repository, Repository>>,
    /// Whether a registry that need not speak HTTPS does.
    plain: tokio::sync::Mutex<HashMap<String, bool>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

/// The places to ask for one thing, one after the other.
struct Tries<'a> {
    client: &'a Client,
    repo: &'a Repository,
    digest: Option<Digest>,
    places: std::vec::IntoIter<Place>,
    now: Option<Place>,
    /// What came of the mirrors.
    failures: Vec<(Repository, RegistryError)>,
}

impl Client {
    /// Fetches a manifest or index by tag or digest.
    ///
    /// # Errors
    /// [`RegistryError::is_not_found`] tells that there is none; [`RegistryError::Digest`] when it was asked for by digest and another
    /// one came; [`RegistryError::TooLarge`] above [`crate::limits::MANIFEST`].
    pub async fn manifest(
        &self,
        repo: &Repository,
        reference: &str,
        ledger: &Ledger,
    ) -> Result<Manifest, RegistryError> {
        let mut tries = self.tries(repo, reference.parse().ok())?;
        while let Some(endpoint) = tries.next(ledger).await {
            match self.manifest_at(&endpoint, reference, ledger).await {
                Ok(manifest) => {
                    tries.found();
                    return Ok(manifest);
                }
                Err(error) => tries.failed(error)?,
            }
        }
        Err(tries.ended())
    }

    /// Fetches a small blob, such as a config, and checks its size and digest.
    ///
    /// # Errors
    /// [`RegistryError::TooLarge`] when `size` is above [`crate::limits::MANIFEST`]; [`RegistryError::Size`] and [`RegistryError::Digest`]
    /// when other bytes came.
    pub async fn blob_bytes(
        &self,
        repo: &Repository,
        digest: Digest,
        size: u64,
        ledger: &Ledger,
        cause: Cause,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut tries = self.tries(repo, Some(digest))?;
        while let Some(endpoint) = tries.next(ledger).await {
            match self.blob_bytes_at(&endpoint, digest, size, ledger, cause).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => tries.failed(error)?,
            }
        }
        Err(tries.ended())
    }

    /// Fetches one span of a blob of `size` bytes with single ranges. The caller has limited the span's length; the bytes are not
    /// verified.
    ///
    /// # Errors
    /// [`RegistryError::RangesRefused`] when the server sends the whole blob instead, unless the span is nearly all of it.
    pub async fn blob_range(
        &self,
        repo: &Repository,
        digest: Digest,
        size: u64,
        span: Span,
        ledger: &Ledger,
        cause: Cause,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut tries = self.tries(repo, Some(digest))?;
        while let Some(endpoint) = tries.next(ledger).await {
            match self.blob_range_at(&endpoint, digest, size, span, ledger, cause).await {
                Ok(bytes) => {
                    tries.gave();
                    return Ok(bytes);
                }
                Err(error) => tries.failed(error)?,
            }
        }
        Err(tries.ended())
    }

    /// Streams the bytes from `from` to the end of a blob of `size` bytes to `sink`, in order. A connection that breaks is taken up
    /// where it broke. The bytes are not verified.
    ///
    /// # Errors
    /// [`RegistryError::Size`] when the blob has another size; the last failure when the connection breaks again and again.
    #[expect(clippy::too_many_arguments, reason = "a blob, where to begin, who pays, and where it goes")]
    pub async fn blob_from(
        &self,
        repo: &Repository,
        digest: Digest,
        size: u64,
        from: u64,
        ledger: &Ledger,
        cause: Cause,
        sink: &mut InOrder<'_>,
    ) -> Result<(), RegistryError> {
        let mut tries = self.tries(repo, Some(digest))?;
        let mut at = from;
        while let Some(endpoint) = tries.next(ledger).await {
            let start = at;
            let mut counted = |piece: &[u8]| {
                sink(piece)?;
                at += piece.len() as u64;
                Ok(())
            };
            match self.blob_from_at(&endpoint, digest, size, start, ledger, cause, &mut counted).await {
                Ok(()) => {
                    tries.gave();
                    return Ok(());
                }
                Err(error) => tries.failed(error)?,
            }
        }
        Err(tries.ended())
    }

    /// Fetches `missing` spans (ascending and disjoint) of a blob of `size` bytes and hands them to `sink` with their offsets, in any
    /// order, together with the gaps between them that were cheaper to fetch than to leave out. The sink's owner notes those bytes in the
    /// ledger. The bytes are not verified.
    ///
    /// # Errors
    /// [`RegistryError::RangesRefused`] when the server knows no ranges; what came until then is with the sink.
    pub async fn blob_spans(
        &self,
        repo: &Repository,
        digest: Digest,
        size: u64,
        missing: &[Span],
        ledger: &Ledger,
        sink: &dyn SpanSink,
    ) -> Result<(), RegistryError> {
        let mut tries = self.tries(repo, Some(digest))?;
        if tries.places.len() == 1 {
            let endpoint = tries.next(ledger).await.expect("there is one place");
            return self.blob_spans_at(&endpoint, digest, size, missing, ledger, sink).await;
        }
        let noted = Noted { sink, came: Mutex::new(Coverage::new(missing.to_vec())) };
        while let Some(endpoint) = tries.next(ledger).await {
            let left = lock(&noted.came).left(missing);
            match self.blob_spans_at(&endpoint, digest, size, &left, ledger, &noted).await {
                Ok(()) => {
                    tries.gave();
                    return Ok(());
                }
                Err(error) => tries.failed(error)?,
            }
        }
        Err(tries.ended())
    }

    /// What [`Self::blob_spans`] should take for `missing` spans, as far as the host is known that will be asked first. A look whether it
    /// speaks HTTPS counts in the ledger.
    ///
    /// # Errors
    /// [`RegistryError::Url`], [`RegistryError::Registries`].
    pub async fn predict(
        &self,
        repo: &Repository,
        digest: Digest,
        size: u64,
        missing: &[Span],
        ledger: &Ledger,
    ) -> Result<Prediction, RegistryError> {
        let mut tries = self.tries(repo, Some(digest))?;
        match tries.next(ledger).await {
            Some(endpoint) => self.predict_at(&endpoint, digest, size, missing),
            None => Err(tries.ended()),
        }
    }

    /// The bytes that came of a blob are not that blob. Mirrors that gave any of them are not asked for it again; `false` when there were
    /// none, and whoever asks once more will get the same.
    pub fn distrust(&self, repo: &Repository, digest: Digest) -> bool {
        let mirrors = &self.http.mirrors;
        let gave = lock(&mirrors.gave_of).remove(&(repo.clone(), digest)).unwrap_or_default();
        let wrong = !gave.is_empty();
        for mirror in gave {
            tracing::warn!("mirror {mirror} gave wrong bytes of blob {digest}, and is not asked for it again");
            lock(&mirrors.lacking).insert((mirror, digest));
        }
        wrong
    }

    fn tries<'a>(&'a self, repo: &'a Repository, digest: Option<Digest>) -> Result<Tries<'a>, RegistryError> {
        let by = if digest.is_some() { By::Digest } else { By::Tag };
        let mirrors = &self.http.mirrors;
        let places = self.http.options.registries.places(repo, by)?;
        let gave = lock(&mirrors.gave).get(repo).cloned();
        let is_left = |place: &Place| {
            let lacks = digest.is_some_and(|digest| lock(&mirrors.lacking).contains(&(place.repo.clone(), digest)));
            let asked = place.asked || gave.as_ref() == Some(&place.repo);
            !place.mirror || (asked && !lacks && !lock(&mirrors.down).contains(place.repo.host()))
        };
        let places: Vec<_> = places.into_iter().filter(is_left).collect();
        Ok(Tries { client: self, repo, digest, places: places.into_iter(), now: None, failures: Vec::new() })
    }

    /// The endpoint that a repository is written to.
    pub(super) async fn target(&self, repo: &Repository) -> Result<Endpoint, RegistryError> {
        let place = self.http.options.registries.target(repo)?;
        Ok(self.endpoint(repo, place, &Ledger::new()).await)
    }

    /// Settles the scheme of a place.
    async fn endpoint(&self, asked: &Repository, place: Place, ledger: &Ledger) -> Endpoint {
        let Place { repo, insecure, mirror, .. } = place;
        // What was said by hand is about the registry that was named by hand.
        let named = !mirror || repo.host() == asked.host();
        let mut endpoint = Endpoint { repo, plain: named && self.http.options.plain_http, insecure, named };
        if insecure && !endpoint.plain {
            let mut known = self.http.mirrors.plain.lock().await;
            endpoint.plain = match known.get(endpoint.repo.host()) {
                Some(&plain) => plain,
                None => {
                    let plain = self.http.speaks_plain_only(&endpoint, ledger).await;
                    known.insert(endpoint.repo.host().to_owned(), plain);
                    plain
                }
            };
        }
        endpoint
    }
}

impl Tries<'_> {
    async fn next(&mut self, ledger: &Ledger) -> Option<Endpoint> {
        let place = self.places.next()?;
        self.now = Some(place.clone());
        Some(self.client.endpoint(self.repo, place, ledger).await)
    }

    /// The place gave what was asked for.
    fn found(self) {
        if let (Some(place), None) = (self.now, self.digest) {
            lock(&self.client.http.mirrors.gave).insert(self.repo.clone(), place.repo);
        }
    }

    /// The place gave bytes that are still to be verified.
    fn gave(&self) {
        if let (Some(Place { repo, mirror: true, .. }), Some(digest)) = (&self.now, self.digest) {
            let mut gave_of = lock(&self.client.http.mirrors.gave_of);
            gave_of.entry((self.repo.clone(), digest)).or_default().insert(repo.clone());
        }
    }

    /// The place failed, perhaps after it gave some bytes. An error when no other can help.
    fn failed(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        if !error.is_not_found() {
            self.gave();
        }
        let Some(Place { repo, mirror: true, .. }) = self.now.take() else { return Err(self.with_mirrors(error)) };
        if !error.is_of_the_server() {
            return Err(error);
        }
        let mirrors = &self.client.http.mirrors;
        match self.digest {
            Some(digest) if error.is_not_found() => {
                tracing::info!("mirror {repo} does not have {}", digest.short());
                lock(&mirrors.lacking).insert((repo.clone(), digest));
            }
            _ if error.is_silence() => {
                if lock(&mirrors.down).insert(repo.host().to_owned()) {
                    tracing::warn!("mirror {} does not answer, and is not asked again", repo.host());
                }
            }
            Some(digest) if matches!(error, RegistryError::Digest { .. } | RegistryError::Size { .. }) => {
                tracing::warn!("mirror {repo} has {digest} wrong, and is not asked for it again: {error}");
                lock(&mirrors.lacking).insert((repo.clone(), digest));
            }
            _ => tracing::info!("mirror {repo} did not help: {error}"),
        }
        self.failures.push((repo, error));
        Ok(())
    }

    /// All places have failed.
    fn ended(mut self) -> RegistryError {
        // The registry itself is always the last place, and its failure has ended the matter.
        let last = self.failures.pop().map(|(_, error)| error);
        last.unwrap_or_else(|| RegistryError::Url(self.repo.to_string()))
    }

    fn with_mirrors(&mut self, error: RegistryError) -> RegistryError {
        if self.failures.is_empty() {
            return error;
        }
        let failures = std::mem::take(&mut self.failures);
        let mirrors = failures.into_iter().map(|(repo, error)| format!("{}: {error}", repo.host())).collect();
        RegistryError::Mirrors { mirrors, source: Box::new(error) }
    }
}

/// Notes what has come, so that the next place is asked for the rest.
struct Noted<'a> {
    sink: &'a dyn SpanSink,
    came: Mutex<Coverage>,
}

impl SpanSink for Noted<'_> {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.sink.write(offset, bytes)?;
        if let Some(span) = Span::with_len(offset, bytes.len() as u64) {
            lock(&self.came).take(span);
        }
        Ok(())
    }
}
