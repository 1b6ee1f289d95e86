//! What a range and a request cost, in bytes, so that gaps can be weighed against them.
//!
//! A gap between two missing spans costs its bytes. Leaving it out costs a range more: in a multipart answer the lines around one more
//! part and what its server does to find it, elsewhere one more request. A request costs the bytes of its headers, and the time in which
//! its connection carries nothing; time is turned into bytes by what the line carries in it. All of it is measured on the line at hand;
//! until then, first guesses stand in.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use super::requests::Form;
use crate::span::Span;

/// What a pull should save where bytes and time cannot both be saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefer {
    /// Bytes, as long as the fewest take no longer than the whole blob would; time where they do.
    #[default]
    Auto,
    /// Bytes: a gap is fetched only where a range or a request weighs more than it. The same pull always costs the same.
    Bytes,
    /// Time: a gap is fetched also where waiting for another answer takes longer than the gap.
    Time,
}

impl Prefer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Bytes, Self::Time];

    /// The word on the command line.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Bytes => "bytes",
            Self::Time => "time",
        }
    }
}

impl FromStr for Prefer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|prefer| prefer.label() == text).ok_or("auto, bytes or time")
    }
}

/// How a final host answers, as far as it was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// From a request to the head of its answer.
    pub round_trip: Option<Duration>,
    /// Bytes a second that come from it, over all connections.
    pub bytes_per_second: Option<u64>,
    /// Bytes of a multipart answer around each part.
    pub part_bytes: Option<u64>,
    /// What each part of multipart answers takes beside its bytes, over all connections. A server that opens the blob anew for each range,
    /// or asks an object store for it, needs milliseconds for one.
    pub part_time: Option<Duration>,
}

/// What of a blob is missing, as far as its cost goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Bytes of the blob.
    pub size: u64,
    /// Bytes that are missing.
    pub missing: u64,
    /// Spans that they are in.
    pub spans: u64,
}

impl Need {
    /// What `missing` spans of a blob of `size` bytes come to.
    pub fn of(size: u64, missing: &[Span]) -> Self {
        Self { size, missing: missing.iter().map(|span| span.len()).sum(), spans: missing.len() as u64 }
    }
}

/// A usual boundary with the headers of its part, in bytes, for hosts that have not answered several ranges yet.
pub const PART_BYTES: u64 = 180;
/// The headers of a request and its answer, in bytes. They are no part of a body, and yet they cross the wire.
pub const HEADER_BYTES: u64 = 700;
/// The longest gap that is fetched to save time, in bytes: estimates can be wrong.
const LONGEST_WAIT_BYTES: u64 = 2 << 20;
/// A blob that comes whole in less than this is fetched in the fewest bytes, however long that takes: nobody would notice.
const WORTH_HASTE: Duration = Duration::from_millis(500);

impl Line {
    /// Bytes around one more part of a multipart answer.
    pub fn part_bytes(&self) -> u64 {
        self.part_bytes.unwrap_or(PART_BYTES)
    }

    /// What one more range in a request costs.
    pub fn range_cost(&self, prefer: Prefer) -> u64 {
        let waited = match prefer {
            Prefer::Auto | Prefer::Bytes => 0,
            Prefer::Time => self.part_time.zip(self.bytes_per_second).map_or(0, |(time, rate)| carried(time, rate)),
        };
        self.part_bytes().saturating_add(waited.min(LONGEST_WAIT_BYTES))
    }

    /// What one more request costs where `in_flight` of them wait for their answers side by side.
    pub fn request_cost(&self, prefer: Prefer, in_flight: usize) -> u64 {
        let waited = match prefer {
            Prefer::Auto | Prefer::Bytes => 0,
            Prefer::Time => self.bytes_while_waiting() / u64::try_from(in_flight.max(1)).unwrap_or(u64::MAX),
        };
        HEADER_BYTES.saturating_add(waited.min(LONGEST_WAIT_BYTES))
    }

    /// Bytes that the line carries in a round trip.
    fn bytes_while_waiting(&self) -> u64 {
        self.round_trip.zip(self.bytes_per_second).map_or(FIRST_WAIT_BYTES, |(time, rate)| carried(time, rate))
    }

    /// The form of requests of at most `ranges` ranges.
    pub fn form(&self, ranges: usize, prefer: Prefer, in_flight: usize) -> Form {
        let range_cost = if ranges > 1 { self.range_cost(prefer) } else { 0 };
        Form { range_cost, request_cost: self.request_cost(prefer, in_flight), ..Form::of(ranges) }
    }

    /// What [`Prefer::Auto`] means at `need`; the others mean themselves.
    pub fn preference(&self, prefer: Prefer, need: Need, ranges: usize, in_flight: usize) -> Prefer {
        match prefer {
            Prefer::Auto if self.is_whole_faster(need, ranges, in_flight) => Prefer::Time,
            Prefer::Auto => Prefer::Bytes,
            chosen => chosen,
        }
    }

    /// Whether the whole blob comes faster than the fewest bytes do, by so much that somebody would notice.
    fn is_whole_faster(&self, need: Need, ranges: usize, in_flight: usize) -> bool {
        let Some(rate) = self.bytes_per_second.filter(|&rate| rate > 0) else { return false };
        let seconds = |bytes: u64| bytes as f64 / rate as f64;
        let whole = seconds(need.size);
        let requests = need.spans.div_ceil(u64::try_from(ranges.max(1)).unwrap_or(u64::MAX)) as f64;
        let waits = requests * self.round_trip.unwrap_or_default().as_secs_f64() / in_flight.max(1) as f64;
        let parts = if ranges > 1 { need.spans as f64 * self.part_time.unwrap_or_default().as_secs_f64() } else { 0.0 };
        whole >= WORTH_HASTE.as_secs_f64() && seconds(need.missing) + parts + waits > whole
    }
}

/// Bytes that pass in `time` at `rate` bytes a second.
fn carried(time: Duration, rate: u64) -> u64 {
    rate.saturating_mul(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)) / 1_000_000
}

/// What is thought to pass in a round trip before anything was measured: 20 ms at 50 Mbit/s.
const FIRST_WAIT_BYTES: u64 = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(millis: u64, megabits: u64) -> Line {
        let (round_trip, rate) = (Duration::from_millis(millis), megabits * 125_000);
        Line { round_trip: Some(round_trip), bytes_per_second: Some(rate), part_bytes: Some(171), part_time: None }
    }

    #[test]
    fn waiting_is_worth_what_the_line_carries() {
        // Round trip in ms, Mbit/s, what a request is worth with 8 in flight.
        let table = [(0, 1000, 0), (20, 10, 3125), (20, 100, 31_250), (100, 10, 15_625), (100, 1000, 1_562_500)];
        for (millis, megabits, waited) in table {
            let line = line(millis, megabits);
            assert_eq!(line.request_cost(Prefer::Time, 8), HEADER_BYTES + waited, "{millis} ms, {megabits} Mbit/s");
            assert_eq!(line.request_cost(Prefer::Bytes, 8), HEADER_BYTES, "bytes do not depend on the line");
        }
        assert_eq!(line(1000, 10_000).request_cost(Prefer::Time, 8), HEADER_BYTES + LONGEST_WAIT_BYTES);
    }

    #[test]
    fn only_several_ranges_are_framed() {
        let line = line(20, 100);
        assert_eq!((line.form(16, Prefer::Time, 8).range_cost, line.form(1, Prefer::Time, 8).range_cost), (171, 0));
        assert_eq!(Line::default().range_cost(Prefer::Time), PART_BYTES);
        let slow_parts = Line { part_time: Some(Duration::from_micros(400)), ..line };
        assert_eq!((slow_parts.range_cost(Prefer::Time), slow_parts.range_cost(Prefer::Bytes)), (171 + 5000, 171));
    }

    #[test]
    fn auto_means_bytes_as_long_as_the_whole_blob_is_not_faster() {
        let update = Need { size: 217_000_000, missing: 44_000_000, spans: 4700 };
        // Round trip in ms, Mbit/s, microseconds for a part, ranges in a request; what is saved.
        let table = [
            (0, 1000, 20, 128, Prefer::Bytes),
            (0, 1000, 350, 128, Prefer::Time),
            (0, 100, 350, 128, Prefer::Bytes),
            (20, 1000, 0, 128, Prefer::Bytes),
            (20, 1000, 0, 1, Prefer::Time),
            (20, 10, 0, 1, Prefer::Bytes),
        ];
        for (millis, megabits, part_micros, ranges, expected) in table {
            let line = Line { part_time: Some(Duration::from_micros(part_micros)), ..line(millis, megabits) };
            let chosen = |prefer| line.preference(prefer, update, ranges, 8);
            let what = format!("{millis} ms, {megabits} Mbit/s, {part_micros} us a part, {ranges} ranges");
            assert_eq!(chosen(Prefer::Auto), expected, "{what}");
            assert_eq!((chosen(Prefer::Bytes), chosen(Prefer::Time)), (Prefer::Bytes, Prefer::Time), "{what}");
        }
        let small = Need { size: 3_000_000, ..update };
        assert_eq!(line(20, 1000).preference(Prefer::Auto, small, 1, 8), Prefer::Bytes, "nobody waits for it");
        assert_eq!(Line::default().preference(Prefer::Auto, update, 1, 8), Prefer::Bytes, "nothing is known");
    }
}
