//! The same bytes in other pieces.

use std::io::{self, Read};

/// Lengths that depend on nothing but the data: mostly short ones, now and then one of some hundred.
#[derive(Clone, Debug)]
struct Lengths(u64);

impl Lengths {
    fn of(data: &[u8]) -> Self {
        let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(data.iter().take(1 << 12).fold(0xcbf2_9ce4_8422_2325, mix))
    }

    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let most = [3, 20, 600][usize::try_from(self.0 >> 60).unwrap_or(0) % 3];
        1 + usize::try_from((self.0 >> 20) % most).unwrap_or(0)
    }
}

/// How an input is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Whole,
    Bytes,
    Mixed,
}

/// Cuts that a long input can afford.
pub fn cuts(data: &[u8]) -> &'static [Cut] {
    if data.len() <= 4096 { &[Cut::Whole, Cut::Bytes, Cut::Mixed] } else { &[Cut::Whole, Cut::Mixed] }
}

/// The input in pieces, none of them empty.
pub fn pieces(data: &[u8], cut: Cut) -> impl Iterator<Item = &[u8]> {
    let mut lengths = Lengths::of(data);
    let mut rest = data;
    std::iter::from_fn(move || {
        let len = match cut {
            Cut::Whole => rest.len(),
            Cut::Bytes => 1,
            Cut::Mixed => lengths.next(),
        };
        let (piece, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// A source that gives one piece at a time.
pub struct Slow<'a>(Box<dyn Iterator<Item = &'a [u8]> + 'a>, &'a [u8]);

impl<'a> Slow<'a> {
    pub fn new(data: &'a [u8], cut: Cut) -> Self {
        Self(Box::new(pieces(data, cut)), &[])
    }
}

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.1.is_empty() {
            self.1 = self.0.next().unwrap_or_default();
        }
        self.1.read(out)
    }
}

/// What stands before and after the first `separator`; the second is empty where there is none.
pub fn parts<'a>(data: &'a [u8], separator: &[u8]) -> (&'a [u8], &'a [u8]) {
    match data.windows(separator.len()).position(|window| window == separator) {
        Some(at) => (&data[..at], &data[at + separator.len()..]),
        None => (data, &[]),
    }
}
