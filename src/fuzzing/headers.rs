//! Reading headers of HTTP.

use crate::registry::content_range::ContentRange;
use crate::registry::wire::Challenge;
use crate::serve::{Selection, content_range as content_range_of, select};

use super::pieces::parts;

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// What is read is written in the plainest form, and reads as the same; digits that stand there are the numbers; and what fits a
/// blob lies in it.
pub fn content_range(data: &[u8]) {
    let Some(value) = text(data) else { return };
    let Some(read) = ContentRange::parse(value) else { return };
    let (first, end) = (read.span.start(), read.span.end());
    let total = read.total.map_or("*".to_owned(), |total| total.to_string());
    assert_eq!(ContentRange::parse(&format!("bytes {first}-{}/{total}", end - 1)), Some(read));
    let numbers: Vec<u64> = value
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap())
        .collect();
    let expected: Vec<u64> = [first, end - 1].into_iter().chain(read.total).collect();
    assert_eq!(numbers, expected, "other numbers than stand there");
    for size in [end - 1, end, end.saturating_add(1)].into_iter().chain(read.total) {
        let fits = read.total.is_none_or(|total| total == size) && end <= size;
        assert_eq!(read.fits(size), fits);
    }
    if let Some(total) = read.total {
        assert_eq!(ContentRange::parse(&content_range_of(read.span, total)), Some(read), "what we serve we read");
    }
}

/// The first line is the size of a blob, the second a `Range`. What is chosen lies in the blob, is not longer than it, and asked for in
/// the plainest form it is the same.
pub fn range(data: &[u8]) {
    let (size, header) = parts(data, b"\n");
    let (Some(size), Some(header)) = (text(size).and_then(|size| size.parse().ok()), text(header)) else { return };
    let spans = match select(header, size) {
        Selection::Malformed => return,
        Selection::Outside => return assert!(size > 0),
        Selection::Whole => return,
        Selection::One(span) => vec![span],
        Selection::Several(spans) => spans,
    };
    assert!(spans.iter().all(|span| span.end() <= size), "a span outside of the blob");
    assert!(spans.iter().map(|span| u128::from(span.len())).sum::<u128>() <= u128::from(size), "more than the blob");
    let plain: Vec<_> = spans.iter().map(|span| format!("{}-{}", span.start(), span.end() - 1)).collect();
    let expected = if let [span] = spans[..] { Selection::One(span) } else { Selection::Several(spans) };
    if size <= u64::MAX / 2 {
        assert_eq!(select(&format!("bytes={}", plain.join(",")), size), expected);
    }
}

/// What is read is written with every value in quotes, and reads as the same; two headers in one line are both; and nothing grows.
pub fn challenge(data: &[u8]) {
    let Some(value) = text(data) else { return };
    let read = Challenge::parse_all(value);
    let bytes: usize =
        read.iter().flat_map(|read| &read.parameters).map(|(name, value)| name.len() + value.len()).sum();
    // A capital letter may be longer in lower case.
    assert!(bytes <= value.len() * 2, "more comes out than went in");
    let written: Vec<_> = read.iter().map(write).collect();
    assert_eq!(Challenge::parse_all(&written.join(", ")), read, "written as {written:?}");
}

fn write(challenge: &Challenge) -> String {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
    let parameter = |(name, value): &(String, String)| format!("{name}=\"{}\"", quoted(value));
    let parameters: Vec<_> = challenge.parameters.iter().map(parameter).collect();
    format!("{} {}", challenge.scheme, parameters.join(", "))
}
