//! The workers: compress a frame, digest its content.

use crossbeam_channel::{Receiver, Sender};

use crate::cut::Piece;
use crate::digest::{Digest, Hasher};
use crate::zstd::codec::FrameCompressor;

/// What has to be known of a frame's content beside its compressed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: headers, or bytes without table of contents.
    Bytes,
    /// The digest: a chunk among several.
    Digest,
    /// Digest and checksum: a whole payload.
    DigestAndCrc,
}

/// One frame to be made.
#[derive(Debug)]
pub struct Job {
    /// Its content.
    pub piece: Piece,
    /// What else is wanted.
    pub wanted: Wanted,
    /// Where the result goes.
    pub done: Sender<Frame>,
}

/// A frame that was made.
#[derive(Debug)]
pub struct Frame {
    /// Compressed.
    pub bytes: Vec<u8>,
    /// Of the content; only when wanted.
    pub digest: Option<Digest>,
    /// CRC-64/GO-ISO of the content; zero unless wanted.
    pub crc: u64,
}

/// Bytes of memory that a piece takes.
pub fn weight(piece: &Piece) -> usize {
    match piece {
        Piece::Data(data) => data.len(),
        Piece::Zeros(_) => 0,
    }
}

/// Works until the queue is closed.
pub fn run(queue: &Receiver<Job>, level: i32) {
    let mut compressor = FrameCompressor::new(level);
    for Job { piece, wanted, done } in queue {
        let frame = make(&mut compressor, &piece, wanted);
        // Nobody listens when the writer has failed; then the rest of the queue is worked off for nothing, but quickly.
        if done.send(frame).is_err() {
            break;
        }
    }
}

fn make(compressor: &mut FrameCompressor, piece: &Piece, wanted: Wanted) -> Frame {
    match piece {
        Piece::Data(data) => Frame {
            bytes: compressor.compress(data),
            digest: (wanted != Wanted::Bytes).then(|| Digest::of(data)),
            crc: if wanted == Wanted::DigestAndCrc { crc(data) } else { 0 },
        },
        Piece::Zeros(len) => {
            Frame { bytes: compressor.compress_zeros(*len), digest: Some(digest_of_zeros(*len)), crc: 0 }
        }
    }
}

fn crc(data: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64GoIso, data)
}

fn digest_of_zeros(len: u64) -> Digest {
    const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
    let mut hasher = Hasher::new();
    let mut left = len;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        hasher.update(&ZEROS[..now]);
        left -= now as u64;
    }
    hasher.finish()
}
