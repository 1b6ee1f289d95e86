//! Taking in one answer to a ranged request: what was asked for goes to the sink, everything is counted, and an answer without end ends.

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE};

use super::answer::Answer;
use super::content_range::ContentRange;
use super::coverage::Coverage;
use super::error::{Fault, RegistryError};
use super::host::Trial;
use super::multipart::{Event, Multipart, MultipartError};
use super::ranges::Fetch;
use crate::ledger::Cause;
use crate::limits;
use crate::plan::requests::Request;
use crate::span::Span;

/// Takes in the body of one answer.
pub(super) struct Delivery<'a> {
    fetch: &'a Fetch<'a>,
    pub(super) coverage: Coverage,
    /// Bytes that were not asked for, and how many of those end the matter.
    wasted: u64,
    waste_limit: u64,
    /// Parts so far, and how many of them end the matter.
    parts: usize,
    part_limit: usize,
    pub(super) multipart: bool,
    /// Ranges that were asked for, and whether others wait to hear that so many are answered.
    ranges: usize,
    trial: Option<Trial>,
    framing: u64,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(fetch: &'a Fetch<'a>, request: &Request, trial: Option<Trial>) -> Self {
        Self {
            fetch,
            coverage: Coverage::new(request.spans.clone()),
            wasted: 0,
            waste_limit: request.bytes().saturating_add(limits::SURPLUS),
            parts: 0,
            part_limit: request.spans.len().saturating_mul(4).saturating_add(limits::PARTS),
            multipart: false,
            ranges: request.spans.len(),
            trial,
            framing: 0,
        }
    }

    /// A 206, of one part or several.
    pub(super) async fn partial(&mut self, answer: Answer<'_>) -> Result<(), RegistryError> {
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
        let Some(range) = range.filter(|range| range.fits(self.fetch.size())) else {
            let fault = answer.fault(Fault::ContentRange);
            answer.abandon(Cause::Wasted, self.fetch.ledger).await;
            return Err(fault);
        };
        if self.ranges == 1 {
            answer.host.single(true);
            self.trial = None;
        }
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
            answer.check_pace()?;
        }
        if rest.is_some() { Err(answer.fault(Fault::Truncated)) } else { Ok(()) }
    }

    async fn several_parts(&mut self, mut answer: Answer<'_>, mut reader: Multipart) -> Result<(), RegistryError> {
        self.multipart = true;
        let mut at = 0;
        while let Some(chunk) = answer.chunk().await? {
            let mut data_bytes = 0;
            let mut failed = None;
            let before = self.parts;
            let pushed = reader.push::<MultipartError>(&chunk, &mut |event| {
                match event {
                    Event::Part(range) if !range.fits(self.fetch.size()) => {
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
            let framing = (chunk.len() - data_bytes) as u64;
            self.framing += framing;
            self.fetch.ledger.add(Cause::Framing, framing);
            answer.host.pace().parts(self.parts - before);
            if before == 0 && self.parts > 0 {
                answer.host.proved(self.ranges);
                // Whoever waits need not wait for the rest of the body.
                self.trial = None;
            }
            if let Some(error) = failed {
                return Err(error);
            }
            pushed.map_err(|error| RegistryError::multipart(&answer.place, error))?;
            self.check_waste(&answer)?;
            answer.check_pace()?;
        }
        if !reader.ended() {
            return Err(answer.fault(Fault::Truncated));
        }
        answer.host.pace().framed(self.framing, self.parts);
        Ok(())
    }

    /// A 200 that is welcome.
    pub(super) async fn whole(&mut self, mut answer: Answer<'_>) -> Result<(), RegistryError> {
        let mut at = 0_u64;
        while let Some(chunk) = answer.chunk().await? {
            self.data(at, &chunk)?;
            at = at.saturating_add(chunk.len() as u64);
            self.check_waste(&answer)?;
            answer.check_pace()?;
        }
        let (expected, place) = (self.fetch.size(), answer.place.clone());
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
