//! One upload from its first byte to its digest: sessions, pieces, and what to do when something goes wrong between them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use url::Url;

use super::body::{BlobBody, Progress};
use super::{Manner, SMALLEST_PIECE, Upload};
use crate::ledger::Ledger;
use crate::registry::Client;
use crate::registry::answer::Answer;
use crate::registry::error::{Fault, Place, RegistryError};
use crate::registry::http::Ask;
use crate::registry::token::Scope;

/// How often it is looked whether bytes still go out.
const LOOK: Duration = Duration::from_millis(500);
/// A registry that has all bytes may take so many times the usual silence, to move them where they belong.
const PATIENCE: u32 = 10;
/// Requests with a body are watched, and have no end set from the start.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// So many bytes of progress make up for earlier failures.
const PROGRESS: u64 = 1 << 20;
/// The smallest piece that the registry takes (distribution specification 1.1).
const MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// Why a session did not come to its end.
enum Stop {
    /// It is gone, or what it holds is not what was sent: a new one may do.
    Lost(RegistryError),
    /// The registry takes blobs in another manner, which is noted; a new session will do.
    Otherwise(RegistryError),
    /// Nothing helps.
    Failed(RegistryError),
}

/// What became of a piece.
enum Piece {
    /// The registry has so many bytes now.
    Has(u64),
    /// It is not clear what the registry has.
    Unclear { error: RegistryError, wait: Option<Duration> },
}

/// An upload that the registry knows.
struct Session<'a, 'b> {
    upload: &'a Upload<'b>,
    /// Where the next request goes; each answer may name another place.
    url: Url,
    /// The registry has so many bytes.
    at: u64,
    piece: u64,
    /// So many bytes of it are in the count that all uploads share.
    counted: u64,
    ledger: Ledger,
}

impl<'b> Upload<'b> {
    pub(super) async fn run(&self) -> Result<(), RegistryError> {
        let http = &self.client.http;
        let attempts = http.options.attempts.max(1);
        let (mut lost, mut changes) = (0, 0);
        loop {
            let mut session = self.begin().await?;
            let stopped = match session.run().await {
                Ok(()) => return Ok(()),
                Err(stopped) => stopped,
            };
            session.count(0);
            match stopped {
                Stop::Failed(error) => return Err(error),
                // Each change makes pieces smaller or ends them, so there are few.
                Stop::Otherwise(error) if changes >= attempts => return Err(error),
                Stop::Otherwise(_) => changes += 1,
                Stop::Lost(error) => {
                    lost += 1;
                    if lost >= attempts {
                        return Err(error.after(lost));
                    }
                    tracing::debug!("the upload of {} begins anew: {error}", self.digest.short());
                    tokio::time::sleep(http.pause(lost)).await;
                }
            }
        }
    }

    /// Opens a session.
    async fn begin(&self) -> Result<Session<'_, 'b>, RegistryError> {
        let (http, ledger) = (&self.client.http, Ledger::new());
        let ask = self.client.post(self.url.clone(), Scope::push(&self.endpoint));
        let answer = http.send(&ask, &ledger).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(answer.into_error(&ledger).await);
        }
        let url = http.location(&answer, answer.url())?;
        let least = answer.header(MIN_LENGTH).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        answer.discard(&ledger).await;
        let piece = http.uploads.manner(&self.url).piece.max(least);
        Ok(Session { upload: self, url, at: 0, piece, counted: 0, ledger })
    }
}

impl<'b> Session<'_, 'b> {
    async fn run(&mut self) -> Result<(), Stop> {
        let manner = self.upload.client.http.uploads.manner(&self.upload.url);
        if manner.whole || self.upload.size <= self.piece {
            return self.whole(manner).await;
        }
        let attempts = self.upload.client.http.options.attempts.max(1);
        let mut failures = 0;
        while self.at < self.upload.size {
            let before = self.at;
            let (error, wait) = match self.send_piece(manner).await? {
                Piece::Has(bytes) if bytes > before => {
                    self.at = bytes;
                    self.count(bytes);
                    continue;
                }
                Piece::Has(_) => (self.fault(Fault::Stuck), None),
                Piece::Unclear { error, wait } => (error, wait),
            };
            failures += 1;
            if failures >= attempts {
                return Err(Stop::Failed(error.after(failures)));
            }
            let pause = wait.unwrap_or_else(|| self.upload.client.http.pause(failures));
            tokio::time::sleep(pause.min(Duration::from_secs(60))).await;
            self.ask_how_far(error).await?;
            self.count(self.at);
            if self.at.saturating_sub(before) >= PROGRESS {
                failures = 0;
            }
        }
        self.close().await
    }

    /// Sends the blob in one request, which also closes the session.
    async fn whole(&mut self, manner: Manner) -> Result<(), Stop> {
        let mut ask = self.ask(Method::PUT, self.with_digest());
        ask.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")));
        let answer = match self.send(ask, 0, self.upload.size).await {
            Ok(answer) => answer,
            Err(error) if error.is_transient() => return Err(Stop::Lost(error)),
            Err(error) => return Err(Stop::Failed(error)),
        };
        match answer.status().as_u16() {
            200..=299 => {
                answer.discard(&self.ledger).await;
                Ok(())
            }
            413 if !manner.whole => Err(self.too_large(manner, answer).await),
            404 | 408 | 429 | 500 | 502..=504 => Err(Stop::Lost(answer.into_error(&self.ledger).await)),
            _ => Err(Stop::Failed(answer.into_error(&self.ledger).await)),
        }
    }

    /// Sends what follows the bytes that the registry has, a piece of it.
    async fn send_piece(&mut self, manner: Manner) -> Result<Piece, Stop> {
        let len = self.piece.min(self.upload.size - self.at);
        let end = self.at + len;
        let mut ask = self.ask(Method::PATCH, self.url.clone());
        ask.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")));
        let range = format!("{}-{}", self.at, end - 1);
        ask.headers.push((CONTENT_RANGE, HeaderValue::from_str(&range).expect("digits and a dash make a header")));
        let answer = match self.send(ask, self.at, len).await {
            Ok(answer) => answer,
            Err(error) if error.is_transient() => return Ok(Piece::Unclear { error, wait: None }),
            Err(error) => return Err(Stop::Failed(error)),
        };
        match answer.status().as_u16() {
            200..=299 => self.accepted(answer, end).await,
            404 => Err(Stop::Lost(answer.into_error(&self.ledger).await)),
            408 | 416 | 429 | 500 | 502..=504 => {
                let wait = answer.retry_after();
                Ok(Piece::Unclear { error: answer.into_error(&self.ledger).await, wait })
            }
            413 => Err(self.too_large(manner, answer).await),
            403 => Err(Stop::Failed(answer.into_error(&self.ledger).await)),
            status => {
                tracing::debug!("a piece of a blob was answered with {status}: blobs go up whole");
                self.upload.client.http.uploads.learn(&self.upload.url, Manner { whole: true, ..manner });
                Err(Stop::Otherwise(answer.into_error(&self.ledger).await))
            }
        }
    }

    async fn accepted(&mut self, answer: Answer<'_>, end: u64) -> Result<Piece, Stop> {
        let has = answer.header(RANGE).and_then(received).unwrap_or(end);
        self.moved(&answer)?;
        answer.discard(&self.ledger).await;
        // A session that has more than was sent is not ours alone.
        if has > end { Err(Stop::Lost(self.fault(Fault::Surplus))) } else { Ok(Piece::Has(has)) }
    }

    /// Smaller pieces from now on; below the smallest there is nothing more to try.
    async fn too_large(&self, manner: Manner, answer: Answer<'_>) -> Stop {
        let error = answer.into_error(&self.ledger).await;
        let smaller = self.piece.min(self.upload.size) / 4;
        if smaller < SMALLEST_PIECE {
            return Stop::Failed(error);
        }
        tracing::debug!("a piece of a blob was too large: {smaller} bytes are tried");
        self.upload.client.http.uploads.learn(&self.upload.url, Manner { piece: smaller, ..manner });
        Stop::Otherwise(error)
    }

    /// Asks the registry how many bytes it has. A registry that does not say has lost the session, as far as we are concerned.
    async fn ask_how_far(&mut self, error: RegistryError) -> Result<(), Stop> {
        let ask = self.ask(Method::GET, self.url.clone());
        let http = &self.upload.client.http;
        let answer = http.send(&ask, &self.ledger).await.map_err(Stop::Failed)?;
        let has = answer.header(RANGE).and_then(received);
        match (answer.status().is_success(), has) {
            (true, Some(has)) if has <= self.upload.size => {
                self.moved(&answer)?;
                answer.discard(&self.ledger).await;
                tracing::debug!("the upload of {} goes on at byte {has}", self.upload.digest.short());
                self.at = has;
                Ok(())
            }
            _ => {
                answer.discard(&self.ledger).await;
                Err(Stop::Lost(error))
            }
        }
    }

    /// Tells the registry that this is all, and what it must be.
    async fn close(&mut self) -> Result<(), Stop> {
        let mut ask = self.ask(Method::PUT, self.with_digest());
        ask.headers.push((CONTENT_LENGTH, HeaderValue::from_static("0")));
        ask.patience = self.upload.client.http.options.stall.saturating_mul(PATIENCE);
        let answer = self.upload.client.http.send(&ask, &self.ledger).await.map_err(Stop::Failed)?;
        match answer.status().as_u16() {
            200..=299 => {
                answer.discard(&self.ledger).await;
                Ok(())
            }
            // What the registry put together is not the blob: bytes of a broken request came late, or twice. Only a new session helps.
            400 | 404 | 416 => Err(Stop::Lost(answer.into_error(&self.ledger).await)),
            _ => Err(Stop::Failed(answer.into_error(&self.ledger).await)),
        }
    }

    fn with_digest(&self) -> Url {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("digest", &self.upload.digest.to_string());
        url
    }

    /// Takes over the place that an answer names.
    fn moved(&mut self, answer: &Answer<'_>) -> Result<(), Stop> {
        if answer.header(reqwest::header::LOCATION).is_some() {
            self.url = self.upload.client.http.location(answer, answer.url()).map_err(Stop::Failed)?;
        }
        Ok(())
    }

    /// Corrects the count: the registry has `at` bytes, whatever was handed to connections.
    fn count(&mut self, at: u64) {
        let sent = &self.upload.sent;
        if self.counted > at {
            sent.fetch_sub(self.counted - at, Ordering::Relaxed);
        } else {
            sent.fetch_add(at - self.counted, Ordering::Relaxed);
        }
        self.counted = at;
    }

    /// Sends a request with bytes of the blob, once. It may take its time while bytes go out, and a while when all are out.
    async fn send(&mut self, ask: Ask<'_>, at: u64, len: u64) -> Result<Answer<'b>, RegistryError> {
        let upload = self.upload;
        let progress = Progress::default();
        let body = || {
            // A challenge makes the request go out a second time.
            let before = progress.handed.swap(0, Ordering::Relaxed);
            upload.sent.fetch_sub(before, Ordering::Relaxed);
            let (progress, sent) = (progress.clone(), upload.sent.clone());
            Ok(reqwest::Body::wrap(BlobBody { blob: (upload.open)()?, at, left: len, progress, sent }))
        };
        let mut ask = Ask { body: Some(&body), patience: FOREVER, ..ask };
        ask.headers.push((CONTENT_LENGTH, HeaderValue::from(len)));
        let result = self.watch(&ask, &progress, len).await;
        self.counted += progress.handed.load(Ordering::Relaxed);
        let fault = progress.fault.lock().expect("no holder of this lock panics").take();
        fault.map_or(result, |fault| Err(RegistryError::Source(fault)))
    }

    /// Waits for the answer as long as something moves.
    async fn watch(&self, ask: &Ask<'_>, progress: &Progress, len: u64) -> Result<Answer<'b>, RegistryError> {
        let client: &'b Client = self.upload.client;
        let http = &client.http;
        let mut answer = std::pin::pin!(http.follow(ask, &self.ledger));
        let (mut last, mut quiet) = (0, Duration::ZERO);
        loop {
            match tokio::time::timeout(LOOK, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) => quiet += LOOK,
            }
            let handed = progress.handed.load(Ordering::Relaxed);
            if handed != last {
                (last, quiet) = (handed, Duration::ZERO);
            }
            let allowed = http.options.stall * if handed == len { PATIENCE } else { 1 };
            if quiet >= allowed {
                let place = Place::new(&ask.method, &ask.url);
                return Err(RegistryError::Stalled { place, attempts: 1, seconds: allowed.as_secs() });
            }
        }
    }

    fn fault(&self, fault: Fault) -> RegistryError {
        RegistryError::Answer { place: Place::new(&Method::PATCH, &self.url), fault }
    }

    /// A request of this session. It may go elsewhere than to the registry; credentials stay at home all the same.
    fn ask(&self, method: Method, url: Url) -> Ask<'static> {
        let mut ask = self.upload.client.ask(method, url, Scope::push(&self.upload.endpoint));
        ask.home = self.upload.url.clone();
        ask
    }
}

/// How many bytes a registry has, by its `Range`: `0-9` are ten. `0-0` is what it says when it has none; nobody sends a single byte.
fn received(range: &str) -> Option<u64> {
    let range = range.trim();
    let (first, last) = range.strip_prefix("bytes=").unwrap_or(range).split_once('-')?;
    match (first.parse().ok()?, last.parse::<u64>().ok()?) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_has_is_one_more_than_it_says() {
        for (range, has) in [
            ("0-9", Some(10)),
            (" bytes=0-9", Some(10)),
            ("0-0", Some(0)),
            ("1-9", None),
            ("0-18446744073709551615", None),
            ("0--1", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(received(range), has, "{range:?}");
        }
    }
}
