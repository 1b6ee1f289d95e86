//! How different registries answer a `Range` header: pure functions from a header and a size to an answer.
//!
//! This is written from the servers' own sources and from what they were seen to do, apart from the product's code, so that one mistake cannot
//! stand on both sides. `tests/e2e/rules.rs` holds the rules against the real servers.

use std::ops::Range;

/// Whose rules a registry plays. Each is one arm of [`answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Go's `http.ServeContent`, which distribution with local storage uses.
    Go,
    /// zot 2.1.17 to 2.1.20: at most 16 ranges, else 416; sorted and coalesced.
    Zot2120,
    /// zot up to 2.1.16: one range by a regular expression; anything with a comma is 416 without `Content-Range`.
    Zot2116,
    /// S3, R2, MinIO, ECR: several ranges get the whole object.
    S3,
    /// `crane registry` and Dragonfly: only the first range is seen.
    FirstOnly,
    /// Quay with local storage: `Range` is not read.
    NoRanges,
    /// Google's storage: several ranges are 400.
    Gcs,
    /// Fastly in front of Azure, as GHCR has it: several ranges are 501.
    Fastly,
    /// Varnish: several ranges are 416.
    Varnish,
    /// Spegel: several ranges are 404, as if the blob were not there.
    Spegel,
    /// Dragonfly before it was mended: 200, but only the first range in the body.
    DragonflyOld,
    /// CloudFront: ascending and disjoint ranges, else the whole; an unquoted `:` in the boundary.
    CloudFront,
    /// Apache: up to 200 ranges, else the whole.
    Apache,
    /// Alibaba's storage with several ranges switched on: up to 50, else 416.
    Oss,
    /// distribution 2.8 as pull-through cache: the first request for a blob gets the whole, and warms the cache even when it is dropped.
    PullThrough2,
    /// distribution 3 as pull-through cache: only an answer that was read to its end warms the cache.
    PullThrough3,
    /// nginx as cache: several ranges of a blob that is not in it get the whole, and the cache fills; a single one is answered.
    NginxCache,
    /// 416 to several ranges, announcing a body as long as the blob (distribution 2.8 does so).
    LyingLength,
    /// Parts of a multipart answer come in another order than asked.
    Shuffled,
    /// Multipart bodies with bare line feeds, lower-case headers and a preamble.
    LineFeeds,
    /// Every `Content-Range` names a size that the blob does not have.
    WrongTotal,
    /// A header of more than 1,000 bytes is 431.
    SmallHeaders,
}

/// What a `Range` header gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200 with all of it.
    Whole,
    /// 206 with one span, which Go allows to be empty.
    One(Range<u64>),
    /// 206 `multipart/byteranges`.
    Several(Vec<Range<u64>>),
    /// 200 with one span, which is a lie.
    FalseWhole(Range<u64>),
    /// An error, with or without `Content-Range: bytes */size`.
    Refused {
        /// The status code.
        status: u16,
        /// Whether the size is told.
        tells_size: bool,
        /// The body's text.
        body: &'static str,
    },
}

/// What `mode` answers to `header` for a blob of `size` bytes.
pub fn answer(mode: Mode, header: &str, size: u64) -> Answer {
    match mode {
        Mode::Go => go(header, size),
        Mode::Zot2120 => zot_2_1_20(header, size),
        Mode::Zot2116 => zot_2_1_16(header, size),
        Mode::FirstOnly => first_only(header, size),
        Mode::NoRanges => Answer::Whole,
        Mode::DragonflyOld => match first_only(header, size) {
            Answer::One(range) => Answer::FalseWhole(range),
            other => other,
        },
        Mode::CloudFront | Mode::Apache | Mode::Oss | Mode::SmallHeaders => limited(mode, header, size),
        _ if header.contains(',') => several(mode, header, size),
        _ => go(header, size),
    }
}

/// What those answer to several ranges that know only one, and those that know more in their own way.
fn several(mode: Mode, header: &str, size: u64) -> Answer {
    let refused = |status, body| Answer::Refused { status, tells_size: false, body };
    match mode {
        Mode::S3 => Answer::Whole,
        Mode::Gcs => refused(400, "<?xml version='1.0'?><Error><Code>InvalidArgument</Code></Error>"),
        Mode::Fastly => refused(501, "Unsupported client range\n"),
        Mode::Varnish => refused(416, ""),
        Mode::Spegel => refused(404, ""),
        Mode::LyingLength => refused(416, "invalid range\n"),
        Mode::Shuffled => match go(header, size) {
            Answer::Several(mut ranges) => {
                ranges.reverse();
                ranges.rotate_left(1);
                Answer::Several(ranges)
            }
            other => other,
        },
        _ => go(header, size),
    }
}

/// Those that answer several ranges within a limit.
fn limited(mode: Mode, header: &str, size: u64) -> Answer {
    let ranges = match go(header, size) {
        Answer::Several(ranges) => ranges,
        other => return other,
    };
    let ascending = ranges.windows(2).all(|pair| pair[0].end <= pair[1].start);
    match mode {
        Mode::CloudFront if !ascending => Answer::Whole,
        Mode::Apache if ranges.len() > 200 => Answer::Whole,
        Mode::Oss if ranges.len() > 50 => Answer::Refused { status: 416, tells_size: false, body: "" },
        Mode::SmallHeaders if header.len() > 1000 => Answer::Refused { status: 431, tells_size: false, body: "" },
        _ => Answer::Several(ranges),
    }
}

/// What a cache answers to a request for a blob that it does not have; `None` where it does not matter.
pub fn cold(mode: Mode, header: &str) -> Option<Answer> {
    match mode {
        Mode::PullThrough2 | Mode::PullThrough3 => Some(Answer::Whole),
        Mode::NginxCache if header.contains(',') => Some(Answer::Whole),
        _ => None,
    }
}

/// What Go answers to a malformed header.
const GO_INVALID: Answer = Answer::Refused { status: 416, tells_size: false, body: "invalid range\n" };
/// What Go answers when no range touches the content.
const GO_OUTSIDE: Answer =
    Answer::Refused { status: 416, tells_size: true, body: "invalid range: failed to overlap\n" };
/// What zot answers to anything it does not like, since 2.1.17.
const ZOT_REFUSED: Answer = Answer::Refused { status: 416, tells_size: true, body: "" };
/// What zot answered before.
const OLD_ZOT_REFUSED: Answer = Answer::Refused { status: 416, tells_size: false, body: "" };

/// `net/http`'s `parseRange` and `serveContent`: order kept, nothing merged, spans outside dropped, more than the whole is the whole.
fn go(header: &str, size: u64) -> Answer {
    let Some(set) = header.strip_prefix("bytes=") else { return GO_INVALID };
    let mut ranges = Vec::new();
    let mut outside = false;
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        let Some((first, last)) = spec.split_once('-') else { return GO_INVALID };
        let (first, last) = (first.trim(), last.trim());
        if first.is_empty() {
            let Some(suffix) = parse_int(last) else { return GO_INVALID };
            ranges.push(size.saturating_sub(suffix)..size);
            continue;
        }
        let Some(start) = parse_int(first) else { return GO_INVALID };
        if start >= size {
            outside = true;
        } else if last.is_empty() {
            ranges.push(start..size);
        } else {
            match parse_int(last) {
                Some(last) if last >= start => ranges.push(start..size.min(last.saturating_add(1))),
                _ => return GO_INVALID,
            }
        }
    }
    if ranges.is_empty() && outside {
        return if size == 0 { Answer::Whole } else { GO_OUTSIDE };
    }
    if ranges.iter().map(|range| range.end - range.start).sum::<u64>() > size {
        return Answer::Whole;
    }
    parts(ranges)
}

/// zot's `parseRangeHeader` and `coalesceRanges`: one bad spec poisons the set, and 17 are too many even when they would merge.
fn zot_2_1_20(header: &str, size: u64) -> Answer {
    let specs: Vec<_> = match header.strip_prefix("bytes=") {
        Some(set) if size > 0 => set.split(',').map(str::trim).collect(),
        _ => return ZOT_REFUSED,
    };
    if specs.len() > 16 {
        return ZOT_REFUSED;
    }
    let mut ranges = Vec::new();
    for spec in specs {
        let range = match spec.split_once('-') {
            Some(("", suffix)) => match parse_int(suffix) {
                Some(1..) => size.saturating_sub(parse_int(suffix).unwrap_or(0))..size,
                _ => return ZOT_REFUSED,
            },
            Some((first, last)) => match (parse_int(first), last, parse_int(last)) {
                (Some(first), "", _) => first..size,
                (Some(first), _, Some(last)) if last >= first => first..size.min(last.saturating_add(1)),
                _ => return ZOT_REFUSED,
            },
            None => return ZOT_REFUSED,
        };
        if range.start >= range.end {
            return ZOT_REFUSED;
        }
        ranges.push(range);
    }
    parts(coalesced(ranges))
}

/// Sorted, and joined where they touch or overlap.
fn coalesced(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// The regular expression `bytes=(\d+)-(\d*$)`; a start outside is an internal error there.
fn zot_2_1_16(header: &str, size: u64) -> Answer {
    let found = header.rfind("bytes=").and_then(|at| header[at..].strip_prefix("bytes="));
    let Some((first, last)) = found.and_then(|set| set.split_once('-')) else { return OLD_ZOT_REFUSED };
    match (digits(first), last, digits(last)) {
        (Some(first), "", _) if first < size => Answer::One(first..size),
        (Some(first), _, Some(last)) if first <= last && first < size => {
            Answer::One(first..size.min(last.saturating_add(1)))
        }
        (Some(first), _, last_read) if last.is_empty() || last_read.is_some_and(|last| first <= last) => {
            Answer::Refused { status: 500, tells_size: false, body: "" }
        }
        _ => OLD_ZOT_REFUSED,
    }
}

/// `Sscanf(header, "bytes=%d-%d")`, which ignores what follows.
fn first_only(header: &str, size: u64) -> Answer {
    let first_spec = header.strip_prefix("bytes=").map(|set| set.split(',').next().unwrap_or(""));
    match first_spec.and_then(|spec| spec.split_once('-')).map(|(first, last)| (digits(first), digits(last))) {
        Some((Some(first), Some(last))) if first <= last && last < size => Answer::One(first..last + 1),
        _ => Answer::Refused { status: 416, tells_size: true, body: "" },
    }
}

fn parts(mut ranges: Vec<Range<u64>>) -> Answer {
    match ranges.len() {
        0 => Answer::Whole,
        1 => Answer::One(ranges.remove(0)),
        _ => Answer::Several(ranges),
    }
}

/// Go's `strconv.ParseInt` where a minus cannot stand: a plus is taken.
fn parse_int(text: &str) -> Option<u64> {
    digits(text.strip_prefix('+').unwrap_or(text))
}

/// A number without a sign, as regular expressions ask for.
fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) { None } else { text.parse().ok() }
}
