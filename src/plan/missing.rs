//! Which frames of a blob are copied from where, and which spans have to be fetched.

use crate::format::frame_map::{Frame, FrameKind, FrameMap};
use crate::ledger::Cause;
use crate::span::Span;

/// A place where a frame's bytes already are: one of the local blobs, by the caller's own number, and an offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which blob.
    pub blob: usize,
    /// Where the frame begins in it.
    pub offset: u64,
}

/// What is known of one frame before a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is in the unfinished blob already, from an earlier attempt.
    Kept,
    /// Its bytes are in a local blob.
    Local(Place),
    /// It has to be fetched.
    Missing,
}

/// A run of bytes to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Where they go.
    pub span: Span,
    /// Where they are.
    pub from: Place,
}

/// How a blob is put together. Every byte of the data part is kept, copied or missing; the tail is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Runs to copy, ascending.
    pub copies: Vec<Copy>,
    /// Spans to fetch, ascending and not adjoining.
    pub missing: Vec<Span>,
    /// Compressed bytes kept from an earlier attempt.
    pub kept_bytes: u64,
    /// Frames that are copied.
    pub copied_frames: usize,
    /// Frames that are fetched.
    pub missing_frames: usize,
}

impl Plan {
    /// Bytes that are copied.
    pub fn copied_bytes(&self) -> u64 {
        self.copies.iter().map(|copy| copy.span.len()).sum()
    }

    /// Bytes that must be fetched, without gaps and framing.
    pub fn missing_bytes(&self) -> u64 {
        self.missing.iter().map(|span| span.len()).sum()
    }
}

/// Makes the plan. `known` says what is known of each frame of the map, in order.
///
/// # Panics
/// When `known` does not have one value for each frame.
pub fn plan(map: &FrameMap, known: &[Known]) -> Plan {
    assert_eq!(map.frames.len(), known.len(), "one answer for each frame");
    let mut plan = Plan::default();
    for (frame, known) in map.frames.iter().zip(known) {
        match known {
            Known::Kept => plan.kept_bytes += frame.span.len(),
            Known::Local(place) => {
                plan.copied_frames += 1;
                push_copy(&mut plan.copies, frame.span, *place);
            }
            Known::Missing => {
                plan.missing_frames += 1;
                push_span(&mut plan.missing, frame.span);
            }
        }
    }
    plan
}

/// Frames that adjoin here and there are one copy.
fn push_copy(copies: &mut Vec<Copy>, span: Span, from: Place) {
    if let Some(last) = copies.last_mut() {
        let adjoins = last.span.end() == span.start()
            && last.from.blob == from.blob
            && last.from.offset + last.span.len() == from.offset;
        if adjoins {
            last.span = last.span.hull(span);
            return;
        }
    }
    copies.push(Copy { span, from });
}

fn push_span(spans: &mut Vec<Span>, span: Span) {
    match spans.last_mut() {
        Some(last) if last.end() == span.start() => *last = last.hull(span),
        _ => spans.push(span),
    }
}

/// Says for what the bytes of `fetched` count: parts of missing frames by what the frames hold, all else as gaps.
pub fn causes(map: &FrameMap, known: &[Known], fetched: Span, mut tell: impl FnMut(Cause, u64)) {
    let first = map.frames.partition_point(|frame| frame.span.end() <= fetched.start());
    let pairs = map.frames.iter().zip(known).skip(first);
    let mut counted = 0;
    for (frame, known) in pairs.take_while(|(frame, _)| frame.span.start() < fetched.end()) {
        if let Some(part) = frame.span.intersection(fetched) {
            tell(cause(frame, *known), part.len());
            counted += part.len();
        }
    }
    if counted < fetched.len() {
        tell(Cause::Gaps, fetched.len() - counted);
    }
}

fn cause(frame: &Frame, known: Known) -> Cause {
    match (known, frame.kind) {
        (Known::Missing, FrameKind::Headers) => Cause::Headers,
        (Known::Missing, FrameKind::Chunk | FrameKind::Zeros) => Cause::Payload,
        _ => Cause::Gaps,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Digest;

    fn map(sizes: &[u64]) -> FrameMap {
        let mut at = 0;
        let frames = sizes.iter().enumerate().map(|(index, &len)| {
            let span = Span::with_len(at, len).unwrap();
            at += len;
            let kind = if index % 2 == 0 { FrameKind::Headers } else { FrameKind::Chunk };
            Frame { span, len, digest: Digest::of(&index.to_le_bytes()), kind }
        });
        let frames: Vec<_> = frames.collect();
        FrameMap { frames, data_end: at, tar_size: at, entries: 0 }
    }

    fn knowns() -> impl Strategy<Value = Known> {
        prop_oneof![
            Just(Known::Kept),
            (0..2_usize, 0..50_u64).prop_map(|(blob, offset)| Known::Local(Place { blob, offset })),
            Just(Known::Missing),
        ]
    }

    proptest! {
        #[test]
        fn every_byte_has_exactly_one_origin(frames in proptest::collection::vec((1..20_u64, knowns()), 1..40)) {
            let (sizes, known): (Vec<_>, Vec<_>) = frames.into_iter().unzip();
            let map = map(&sizes);
            let plan = plan(&map, &known);
            prop_assert_eq!(plan.kept_bytes + plan.copied_bytes() + plan.missing_bytes(), map.data_end);
            prop_assert!(plan.missing.windows(2).all(|pair| pair[0].end() < pair[1].start()));
            for (frame, known) in map.frames.iter().zip(&known) {
                let missing = plan.missing.iter().any(|span| span.contains(frame.span));
                prop_assert_eq!(missing, *known == Known::Missing);
                let from = plan.copies.iter().find(|copy| copy.span.contains(frame.span)).map(|copy| Place {
                    blob: copy.from.blob,
                    offset: copy.from.offset + frame.span.start() - copy.span.start(),
                });
                prop_assert_eq!(from.map_or(*known, Known::Local), *known);
            }
        }

        #[test]
        fn fetched_bytes_are_counted_once(
            frames in proptest::collection::vec((1..20_u64, knowns()), 1..20),
            cut in (0..400_u64, 1..400_u64),
        ) {
            let (sizes, known): (Vec<_>, Vec<_>) = frames.into_iter().unzip();
            let map = map(&sizes);
            let fetched = Span::with_len(cut.0, cut.1).unwrap();
            let mut total = 0;
            causes(&map, &known, fetched, |_, bytes| total += bytes);
            prop_assert_eq!(total, fetched.len());
        }
    }
}
