//! The lowest layer: one request with its credentials, redirects and retries, and an answer whose every byte is counted.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{self, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use super::answer::Answer;
use super::challenge::Challenge;
use super::endpoint::Endpoint;
use super::error::{Fault, Place, RegistryError};
use super::hosts::Hosts;
use super::memory::Memory;
use super::meter::Meter;
use super::mirrors::Mirrors;
use super::options::Options;
use super::token::{Auth, Refusal, Scope};
use super::trust::Connections;
use super::upload::Uploads;
use crate::ledger::Ledger;
use crate::limits;

/// A refused connection is tried so often: a typing error should not take long.
const CONNECT_ATTEMPTS: u32 = 3;
/// Too many requests, and no word about how long to wait: the pause is so many times longer than after other failures.
const PATIENCE: u32 = 4;

/// The transport that all of a client's requests share.
pub(super) struct Http {
    connections: Connections,
    pub(super) options: Options,
    pub(super) hosts: Hosts,
    pub(super) mirrors: Mirrors,
    pub(super) uploads: Uploads,
    auth: Auth,
    requests: AtomicU64,
    body_bytes: AtomicU64,
}

/// A request, in a form that can be sent again.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    /// A URL of the registry; credentials go to its scheme, host and port only. An upload's `url` may be elsewhere.
    pub(super) home: Url,
    pub(super) scope: Scope,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// More than one range is asked for: a server error may be its way to refuse that.
    pub(super) several: bool,
    /// Whether the URL this is redirected to is kept for the next request.
    pub(super) keep_redirect: bool,
    /// How long to wait for the answer's head.
    pub(super) patience: Duration,
    /// Makes the body anew for each try.
    pub(super) body: Option<&'a (dyn Fn() -> io::Result<reqwest::Body> + Sync)>,
}

impl Http {
    pub(super) fn new(options: Options) -> Result<Self, RegistryError> {
        Ok(Self {
            connections: Connections::new(&options)?,
            hosts: Hosts::new(options.requests_in_flight, Memory::load(options.memory.clone())),
            mirrors: Mirrors::default(),
            uploads: Uploads::default(),
            options,
            auth: Auth::default(),
            requests: AtomicU64::new(0),
            body_bytes: AtomicU64::new(0),
        })
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Counts bytes of a body.
    pub(super) fn received(&self, bytes: usize) {
        self.body_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes.load(Ordering::Relaxed)
    }

    /// A request that nothing is attached to but what every request has, on behalf of a registry that is asked at `home`.
    pub(super) fn request(
        &self,
        method: Method,
        url: Url,
        endpoint: &Endpoint,
        home: &Url,
        place: &Place,
    ) -> Result<reqwest::RequestBuilder, RegistryError> {
        let client = self.connections.client(endpoint, home, &url, place)?;
        Ok(client.request(method, url).header(header::ACCEPT_ENCODING, "identity"))
    }

    /// Sends, and sends again while the server says that it is busy or the connection breaks before an answer.
    pub(super) async fn send(&self, ask: &Ask<'_>, ledger: &Ledger) -> Result<Answer<'_>, RegistryError> {
        let attempts = self.options.attempts.max(1);
        let mut tried = 0;
        loop {
            tried += 1;
            let wanted = match self.follow(ask, ledger).await {
                Ok(answer) if !is_busy(answer.status(), ask.several) => {
                    answer.host.calm();
                    return Ok(answer);
                }
                Ok(answer) if tried >= attempts => return Ok(answer),
                Ok(answer) => self.put_off(answer, tried, ledger).await,
                Err(error) => {
                    let refused = matches!(&error, RegistryError::Transport { source, .. } if source.is_connect());
                    let limit = if refused { attempts.min(CONNECT_ATTEMPTS) } else { attempts };
                    if !error.is_transient() || tried >= limit {
                        return Err(error.after(tried));
                    }
                    None
                }
            };
            let pause = wanted.unwrap_or_else(|| self.pause(tried)).min(limits::PAUSE);
            tracing::info!("{} is tried again in {:.1} s", Place::new(&ask.method, &ask.url), pause.as_secs_f64());
            tokio::time::sleep(pause).await;
        }
    }

    /// Takes in the answer of a server that is busy, and returns the pause that it asked for, or that suits it.
    async fn put_off(&self, answer: Answer<'_>, tried: u32, ledger: &Ledger) -> Option<Duration> {
        let (host, status) = (answer.host.clone(), answer.status());
        let wanted = answer.retry_after().map(|pause| pause.min(limits::PAUSE));
        answer.discard(ledger).await;
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                host.busy(wanted);
                wanted.or_else(|| Some(self.pause(tried) * PATIENCE))
            }
            _ => wanted,
        }
    }

    /// The pause after so many failures: doubled each time, and between half and all of that, so that clients spread.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        use std::hash::{BuildHasher, Hasher};
        let doubled = self.options.backoff.saturating_mul(1 << failures.saturating_sub(1).min(10));
        let dice = std::hash::RandomState::new().build_hasher().finish() % 1000;
        doubled.mul_f64(0.5 + dice as f64 / 2000.0).min(limits::PAUSE)
    }

    /// One try: answers challenges, follows redirects, and asks the registry again when a remembered redirect has expired.
    pub(super) async fn follow(&self, ask: &Ask<'_>, ledger: &Ledger) -> Result<Answer<'_>, RegistryError> {
        let mut remembered = if ask.keep_redirect { self.hosts.final_url(&ask.url) } else { None };
        let mut url = remembered.clone().unwrap_or_else(|| ask.url.clone());
        let (mut hops, mut refusals) = (0, 0);
        loop {
            let at_home = url.origin() == ask.home.origin();
            let sent = if at_home { self.auth.header(self, &ask.home, &ask.scope, ledger).await? } else { None };
            let answer = self.once(ask, &url, sent.as_ref(), ledger).await?;
            let status = answer.status();
            if status == StatusCode::UNAUTHORIZED && at_home && refusals < 2 {
                let refusal = Refusal { challenges: answer.challenges(), sent };
                refusals += 1;
                // The body is read first: no request is held while a token is fetched.
                let error = answer.into_error(ledger).await;
                if self.auth.learn(self, &ask.home, &ask.scope, refusal, ledger).await? {
                    continue;
                }
                let host = ask.scope.endpoint().repo.host().to_owned();
                let known = !self.auth.is_anonymous(&ask.home, &ask.scope).await;
                return Err(RegistryError::Unauthorized { host, known, source: Box::new(error) });
            }
            if remembered.is_some() && matches!(status.as_u16(), 400 | 401 | 403 | 404 | 410) {
                remembered = None;
                self.hosts.forget(&ask.url);
                url = ask.url.clone();
                answer.discard(ledger).await;
                continue;
            }
            match self.redirect(ask, &answer, &url)? {
                Some(_) if hops >= limits::REDIRECTS => return Err(answer.fault(Fault::Redirects)),
                Some(next) => url = next,
                None => {
                    if hops > 0 && ask.keep_redirect && status.is_success() {
                        self.hosts.remember(&ask.url, &url);
                    }
                    return Ok(answer);
                }
            }
            hops += 1;
            answer.discard(ledger).await;
        }
    }

    /// Whether credentials were sent for a request.
    pub(super) async fn has_answered_a_challenge(&self, ask: &Ask<'_>) -> bool {
        self.auth.has_answer(&ask.home, &ask.scope).await
    }

    /// Answers challenges that came without a refusal: the next request brings what they ask for. `false` when there is nothing to bring.
    pub(super) async fn answer_challenges(
        &self,
        ask: &Ask<'_>,
        challenges: Vec<Challenge>,
        ledger: &Ledger,
    ) -> Result<bool, RegistryError> {
        let refusal = Refusal { challenges, sent: None };
        self.auth.learn(self, &ask.home, &ask.scope, refusal, ledger).await
    }

    /// Whether a registry that may do without encryption does: nobody answers where it would speak HTTPS.
    pub(super) async fn speaks_plain_only(&self, endpoint: &Endpoint, ledger: &Ledger) -> bool {
        let Ok(url) = endpoint.root() else { return false };
        let place = Place::new(&Method::GET, &url);
        let Ok(request) = self.request(Method::GET, url.clone(), endpoint, &url, &place) else { return false };
        match self.exchange(request, &url, place, self.options.stall, ledger).await {
            Ok(answer) => {
                answer.discard(ledger).await;
                false
            }
            Err(_) => true,
        }
    }

    /// Where an answer sends us, if it does. Signed URLs are signed for one method, so a `HEAD` never leaves the registry.
    fn redirect(&self, ask: &Ask<'_>, answer: &Answer<'_>, url: &Url) -> Result<Option<Url>, RegistryError> {
        let reading = ask.method == Method::GET || ask.method == Method::HEAD;
        let follows = match answer.status().as_u16() {
            307 | 308 => true,
            301..=303 => reading,
            _ => false,
        };
        if !follows {
            return Ok(None);
        }
        let next = self.location(answer, url)?;
        if ask.method == Method::HEAD && next.origin() != ask.url.origin() {
            return Ok(None);
        }
        Ok(Some(next))
    }

    /// The `Location` of an answer, absolute.
    pub(super) fn location(&self, answer: &Answer<'_>, url: &Url) -> Result<Url, RegistryError> {
        let text = answer.header(header::LOCATION).ok_or_else(|| answer.fault(Fault::Location))?;
        let next = url.join(text).map_err(|_| answer.fault(Fault::Location))?;
        if !matches!(next.scheme(), "http" | "https") || next.host_str().is_none() {
            return Err(answer.fault(Fault::Location));
        }
        if url.scheme() == "https" && next.scheme() == "http" && !self.options.insecure {
            return Err(answer.fault(Fault::Downgrade));
        }
        Ok(next)
    }

    async fn once(
        &self,
        ask: &Ask<'_>,
        url: &Url,
        authorization: Option<&HeaderValue>,
        ledger: &Ledger,
    ) -> Result<Answer<'_>, RegistryError> {
        let place = Place::new(&ask.method, url);
        let mut request = self.request(ask.method.clone(), url.clone(), ask.scope.endpoint(), &ask.home, &place)?;
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(body) = ask.body {
            request = request.body(body().map_err(RegistryError::Source)?);
        }
        let answer = self.exchange(request, url, place, ask.patience, ledger).await?;
        let encoding = answer.header(header::CONTENT_ENCODING).unwrap_or("identity");
        if answer.status().is_success() && !encoding.eq_ignore_ascii_case("identity") {
            return Err(answer.fault(Fault::Encoding));
        }
        Ok(answer)
    }

    /// Sends one request, counts it, and waits for the head of the answer.
    pub(super) async fn exchange(
        &self,
        request: reqwest::RequestBuilder,
        url: &Url,
        place: Place,
        patience: Duration,
        ledger: &Ledger,
    ) -> Result<Answer<'_>, RegistryError> {
        let host = self.hosts.of(url);
        let permit = host.permit().await;
        self.requests.fetch_add(1, Ordering::Relaxed);
        ledger.request();
        let (client, request) = request.build_split();
        let request = request.map_err(|source| RegistryError::no_answer(place.clone(), source.without_url()))?;
        let meter = Meter::new(&place, &host, &request);
        match tokio::time::timeout(patience, client.execute(request)).await {
            Err(_) => {
                meter.failed("no answer in time");
                Err(RegistryError::Stalled { place, attempts: 1, seconds: patience.as_secs() })
            }
            Ok(Err(source)) => {
                meter.failed("no answer");
                Err(RegistryError::no_answer(place, source.without_url()))
            }
            Ok(Ok(response)) => {
                self.connections.answered(url, response.remote_addr().map(|address| address.ip()));
                let meter = meter.head(response.status(), response.version());
                Ok(Answer::new(self, response, place, host, meter, permit))
            }
        }
    }
}

/// Statuses that another try may change. A 500 may also be a refusal of several ranges.
fn is_busy(status: StatusCode, several: bool) -> bool {
    matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504) || (status == StatusCode::INTERNAL_SERVER_ERROR && !several)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        let http = Http::new(Options::default()).expect("a client");
        assert!(http.pause(1) <= http.options.backoff && http.pause(1) >= http.options.backoff / 2);
        for failures in [7, 8, 9, 30, u32::MAX] {
            let pause = http.pause(failures);
            assert!((limits::PAUSE / 4..=limits::PAUSE).contains(&pause), "{failures}: {pause:?}");
        }
        assert_eq!(http.pause(u32::MAX), limits::PAUSE);
    }
}
