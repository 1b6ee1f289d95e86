//! Where one file's payload is cut into chunks.
//!
//! A file up to [`Policy::whole_below`] is one chunk. A larger one is split at runs of zeros, which become chunks of their own, and the
//! data between them is cut by content (FastCDC), so that an insertion moves only the cuts near it. Where the cuts fall depends on the
//! payload and the policy alone, never on the pieces in which the payload arrives.

use std::fmt;
use std::str::FromStr;

use bytes::{Bytes, BytesMut};
use fastcdc::v2020::FastCDC;

/// How payloads are cut. All sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Files smaller than this stay whole.
    pub whole_below: u64,
    /// What chunks of the others are on average; from a quarter to four times that.
    pub average: Average,
    /// The shortest run of zeros that becomes a chunk of its own; in large chunks, a sixteenth of their average if that is more.
    pub zeros: usize,
}

/// The average size of a file's chunks, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// The same for every file.
    Fixed(usize),
    /// `least` for files of up to `until` bytes, and twice as much for each four times that a file is longer, up to `most`: about the
    /// square root of the file's size.
    ///
    /// A small file that changes in one place is worth small chunks; in a large one they would cost more, in every pull, than they spare
    /// in the next.
    Scaled {
        /// The largest file, in bytes, that is cut into the smallest chunks.
        until: u64,
        /// The smallest average.
        least: usize,
        /// The largest average.
        most: usize,
    },
}

/// A chunk size that FastCDC cannot work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chunk size {0} is out of range: from {min} to {max} bytes", min = Policy::AVERAGES.start(), max = Policy::AVERAGES.end())]
pub struct PolicyError(u64);

impl Policy {
    /// The averages that can be asked for.
    pub const AVERAGES: std::ops::RangeInclusive<usize> = 1 << 10..=4 << 20;

    /// The shortest run of zeros that is worth an entry of its own.
    pub const ZEROS: usize = 4 << 10;

    /// Chunks that grow with the file, as measured to cost the least over real updates (`spec-notes/measurements.md`).
    pub const SCALED: Self = Self {
        whole_below: 64 << 10,
        average: Average::Scaled { until: 256 << 10, least: 32 << 10, most: 1 << 20 },
        zeros: Self::ZEROS,
    };

    /// Chunks of 1 MiB in files of at least twice that, which cost next to nothing of a blob and spare less of an update.
    pub const LARGE: Self = Self { whole_below: 2 << 20, average: Average::Fixed(1 << 20), zeros: Self::ZEROS };

    /// Chunks of `average` bytes in every file of at least twice that.
    ///
    /// # Errors
    /// [`PolicyError`] outside [`Policy::AVERAGES`].
    pub fn with_average(average: u64) -> Result<Self, PolicyError> {
        let size =
            usize::try_from(average).ok().filter(|size| Self::AVERAGES.contains(size)).ok_or(PolicyError(average))?;
        Ok(Self { whole_below: average * 2, average: Average::Fixed(size), zeros: Self::ZEROS })
    }

    /// How a file of `size` bytes is cut, should it be.
    fn sizes(&self, size: u64) -> Sizes {
        let average = match self.average {
            Average::Fixed(average) => average,
            Average::Scaled { until, least, most } => {
                let mut average = least;
                let mut until = until.max(1);
                while until < size && average < most {
                    (average, until) = (average * 2, until.saturating_mul(4));
                }
                average.min(most)
            }
        };
        Sizes { min: average / 4, average, max: average * 4, zeros: self.zeros.max(average / 16) }
    }
}

impl fmt::Display for Policy {
    /// `fixed:WHOLE_BELOW:AVERAGE:ZEROS` or `scaled:WHOLE_BELOW:UNTIL:LEAST:MOST:ZEROS`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { whole_below, average, zeros } = self;
        match average {
            Average::Fixed(average) => write!(f, "fixed:{whole_below}:{average}:{zeros}"),
            Average::Scaled { until, least, most } => write!(f, "scaled:{whole_below}:{until}:{least}:{most}:{zeros}"),
        }
    }
}

/// A text that is no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a policy for cutting files")]
pub struct PolicyTextError;

impl FromStr for Policy {
    type Err = PolicyTextError;

    fn from_str(text: &str) -> Result<Self, PolicyTextError> {
        let (kind, numbers) = text.split_once(':').ok_or(PolicyTextError)?;
        let numbers: Vec<u64> =
            numbers.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| PolicyTextError)?;
        let size = |number: u64| usize::try_from(number).map_err(|_| PolicyTextError);
        let average = |number| {
            let inside = size(number).ok().filter(|size| Self::AVERAGES.contains(size));
            inside.ok_or(PolicyTextError)
        };
        match (kind, &numbers[..]) {
            ("fixed", &[whole_below, one, zeros]) => {
                Ok(Self { whole_below, average: Average::Fixed(average(one)?), zeros: size(zeros)? })
            }
            ("scaled", &[whole_below, until, least, most, zeros]) => {
                let average = Average::Scaled { until, least: average(least)?, most: average(most)? };
                Ok(Self { whole_below, average, zeros: size(zeros)? })
            }
            _ => Err(PolicyTextError),
        }
    }
}

/// A policy's sizes for one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    /// The shortest chunk that content may end (the end of the data may still end a shorter one).
    min: usize,
    average: usize,
    /// The longest chunk.
    max: usize,
    /// The shortest run of zeros that becomes a chunk of its own.
    zeros: usize,
}

/// A run of zeros longer than this becomes several chunks, so that no chunk is longer than readers like.
pub const ZEROS_MAX: u64 = 64 << 20;

/// A part of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes to be stored.
    Data(Bytes),
    /// That many zeros.
    Zeros(u64),
}

/// Cuts one payload; reusable for the next.
#[derive(Debug)]
pub struct Cutter {
    policy: Policy,
    sizes: Sizes,
    whole: bool,
    /// Bytes of the payload that have not come yet, so far as is known.
    to_come: u64,
    buffer: Buffer,
    /// Up to here the buffer is known to hold no run of zeros.
    searched: usize,
    zeros: u64,
}

impl Cutter {
    /// A cutter with a policy.
    pub fn new(policy: Policy) -> Self {
        let (sizes, buffer) = (policy.sizes(0), Buffer::default());
        Self { policy, sizes, whole: true, to_come: 0, buffer, searched: 0, zeros: 0 }
    }

    /// Begins a payload of `size` bytes.
    pub fn begin(&mut self, size: u64) {
        self.sizes = self.policy.sizes(size);
        self.whole = size < self.policy.whole_below.min(self.sizes.max as u64);
        self.to_come = size;
        self.buffer = Buffer::default();
        (self.searched, self.zeros) = (0, 0);
    }

    /// Whether the payload that was begun stays in one chunk.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Takes in a part of the payload and gives out the pieces that are certain.
    pub fn push(&mut self, payload: Bytes, mut out: impl FnMut(Piece)) {
        // Pieces that leave share the old memory; with room for several chunks little is copied into the new.
        let room = (payload.len() + 2 * self.sizes.max).min(usize::try_from(self.to_come).unwrap_or(usize::MAX));
        self.to_come = self.to_come.saturating_sub(payload.len() as u64);
        self.buffer.add(payload, room);
        if !self.whole {
            self.advance(false, &mut out);
        }
    }

    /// Ends the payload and gives out the rest.
    pub fn end(&mut self, mut out: impl FnMut(Piece)) {
        if !self.whole {
            self.advance(true, &mut out);
        }
        let rest = self.buffer.len();
        if rest > 0 {
            out(Piece::Data(self.buffer.split_to(rest)));
        }
        self.searched = 0;
    }

    fn advance(&mut self, ended: bool, out: &mut impl FnMut(Piece)) {
        loop {
            if self.zeros > 0 && !self.take_zeros(ended, out) {
                return;
            }
            match self.next_zeros(ended) {
                Found::Run { start, end } => {
                    let data = self.cut_data(start, true, out);
                    self.skip(end - data);
                    self.zeros = (end - start) as u64;
                }
                Found::None { certain } => {
                    self.cut_data(certain, ended, out);
                    return;
                }
            }
        }
    }

    /// Drops the first bytes of the buffer.
    fn skip(&mut self, count: usize) {
        let _ = self.buffer.split_to(count);
        self.searched = self.searched.saturating_sub(count);
    }

    /// Goes on with a run of zeros; says whether it ended inside the buffer.
    fn take_zeros(&mut self, ended: bool, out: &mut impl FnMut(Piece)) -> bool {
        let more = leading_zeros(self.buffer.bytes());
        let over = more < self.buffer.len();
        self.zeros += more as u64;
        self.skip(more);
        // A rest stays, so that the run goes on even when it has just filled a chunk.
        while self.zeros > ZEROS_MAX {
            out(Piece::Zeros(ZEROS_MAX));
            self.zeros -= ZEROS_MAX;
        }
        if (over || ended) && self.zeros > 0 {
            out(Piece::Zeros(self.zeros));
            self.zeros = 0;
        }
        over
    }

    /// The first run of zeros in the buffer that is long enough, or how far there is certainly none.
    fn next_zeros(&self, ended: bool) -> Found {
        let wanted = self.sizes.zeros;
        let buffer = self.buffer.bytes();
        // Every run of `wanted` zeros covers a multiple of `wanted` bytes from here, so one byte in that many is looked at.
        let mut probe = self.searched;
        while probe < buffer.len() {
            if buffer[probe] == 0 {
                let start = probe - trailing_zeros(&buffer[..probe]);
                let end = probe + leading_zeros(&buffer[probe..]);
                if end - start >= wanted {
                    return Found::Run { start, end };
                }
                if end == buffer.len() && !ended {
                    return Found::None { certain: start };
                }
                probe = end.max(probe + 1);
            }
            probe = (probe + wanted - 1).max(probe + 1);
        }
        let certain = if ended { buffer.len() } else { buffer.len() - trailing_zeros(buffer) };
        Found::None { certain }
    }

    /// Cuts the data before `end` by content, and says how much of the buffer left. Unless the data `ends` there, what a longer look
    /// could cut otherwise stays.
    fn cut_data(&mut self, end: usize, ends: bool, out: &mut impl FnMut(Piece)) -> usize {
        let Sizes { min, average, max, .. } = self.sizes;
        let mut left = end;
        while left > 0 && (ends || left >= max) {
            let (_, length) = FastCDC::new(&self.buffer.bytes()[..left], min, average, max).cut(0, left);
            out(Piece::Data(self.buffer.split_to(length)));
            left -= length;
        }
        self.searched = self.searched.saturating_sub(end - left);
        end - left
    }
}

/// Payload that has not left yet. What comes into an empty buffer is not copied.
#[derive(Debug)]
enum Buffer {
    Shared(Bytes),
    Own(BytesMut),
}

impl Default for Buffer {
    fn default() -> Self {
        Self::Shared(Bytes::new())
    }
}

impl Buffer {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Adds bytes at the end. Should memory be needed for that, it is for `room` more.
    fn add(&mut self, more: Bytes, room: usize) {
        if self.len() == 0 {
            *self = Self::Shared(more);
            return;
        }
        if let Self::Shared(bytes) = self {
            let mut own = BytesMut::with_capacity(bytes.len() + room.max(more.len()));
            own.extend_from_slice(bytes);
            *self = Self::Own(own);
        }
        if let Self::Own(bytes) = self {
            if bytes.capacity() - bytes.len() < more.len() {
                bytes.reserve(room.max(more.len()));
            }
            bytes.extend_from_slice(&more);
        }
    }

    /// Takes the first bytes out.
    fn split_to(&mut self, count: usize) -> Bytes {
        match self {
            Self::Shared(bytes) => bytes.split_to(count),
            Self::Own(bytes) => bytes.split_to(count).freeze(),
        }
    }
}

enum Found {
    Run { start: usize, end: usize },
    None { certain: usize },
}

fn leading_zeros(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len())
}

fn trailing_zeros(bytes: &[u8]) -> usize {
    bytes.iter().rev().take_while(|&&byte| byte == 0).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> Policy {
        Policy { whole_below: 2048, average: Average::Fixed(1024), zeros: 300 }
    }

    fn cut(payload: &[u8], pieces: &[usize]) -> Vec<Piece> {
        let mut cutter = Cutter::new(policy());
        let mut out = Vec::new();
        cutter.begin(payload.len() as u64);
        let mut rest = payload;
        for &size in pieces.iter().cycle().take(10 * payload.len()) {
            let (now, later) = rest.split_at(size.clamp(1, 5000).min(rest.len()));
            cutter.push(Bytes::copy_from_slice(now), |piece| out.push(piece));
            rest = later;
        }
        cutter.push(Bytes::copy_from_slice(rest), |piece| out.push(piece));
        cutter.end(|piece| out.push(piece));
        out
    }

    fn payloads() -> impl Strategy<Value = Vec<u8>> {
        let data = proptest::collection::vec(any::<u8>(), 0..3000);
        let zeros = (0..3000_usize).prop_map(|len| vec![0; len]);
        proptest::collection::vec(prop_oneof![data, zeros], 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn pieces_are_the_payload_and_do_not_depend_on_how_it_came(
            payload in payloads(),
            sizes in proptest::collection::vec(1..5000_usize, 1..5),
        ) {
            let once = cut(&payload, &[usize::MAX]);
            let joined: Vec<u8> = once.iter().flat_map(|piece| match piece {
                Piece::Data(data) => data.to_vec(),
                Piece::Zeros(len) => vec![0; usize::try_from(*len).unwrap()],
            }).collect();
            prop_assert_eq!(&joined, &payload);
            prop_assert_eq!(&cut(&payload, &sizes), &once);
            if payload.len() >= 2048 {
                for piece in &once {
                    match piece {
                        Piece::Zeros(len) => prop_assert!(*len >= 300),
                        Piece::Data(data) => {
                            prop_assert!(data.len() <= 4096);
                            let run = data.split(|&byte| byte != 0).map(<[u8]>::len).max().unwrap_or(0);
                            prop_assert!(run < 300, "a run of {run} zeros stayed in the data");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn an_insertion_moves_only_the_cuts_near_it() {
        let mut state = 1_u64;
        let mut payload: Vec<u8> = Vec::new();
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            payload.push((state >> 56).to_le_bytes()[0]);
        }
        let before = cut(&payload, &[4000]);
        payload.splice(100_000..100_000, *b"inserted");
        let after = cut(&payload, &[4000]);
        let kept = after.iter().filter(|piece| before.contains(piece)).count();
        assert!(after.len() - kept <= 3, "{} of {} pieces changed", after.len() - kept, after.len());
    }
}
