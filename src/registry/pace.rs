//! How fast a host answers, measured on the answers that come anyway.

use std::time::{Duration, Instant};

use crate::plan::cost::Line;

/// A rate is taken over at least this many bytes and this long: less says more about buffers than about the line.
const SAMPLE_BYTES: u64 = 256 << 10;
const SAMPLE_TIME: Duration = Duration::from_millis(50);
/// What a part takes is taken over so many of them, where they have fewer bytes than this each: longer ones speak of the line.
const SAMPLE_PARTS: u64 = 32;
const SHORT_PART: u64 = 64 << 10;

/// The measurements of one host.
#[derive(Debug)]
pub(super) struct Pace {
    line: Line,
    /// Bodies that are being received.
    active: usize,
    /// Since when the current sample is taken, its bytes, and the parts of multipart answers that began in it.
    since: Option<Instant>,
    bytes: u64,
    parts: u64,
}

impl Pace {
    /// Begins with what is remembered.
    pub(super) fn new(line: Line) -> Self {
        Self { line, active: 0, since: None, bytes: 0, parts: 0 }
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
            self.restart(now);
        }
    }

    /// Bytes of some body came.
    pub(super) fn received(&mut self, bytes: usize, now: Instant) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let Some(took) = self.since.map(|since| now.saturating_duration_since(since)) else { return };
        if self.is_enough() && took >= SAMPLE_TIME {
            self.sample(took);
            self.restart(now);
        }
    }

    /// Parts of a multipart answer began.
    pub(super) fn parts(&mut self, count: usize) {
        self.parts = self.parts.saturating_add(count as u64);
    }

    /// A body ended.
    pub(super) fn end(&mut self, now: Instant) {
        self.active = self.active.saturating_sub(1);
        if self.active == 0 {
            let took = self.since.take().map(|since| now.saturating_duration_since(since)).unwrap_or_default();
            if self.is_enough() && !took.is_zero() {
                self.sample(took);
            }
        }
    }

    fn restart(&mut self, now: Instant) {
        (self.since, self.bytes, self.parts) = (Some(now), 0, 0);
    }

    fn is_enough(&self) -> bool {
        self.bytes >= SAMPLE_BYTES || self.parts >= SAMPLE_PARTS
    }

    /// A multipart answer of `parts` parts had `framing` bytes around them.
    pub(super) fn framed(&mut self, framing: u64, parts: usize) {
        if let Some(each) = framing.checked_div(parts as u64).filter(|&each| each > 0) {
            self.line.part_bytes = Some(each);
        }
    }

    /// Takes what came in a time for what the line carries, or, where it came in many short parts, for what parts take.
    fn sample(&mut self, took: Duration) {
        match self.line.bytes_per_second {
            Some(rate) if self.parts >= SAMPLE_PARTS && self.bytes / self.parts < SHORT_PART => {
                let transfer = Duration::from_micros(self.bytes.saturating_mul(1_000_000) / rate.max(1));
                let each = took.saturating_sub(transfer) / u32::try_from(self.parts).unwrap_or(u32::MAX);
                let before = self.line.part_time.unwrap_or(each);
                self.line.part_time = Some((before * 3 + each) / 4);
            }
            // With few bytes or in pieces, this says nothing of the line.
            _ if self.bytes < SAMPLE_BYTES || self.parts >= SAMPLE_PARTS => {}
            _ => self.rate(took),
        }
    }

    /// More than before counts at once: a connection is slow at its beginning, and other traffic comes and goes.
    fn rate(&mut self, took: Duration) {
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
    #[test]
    fn tells_what_parts_take_from_what_bytes_take() {
        let line = Line { bytes_per_second: Some(100_000_000), ..Line::default() };
        let begun = Instant::now();
        let tick = |millis| begun + Duration::from_millis(millis);
        // 128 parts in 64 ms: 10 ms for a megabyte, the rest for the parts.
        let after = |parts: usize, bytes: usize| {
            let mut pace = Pace::new(line);
            pace.begin(begun);
            pace.parts(parts);
            pace.received(bytes, tick(64));
            pace.end(tick(64));
            pace.line()
        };
        let seen = after(128, 1_000_000);
        assert_eq!(seen.part_time, Some(Duration::from_nanos(54_000_000 / 128)));
        assert_eq!(seen.bytes_per_second, line.bytes_per_second, "the line was not what took the time");
        assert_eq!(after(31, 100_000).part_time, None, "too few");
        let long = after(32, 32 << 16);
        assert_eq!(
            (long.part_time, long.bytes_per_second),
            (None, line.bytes_per_second),
            "neither parts nor the line alone"
        );
        assert_eq!(after(0, 9_600_000).bytes_per_second, Some(150_000_000));
    }
}
