//! How fast a host answers, measured on the answers that come anyway.

use std::time::{Duration, Instant};

use crate::plan::cost::Line;

/// A rate is taken over at least this many bytes and this long: less says more about buffers than about the line.
const SAMPLE_BYTES: u64 = 256 << 10;
const SAMPLE_TIME: Duration = Duration::from_millis(50);

/// The measurements of one host.
#[derive(Debug)]
pub(super) struct Pace {
    line: Line,
    /// Bodies that are being received.
    active: usize,
    /// Since when the current sample is taken, and its bytes.
    since: Option<Instant>,
    bytes: u64,
}

impl Pace {
    /// Begins with what is remembered.
    pub(super) fn new(line: Line) -> Self {
        Self { line, active: 0, since: None, bytes: 0 }
    }

    pub(super) fn line(&self) -> Line {
        self.line
    }

    /// The head of an answer came after this time. A shorter time counts at once, a longer one by and by: it may have made a connection,
    /// or stood behind other answers.
    pub(super) fn head_after(&mut self, took: Duration) {
        let before = self.line.round_trip.unwrap_or(took);
        let next = if took < before { took } else { before + (took - before) / 8 };
        self.line.round_trip = Some(next);
    }

    /// A body begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.active += 1;
        if self.active == 1 {
            (self.since, self.bytes) = (Some(now), 0);
        }
    }

    /// Bytes of some body came.
    pub(super) fn received(&mut self, bytes: usize, now: Instant) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let Some(took) = self.since.map(|since| now.saturating_duration_since(since)) else { return };
        if self.bytes >= SAMPLE_BYTES && took >= SAMPLE_TIME {
            self.sample(took);
            (self.since, self.bytes) = (Some(now), 0);
        }
    }

    /// A body ended.
    pub(super) fn end(&mut self, now: Instant) {
        self.active = self.active.saturating_sub(1);
        if self.active == 0 {
            let took = self.since.take().map(|since| now.saturating_duration_since(since)).unwrap_or_default();
            if self.bytes >= SAMPLE_BYTES && !took.is_zero() {
                self.sample(took);
            }
        }
    }

    /// A multipart answer of `parts` parts had `framing` bytes around them.
    pub(super) fn framed(&mut self, framing: u64, parts: usize) {
        if let Some(each) = framing.checked_div(parts as u64).filter(|&each| each > 0) {
            self.line.part_bytes = Some(each);
        }
    }

    /// More than before counts at once: a connection is slow at its beginning, and other traffic comes and goes.
    fn sample(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let rate = self.bytes.saturating_mul(1_000_000) / micros;
        let before = self.line.bytes_per_second.unwrap_or(rate);
        let next = if rate > before { rate } else { before - (before - rate) / 4 };
        self.line.bytes_per_second = Some(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_a_line() {
        let mut pace = Pace::new(Line::default());
        let millis = Duration::from_millis;
        for took in [60, 20, 28] {
            pace.head_after(millis(took));
        }
        assert_eq!(pace.line().round_trip, Some(millis(21)));
        let begun = Instant::now();
        // Two bodies side by side, each with half of 10 MB a second.
        pace.begin(begun);
        pace.begin(begun);
        for tick in 1..=100 {
            pace.received(5_000, begun + millis(tick));
            pace.received(5_000, begun + millis(tick));
        }
        pace.end(begun + millis(100));
        pace.end(begun + millis(100));
        assert_eq!(pace.line().bytes_per_second, Some(10_000_000));
        pace.begin(begun + millis(5000));
        pace.received(1000, begun + millis(9000));
        pace.end(begun + millis(9000));
        assert_eq!(pace.line().bytes_per_second, Some(10_000_000), "idle time and small bodies say nothing");
        pace.framed(1710, 10);
        assert_eq!(pace.line().part_bytes, Some(171));
        pace.framed(3, 0);
        assert_eq!(pace.line().part_bytes, Some(171));
    }
}
