//! Blobs from the first byte to the last, and one range of a blob.

use std::io;
use std::sync::{Arc, Mutex};

use reqwest::Method;
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};

use super::Client;
use super::answer::Answer;
use super::content_range::ContentRange;
use super::endpoint::Endpoint;
use super::error::{Fault, Place, RegistryError};
use super::host::TOP;
use super::http::Ask;
use super::ranges::{Blob, Fetch, SpanSink, bytes_per_request};
use super::reference::Repository;
use super::token::Scope;
use crate::digest::Digest;
use crate::ledger::{Cause, Ledger};
use crate::limits;
use crate::plan::cost::Need;
use crate::plan::requests::{Form, Prediction, shape};
use crate::span::Span;

/// A connection that broke after so many bytes of progress does not count as a failure.
const PROGRESS: u64 = 1 << 20;

/// Where the bytes of a whole blob go, in order.
pub type InOrder<'a> = dyn FnMut(&[u8]) -> io::Result<()> + Send + 'a;

impl Client {
    /// [`Client::blob_bytes`] at one place.
    pub(super) async fn blob_bytes_at(
        &self,
        endpoint: &Endpoint,
        digest: Digest,
        size: u64,
        ledger: &Ledger,
        cause: Cause,
    ) -> Result<Vec<u8>, RegistryError> {
        let place = Place::new(&Method::GET, &self.blob_url(endpoint, digest)?);
        if size > limits::MANIFEST {
            return Err(RegistryError::TooLarge { place, limit: limits::MANIFEST });
        }
        let mut bytes = Vec::new();
        let mut sink = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        self.blob_from_at(endpoint, digest, size, 0, ledger, cause, &mut sink).await?;
        let actual = Digest::of(&bytes);
        if actual == digest {
            return Ok(bytes);
        }
        ledger.reclassify(cause, Cause::Wasted, size);
        Err(RegistryError::Digest { place, expected: digest, actual })
    }

    /// [`Client::blob_range`] at one place.
    pub(super) async fn blob_range_at(
        &self,
        endpoint: &Endpoint,
        digest: Digest,
        size: u64,
        span: Span,
        ledger: &Ledger,
        cause: Cause,
    ) -> Result<Vec<u8>, RegistryError> {
        let collect = Collect { start: span.start(), bytes: Mutex::default() };
        let blob = Blob { url: self.blob_url(endpoint, digest)?, scope: Scope::pull(endpoint), size };
        Fetch::in_one_range(self, blob, ledger, &collect, cause).run(&[span]).await?;
        Ok(collect.bytes.into_inner().expect("no holder of this lock panics"))
    }

    /// [`Client::blob_from`] at one place.
    #[expect(clippy::too_many_arguments, reason = "a blob, where to begin, who pays, and where it goes")]
    pub(super) async fn blob_from_at(
        &self,
        endpoint: &Endpoint,
        digest: Digest,
        size: u64,
        from: u64,
        ledger: &Ledger,
        cause: Cause,
        sink: &mut InOrder<'_>,
    ) -> Result<(), RegistryError> {
        let url = self.blob_url(endpoint, digest)?;
        let mut stream = Stream { at: from, size, cause, ledger, sink };
        let mut failures = 0;
        while stream.at < size || (size == 0 && failures == 0) {
            let before = stream.at;
            let mut ask = self.blob_ask(url.clone(), Scope::pull(endpoint));
            if stream.at > 0 {
                ask.headers.push((RANGE, range_value(&format!("bytes={}-{}", stream.at, size.saturating_sub(1)))));
            }
            let answer = self.http.send(&ask, ledger).await?;
            let place = answer.place.clone();
            let failure = match stream.take(answer).await {
                Ok(()) if stream.at >= size => return Ok(()),
                Ok(()) => RegistryError::Size { place, expected: size, actual: stream.at },
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            failures = if stream.at - before >= PROGRESS { 0 } else { failures + 1 };
            if failures >= self.http.options.attempts.max(1) {
                return Err(failure.after(failures));
            }
            tokio::time::sleep(self.http.pause(failures.max(1))).await;
        }
        Ok(())
    }

    /// [`Client::blob_spans`] at one place.
    pub(super) async fn blob_spans_at(
        &self,
        endpoint: &Endpoint,
        digest: Digest,
        size: u64,
        missing: &[Span],
        ledger: &Ledger,
        sink: &dyn SpanSink,
    ) -> Result<(), RegistryError> {
        let blob = Blob { url: self.blob_url(endpoint, digest)?, scope: Scope::pull(endpoint), size };
        Fetch::new(self, blob, ledger, sink).run(missing).await
    }

    /// [`Client::predict`] at one place.
    pub(super) fn predict_at(
        &self,
        endpoint: &Endpoint,
        digest: Digest,
        size: u64,
        missing: &[Span],
    ) -> Result<Prediction, RegistryError> {
        let url = self.blob_url(endpoint, digest)?;
        let host = self.http.hosts.expected(&url);
        // Of hosts that are not known, registries mostly answer several ranges, and the stores that they redirect to mostly do not.
        let unknown = if Arc::ptr_eq(&host, &self.http.hosts.of(&url)) { TOP } else { 1 };
        let (line, in_flight) = (host.line(), self.http.options.requests_in_flight);
        let ranges = host.expected_ranges(unknown);
        let need = Need::of(size, missing);
        let prefer = line.preference(self.http.options.prefer, need, ranges, in_flight);
        let form = Form { max_bytes: bytes_per_request(need, in_flight), ..line.form(ranges, prefer, in_flight) };
        Ok(Prediction::of(&shape(missing, form), line.part_bytes()))
    }

    /// Whether the repository has a blob with this digest.
    ///
    /// # Errors
    /// Anything but a clear yes or no.
    pub async fn has_blob(&self, repo: &Repository, digest: Digest) -> Result<bool, RegistryError> {
        let (ledger, endpoint) = (Ledger::new(), &self.target(repo).await?);
        let ask = self.ask(Method::HEAD, self.blob_url(endpoint, digest)?, Scope::pull(endpoint));
        let answer = self.http.send(&ask, &ledger).await?;
        match answer.status().as_u16() {
            // A redirect says where the blob is, so it is there.
            200..=399 => Ok(true),
            404 => Ok(false),
            _ => Err(answer.into_error(&ledger).await),
        }
    }

    pub(super) fn blob_url(&self, endpoint: &Endpoint, digest: Digest) -> Result<url::Url, RegistryError> {
        endpoint.url(&format!("blobs/{digest}"))
    }

    pub(super) fn blob_ask(&self, url: url::Url, scope: Scope) -> Ask<'static> {
        Ask { keep_redirect: true, ..self.ask(Method::GET, url, scope) }
    }
}

/// A `Range` header; `text` is made of digits here.
pub(super) fn range_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits, commas and dashes make a header")
}

/// The span that [`Client::blob_range`] collects; grows as bytes come, not as they are promised.
struct Collect {
    start: u64,
    bytes: Mutex<Vec<u8>>,
}

impl SpanSink for Collect {
    fn write(&self, offset: u64, piece: &[u8]) -> io::Result<()> {
        let mut bytes = self.bytes.lock().expect("no holder of this lock panics");
        let start = usize::try_from(offset.saturating_sub(self.start)).map_err(io::Error::other)?;
        let end = start.saturating_add(piece.len());
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        if let Some(slot) = bytes.get_mut(start..end) {
            slot.copy_from_slice(piece);
        }
        Ok(())
    }
}

/// A blob that is read in order.
struct Stream<'a, 'b> {
    at: u64,
    size: u64,
    cause: Cause,
    ledger: &'a Ledger,
    sink: &'a mut InOrder<'b>,
}

impl Stream<'_, '_> {
    /// Takes in one answer, which starts at `at` (206) or at the blob's first byte (200).
    async fn take(&mut self, mut answer: Answer<'_>) -> Result<(), RegistryError> {
        let mut offset = match answer.status().as_u16() {
            206 => {
                let range = answer.header(CONTENT_RANGE).and_then(ContentRange::parse);
                let range = range.filter(|range| range.fits(self.size) && range.span.start() <= self.at);
                let Some(range) = range else {
                    let fault = answer.fault(Fault::ContentRange);
                    answer.abandon(Cause::Wasted, self.ledger).await;
                    return Err(fault);
                };
                range.span.start()
            }
            200 => match answer.content_length() {
                Some(actual) if actual != self.size => {
                    let place = answer.place.clone();
                    answer.abandon(Cause::Wasted, self.ledger).await;
                    return Err(RegistryError::Size { place, expected: self.size, actual });
                }
                _ => 0,
            },
            _ => return Err(answer.into_error(self.ledger).await),
        };
        while let Some(chunk) = answer.chunk().await? {
            // What lies before `at` came before; what lies behind the end is not the blob.
            let end = offset.saturating_add(chunk.len() as u64);
            let wanted = Span::new(offset.max(self.at), end.min(self.size));
            let piece = wanted.and_then(|span| {
                let from = usize::try_from(span.start() - offset).ok()?;
                chunk.get(from..from + usize::try_from(span.len()).ok()?)
            });
            let piece = piece.unwrap_or_default();
            self.ledger.add(self.cause, piece.len() as u64);
            self.ledger.add(Cause::Wasted, (chunk.len() - piece.len()) as u64);
            if !piece.is_empty() {
                (self.sink)(piece).map_err(RegistryError::Sink)?;
                self.at += piece.len() as u64;
            }
            if end > self.size {
                return Err(RegistryError::Size { place: answer.place, expected: self.size, actual: end });
            }
            offset = end;
            answer.check_pace()?;
        }
        Ok(())
    }
}
