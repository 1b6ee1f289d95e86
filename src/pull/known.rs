//! What is known of the frames of an image's layers before anything of them is fetched.

use std::io::{self, Read};

use crate::digest::Hasher;
use crate::format::frame_map::{Frame, FrameMap};
use crate::local::{self, LocalFrames};
use crate::plan::missing::Known;
use crate::store::{FrameKey, Partial, Wanted};
use crate::zstd::codec::Decoder;

/// Looks every frame up in the unfinished blob that an earlier attempt left.
pub fn kept(map: &FrameMap, partial: &Partial) -> Vec<Known> {
    let known = |frame| if !partial.is_fresh() && is_right(partial, frame) { Known::Kept } else { Known::Missing };
    map.frames.iter().map(known).collect()
}

/// Looks the missing frames of all layers up in the local blobs, whose indexes are read once for all of them.
pub fn look_up(layers: &mut [(&FrameMap, &mut Vec<Known>)], local: &LocalFrames) {
    let maps: Vec<&FrameMap> = layers.iter().map(|(map, _)| *map).collect();
    let mut starts = vec![0];
    for map in &maps {
        starts.push(starts.last().copied().unwrap_or(0) + map.frames.len());
    }
    // Frames are numbered through all layers.
    let place = |number: usize| {
        let layer = starts.partition_point(|start| *start <= number) - 1;
        (layer, number - starts[layer])
    };
    let key_of = |number: usize| -> FrameKey {
        let (layer, frame) = place(number);
        local::key(&maps[layer].frames[frame])
    };
    let is_missing = |number: &usize| {
        let (layer, frame) = place(*number);
        layers[layer].1[frame] == Known::Missing
    };
    let mut wanted = Wanted::new((0..starts[maps.len()]).filter(is_missing), &key_of);
    local.find(&mut wanted, |number, found| {
        let (layer, frame) = place(number);
        layers[layer].1[frame] = Known::Local(found);
    });
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
