//! The producer: reads the tar, decides where frames begin and end, and says in which order they are written.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};

use crate::cut::{Cutter, Piece};
use crate::format::toc;
use crate::inflate::Pieces;
use crate::tar::scan::{Event, Scanner};
use crate::zstd::codec::Tables;

use super::budget::{Account, Permit};
use super::digests::{Digests, FileSums};
use super::names::Names;
use super::workers::{Frame, Job, Wanted};
use super::{EncodeError, Progress, Settings, Unfaithful};

/// Tar bytes are read in pieces of this size.
const READ: usize = 1 << 20;

/// A header frame, or a frame of bytes without table of contents, ends when it has this size.
const FRAME: usize = 1 << 20;

/// A frame that some worker is making.
#[derive(Debug)]
pub struct Pending {
    /// The result, once.
    pub frame: Receiver<Frame>,
    /// What it takes of the memory, until it is written.
    pub permit: Permit,
}

impl Pending {
    /// Waits for the result. The permit is for as long as the frame is held.
    pub fn receive(self) -> (Frame, Permit) {
        (self.frame.recv().expect("a worker answers every job or has panicked"), self.permit)
    }
}

/// What the writer does next.
#[derive(Debug)]
pub enum Step {
    /// Writes a frame that no entry names.
    Frame(Pending),
    /// Begins an entry, whose headers were `segment`.
    Entry {
        /// For the table of contents, without offsets and digests.
        entry: Box<toc::Entry>,
        /// For the tar-split.
        segment: Vec<u8>,
    },
    /// Writes a chunk of the entry.
    Chunk {
        /// The frame.
        frame: Pending,
        /// Payload bytes in it.
        len: u64,
        /// Whether they are all zeros.
        zeros: bool,
    },
    /// Ends the entry's payload. `sums` are of the whole of it, unless it is a single chunk that already has them.
    PayloadEnd {
        /// Digest and checksum.
        sums: Option<Receiver<FileSums>>,
    },
    /// Raw bytes behind the last entry, for the tar-split.
    Trailer(Vec<u8>),
    /// From here on there is no table of contents.
    Abandon(Unfaithful),
}

/// Nobody takes steps any more: the writer has failed and knows why.
struct Stopped;

/// See the module.
pub struct Producer<'a> {
    level: i32,
    tables: Tables,
    jobs: Sender<Job>,
    steps: Sender<Step>,
    account: Account,
    digests: &'a Digests,
    /// Up to here the bytes at hand were told to the digests.
    told: usize,
    cutter: Cutter,
    headers: Vec<u8>,
    names: Names,
}

enum Flow {
    Scan(Scanner),
    /// The tar has no table of contents: its bytes are passed on.
    Pass,
}

impl<'a> Producer<'a> {
    /// A producer that feeds the given queues.
    pub fn new(
        settings: &Settings,
        jobs: Sender<Job>,
        steps: Sender<Step>,
        account: Account,
        digests: &'a Digests,
    ) -> Self {
        let (level, tables, cutter) = (settings.level, settings.tables, Cutter::new(settings.cut));
        let (headers, names) = (Vec::new(), Names::default());
        Self { level, tables, jobs, steps, account, digests, told: 0, cutter, headers, names }
    }

    /// Runs to the end of the tar; returns its size. Ends early, without error, when the writer has stopped.
    pub fn run(
        mut self,
        mut source: impl Read,
        written: &AtomicU64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<u64, EncodeError> {
        let mut flow = Flow::Scan(Scanner::new());
        let mut pieces = Pieces::new(READ);
        let mut size = 0;
        loop {
            // On error the writer ends what it has as if it were whole; its result is thrown away with ours.
            let bytes = pieces.read(&mut source).map_err(|source| EncodeError::Read { offset: size, source })?;
            let end = bytes.is_empty();
            size += bytes.len() as u64;
            progress(Progress { read: size, written: written.load(Ordering::Relaxed) });
            self.told = 0;
            let went = if end { self.finish(flow).map(|()| Flow::Pass) } else { self.take(flow, &bytes) };
            self.tell_until(bytes.len(), &bytes);
            match went {
                Ok(next) if !end => flow = next,
                _ => return Ok(size),
            }
        }
    }

    fn take(&mut self, flow: Flow, bytes: &Bytes) -> Result<Flow, Stopped> {
        let mut input = &bytes[..];
        let Flow::Scan(mut scanner) = flow else {
            self.raw(input)?;
            return Ok(Flow::Pass);
        };
        let why = loop {
            match scanner.next(&mut input) {
                Ok(None) => return Ok(Flow::Scan(scanner)),
                Ok(Some(event)) => {
                    let end = bytes.len() - input.len();
                    if let Some(why) = self.event(event, bytes, end, scanner.offset())? {
                        break why;
                    }
                }
                Err(fault) => break fault.into(),
            }
        };
        self.abandon(scanner, why)?;
        self.raw(input)?;
        Ok(Flow::Pass)
    }

    fn finish(&mut self, flow: Flow) -> Result<(), Stopped> {
        if let Flow::Scan(mut scanner) = flow {
            match scanner.finish() {
                Ok(Some(rest)) => {
                    self.raw(&rest)?;
                    self.step(Step::Trailer(rest))?;
                }
                Ok(None) => {}
                Err(fault) => self.abandon(scanner, fault.into())?,
            }
            if let Some(link) = self.names.dangling() {
                let name = String::from_utf8_lossy(link).into_owned();
                self.step(Step::Abandon(Unfaithful::DanglingLink { name }))?;
            }
        }
        self.flush_headers()
    }

    /// Handles one event, which ends at `end` of `bytes` and at `offset` of the tar; says why there can be no table of contents, if so.
    fn event(
        &mut self,
        event: Event<'_>,
        bytes: &Bytes,
        end: usize,
        offset: u64,
    ) -> Result<Option<Unfaithful>, Stopped> {
        match event {
            Event::Entry { entry, segment, .. } => {
                self.raw(&segment)?;
                let name = || String::from_utf8_lossy(&entry.name).into_owned();
                let said = match toc::Entry::from_tar(&entry) {
                    Ok(said) => said,
                    Err(why) => return Ok(Some(Unfaithful::NoForm { name: name(), offset, why })),
                };
                if let Err(why) = self.names.add(&entry) {
                    return Ok(Some(Unfaithful::Name { name: name(), offset, why }));
                }
                if entry.size > 0 {
                    self.flush_headers()?;
                    self.cutter.begin(entry.size.unsigned_abs());
                }
                self.step(Step::Entry { entry: Box::new(said), segment })?;
            }
            Event::Payload(payload) => self.payload(bytes, end - payload.len(), end)?,
            Event::PayloadEnd => self.payload_end()?,
            Event::Trailer(rest) => {
                self.raw(&rest)?;
                self.step(Step::Trailer(rest))?;
            }
        }
        Ok(None)
    }

    fn payload(&mut self, bytes: &Bytes, start: usize, end: usize) -> Result<(), Stopped> {
        let payload = bytes.slice(start..end);
        if !self.cutter.is_whole() {
            self.tell_until(start, bytes);
            self.digests.payload(payload.clone());
            self.told = end;
        }
        let mut pieces = Vec::new();
        self.cutter.push(payload, |piece| pieces.push(piece));
        pieces.into_iter().try_for_each(|piece| self.chunk(piece, Wanted::Digest))
    }

    fn payload_end(&mut self) -> Result<(), Stopped> {
        let whole = self.cutter.is_whole();
        let mut pieces = Vec::new();
        self.cutter.end(|piece| pieces.push(piece));
        let wanted = if whole { Wanted::DigestAndCrc } else { Wanted::Digest };
        pieces.into_iter().try_for_each(|piece| self.chunk(piece, wanted))?;
        let sums = if whole { None } else { Some(self.digests.payload_end()) };
        self.step(Step::PayloadEnd { sums })
    }

    /// Tells the digests of the bytes at hand up to `end`, as far as they were not told yet.
    fn tell_until(&mut self, end: usize, bytes: &Bytes) {
        if self.told < end {
            self.digests.tar(bytes.slice(self.told..end));
            self.told = end;
        }
    }

    /// Gives up the table of contents. What the scanner and the cutter still hold goes on as plain bytes.
    fn abandon(&mut self, scanner: Scanner, why: Unfaithful) -> Result<(), Stopped> {
        let mut pieces = Vec::new();
        self.cutter.end(|piece| pieces.push(piece));
        self.step(Step::Abandon(why))?;
        for piece in pieces {
            let frame = self.job(piece, Wanted::Bytes)?;
            self.step(Step::Frame(frame))?;
        }
        self.raw(&scanner.into_pending())
    }

    /// Takes bytes that are no payload.
    fn raw(&mut self, mut bytes: &[u8]) -> Result<(), Stopped> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(FRAME - self.headers.len()));
            self.headers.extend_from_slice(now);
            bytes = rest;
            if self.headers.len() == FRAME {
                self.flush_headers()?;
            }
        }
        Ok(())
    }

    fn flush_headers(&mut self) -> Result<(), Stopped> {
        if self.headers.is_empty() {
            return Ok(());
        }
        let headers = std::mem::take(&mut self.headers);
        let frame = self.job(Piece::Data(headers.into()), Wanted::Bytes)?;
        self.step(Step::Frame(frame))
    }

    fn chunk(&mut self, piece: Piece, wanted: Wanted) -> Result<(), Stopped> {
        let (len, zeros) = match &piece {
            Piece::Data(data) => (data.len() as u64, false),
            Piece::Zeros(len) => (*len, true),
        };
        let frame = self.job(piece, wanted)?;
        self.step(Step::Chunk { frame, len, zeros })
    }

    fn job(&mut self, piece: Piece, wanted: Wanted) -> Result<Pending, Stopped> {
        let held = match &piece {
            Piece::Data(data) => data.len(),
            Piece::Zeros(_) => 0,
        };
        let permit = self.account.acquire(held).ok_or(Stopped)?;
        let (done, frame) = crossbeam_channel::bounded(1);
        self.jobs.send(Job { piece, level: self.level, tables: self.tables, wanted, done }).map_err(|_| Stopped)?;
        Ok(Pending { frame, permit })
    }

    fn step(&self, step: Step) -> Result<(), Stopped> {
        self.steps.send(step).map_err(|_| Stopped)
    }
}
