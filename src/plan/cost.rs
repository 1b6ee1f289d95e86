//! What a range and a request cost, in bytes, so that gaps can be weighed against them.
//!
//! A gap between two missing spans costs its bytes. Leaving it out costs a range more: in a multipart answer the lines around one more
//! part, elsewhere one more request. A request costs the bytes of its headers, and the time in which its connection carries nothing; time
//! is turned into bytes by what the line carries in it. All of it is measured on the line at hand; until then, first guesses stand in.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use super::requests::Form;

/// What a pull should save where bytes and time cannot both be saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefer {
    /// Bytes: a gap is fetched only where a range or a request weighs more than it. The same pull always costs the same.
    #[default]
    Bytes,
    /// Time: a gap is fetched also where waiting for another answer takes longer than the gap.
    Time,
}

impl Prefer {
    /// The word on the command line.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Time => "time",
        }
    }
}

impl FromStr for Prefer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "bytes" => Ok(Self::Bytes),
            "time" => Ok(Self::Time),
            _ => Err("bytes or time"),
        }
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
}

/// A usual boundary with the headers of its part, in bytes, for hosts that have not answered several ranges yet.
pub const PART_BYTES: u64 = 180;
/// The headers of a request and its answer, in bytes. They are no part of a body, and yet they cross the wire.
pub const HEADER_BYTES: u64 = 700;
/// The longest gap that is fetched to save time, in bytes: estimates can be wrong.
const LONGEST_WAIT_BYTES: u64 = 2 << 20;

impl Line {
    /// What one more range in a request costs.
    pub fn range_cost(&self) -> u64 {
        self.part_bytes.unwrap_or(PART_BYTES)
    }

    /// What one more request costs where `in_flight` of them wait for their answers side by side.
    pub fn request_cost(&self, prefer: Prefer, in_flight: usize) -> u64 {
        let waited = match prefer {
            Prefer::Bytes => 0,
            Prefer::Time => self.bytes_while_waiting() / u64::try_from(in_flight.max(1)).unwrap_or(u64::MAX),
        };
        HEADER_BYTES.saturating_add(waited.min(LONGEST_WAIT_BYTES))
    }

    /// Bytes that the line carries in a round trip.
    fn bytes_while_waiting(&self) -> u64 {
        let (Some(round_trip), Some(rate)) = (self.round_trip, self.bytes_per_second) else { return FIRST_WAIT_BYTES };
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        rate.saturating_mul(micros) / 1_000_000
    }

    /// The form of requests of at most `ranges` ranges.
    pub fn form(&self, ranges: usize, prefer: Prefer, in_flight: usize) -> Form {
        let range_cost = if ranges > 1 { self.range_cost() } else { 0 };
        Form { range_cost, request_cost: self.request_cost(prefer, in_flight), ..Form::of(ranges) }
    }
}

/// What is thought to pass in a round trip before anything was measured: 20 ms at 50 Mbit/s.
const FIRST_WAIT_BYTES: u64 = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(millis: u64, megabits: u64) -> Line {
        let (round_trip, rate) = (Duration::from_millis(millis), megabits * 125_000);
        Line { round_trip: Some(round_trip), bytes_per_second: Some(rate), part_bytes: Some(171) }
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
        assert_eq!(Line::default().range_cost(), PART_BYTES);
    }
}
