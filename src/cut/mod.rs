//! Where one file's payload is cut into chunks.
//!
//! A file up to [`Policy::whole_below`] is one chunk. A larger one is split at runs of zeros, which become chunks of their own, and the
//! data between them is cut by content (FastCDC), so that an insertion moves only the cuts near it. Where the cuts fall depends on the
//! payload and the policy alone, never on the pieces in which the payload arrives.

use fastcdc::v2020::FastCDC;

/// How payloads are cut. All sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The shortest chunk that content may end (the end of the data may still end a shorter one).
    pub min: usize,
    /// What chunks are on average.
    pub average: usize,
    /// The longest chunk.
    pub max: usize,
    /// Files smaller than this stay whole.
    pub whole_below: u64,
    /// The shortest run of zeros that becomes a chunk of its own.
    pub zeros: usize,
}

/// A chunk size that FastCDC cannot work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("chunk size {0} is out of range: from {min} to {max} bytes", min = Policy::AVERAGES.start(), max = Policy::AVERAGES.end())]
pub struct PolicyError(u64);

impl Policy {
    /// The averages that can be asked for.
    pub const AVERAGES: std::ops::RangeInclusive<usize> = 1 << 10..=4 << 20;

    /// Chunks of `average` bytes, from a quarter to four times that.
    ///
    /// # Errors
    /// [`PolicyError`] outside [`Policy::AVERAGES`].
    pub fn with_average(average: u64) -> Result<Self, PolicyError> {
        let size =
            usize::try_from(average).ok().filter(|size| Self::AVERAGES.contains(size)).ok_or(PolicyError(average))?;
        Ok(Self { min: size / 4, average: size, max: size * 4, whole_below: average * 2, zeros: 4096.max(size / 16) })
    }
}

/// A run of zeros longer than this becomes several chunks, so that no chunk is longer than readers like.
pub const ZEROS_MAX: u64 = 64 << 20;

/// A part of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes to be stored.
    Data(Vec<u8>),
    /// That many zeros.
    Zeros(u64),
}

/// Cuts one payload; reusable for the next.
#[derive(Debug)]
pub struct Cutter {
    policy: Policy,
    whole: bool,
    buffer: Vec<u8>,
    start: usize,
    /// Up to here the buffer is known to hold no run of zeros.
    searched: usize,
    zeros: u64,
}

impl Cutter {
    /// A cutter with a policy.
    pub fn new(policy: Policy) -> Self {
        Self { policy, whole: true, buffer: Vec::new(), start: 0, searched: 0, zeros: 0 }
    }

    /// Begins a payload of `size` bytes.
    pub fn begin(&mut self, size: u64) {
        self.whole = size < self.policy.whole_below.min(self.policy.max as u64);
        self.buffer.clear();
        (self.start, self.searched, self.zeros) = (0, 0, 0);
    }

    /// Whether the payload that was begun stays in one chunk.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Takes in a part of the payload and gives out the pieces that are certain.
    pub fn push(&mut self, payload: &[u8], mut out: impl FnMut(Piece)) {
        self.buffer.extend_from_slice(payload);
        if !self.whole {
            self.advance(false, &mut out);
            self.compact();
        }
    }

    /// Ends the payload and gives out the rest.
    pub fn end(&mut self, mut out: impl FnMut(Piece)) {
        if !self.whole {
            self.advance(true, &mut out);
        }
        if self.start < self.buffer.len() {
            let rest =
                if self.start == 0 { std::mem::take(&mut self.buffer) } else { self.buffer.split_off(self.start) };
            out(Piece::Data(rest));
        }
        self.buffer.clear();
        (self.start, self.searched) = (0, 0);
    }

    fn compact(&mut self) {
        if self.start > self.policy.max {
            self.buffer.drain(..self.start);
            self.searched = self.searched.saturating_sub(self.start);
            self.start = 0;
        }
    }

    fn advance(&mut self, ended: bool, out: &mut impl FnMut(Piece)) {
        loop {
            if self.zeros > 0 && !self.take_zeros(ended, out) {
                return;
            }
            match self.next_zeros(ended) {
                Found::Run { start, end } => {
                    self.cut_data(start, true, out);
                    self.start = end;
                    self.searched = end;
                    self.zeros = (end - start) as u64;
                }
                Found::None { certain } => {
                    self.cut_data(certain, ended, out);
                    return;
                }
            }
        }
    }

    /// Goes on with a run of zeros; says whether it ended inside the buffer.
    fn take_zeros(&mut self, ended: bool, out: &mut impl FnMut(Piece)) -> bool {
        let rest = &self.buffer[self.start..];
        let more = leading_zeros(rest);
        let over = more < rest.len();
        self.zeros += more as u64;
        self.start += more;
        self.searched = self.start;
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
        let wanted = self.policy.zeros;
        let buffer = &self.buffer[..];
        // Every run of `wanted` zeros covers a multiple of `wanted` bytes from here, so one byte in that many is looked at.
        let mut probe = self.searched.max(self.start);
        while probe < buffer.len() {
            if buffer[probe] == 0 {
                let before = buffer[self.start..probe].iter().rev().take_while(|&&byte| byte == 0).count();
                let start = probe - before;
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
        let certain = if ended { buffer.len() } else { buffer.len() - trailing_zeros(&buffer[self.start..]) };
        Found::None { certain }
    }

    /// Cuts the data before `end` by content. Unless the data `ends` there, what a longer look could cut otherwise stays.
    fn cut_data(&mut self, end: usize, ends: bool, out: &mut impl FnMut(Piece)) {
        let Policy { min, average, max, .. } = self.policy;
        while self.start < end && (ends || end - self.start >= max) {
            let data = &self.buffer[self.start..end];
            let (_, length) = FastCDC::new(data, min, average, max).cut(0, data.len());
            out(Piece::Data(data[..length].to_vec()));
            self.start += length;
        }
        self.searched = self.searched.max(self.start);
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
        Policy { min: 256, average: 1024, max: 4096, whole_below: 2048, zeros: 300 }
    }

    fn cut(payload: &[u8], pieces: &[usize]) -> Vec<Piece> {
        let mut cutter = Cutter::new(policy());
        let mut out = Vec::new();
        cutter.begin(payload.len() as u64);
        let mut rest = payload;
        for &size in pieces.iter().cycle().take(10 * payload.len()) {
            let (now, later) = rest.split_at(size.clamp(1, 5000).min(rest.len()));
            cutter.push(now, |piece| out.push(piece));
            rest = later;
        }
        cutter.push(rest, |piece| out.push(piece));
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
                Piece::Data(data) => data.clone(),
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
