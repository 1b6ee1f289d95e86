//! The fetch loop: missing spans become requests, as many at a time and as large as the final host has proved to take.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use reqwest::Method;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, RANGE};
use url::Url;

use super::Client;
use super::blob::range_value;
use super::content_range::ContentRange;
use super::coverage::Coverage;
use super::error::{Fault, Place, RegistryError};
use super::host::{Host, Trial, Turn};
use super::http::Answer;
use super::multipart::{Event, Multipart, MultipartError};
use super::token::Scope;
use crate::ledger::{Cause, Ledger};
use crate::plan::requests::{Form, Request, take};
use crate::span::Span;

/// A whole blob is taken in place of ranges when it brings no more than this many bytes that were not asked for, or an eighth of
/// what was.
const SURPLUS: u64 = 64 << 10;
/// An answer that brings less than this, and less than half of what was missing, counts against the server.
const PROGRESS: u64 = 16 << 10;
/// Answers that may bring so little, for one blob.
const POOR_ANSWERS: u32 = 16;
/// Complete answers in a row that may bring nothing at all.
const EMPTY_ANSWERS: u32 = 2;

/// Refusals of several ranges, for one blob, before no more than one is asked for whatever the host has proved. Stops a registry that
/// redirects to a new host each time, which would have to prove itself anew for ever.
const REFUSALS: u32 = 16;

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
    ledger: &'a Ledger,
    sink: &'a dyn SpanSink,
    /// What the bytes for the sink are noted as, where the sink's owner does not.
    cause: Option<Cause>,
}

/// What became of one request.
struct Outcome {
    /// Missing bytes that did not come.
    left: Vec<Span>,
    /// Missing bytes that were asked for.
    missing: u64,
    /// Whether the form was refused rather than the content.
    refused: bool,
    /// Why the answer is incomplete, where something is known.
    fault: Option<RegistryError>,
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
        let mut queue: VecDeque<_> = missing.iter().copied().collect();
        let mut running = FuturesUnordered::new();
        let mut patience = Patience::default();
        loop {
            while running.len() < width {
                let Some((request, trial)) = self.next(&mut queue, patience.refused >= REFUSALS) else { break };
                running.push(self.one(request, trial, patience.pause(self.client)));
            }
            let Some(outcome) = running.next().await else {
                if queue.is_empty() {
                    return Ok(());
                }
                self.host().settled().await;
                continue;
            };
            let outcome = outcome?;
            let left = outcome.left.clone();
            patience.judge(outcome, self.client.http.options.attempts, || self.place())?;
            if !left.is_empty() {
                queue.extend(left);
                queue.make_contiguous().sort_unstable();
            }
        }
    }

    /// The next request and its trial; `None` when there is nothing to do, or nothing until a trial ends.
    fn next(&self, queue: &mut VecDeque<Span>, one_range: bool) -> Option<(Request, Option<Trial>)> {
        let options = &self.client.http.options;
        let single = Form { gap: options.single_gap, ..Form::single() };
        if self.cause.is_some() {
            return Some((take(queue, Form { max_bytes: u64::MAX, ..single })?, None));
        }
        if one_range || queue.len() <= 1 {
            return Some((take(queue, single)?, None));
        }
        let several = |ranges| Form { gap: options.several_gap, ..Form::several(ranges) };
        match self.host().turn() {
            Turn::Single => Some((take(queue, single)?, None)),
            Turn::Several(ranges) => Some((take(queue, several(ranges))?, None)),
            Turn::Trial(ranges, trial) => {
                let request = take(queue, several(ranges))?;
                // One range proves nothing about several; the guard is for who has more.
                let trial = (request.spans.len() > 1).then_some(trial);
                Some((request, trial))
            }
            Turn::Wait => None,
        }
    }

    fn host(&self) -> Arc<Host> {
        self.client.http.hosts.expected(&self.blob.url)
    }

    fn place(&self) -> Place {
        Place::new(&Method::GET, &self.blob.url)
    }

    /// Sends one request and takes in its answer. The trial ends with it.
    async fn one(&self, request: Request, _trial: Option<Trial>, pause: Duration) -> Result<Outcome, RegistryError> {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let ranges = request.spans.len();
        if ranges == 1 && !self.near_whole(&request) && self.host().knows_no_ranges() {
            return Err(RegistryError::RangesRefused { place: self.place() });
        }
        let mut ask = self.client.blob_ask(self.blob.url.clone(), self.blob.scope.clone());
        ask.headers.push((RANGE, range_value(&request.header())));
        ask.several = ranges > 1;
        let answer = self.client.http.send(&ask, self.ledger).await?;
        let host = answer.host.clone();
        let mut delivery = Delivery::new(self, &request);
        let result = match answer.status().as_u16() {
            206 => delivery.partial(answer).await,
            200 if self.near_whole(&request)
                && answer.content_length().is_none_or(|length| length == self.blob.size) =>
            {
                delivery.whole(answer).await
            }
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
        let bytes = |spans: &[Span]| spans.iter().map(|span| span.len()).sum::<u64>();
        let missing = bytes(&request.missing);
        let nothing = bytes(&left) == missing;
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
            tracing::debug!(place = %self.place(), ranges, "several ranges in one request are refused");
        } else if ranges > 1 && delivery.multipart && !nothing {
            host.proved(ranges);
        } else if ranges == 1 && !nothing {
            host.single(true);
        }
        Ok(Outcome { left, missing, refused, fault })
    }

    /// Whether the whole blob is hardly more than what is asked for.
    fn near_whole(&self, request: &Request) -> bool {
        let missing: u64 = request.missing.iter().map(|span| span.len()).sum();
        self.blob.size.saturating_sub(missing) <= SURPLUS.max(missing / 8)
    }
}

/// What a server has done wrong so far.
#[derive(Default)]
struct Patience {
    /// Answers that brought too little.
    poor: u32,
    /// Complete answers in a row that brought nothing.
    empty: u32,
    /// Connections in a row that broke before they brought anything.
    broken: u32,
    /// Refusals of several ranges.
    refused: u32,
}

impl Patience {
    /// The pause before the next request.
    fn pause(&self, client: &Client) -> Duration {
        if self.broken == 0 { Duration::ZERO } else { client.http.pause(self.broken) }
    }

    /// Counts what was too little, and gives up when there was too much of that.
    fn judge(&mut self, outcome: Outcome, attempts: u32, place: impl Fn() -> Place) -> Result<(), RegistryError> {
        let left: u64 = outcome.left.iter().map(|span| span.len()).sum();
        let came = outcome.missing - left;
        self.refused += u32::from(outcome.refused);
        if left == 0 || outcome.refused {
            (self.empty, self.broken) = (0, 0);
            return Ok(());
        }
        let broken = outcome.fault.as_ref().is_some_and(RegistryError::is_transient);
        match (came, broken) {
            (0, true) => self.broken += 1,
            (0, false) => self.empty += 1,
            _ => (self.empty, self.broken) = (0, 0),
        }
        if came < PROGRESS && came < outcome.missing / 2 {
            self.poor += 1;
        }
        if self.empty >= EMPTY_ANSWERS || self.broken >= attempts.max(1) || self.poor > POOR_ANSWERS {
            let tried = self.broken.max(1);
            return Err(outcome
                .fault
                .map_or_else(|| RegistryError::NoProgress { place: place() }, |fault| fault.after(tried)));
        }
        Ok(())
    }
}

/// Takes in the body of one answer.
struct Delivery<'a> {
    fetch: &'a Fetch<'a>,
    coverage: Coverage,
    /// Bytes that were not asked for, and how many of those end the matter.
    wasted: u64,
    waste_limit: u64,
    /// Parts so far, and how many of them end the matter.
    parts: usize,
    part_limit: usize,
    multipart: bool,
}

impl<'a> Delivery<'a> {
    fn new(fetch: &'a Fetch<'a>, request: &Request) -> Self {
        Self {
            fetch,
            coverage: Coverage::new(request.spans.clone()),
            wasted: 0,
            waste_limit: request.bytes().saturating_add(1 << 20),
            parts: 0,
            part_limit: request.spans.len().saturating_mul(4).saturating_add(16),
            multipart: false,
        }
    }

    /// A 206, of one part or several.
    async fn partial(&mut self, answer: Answer<'_>) -> Result<(), RegistryError> {
        let kind = answer.header(CONTENT_TYPE).unwrap_or_default();
        match Multipart::for_content_type(kind) {
            Ok(Some(reader)) => self.several_parts(answer, reader).await,
            Ok(None) => self.one_part(answer).await,
            Err(error) => {
                let error = RegistryError::multipart(&answer.place, error);
                answer.abandon(Cause::Wasted, self.fetch.ledger).await;
                Err(error)
            }
        }
    }

    async fn one_part(&mut self, mut answer: Answer<'_>) -> Result<(), RegistryError> {
        let range = answer.header(CONTENT_RANGE).and_then(ContentRange::parse);
        let Some(range) = range.filter(|range| range.fits(self.fetch.blob.size)) else {
            let fault = answer.fault(Fault::ContentRange);
            answer.abandon(Cause::Wasted, self.fetch.ledger).await;
            return Err(fault);
        };
        let mut rest = Some(range.span);
        while let Some(chunk) = answer.chunk().await? {
            let len = rest.map_or(0, |rest| rest.len().min(chunk.len() as u64));
            let (data, surplus) = chunk.split_at(usize::try_from(len).unwrap_or(chunk.len()).min(chunk.len()));
            self.waste(surplus.len());
            if let Some(span) = rest {
                self.data(span.start(), data)?;
                rest = Span::new(span.start() + len, span.end());
            }
            self.check_waste(&answer)?;
        }
        if rest.is_some() { Err(answer.fault(Fault::Truncated)) } else { Ok(()) }
    }

    async fn several_parts(&mut self, mut answer: Answer<'_>, mut reader: Multipart) -> Result<(), RegistryError> {
        self.multipart = true;
        let mut at = 0;
        while let Some(chunk) = answer.chunk().await? {
            let mut data_bytes = 0;
            let mut failed = None;
            let pushed = reader.push::<MultipartError>(&chunk, &mut |event| {
                match event {
                    Event::Part(range) if !range.fits(self.fetch.blob.size) => {
                        return Err(MultipartError::ContentRange);
                    }
                    Event::Part(range) => {
                        self.parts += 1;
                        at = range.span.start();
                    }
                    Event::Data(data) => {
                        data_bytes += data.len();
                        if failed.is_none() {
                            failed = self.data(at, data).err();
                        } else {
                            self.waste(data.len());
                        }
                        at = at.saturating_add(data.len() as u64);
                    }
                }
                Ok(())
            });
            self.fetch.ledger.add(Cause::Framing, (chunk.len() - data_bytes) as u64);
            if let Some(error) = failed {
                return Err(error);
            }
            pushed.map_err(|error| RegistryError::multipart(&answer.place, error))?;
            self.check_waste(&answer)?;
        }
        if reader.ended() { Ok(()) } else { Err(answer.fault(Fault::Truncated)) }
    }

    /// A 200 that is welcome.
    async fn whole(&mut self, mut answer: Answer<'_>) -> Result<(), RegistryError> {
        let mut at = 0_u64;
        while let Some(chunk) = answer.chunk().await? {
            self.data(at, &chunk)?;
            at = at.saturating_add(chunk.len() as u64);
            self.check_waste(&answer)?;
        }
        let (expected, place) = (self.fetch.blob.size, answer.place.clone());
        if at == expected { Ok(()) } else { Err(RegistryError::Size { place, expected, actual: at }) }
    }

    /// Hands on what was asked for and did not come before; the rest is wasted.
    fn data(&mut self, offset: u64, data: &[u8]) -> Result<(), RegistryError> {
        let Some(span) = Span::with_len(offset, data.len() as u64) else { return Ok(()) };
        let mut handed = 0;
        let mut result = Ok(());
        for piece in self.coverage.take(span) {
            let bytes = usize::try_from(piece.start() - offset).ok().zip(usize::try_from(piece.len()).ok());
            let bytes = bytes.and_then(|(from, len)| data.get(from..from + len)).unwrap_or_default();
            if result.is_ok() {
                // A failed write is noted as the sink's all the same: the transfer ends with it.
                result = self.fetch.sink.write(piece.start(), bytes).map_err(RegistryError::Sink);
            }
            if let Some(cause) = self.fetch.cause {
                self.fetch.ledger.add(cause, piece.len());
            }
            handed += bytes.len();
        }
        self.waste(data.len() - handed);
        result
    }

    fn waste(&mut self, bytes: usize) {
        self.wasted = self.wasted.saturating_add(bytes as u64);
        self.fetch.ledger.add(Cause::Wasted, bytes as u64);
    }

    /// Stops an answer without end.
    fn check_waste(&self, answer: &Answer<'_>) -> Result<(), RegistryError> {
        let endless = self.wasted > self.waste_limit || self.parts > self.part_limit;
        if endless { Err(answer.fault(Fault::Surplus)) } else { Ok(()) }
    }
}
