//! Which bytes of a request have come.

use crate::span::Span;

/// Bytes asked for and bytes received, so that each is handed on once and only if it was asked for.
#[derive(Debug)]
pub(super) struct Coverage {
    asked: Vec<Span>,
    /// Ascending, disjoint and never touching.
    received: Vec<Span>,
}

impl Coverage {
    /// `asked` is ascending and disjoint.
    pub(super) fn new(asked: Vec<Span>) -> Self {
        Self { asked, received: Vec::new() }
    }

    /// The parts of `span` that were asked for and did not come before. They count as received from now on.
    pub(super) fn take(&mut self, span: Span) -> Vec<Span> {
        let first = self.asked.partition_point(|asked| asked.end() <= span.start());
        let wanted = self.asked.iter().skip(first).map_while(|asked| asked.intersection(span));
        let fresh: Vec<_> = wanted.flat_map(|wanted| subtract(wanted, &self.received)).collect();
        for &piece in &fresh {
            self.insert(piece);
        }
        fresh
    }

    /// What of `spans` did not come.
    pub(super) fn left(&self, spans: &[Span]) -> Vec<Span> {
        spans.iter().flat_map(|&span| subtract(span, &self.received)).collect()
    }

    fn insert(&mut self, span: Span) {
        let from = self.received.partition_point(|other| other.end() < span.start());
        let to = self.received.partition_point(|other| other.start() <= span.end());
        let whole = self.received.get(from..to).unwrap_or_default().iter().fold(span, |hull, &other| hull.hull(other));
        self.received.splice(from..to, [whole]);
    }
}

/// `span` without `holes`, which are ascending and disjoint.
fn subtract(span: Span, holes: &[Span]) -> Vec<Span> {
    let mut rest = Vec::new();
    let mut at = span.start();
    let first = holes.partition_point(|hole| hole.end() <= span.start());
    for hole in holes.iter().skip(first).take_while(|hole| hole.start() < span.end()) {
        rest.extend(Span::new(at, hole.start()));
        at = hole.end();
    }
    rest.extend(Span::new(at, span.end()));
    rest
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hands_on_each_byte_once(
            asked in prop::collection::vec((0u64..5, 1u64..8), 1..8),
            pieces in prop::collection::vec((0u64..70, 1u64..20), 0..20),
        ) {
            let mut at = 0;
            let asked: Vec<_> = asked.iter().filter_map(|&(gap, len)| {
                let span = Span::with_len(at + gap, len)?;
                at = span.end();
                Some(span)
            }).collect();
            let bytes = |spans: &[Span]| -> Vec<u64> { spans.iter().flat_map(|span| span.start()..span.end()).collect() };
            let wanted: BTreeSet<_> = bytes(&asked).into_iter().collect();
            let mut coverage = Coverage::new(asked.clone());
            let mut seen = BTreeSet::new();
            for (start, len) in pieces {
                let span = Span::with_len(start, len).expect("not empty");
                let expected: Vec<_> = (start..start + len).filter(|byte| wanted.contains(byte) && !seen.contains(byte)).collect();
                seen.extend(expected.iter().copied());
                prop_assert_eq!(bytes(&coverage.take(span)), expected);
                let left: Vec<_> = wanted.difference(&seen).copied().collect();
                prop_assert_eq!(bytes(&coverage.left(&asked)), left);
            }
        }
    }
}
