//! What is known of a blob's frames before anything is fetched.

use std::io::{self, Read};

use crate::digest::Hasher;
use crate::format::frame_map::{Frame, FrameMap};
use crate::plan::missing::{Known, Place};
use crate::store::{FrameKey, Partial};
use crate::zstd::codec::Decoder;

use super::local::{LocalFrames, key};

/// Looks every frame up: in the unfinished blob that an earlier attempt left, then in the local blobs.
pub fn known(map: &FrameMap, partial: &Partial, local: &LocalFrames) -> Vec<Known> {
    let mut known = vec![Known::Missing; map.frames.len()];
    if !partial.is_fresh() {
        for (frame, known) in map.frames.iter().zip(&mut known) {
            if is_right(partial, frame) {
                *known = Known::Kept;
            }
        }
    }
    let missing = |(at, frame): (usize, &Frame)| (known[at] == Known::Missing).then(|| (key(frame), at));
    let mut wanted: Vec<(FrameKey, usize)> = map.frames.iter().enumerate().filter_map(missing).collect();
    wanted.sort_unstable();
    for (blob, candidate) in local.blobs.iter().enumerate() {
        candidate.frames.find(&wanted, |&at, offset| known[at] = Known::Local(Place { blob, offset }));
        wanted.retain(|&(_, at)| known[at] == Known::Missing);
    }
    known
}

/// Whether the unfinished blob holds a frame rightly: it decompresses to the content that the map says.
pub fn is_right(partial: &Partial, frame: &Frame) -> bool {
    let bytes = PartialSpan { partial, at: frame.span.start(), end: frame.span.end() };
    let mut content = Decoder::new(bytes).take(frame.len + 1);
    let mut hasher = Hasher::new();
    let copied = io::copy(&mut content, &mut hasher);
    copied.is_ok_and(|len| len == frame.len) && hasher.finish() == frame.digest
}

/// Reads a span of an unfinished blob.
struct PartialSpan<'a> {
    partial: &'a Partial,
    at: u64,
    end: u64,
}

impl Read for PartialSpan<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let now = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(out.len());
        self.partial.read_at(self.at, &mut out[..now])?;
        self.at += now as u64;
        Ok(now)
    }
}
