//! The scanner: bytes of a tar go in, in pieces of any size; entries, payload and the raw bytes around them come out.
//!
//! It does no IO and holds no payload. Everything that is not payload leaves it as *segments*, so that segments and payloads in order
//! are the archive, byte for byte. What it cannot read as Go's reader does, or what no table of contents can say, ends the scan with
//! a [`Fault`]; the caller may still pass the bytes on.

use std::mem;

use super::fault::{Fault, FaultKind};
use super::header::{BLOCK, Block, Entry, HeaderError, Kind};
use super::pax::{self, Records};
use super::sparse::{self, Sparse, SparseError};
use crate::limits;

/// Something in a tar.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// An entry begins. `segment` is every byte since the last payload: that payload's padding, extended headers, the header.
    Entry {
        /// What the headers say.
        entry: Box<Entry>,
        /// The raw bytes.
        segment: Vec<u8>,
        /// How many of the segment's first bytes are the previous payload's padding.
        padding: usize,
    },
    /// Bytes of the current entry's payload.
    Payload(&'a [u8]),
    /// The payload is complete (not sent for entries without payload).
    PayloadEnd,
    /// Bytes after the last entry: its padding, the end-of-archive blocks and zeros behind them. At most 1 MiB at a time.
    Trailer(Vec<u8>),
}

/// Trailing zeros leave in segments of this size.
const TRAILER_PIECE: usize = 1 << 20;

#[derive(Debug)]
enum State {
    Padding(usize),
    Header { from: usize },
    Special { flag: u8, from: usize, size: usize, padded: usize },
    SparseMap { from: usize, until: usize },
    Payload { left: u64, pad: usize },
    SecondZeroBlock { from: usize },
    Trailer,
    Done,
}

/// The state machine. Feed it with [`Scanner::next`] until the input is used up, then ask [`Scanner::finish`].
#[derive(Debug)]
pub struct Scanner {
    state: State,
    segment: Vec<u8>,
    padding: usize,
    offset: u64,
    records: Records,
    long_name: Vec<u8>,
    long_link: Vec<u8>,
    last: Option<Vec<u8>>,
    lenient: bool,
    entries: u64,
    most_entries: u64,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner at the start of an archive.
    pub fn new() -> Self {
        Self {
            state: State::Header { from: 0 },
            segment: Vec::new(),
            padding: 0,
            offset: 0,
            records: Records::new(),
            long_name: Vec::new(),
            long_link: Vec::new(),
            last: None,
            lenient: false,
            entries: 0,
            most_entries: limits::ENTRIES,
        }
    }

    /// The same with another limit than [`limits::ENTRIES`].
    pub fn of_at_most(self, most_entries: u64) -> Self {
        Self { most_entries, ..self }
    }

    /// A scanner for those who unpack: it also lets through what Go's reader takes and no table of contents can say. Sparse files come
    /// with their map, contiguous files as regular ones, a size on an entry without payload counts for nothing, and neither do the
    /// records of a global header.
    pub fn lenient() -> Self {
        Self { lenient: true, ..Self::new() }
    }

    /// Bytes of the tar that have been taken in.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes that were taken in and have left in no event; after a fault they come before the rest of the input.
    pub fn into_pending(self) -> Vec<u8> {
        self.segment
    }

    /// The next event, taking from the front of `input`; `None` when all of it is used up and more is needed.
    ///
    /// # Errors
    /// [`Fault`]: the scan is over. What was taken in but not handed out is in [`Scanner::into_pending`].
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Fault> {
        loop {
            let event = match self.state {
                State::Padding(left) => self.padding(input, left),
                State::Header { from } => self.header(input, from)?,
                State::Special { flag, from, size, padded } => self.special(input, flag, from, size, padded)?,
                State::SparseMap { from, until } => self.sparse_map(input, from, until)?,
                State::Payload { left, pad } => self.payload(input, left, pad),
                State::SecondZeroBlock { from } => self.second_zero_block(input, from)?,
                State::Trailer => self.trailer(input)?,
                State::Done => return Ok(None),
            };
            match event {
                Step::Event(event) => return Ok(Some(event)),
                Step::Again => {}
                Step::NeedsInput => return Ok(None),
            }
        }
    }

    /// Skips the current payload without seeing it, for callers that only have the segments.
    pub fn skip_payload(&mut self) {
        if let State::Payload { left, pad } = self.state {
            self.offset = self.offset.saturating_add(left);
            self.state = State::Padding(pad);
        }
    }

    /// Ends the archive: the last piece of trailer, if any.
    ///
    /// # Errors
    /// [`Fault`] when the archive is cut short in a way that readers refuse.
    pub fn finish(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let truncated = |what| FaultKind::Truncated(what);
        match self.state {
            State::Padding(0) | State::Trailer | State::Done => {}
            // Go's reader takes an archive that ends right behind a payload, but loses part of a padding.
            State::Padding(_) if self.padding == 0 => {}
            State::Padding(_) => return Err(self.fault(truncated("padding"))),
            State::Header { from } if from == self.segment.len() => {}
            State::Header { .. } => return Err(self.fault(truncated("a header"))),
            State::SecondZeroBlock { from } if from == self.segment.len() => {}
            State::SecondZeroBlock { .. } => return Err(self.fault(truncated("the end-of-archive blocks"))),
            State::Special { .. } => return Err(self.fault(truncated("an extended header"))),
            State::SparseMap { .. } => return Err(self.fault(truncated("the map of a sparse file"))),
            State::Payload { .. } => return Err(self.fault(truncated("a payload"))),
        }
        if matches!(self.state, State::Trailer)
            && self.segment.len() < 2 * BLOCK
            && !self.segment.len().is_multiple_of(BLOCK)
        {
            return Err(self.fault(FaultKind::TrailingLength));
        }
        self.state = State::Done;
        let rest = mem::take(&mut self.segment);
        Ok((!rest.is_empty()).then_some(rest))
    }

    fn fault(&self, kind: impl Into<FaultKind>) -> Fault {
        Fault { kind: kind.into(), entry: self.last.clone(), offset: self.offset }
    }

    /// Moves bytes from `input` to the segment until it holds `until` bytes; says whether it does.
    fn fill(&mut self, input: &mut &[u8], until: usize) -> bool {
        let wanted = until.saturating_sub(self.segment.len());
        let (taken, rest) = input.split_at(wanted.min(input.len()));
        self.segment.extend_from_slice(taken);
        self.offset = self.offset.saturating_add(taken.len() as u64);
        *input = rest;
        self.segment.len() >= until
    }

    fn padding<'a>(&mut self, input: &mut &'a [u8], left: usize) -> Step<'a> {
        let before = self.segment.len();
        let whole = self.fill(input, before + left);
        let taken = self.segment.len() - before;
        self.padding += taken;
        self.state = if whole { State::Header { from: self.segment.len() } } else { State::Padding(left - taken) };
        if whole { Step::Again } else { Step::NeedsInput }
    }

    fn header<'a>(&mut self, input: &mut &'a [u8], from: usize) -> Result<Step<'a>, Fault> {
        if !self.fill(input, from + BLOCK) {
            return Ok(Step::NeedsInput);
        }
        let Some(block) = self.segment.get(from..).and_then(|bytes| bytes.first_chunk::<BLOCK>()) else {
            return Ok(Step::NeedsInput);
        };
        if block.iter().all(|&byte| byte == 0) {
            self.state = State::SecondZeroBlock { from: self.segment.len() };
            return Ok(Step::Again);
        }
        let block = Block::parse(block).map_err(|error| self.fault(error))?;
        match block.flag {
            b'x' | b'L' | b'K' => self.begin_special(&block),
            b'g' if self.lenient => self.begin_special(&block),
            b'S' if self.lenient => {
                self.state = State::SparseMap { from, until: from + BLOCK };
                Ok(Step::Again)
            }
            _ => self.entry(block, None),
        }
    }

    /// Takes in the blocks that continue the map of an old sparse header.
    fn sparse_map<'a>(&mut self, input: &mut &'a [u8], from: usize, until: usize) -> Result<Step<'a>, Fault> {
        if !self.fill(input, until) {
            return Ok(Step::NeedsInput);
        }
        let blocks = self.segment.get(from..until).unwrap_or_default();
        let last = blocks.chunks(BLOCK).next_back().unwrap_or_default();
        if sparse::old_form_goes_on(last, blocks.len() == BLOCK) {
            if (until - from) as u64 > limits::TAR_SPECIAL {
                return Err(self.fault(SparseError::TooLong));
            }
            self.state = State::SparseMap { from, until: until + BLOCK };
            return Ok(Step::Again);
        }
        let sparse = sparse::old_form(blocks).map_err(|error| self.fault(error))?;
        let header = blocks.first_chunk::<BLOCK>().ok_or_else(|| self.fault(FaultKind::Sparse))?;
        let block = Block::parse(header).map_err(|error| self.fault(error))?;
        self.entry(block, Some(sparse))
    }

    fn begin_special<'a>(&mut self, block: &Block) -> Result<Step<'a>, Fault> {
        let size = usize::try_from(block.size).ok().filter(|_| block.size <= limits::TAR_SPECIAL);
        let too_long = |len, limit| self.fault(FaultKind::TooLong { len, limit });
        let size = size.ok_or_else(|| too_long(block.size, limits::TAR_SPECIAL))?;
        let together = self.segment.len() + size;
        if together > limits::TAR_HEADERS {
            return Err(too_long(together as u64, limits::TAR_HEADERS as u64));
        }
        self.state =
            State::Special { flag: block.flag, from: self.segment.len(), size, padded: size.next_multiple_of(BLOCK) };
        Ok(Step::Again)
    }

    fn special<'a>(
        &mut self,
        input: &mut &'a [u8],
        flag: u8,
        from: usize,
        size: usize,
        padded: usize,
    ) -> Result<Step<'a>, Fault> {
        if !self.fill(input, from + padded) {
            return Ok(Step::NeedsInput);
        }
        let body = self.segment.get(from..from + size).unwrap_or_default();
        let text = || body.split(|&byte| byte == 0).next().unwrap_or_default().to_vec();
        match flag {
            b'L' => self.long_name = text(),
            b'K' => self.long_link = text(),
            b'g' => {
                // Go hands a global header out as a member of its own, so what stood before it belongs to nobody.
                pax::records(body).map_err(|error| self.fault(error))?;
                (self.long_name, self.long_link, self.records) = Default::default();
            }
            _ => self.records = pax::records(body).map_err(|error| self.fault(error))?,
        }
        self.state = State::Header { from: self.segment.len() };
        Ok(Step::Again)
    }

    fn entry<'a>(&mut self, block: Block, old_sparse: Option<Sparse>) -> Result<Step<'a>, Fault> {
        let flag = block.flag;
        let records = mem::take(&mut self.records);
        let (name, link) = (mem::take(&mut self.long_name), mem::take(&mut self.long_link));
        let (kind, mut entry) = block.with_extensions(&records, name, link).map_err(|error| self.fault(error))?;
        self.last = Some(entry.name.clone());
        let kind = match flag {
            b'7' if self.lenient => Some(Kind::Regular),
            _ => kind,
        };
        if flag == b'S' || pax::is_sparse(&records) {
            self.sparse(&mut entry, kind, old_sparse, &records)?;
        } else {
            let unknown = if self.lenient { FaultKind::Unknown(flag) } else { FaultKind::Flag(flag) };
            entry.kind = kind.ok_or_else(|| self.fault(unknown))?;
        }
        if entry.kind != Kind::Regular && entry.size != 0 {
            if !self.lenient {
                return Err(self.fault(FaultKind::PayloadOnHeaderOnly(entry.size)));
            }
            entry.size = 0;
        }
        let left = u64::try_from(entry.size).map_err(|_| self.fault(HeaderError::Size))?;
        let odd = usize::try_from(left % BLOCK as u64).unwrap_or(0);
        self.entries += 1;
        if self.entries > self.most_entries {
            return Err(self.fault(FaultKind::TooMany(self.most_entries)));
        }
        let padding = mem::take(&mut self.padding);
        self.state = match left {
            0 => State::Header { from: 0 },
            _ => State::Payload { left, pad: (BLOCK - odd) % BLOCK },
        };
        Ok(Step::Event(Event::Entry { entry: Box::new(entry), segment: mem::take(&mut self.segment), padding }))
    }

    /// Gives a sparse entry its map, and the name that its records have for it.
    fn sparse(
        &mut self,
        entry: &mut Entry,
        kind: Option<Kind>,
        old: Option<Sparse>,
        records: &Records,
    ) -> Result<(), Fault> {
        let of_a_file = old.is_some() || kind == Some(Kind::Regular);
        if !self.lenient || !of_a_file {
            return Err(self.fault(FaultKind::Sparse));
        }
        entry.kind = Kind::Regular;
        if let Some(old) = old {
            entry.sparse = Some(old);
            return Ok(());
        }
        let (sparse, name) = sparse::pax_form(records).map_err(|error| self.fault(error))?;
        if let Some(name) = name {
            self.last = Some(name.clone());
            entry.name = name;
        }
        entry.sparse = Some(sparse);
        Ok(())
    }

    fn payload<'a>(&mut self, input: &mut &'a [u8], left: u64, pad: usize) -> Step<'a> {
        if left == 0 {
            self.state = State::Padding(pad);
            return Step::Event(Event::PayloadEnd);
        }
        if input.is_empty() {
            return Step::NeedsInput;
        }
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let (payload, rest) = input.split_at(now);
        *input = rest;
        self.offset = self.offset.saturating_add(now as u64);
        self.state = State::Payload { left: left - now as u64, pad };
        Step::Event(Event::Payload(payload))
    }

    fn second_zero_block<'a>(&mut self, input: &mut &'a [u8], from: usize) -> Result<Step<'a>, Fault> {
        if !self.fill(input, from + BLOCK) {
            return Ok(Step::NeedsInput);
        }
        if self.segment.iter().skip(from).any(|&byte| byte != 0) {
            return Err(self.fault(FaultKind::LoneZeroBlock));
        }
        self.padding = 0;
        self.state = State::Trailer;
        Ok(Step::Event(Event::Trailer(mem::take(&mut self.segment))))
    }

    fn trailer<'a>(&mut self, input: &mut &'a [u8]) -> Result<Step<'a>, Fault> {
        // A whole piece stays back until it is known that more follows, so that the last piece is never a short rest.
        if self.segment.len() >= TRAILER_PIECE + 2 * BLOCK {
            let rest = self.segment.split_off(TRAILER_PIECE);
            return Ok(Step::Event(Event::Trailer(mem::replace(&mut self.segment, rest))));
        }
        if input.is_empty() {
            return Ok(Step::NeedsInput);
        }
        let room = (TRAILER_PIECE + 2 * BLOCK).saturating_sub(self.segment.len()).min(input.len());
        let zeros = input.iter().take(room).position(|&byte| byte != 0);
        // Not a byte further than the zeros, so that a fault is at the same place whatever pieces the input comes in.
        self.fill(input, self.segment.len() + zeros.unwrap_or(room));
        if zeros.is_some() { Err(self.fault(FaultKind::TrailingData)) } else { Ok(Step::Again) }
    }
}

enum Step<'a> {
    Event(Event<'a>),
    Again,
    NeedsInput,
}
