//! The shape of ranged requests: which missing spans are asked for together, and which gaps between them are fetched along.
//!
//! Three things cost: a gap that is fetched although nobody needs it, a range, and a request (`cost`). Without limits each gap could be
//! decided alone. A limit on the ranges of a request, or on the length of its header, ties them together: a gap that is dearer than a
//! range may still be cheaper than one more request. So the cheapest shape is found by dynamic programming over the spans, with the state
//! of the request that is being filled: how many ranges, how long a header. States that are worse than another in every respect are
//! dropped, which leaves few.

use crate::span::Span;

use super::cost::{HEADER_BYTES, PART_BYTES};

/// Costs and limits of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Ranges in one `Range` header, at least one.
    pub max_ranges: usize,
    /// Length of the `Range` header's value in bytes. One range is asked for even when it alone is longer.
    pub max_header_bytes: usize,
    /// Missing bytes asked for by one request, at least one, so that several can be under way. What is longer is cut.
    pub max_bytes: u64,
    /// What a range costs, in bytes.
    pub range_cost: u64,
    /// What a request costs beside its ranges, in bytes.
    pub request_cost: u64,
}

impl Form {
    /// Length of a `Range` header's value that every known server takes (the strictest allows 4 KiB for the whole field).
    pub const HEADER_BYTES: usize = 3800;
    /// Missing bytes that one request asks for.
    pub const REQUEST_BYTES: u64 = 4 << 20;

    /// Requests of at most `max_ranges` ranges, at usual costs.
    pub const fn of(max_ranges: usize) -> Self {
        Self {
            max_ranges,
            max_header_bytes: Self::HEADER_BYTES,
            max_bytes: Self::REQUEST_BYTES,
            range_cost: if max_ranges > 1 { PART_BYTES } else { 0 },
            request_cost: HEADER_BYTES,
        }
    }

    /// What requests cost in this form, gaps included, beside the missing bytes themselves.
    pub fn cost(&self, requests: &[Request]) -> u64 {
        let one = |request: &Request| {
            let ranges = u64::try_from(request.spans.len()).unwrap_or(u64::MAX);
            self.request_cost + self.range_cost * ranges + request.bytes() - request.missing_bytes()
        };
        requests.iter().map(one).sum()
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
    /// One range and nothing but it.
    pub fn single(span: Span) -> Self {
        Self { spans: vec![span], missing: vec![span] }
    }

    /// The value of the `Range` header: absolute, ascending, inclusive.
    pub fn header(&self) -> String {
        let ranges: Vec<_> = self.spans.iter().map(|span| format!("{}-{}", span.start(), span.end() - 1)).collect();
        format!("{UNIT}{}", ranges.join(","))
    }

    /// Bytes asked for, gaps included.
    pub fn bytes(&self) -> u64 {
        self.spans.iter().map(|span| span.len()).sum()
    }

    /// Bytes asked for that are missing.
    pub fn missing_bytes(&self) -> u64 {
        self.missing.iter().map(|span| span.len()).sum()
    }

    /// Takes in the next missing span, as a range of its own or joined to the last.
    fn push(&mut self, span: Span, joined: bool) {
        match self.spans.last_mut() {
            Some(last) if joined => *last = last.hull(span),
            _ => self.spans.push(span),
        }
        match self.missing.last_mut() {
            Some(last) if last.end() == span.start() => *last = last.hull(span),
            _ => self.missing.push(span),
        }
    }
}

/// What requests should take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prediction {
    /// Bytes of response bodies.
    pub bytes: u64,
    /// Requests.
    pub requests: u64,
    /// Ranges in them.
    pub ranges: u64,
}

impl Prediction {
    /// What `requests` should take where `part_bytes` stand around each part of a multipart answer.
    pub fn of(requests: &[Request], part_bytes: u64) -> Self {
        let mut sum = Self::default();
        for request in requests {
            let ranges = u64::try_from(request.spans.len()).unwrap_or(u64::MAX);
            sum.requests += 1;
            sum.ranges += ranges;
            sum.bytes += request.bytes() + if ranges > 1 { ranges * part_bytes } else { 0 };
        }
        sum
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            requests: self.requests + other.requests,
            ranges: self.ranges + other.ranges,
        }
    }
}

const UNIT: &str = "bytes=";

/// Divides `missing` (ascending and disjoint) into the requests that cost least; then cuts those that are too long.
pub fn shape(missing: &[Span], form: Form) -> Vec<Request> {
    let steps = Search::new(missing, form).steps();
    let mut requests: Vec<Request> = Vec::new();
    for (&span, step) in missing.iter().zip(steps) {
        match requests.last_mut() {
            Some(last) if step != Step::Request => last.push(span, step == Step::Join),
            _ => requests.push(Request::single(span)),
        }
    }
    requests.into_iter().flat_map(|request| cut(request, form)).collect()
}

/// Cuts a request into several of about the same number of missing bytes, at most `most` each. A gap where it is cut is not fetched.
fn cut(request: Request, form: Form) -> Vec<Request> {
    let (missing, most) = (request.missing_bytes(), form.max_bytes.max(1));
    if missing <= most {
        return vec![request];
    }
    let share = missing.div_ceil(missing.div_ceil(most));
    let mut requests: Vec<Request> = Vec::new();
    let mut room = 0;
    for piece in request.missing {
        let begins_range = request.spans.binary_search_by_key(&piece.start(), |range| range.start()).is_ok();
        let mut rest = Some(piece);
        while let Some(span) = rest {
            if room == 0 {
                requests.push(Request { spans: Vec::new(), missing: Vec::new() });
                room = share;
            }
            let head = Span::with_len(span.start(), span.len().min(room)).unwrap_or(span);
            if let Some(last) = requests.last_mut() {
                let kept = last.clone();
                last.push(head, !begins_range);
                // Where a range is cut its offsets may become longer.
                if last.spans.len() > 1 && last.header().len() > form.max_header_bytes {
                    *last = kept;
                    room = 0;
                    continue;
                }
            }
            room = room.saturating_sub(head.len());
            rest = Span::new(head.end(), span.end());
        }
    }
    requests
}

/// What becomes of the place before a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The gap is fetched.
    Join,
    /// The gap is left out; the span begins a range.
    Range,
    /// The span begins a request.
    Request,
}

/// The request that is being filled, after some span.
#[derive(Clone, Copy, Debug)]
struct State {
    ranges: usize,
    header: usize,
    cost: u64,
    /// How it came about, and from which state after the span before.
    step: Step,
    from: u32,
}

impl State {
    fn is_no_better_than(&self, other: &Self) -> bool {
        other.cost <= self.cost && other.ranges <= self.ranges && other.header <= self.header
    }
}

/// The search for the cheapest shape.
struct Search<'a> {
    spans: &'a [Span],
    form: Form,
    /// Whether a limit can be met at all. Where none can, the state need not know how full a request is.
    limited: bool,
}

impl<'a> Search<'a> {
    fn new(spans: &'a [Span], form: Form) -> Self {
        let all: usize = UNIT.len() + spans.iter().map(|&span| width(span) + 1).sum::<usize>();
        let limited = spans.len() > form.max_ranges.max(1) || all > form.max_header_bytes;
        Self { spans, form, limited }
    }

    /// One step for each span.
    fn steps(&self) -> Vec<Step> {
        let mut layers: Vec<Vec<State>> = Vec::with_capacity(self.spans.len());
        for (index, &span) in self.spans.iter().enumerate() {
            let before = layers.last().map_or(&[][..], Vec::as_slice);
            let layer = self.layer(before, index.checked_sub(1).map(|index| self.spans[index]), span);
            layers.push(layer);
        }
        let cheapest = |layer: &Vec<State>| layer.iter().enumerate().min_by_key(|(_, state)| state.cost).map(|it| it.0);
        let mut at = layers.last().and_then(cheapest).unwrap_or(0);
        let mut steps = Vec::with_capacity(self.spans.len());
        for layer in layers.iter().rev() {
            let state = layer[at];
            steps.push(state.step);
            at = usize::try_from(state.from).unwrap_or(0);
        }
        steps.reverse();
        steps
    }

    /// All states after `span` that may be part of the cheapest shape, fewest ranges first.
    fn layer(&self, before: &[State], last: Option<Span>, span: Span) -> Vec<State> {
        let Form { range_cost, request_cost, .. } = self.form;
        let mut next: Vec<State> = Vec::with_capacity(before.len() * 2 + 1);
        let cheapest = before.iter().enumerate().min_by_key(|(_, state)| state.cost);
        let (from, cost) = cheapest.map_or((0, 0), |(index, state)| (index, state.cost));
        next.push(self.state(1, UNIT.len() + width(span), cost + request_cost + range_cost, Step::Request, from));
        let Some(last) = last else { return next };
        let gap = span.start() - last.end();
        for (index, state) in before.iter().enumerate() {
            let joined = state.header - digits(last.end() - 1) + digits(span.end() - 1);
            next.push(self.state(state.ranges, joined, state.cost + gap, Step::Join, index));
            // A range that adjoins the last one is that one.
            if gap > 0 {
                let header = state.header + 1 + width(span);
                next.push(self.state(state.ranges + 1, header, state.cost + range_cost, Step::Range, index));
            }
        }
        next.retain(|state| self.fits(state));
        next.sort_unstable_by_key(|state| (state.ranges, state.header, state.cost));
        let mut best: Vec<State> = Vec::with_capacity(next.len());
        let mut least = u64::MAX;
        for state in next {
            // A state that costs less than all with fewer ranges is worth keeping; another only for its shorter header.
            if state.cost < least || !best.iter().rev().any(|other| state.is_no_better_than(other)) {
                least = least.min(state.cost);
                best.push(state);
            }
        }
        best
    }

    fn state(&self, ranges: usize, header: usize, cost: u64, step: Step, from: usize) -> State {
        let (ranges, header) = if self.limited { (ranges, header) } else { (1, UNBOUNDED_HEADER) };
        State { ranges, header, cost, step, from: u32::try_from(from).unwrap_or(0) }
    }

    fn fits(&self, state: &State) -> bool {
        let Form { max_ranges, max_header_bytes, .. } = self.form;
        !self.limited || (state.ranges <= max_ranges.max(1) && (state.header <= max_header_bytes || state.ranges == 1))
    }
}

/// Stands for the length of a header that need not be known; digits may be taken from it.
const UNBOUNDED_HEADER: usize = 1 << 16;

/// How many bytes a range takes in the header, without the comma.
fn width(span: Span) -> usize {
    digits(span.start()) + 1 + digits(span.end() - 1)
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| usize::try_from(log).unwrap_or(0) + 1)
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

    /// The least cost of any shape within the limits, by trying all of them: three choices before each span.
    fn brute_force(missing: &[Span], form: Form) -> u64 {
        let choices = 3u32.pow(u32::try_from(missing.len() - 1).unwrap());
        let shape = |mut number: u32| {
            let mut requests = vec![Request::single(missing[0])];
            for &span in &missing[1..] {
                let last = requests.last_mut().unwrap();
                match number % 3 {
                    0 => last.push(span, true),
                    1 => last.push(span, false),
                    _ => requests.push(Request::single(span)),
                }
                number /= 3;
            }
            requests
        };
        let fits = |request: &Request| {
            let ranges = request.spans.len();
            ranges <= form.max_ranges && (ranges == 1 || request.header().len() <= form.max_header_bytes)
        };
        let all = (0..choices).map(shape).filter(|requests| requests.iter().all(fits));
        all.map(|requests| form.cost(&requests)).min().unwrap()
    }

    proptest! {
        #[test]
        fn asks_for_all_that_is_missing_within_the_limits(
            steps in prop::collection::vec((0u64..60, 1u64..90), 0..40),
            max_ranges in 1usize..9, max_header_bytes in 8usize..80, max_bytes in 1u64..300,
            range_cost in 0u64..40, request_cost in 0u64..90,
        ) {
            let missing = spans(&steps);
            let form = Form { max_ranges, max_header_bytes, max_bytes, range_cost, request_cost };
            let requests = shape(&missing, form);
            let named: Vec<_> = requests.iter().flat_map(|request| bytes_of(&request.missing)).collect();
            prop_assert_eq!(named, bytes_of(&missing), "each missing byte once and in order");
            let mut end = 0;
            for request in &requests {
                prop_assert!(request.spans.len() <= max_ranges);
                prop_assert!(request.missing_bytes() <= max_bytes);
                prop_assert!(request.header().len() <= max_header_bytes || request.spans.len() == 1);
                for span in &request.spans {
                    prop_assert!(span.start() >= end, "ascending and disjoint over all requests");
                    end = span.end();
                    let inside: Vec<_> = request.missing.iter().filter(|piece| span.contains(**piece)).collect();
                    prop_assert_eq!(inside[0].start(), span.start());
                    prop_assert_eq!(inside[inside.len() - 1].end(), span.end());
                    for pair in inside.windows(2) {
                        prop_assert!(pair[1].start() - pair[0].end() <= range_cost + request_cost);
                    }
                }
            }
        }

        #[test]
        fn no_shape_costs_less(
            steps in prop::collection::vec((1u64..400, 1u64..50), 1..8),
            range_cost in 0u64..300, request_cost in 0u64..600,
            max_ranges in prop_oneof![Just(usize::MAX), 1usize..5],
            max_header_bytes in prop_oneof![Just(usize::MAX), 10usize..60],
        ) {
            let missing = spans(&steps);
            let form = Form { max_ranges, max_header_bytes, max_bytes: u64::MAX, range_cost, request_cost };
            prop_assert_eq!(form.cost(&shape(&missing, form)), brute_force(&missing, form));
        }
    }

    #[test]
    fn a_gap_dearer_than_a_range_may_be_cheaper_than_a_request() {
        let missing = spans(&[(0, 10), (500, 10), (300, 10)]);
        let form = Form { request_cost: 700, range_cost: 200, ..Form::of(2) };
        let requests = shape(&missing, form);
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_eq!(requests[0].header(), "bytes=0-9,510-829", "the smaller gap is fetched");
        assert_eq!(shape(&missing, Form { max_ranges: 3, ..form })[0].spans.len(), 3);
    }

    #[test]
    fn writes_inclusive_ranges() {
        let request = shape(&spans(&[(0, 1), (300, 10)]), Form::of(16)).remove(0);
        assert_eq!(request.header(), "bytes=0-0,301-310");
    }

    #[test]
    fn what_is_long_is_cut_into_even_requests() {
        let form = Form { max_bytes: 1000, ..Form::of(16) };
        let requests = shape(&spans(&[(0, 2500), (10, 100)]), form);
        let sizes: Vec<_> = requests.iter().map(Request::missing_bytes).collect();
        assert_eq!(sizes, [867, 867, 866]);
        let cut_at_a_gap = shape(&spans(&[(0, 900), (10, 900)]), form);
        assert_eq!(cut_at_a_gap.iter().map(Request::bytes).collect::<Vec<_>>(), [900, 900], "the gap is left out");
    }

    #[test]
    fn twenty_thousand_spans_are_shaped_with_few_states() {
        let steps: Vec<(u64, u64)> = (0..20_000).map(|n| (100 + n * 7919 % 2000, 50 + n * 104_729 % 5000)).collect();
        let missing = spans(&steps);
        for max_ranges in [1, 16, 128] {
            let form = Form { range_cost: 180, request_cost: 1000, ..Form::of(max_ranges) };
            let search = Search::new(&missing, form);
            let mut layer = Vec::new();
            let mut most = 0;
            for (index, &span) in missing.iter().enumerate() {
                layer = search.layer(&layer, index.checked_sub(1).map(|index| missing[index]), span);
                most = most.max(layer.len());
            }
            assert!(most <= 4 * max_ranges + 4, "{most} states with {max_ranges} ranges");
        }
    }
}
