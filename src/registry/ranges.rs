//! The fetch loop: missing spans become requests, as many at a time and as large as the final host has proved to take.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use reqwest::Method;
use reqwest::header::RANGE;
use url::Url;

use super::Client;
use super::blob::range_value;
use super::delivery::Delivery;
use super::error::{Place, RegistryError};
use super::host::{Host, Trial, Turn};
use super::patience::Patience;
use super::todo::Todo;
use super::token::Scope;
use crate::ledger::{Cause, Ledger};
use crate::plan::cost::Need;
use crate::plan::requests::{Form, Request};
use crate::span::Span;

/// A whole blob is taken in place of ranges when it brings no more than this many bytes that were not asked for, or an eighth of
/// what was.
const SURPLUS: u64 = 64 << 10;
/// Missing bytes that one request asks for: so many that its round trip hardly matters, so few that all connections have work.
const LEAST_PER_REQUEST: u64 = 1 << 20;
const MOST_PER_REQUEST: u64 = 8 << 20;

/// Takes the bytes of a blob in any order.
pub trait SpanSink: Send + Sync {
    /// Takes `bytes` that stand at `offset` in the blob. Each byte comes once for each time it is asked for.
    ///
    /// # Errors
    /// Ends the transfer.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

/// A blob at its registry.
pub(super) struct Blob {
    pub(super) url: Url,
    pub(super) scope: Scope,
    pub(super) size: u64,
}

/// One transfer of spans of one blob.
pub(super) struct Fetch<'a> {
    client: &'a Client,
    blob: Blob,
    pub(super) ledger: &'a Ledger,
    pub(super) sink: &'a dyn SpanSink,
    /// What the bytes for the sink are noted as, where the sink's owner does not.
    pub(super) cause: Option<Cause>,
}

/// A request that may go out.
struct Next {
    request: Request,
    /// Others wait to hear how it is answered.
    trial: Option<Trial>,
    /// The one span that is missing, where the request asks for its beginning and it is not known whether ranges are answered. A server
    /// that sends the whole blob has then sent nothing in vain.
    all: Option<Span>,
}

impl Next {
    const fn of(request: Request) -> Self {
        Self { request, trial: None, all: None }
    }
}

/// What became of one request.
pub(super) struct Outcome {
    /// Missing bytes that did not come.
    pub(super) left: Vec<Span>,
    /// Whether the answer stands for all that was missing, rather than for what was asked for.
    pub(super) all: bool,
    /// Missing bytes that were asked for.
    pub(super) missing: u64,
    /// Whether the form was refused rather than the content.
    pub(super) refused: bool,
    /// Why the answer is incomplete, where something is known.
    pub(super) fault: Option<RegistryError>,
}

/// Missing bytes that one of `in_flight` requests should ask for.
pub(super) fn bytes_per_request(need: Need, in_flight: usize) -> u64 {
    (need.missing / in_flight.max(1) as u64).clamp(LEAST_PER_REQUEST, MOST_PER_REQUEST)
}

impl<'a> Fetch<'a> {
    pub(super) fn new(client: &'a Client, blob: Blob, ledger: &'a Ledger, sink: &'a dyn SpanSink) -> Self {
        Self { client, blob, ledger, sink, cause: None }
    }

    /// Only single ranges, as long as the spans are, and the bytes are noted as `cause`.
    pub(super) fn in_one_range(
        client: &'a Client,
        blob: Blob,
        ledger: &'a Ledger,
        sink: &'a dyn SpanSink,
        cause: Cause,
    ) -> Self {
        Self { cause: Some(cause), ..Self::new(client, blob, ledger, sink) }
    }

    pub(super) async fn run(&self, missing: &[Span]) -> Result<(), RegistryError> {
        let in_bounds = missing.last().is_none_or(|last| last.end() <= self.blob.size);
        debug_assert!(
            in_bounds && missing.is_sorted_by(|a, b| a.end() <= b.start()),
            "spans are ascending and disjoint"
        );
        let width = self.client.http.options.requests_in_flight.max(1);
        let need = Need::of(self.blob.size, missing);
        let mut todo = Todo::new(missing);
        let mut running = FuturesUnordered::new();
        let mut patience = Patience::default();
        loop {
            while running.len() < width {
                let first = running.is_empty();
                let Some(next) = self.next(&mut todo, need, patience.is_wary(), first) else { break };
                running.push(self.one(next, patience.pause(self.client)));
            }
            if running.is_empty() {
                if todo.is_empty() {
                    return Ok(());
                }
                self.host().settled().await;
                continue;
            }
            let (host, waiting) = (self.host(), !todo.is_empty() && running.len() < width);
            let outcome = tokio::select! {
                outcome = running.next() => outcome,
                // What others have learned may let more go out.
                () = host.settled(), if waiting => continue,
            };
            let Some(outcome) = outcome else { continue };
            let outcome = outcome?;
            let (left, all) = (outcome.left.clone(), outcome.all);
            patience.judge(outcome, self.client.http.options.attempts, || self.place())?;
            if all {
                todo = Todo::new(&[]);
            }
            todo.put_back(left);
        }
    }

    /// The next request; `None` when there is nothing to do, or nothing until a trial ends.
    fn next(&self, todo: &mut Todo, need: Need, wary: bool, first: bool) -> Option<Next> {
        let (host, options) = (self.host(), &self.client.http.options);
        let (line, in_flight) = (host.line(), options.requests_in_flight);
        let each = if self.cause.is_some() { u64::MAX } else { bytes_per_request(need, in_flight) };
        let form = |ranges| {
            let prefer = line.preference(options.prefer, need, ranges, in_flight);
            Form { max_bytes: each, ..line.form(ranges, prefer, in_flight) }
        };
        let one_span = todo.one_span();
        if let Some(all) = one_span.filter(|_| self.cause.is_none() && !host.answers_ranges()) {
            match host.probe() {
                Some(trial) if first => {
                    return Some(Next { trial: Some(trial), all: Some(all), ..Next::of(todo.next(form(1))?) });
                }
                // What is under way for this blob proves nothing, and nobody waits for it.
                Some(_) => {}
                None => return None,
            }
        }
        if self.cause.is_some() || wary || one_span.is_some() {
            return Some(Next::of(todo.next(form(1))?));
        }
        match host.turn() {
            Turn::Single => Some(Next::of(todo.next(form(1))?)),
            Turn::Several(ranges) => Some(Next::of(todo.next(form(ranges))?)),
            Turn::Trial(ranges, trial) => {
                let request = todo.next_of_several(form(ranges))?;
                // One range proves nothing about several; the guard is for who has more.
                let trial = (request.spans.len() > 1).then_some(trial);
                Some(Next { trial, ..Next::of(request) })
            }
            Turn::Wait => Some(Next::of(todo.next_alone(each)?)),
        }
    }

    fn host(&self) -> Arc<Host> {
        self.client.http.hosts.expected(&self.blob.url)
    }

    fn place(&self) -> Place {
        Place::new(&Method::GET, &self.blob.url)
    }

    /// Bytes of the whole blob.
    pub(super) fn size(&self) -> u64 {
        self.blob.size
    }

    /// Sends one request and takes in its answer. The trial ends with it, or as soon as it is decided.
    async fn one(&self, next: Next, pause: Duration) -> Result<Outcome, RegistryError> {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let Next { request, trial, all } = next;
        let ranges = request.spans.len();
        // What the whole blob, should it be sent, is welcome for.
        let all = all.filter(|all| self.near_whole(all.len())).map(Request::single);
        let welcome = all.clone().or_else(|| self.near_whole(request.missing_bytes()).then(|| request.clone()));
        if ranges == 1 && welcome.is_none() && self.host().knows_no_ranges() {
            return Err(RegistryError::RangesRefused { place: self.place() });
        }
        let mut ask = self.client.blob_ask(self.blob.url.clone(), self.blob.scope.clone());
        ask.headers.push((RANGE, range_value(&request.header())));
        ask.several = ranges > 1;
        let answer = self.client.http.send(&ask, self.ledger).await?;
        let host = answer.host.clone();
        if let Some(taken) = welcome.filter(|_| answer.status() == 200)
            && answer.content_length().is_none_or(|length| length == self.blob.size)
        {
            let mut delivery = Delivery::new(self, &taken, trial);
            let result = delivery.whole(answer).await;
            let outcome = self.outcome(&taken, &delivery, result, &host)?;
            return Ok(Outcome { all: all.is_some(), ..outcome });
        }
        let mut delivery = Delivery::new(self, &request, trial);
        let result = match answer.status().as_u16() {
            206 => delivery.partial(answer).await,
            200 => {
                let place = answer.place.clone();
                answer.abandon(Cause::Wasted, self.ledger).await;
                if ranges == 1 {
                    host.single(false);
                }
                Err(RegistryError::RangesRefused { place })
            }
            400 | 404 | 413 | 414 | 416 | 431 | 500 | 501 | 505 if ranges > 1 => {
                answer.discard(self.ledger).await;
                Err(RegistryError::RangesRefused { place: self.place() })
            }
            _ => return Err(answer.into_error(self.ledger).await),
        };
        self.outcome(&request, &delivery, result, &host)
    }

    /// Tells what is fatal from what another request may mend, and teaches the host.
    fn outcome(
        &self,
        request: &Request,
        delivery: &Delivery<'_>,
        result: Result<(), RegistryError>,
        host: &Host,
    ) -> Result<Outcome, RegistryError> {
        let ranges = request.spans.len();
        let left = delivery.coverage.left(&request.missing);
        let missing = request.missing_bytes();
        let nothing = left.iter().map(|span| span.len()).sum::<u64>() == missing;
        let fault = match result {
            Ok(()) => None,
            Err(error @ RegistryError::Sink(_)) => return Err(error),
            Err(error @ RegistryError::RangesRefused { .. }) if ranges == 1 => return Err(error),
            Err(error) => Some(error),
        };
        // A connection that broke says nothing about the form, and neither does a single part that holds all that was missing.
        let broken = fault.as_ref().is_some_and(RegistryError::is_transient);
        let refused = ranges > 1 && !broken && (nothing || (!delivery.multipart && !left.is_empty()));
        if refused {
            host.refused(ranges);
            tracing::info!("{} refuses {ranges} ranges in one request", self.place());
        } else if ranges > 1 && delivery.multipart && !nothing {
            host.proved(ranges);
        }
        Ok(Outcome { left, all: false, missing, refused, fault })
    }

    /// Whether the whole blob is hardly more than `missing` bytes of it.
    fn near_whole(&self, missing: u64) -> bool {
        self.blob.size.saturating_sub(missing) <= SURPLUS.max(missing / 8)
    }
}
