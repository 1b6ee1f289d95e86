//! SHA-256 of what comes piece by piece, alone or two at a time.

use std::fmt;
use std::io;

use super::Digest;
use super::lanes::{self, Block, State};

/// A running SHA-256; also a [`io::Write`] that never fails.
#[derive(Clone)]
pub struct Hasher {
    state: State,
    /// The beginning of the next block.
    pending: Block,
    /// Bytes taken in.
    len: u64,
}

/// Where a block's length in bits stands in the last one.
const LENGTH_AT: usize = size_of::<Block>() - size_of::<u64>();

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// A hasher that has seen nothing.
    pub const fn new() -> Self {
        Self { state: lanes::START, pending: [0; size_of::<Block>()], len: 0 }
    }

    /// Takes in `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        let blocks = self.begin(bytes);
        lanes::one(&mut self.state, blocks);
    }

    /// Takes in `bytes`, and `other_bytes` into another hasher, side by side: that takes little longer than the longer of the two alone
    /// where the processor has instructions for SHA-256.
    pub fn update_both(&mut self, bytes: &[u8], other: &mut Self, other_bytes: &[u8]) {
        let (blocks, other_blocks) = (self.begin(bytes), other.begin(other_bytes));
        lanes::two((&mut self.state, blocks), (&mut other.state, other_blocks));
    }

    /// The digest of all that was taken in.
    pub fn finish(mut self) -> Digest {
        self.finish_reset()
    }

    /// The digest so far; the hasher starts anew.
    pub fn finish_reset(&mut self) -> Digest {
        // A one bit, zeros, and the length in bits at the end of a block (FIPS 180-4, section 5.1.1).
        let used = self.pending_len();
        let mut last = [[0; size_of::<Block>()]; 2];
        last[0][..used].copy_from_slice(&self.pending[..used]);
        last[0][used] = 0x80;
        let blocks = if used < LENGTH_AT { 1 } else { 2 };
        last[blocks - 1][LENGTH_AT..].copy_from_slice(&self.len.wrapping_mul(8).to_be_bytes());
        lanes::one(&mut self.state, &last[..blocks]);
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        *self = Self::new();
        Digest::from_bytes(digest)
    }

    fn pending_len(&self) -> usize {
        usize::try_from(self.len % size_of::<Block>() as u64).unwrap_or_default()
    }

    /// Completes the block that has begun, keeps the beginning of the last one, and leaves the whole blocks between to the caller.
    fn begin<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [Block] {
        let used = self.pending_len();
        self.len = self.len.wrapping_add(bytes.len() as u64);
        if used > 0 {
            let (now, rest) = bytes.split_at(bytes.len().min(size_of::<Block>() - used));
            self.pending[used..used + now.len()].copy_from_slice(now);
            if used + now.len() < size_of::<Block>() {
                return &[];
            }
            lanes::one(&mut self.state, &[self.pending]);
            bytes = rest;
        }
        let (blocks, rest) = bytes.as_chunks();
        self.pending[..rest.len()].copy_from_slice(rest);
        blocks
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::Digest as _;

    use super::*;

    fn expected(message: &[u8]) -> Digest {
        Digest::from_bytes(sha2::Sha256::digest(message).into())
    }

    fn message(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|at| ((at * 31 + at / 251 + seed * 17) % 256).to_le_bytes()[0]).collect()
    }

    /// Every length up to some blocks, alone and beside every other, so that each way through the last blocks is taken.
    #[test]
    fn every_length_alone_and_beside_another() {
        for len in 0..=260 {
            let bytes = message(len, 1);
            let mut hasher = Hasher::new();
            hasher.update(&bytes);
            assert_eq!(hasher.finish(), expected(&bytes), "{len} bytes");
            for other_len in [0, 1, 55, 56, 63, 64, 65, 128, 200, 260] {
                let other_bytes = message(other_len, 2);
                let got = Digest::of_each(&[&bytes, &other_bytes]);
                assert_eq!(got, [expected(&bytes), expected(&other_bytes)], "{len} and {other_len} bytes");
            }
        }
    }

    proptest! {
        #[test]
        fn any_number_at_a_time(lens in proptest::collection::vec(0..1000_usize, 0..12)) {
            let messages: Vec<Vec<u8>> = lens.into_iter().enumerate().map(|(seed, len)| message(len, seed)).collect();
            let given: Vec<&[u8]> = messages.iter().map(|message| &message[..]).collect();
            let each: Vec<Digest> = given.iter().map(|message| expected(message)).collect();
            prop_assert_eq!(Digest::of_each(&given), each);
        }

        #[test]
        fn pieces_make_no_difference(steps in proptest::collection::vec((0..400_usize, 0..400_usize, any::<bool>()), 0..20)) {
            let (mut one, mut other) = (Hasher::new(), Hasher::new());
            let (mut seen, mut other_seen) = (Vec::new(), Vec::new());
            for (seed, (len, other_len, both)) in steps.into_iter().enumerate() {
                let (bytes, other_bytes) = (message(len, seed), message(other_len, seed + 100));
                if both {
                    one.update_both(&bytes, &mut other, &other_bytes);
                } else {
                    one.update(&bytes);
                    other.update(&other_bytes);
                }
                seen.extend(bytes);
                other_seen.extend(other_bytes);
            }
            prop_assert_eq!(one.finish_reset(), expected(&seen));
            prop_assert_eq!(other.finish(), expected(&other_seen));
            prop_assert_eq!(one.finish(), expected(b""));
        }
    }

    /// What processors without the instructions do is the same.
    #[test]
    fn lanes_agree_with_one_message_after_the_other() {
        let (blocks, other_blocks) = (message(64 * 9, 3), message(64 * 5, 4));
        let (blocks, other_blocks) = (blocks.as_chunks().0, other_blocks.as_chunks().0);
        let (mut together, mut alone) = ([lanes::START; 2], [lanes::START; 2]);
        let [first, second] = &mut together;
        lanes::two((first, blocks), (second, other_blocks));
        lanes::one(&mut alone[0], blocks);
        lanes::one(&mut alone[1], other_blocks);
        assert_eq!(together, alone);
    }
}
