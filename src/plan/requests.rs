//! The shape of ranged requests: which missing spans are asked for together.
//!
//! Two costs are weighed, in bytes: a gap that is fetched although nobody needs it, and the framing that a server puts around each
//! part of a multipart answer (or, for single ranges, the round trip that one more request takes). A gap is worth its bytes exactly
//! when it is no longer than that framing, and this is decided for each gap alone, so that walking from left to right finds the
//! cheapest ranges.

use std::collections::VecDeque;

use crate::span::Span;

/// Limits on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Ranges in one `Range` header, at least one.
    pub max_ranges: usize,
    /// Length of the `Range` header's value in bytes. One range is asked for even when it alone is longer.
    pub max_header_bytes: usize,
    /// The longest gap, in bytes, that is fetched rather than left out.
    pub gap: u64,
    /// Bytes asked for by one request, at least one, so that a dropped connection costs little. A longer span is split.
    pub max_bytes: u64,
}

impl Form {
    /// Length of a `Range` header's value that every known server takes (the strictest allows 4 KiB for the whole field).
    pub const HEADER_BYTES: usize = 3800;
    /// Bytes that one request asks for.
    pub const REQUEST_BYTES: u64 = 4 << 20;
    /// Gap for requests of several ranges: one part's boundary and headers take 160 to 190 bytes of the answer and 20 of the request.
    pub const SEVERAL_GAP: u64 = 256;
    /// Gap for requests of one range: what a connection carries in a fraction of a round trip.
    pub const SINGLE_GAP: u64 = 16 << 10;

    /// Requests of at most `max_ranges` ranges, for servers that answer with multipart bodies.
    pub const fn several(max_ranges: usize) -> Self {
        Self {
            max_ranges,
            max_header_bytes: Self::HEADER_BYTES,
            gap: Self::SEVERAL_GAP,
            max_bytes: Self::REQUEST_BYTES,
        }
    }

    /// Requests of one range, understood by every server that knows ranges at all.
    pub const fn single() -> Self {
        Self {
            max_ranges: 1,
            max_header_bytes: Self::HEADER_BYTES,
            gap: Self::SINGLE_GAP,
            max_bytes: Self::REQUEST_BYTES,
        }
    }
}

/// One HTTP request: ascending, disjoint ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for: missing spans and the gaps between them that are cheaper to fetch than to leave out.
    pub spans: Vec<Span>,
    /// The missing bytes within `spans`.
    pub missing: Vec<Span>,
}

impl Request {
    /// The value of the `Range` header: absolute, ascending, inclusive.
    pub fn header(&self) -> String {
        let ranges: Vec<_> = self.spans.iter().map(|span| format!("{}-{}", span.start(), span.end() - 1)).collect();
        format!("bytes={}", ranges.join(","))
    }

    /// Bytes asked for, gaps included.
    pub fn bytes(&self) -> u64 {
        self.spans.iter().map(|span| span.len()).sum()
    }
}

/// Bytes of response bodies that fetching `missing` will take where the server answers several ranges at once: what is asked for, and
/// about [`PART_BYTES`] around each of several ranges. Other servers send larger gaps and no framing.
pub fn predict(missing: &[Span]) -> u64 {
    // How many ranges go together hardly matters for the sum; sixteen is where every such server begins.
    let cost = |request: Request| match request.spans.len() as u64 {
        1 => request.bytes(),
        parts => request.bytes() + parts * PART_BYTES,
    };
    shape(missing, Form::several(16)).into_iter().map(cost).sum()
}

/// A usual boundary with the headers of its part, in bytes.
pub const PART_BYTES: u64 = 190;

/// Divides `missing` (ascending and disjoint) into requests of one form.
pub fn shape(missing: &[Span], form: Form) -> Vec<Request> {
    let mut queue: VecDeque<_> = missing.iter().copied().collect();
    std::iter::from_fn(|| take(&mut queue, form)).collect()
}

/// Takes the next request from the front of `queue` (ascending and disjoint), or `None` when it is empty.
///
/// Taking one at a time lets the form change between requests, as the server proves or refuses it.
pub fn take(queue: &mut VecDeque<Span>, form: Form) -> Option<Request> {
    let mut request = Request { spans: Vec::new(), missing: Vec::new() };
    let mut header = "bytes=".len();
    let mut room = form.max_bytes.max(1);
    while let Some(&next) = queue.front() {
        let gap = request.spans.last().map(|last| next.start().saturating_sub(last.end()));
        let joined = gap.is_some_and(|gap| gap <= form.gap);
        let cost = if joined { gap.unwrap_or(0) } else { 0 };
        // A joined span must bring more than its gap, or the request would end in bytes that nobody needs.
        if room <= cost {
            break;
        }
        let piece = head(next, room - cost);
        let written = match request.spans.last() {
            Some(&last) if joined => header - width(last) + width(last.hull(piece)),
            _ => header + width(piece) + usize::from(!request.spans.is_empty()),
        };
        let full = !joined && request.spans.len() >= form.max_ranges.max(1);
        if !request.spans.is_empty() && (full || written > form.max_header_bytes) {
            break;
        }
        match request.spans.last_mut() {
            Some(last) if joined => *last = last.hull(piece),
            _ => request.spans.push(piece),
        }
        request.missing.push(piece);
        header = written;
        room -= cost + piece.len();
        queue.pop_front();
        if let Some(rest) = Span::new(piece.end(), next.end()) {
            queue.push_front(rest);
            break;
        }
    }
    (!request.spans.is_empty()).then_some(request)
}

/// At most the first `len` bytes of a span; `len` is at least one.
fn head(span: Span, len: u64) -> Span {
    Span::with_len(span.start(), span.len().min(len)).unwrap_or(span)
}

/// How many bytes a range takes in the header, without the comma.
fn width(span: Span) -> usize {
    let digits = |number: u64| number.checked_ilog10().map_or(1, |log| log as usize + 1);
    digits(span.start()) + 1 + digits(span.end() - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans(steps: &[(u64, u64)]) -> Vec<Span> {
        let mut at = 0;
        let mut spans = Vec::new();
        for &(gap, len) in steps {
            spans.extend(Span::new(at + gap, at + gap + len));
            at += gap + len;
        }
        spans
    }

    fn bytes_of(spans: &[Span]) -> Vec<u64> {
        spans.iter().flat_map(|span| span.start()..span.end()).collect()
    }

    proptest! {
        #[test]
        fn asks_for_all_that_is_missing_and_only_small_gaps_more(
            steps in prop::collection::vec((0u64..60, 1u64..90), 0..40),
            max_ranges in 1usize..9, max_header_bytes in 8usize..80, gap in 0u64..40, max_bytes in 1u64..300,
        ) {
            let missing = spans(&steps);
            let form = Form { max_ranges, max_header_bytes, gap, max_bytes };
            let requests = shape(&missing, form);
            let named: Vec<_> = requests.iter().flat_map(|request| bytes_of(&request.missing)).collect();
            prop_assert_eq!(named, bytes_of(&missing), "each missing byte once and in order");
            let mut end = 0;
            for request in &requests {
                prop_assert!(request.spans.len() <= max_ranges);
                prop_assert!(request.bytes() <= max_bytes);
                prop_assert!(request.header().len() <= max_header_bytes || request.spans.len() == 1);
                for span in &request.spans {
                    prop_assert!(span.start() >= end, "ascending and disjoint over all requests");
                    end = span.end();
                    let inside: Vec<_> = request.missing.iter().filter(|piece| span.contains(**piece)).collect();
                    prop_assert_eq!(inside[0].start(), span.start());
                    prop_assert_eq!(inside[inside.len() - 1].end(), span.end());
                    for pair in inside.windows(2) {
                        prop_assert!(pair[1].start() - pair[0].end() <= gap);
                    }
                }
            }
        }

        #[test]
        fn no_partition_costs_less(steps in prop::collection::vec((0u64..400, 1u64..50), 1..8), framing in 1u64..300) {
            let missing = spans(&steps);
            let form = Form { max_ranges: usize::MAX, max_header_bytes: usize::MAX, gap: framing, max_bytes: u64::MAX };
            let cost = |ranges: &[Span]| ranges.iter().map(|span| span.len() + framing).sum::<u64>();
            let ours: u64 = shape(&missing, form).iter().map(|request| cost(&request.spans)).sum();
            // Bit i of the mask joins span i+1 to the range of span i.
            let best = (0..1u32 << (missing.len() - 1)).map(|mask| {
                let mut ranges = vec![missing[0]];
                for (index, &span) in missing.iter().enumerate().skip(1) {
                    match ranges.last_mut() {
                        Some(last) if mask >> (index - 1) & 1 == 1 => *last = last.hull(span),
                        _ => ranges.push(span),
                    }
                }
                cost(&ranges)
            }).min();
            prop_assert_eq!(Some(ours), best);
        }
    }

    #[test]
    fn writes_inclusive_ranges() {
        let request = shape(&spans(&[(0, 1), (300, 10)]), Form::several(16)).remove(0);
        assert_eq!(request.header(), "bytes=0-0,301-310");
    }
}
