//! An answer whose head has come: every byte of its body is counted, and it ends one way or another.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{self, HeaderName};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use url::Url;

use super::challenge::Challenge;
use super::error::{Detail, Fault, Place, RegistryError};
use super::host::Host;
use super::http::Http;
use super::meter::Meter;
use crate::ledger::{Cause, Ledger};
use crate::limits;

/// How long the rest of a small body that nobody needs is waited for.
const DISCARD: Duration = Duration::from_secs(2);
/// How long the first bytes of a large body that nobody needs are waited for, to count what was sent along with the headers.
const ABANDON: Duration = Duration::from_millis(20);

/// An answer whose head has come.
pub(super) struct Answer<'a> {
    http: &'a Http,
    response: reqwest::Response,
    pub(super) place: Place,
    /// The host that answered.
    pub(super) host: Arc<Host>,
    meter: Meter,
    /// Since when bytes are counted to tell a body that trickles.
    slow: (Instant, u64),
    _permit: OwnedSemaphorePermit,
}

impl<'a> Answer<'a> {
    /// The answer to a request that holds `permit` until its body is done.
    pub(super) fn new(
        http: &'a Http,
        response: reqwest::Response,
        place: Place,
        host: Arc<Host>,
        meter: Meter,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { http, response, place, host, meter, slow: (Instant::now(), 0), _permit: permit }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn url(&self) -> &Url {
        self.response.url()
    }

    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    pub(super) fn content_length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next piece of the body. The caller notes its bytes in the ledger; the wire has counted them.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let stall = self.http.options.stall;
        match tokio::time::timeout(stall, self.response.chunk()).await {
            Err(_) => {
                self.meter.fails("silence");
                Err(RegistryError::Stalled { place: self.place.clone(), attempts: 1, seconds: stall.as_secs() })
            }
            Ok(Err(source)) => {
                self.meter.fails("broken off");
                Err(RegistryError::no_answer(self.place.clone(), source.without_url()))
            }
            Ok(Ok(chunk)) => {
                let bytes = chunk.as_ref().map_or(0, Bytes::len);
                self.http.received(bytes);
                self.meter.received(bytes);
                self.slow.1 += bytes as u64;
                Ok(chunk)
            }
        }
    }

    /// Whether the body comes so slowly that another request is better; asked after each piece has been taken in.
    pub(super) fn check_pace(&mut self) -> Result<(), RegistryError> {
        let (stall, (since, bytes)) = (self.http.options.stall, self.slow);
        let took = since.elapsed();
        if took < stall {
            return Ok(());
        }
        self.slow = (Instant::now(), 0);
        if bytes as f64 >= took.as_secs_f64() * limits::SLOWEST as f64 {
            return Ok(());
        }
        self.meter.fails("too slow");
        Err(RegistryError::Slow { place: self.place.clone(), attempts: 1, bytes, seconds: took.as_secs() })
    }

    /// The whole body, of at most `limit` bytes.
    pub(super) async fn read(mut self, limit: u64, cause: Cause, ledger: &Ledger) -> Result<Vec<u8>, RegistryError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            ledger.add(cause, chunk.len() as u64);
            if body.len() as u64 + chunk.len() as u64 > limit {
                return Err(RegistryError::TooLarge { place: self.place, limit });
            }
            body.extend_from_slice(&chunk);
            self.check_pace()?;
        }
        Ok(body)
    }

    /// Lets go of a body that nobody needs. A small one is read so that the connection can be used again; of a large one only
    /// what came along with the head is counted, and the connection is dropped. A 416 is never read on, because servers exist
    /// that announce the blob's length for it.
    pub(super) async fn discard(self, ledger: &Ledger) {
        let refused = self.status() == StatusCode::RANGE_NOT_SATISFIABLE;
        if refused || self.content_length().is_none_or(|length| length > limits::ERROR_BODY as u64) {
            self.abandon(Cause::Protocol, ledger).await;
        } else {
            let _ = tokio::time::timeout(DISCARD, self.read(limits::ERROR_BODY as u64, Cause::Protocol, ledger)).await;
        }
    }

    /// Drops the connection, counting what has come.
    pub(super) async fn abandon(mut self, cause: Cause, ledger: &Ledger) {
        self.meter.fails("not wanted");
        if let Ok(Ok(Some(chunk))) = tokio::time::timeout(ABANDON, self.chunk()).await {
            ledger.add(cause, chunk.len() as u64);
        }
    }

    /// The error that this status is, with what its body says.
    pub(super) async fn into_error(self, ledger: &Ledger) -> RegistryError {
        let (place, status) = (self.place.clone(), self.status().as_u16());
        if status == 416 {
            self.abandon(Cause::Protocol, ledger).await;
            return RegistryError::Status { place, status, detail: Detail::default() };
        }
        let read = self.read(limits::ERROR_BODY as u64, Cause::Protocol, ledger);
        let body = tokio::time::timeout(DISCARD, read).await;
        let detail = body.ok().and_then(Result::ok).map(|body| Detail::of(&body)).unwrap_or_default();
        RegistryError::Status { place, status, detail }
    }

    pub(super) fn fault(&self, fault: Fault) -> RegistryError {
        RegistryError::Answer { place: self.place.clone(), fault }
    }

    pub(super) fn challenges(&self) -> Vec<Challenge> {
        let values = self.response.headers().get_all(header::WWW_AUTHENTICATE);
        values.iter().filter_map(|value| value.to_str().ok()).flat_map(Challenge::parse_all).collect()
    }

    /// `Retry-After` in seconds or as a date.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let value = self.header(header::RETRY_AFTER)?.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = httpdate::parse_http_date(value).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    }
}
