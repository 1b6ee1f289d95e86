//! The `Range` header, read as Go's `http.ServeContent` reads it, and the framing of `multipart/byteranges`.
//!
//! Two differences, both on the side of RFC 9110: a number has digits only (Go takes `+5`), and a suffix of no bytes, or of an empty
//! blob, is unsatisfiable (Go answers 206 with `Content-Range: bytes 100-99/100`).

use bytes::Bytes;

use crate::span::Span;

/// What a `Range` header asks of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it: no range was asked for, or more bytes than there are.
    Whole,
    /// One range.
    One(Span),
    /// Two or more, in the order asked, overlapping where asked so; together not longer than the blob.
    Several(Vec<Span>),
    /// Ranges that all lie outside.
    Outside,
    /// No list of byte ranges.
    Malformed,
}

/// Reads a `Range` header for a blob of `size` bytes.
pub fn select(header: &str, size: u64) -> Selection {
    let Some(specs) = header.strip_prefix("bytes=") else {
        return Selection::Malformed;
    };
    let (mut spans, mut outside) = (Vec::new(), false);
    for spec in specs.split(',').map(trim).filter(|spec| !spec.is_empty()) {
        match one(spec, size) {
            Some(Some(span)) => spans.push(span),
            Some(None) => outside = true,
            None => return Selection::Malformed,
        }
    }
    let total = spans.iter().map(|span| u128::from(span.len())).sum::<u128>();
    match spans[..] {
        // Some clients ask every resource for a range; an empty one is all there is to give.
        [] if outside && size > 0 => Selection::Outside,
        [] => Selection::Whole,
        _ if total > u128::from(size) => Selection::Whole,
        [span] => Selection::One(span),
        _ => Selection::Several(spans),
    }
}

/// One range: `None` when it is malformed, `Some(None)` when it lies outside the blob.
fn one(spec: &str, size: u64) -> Option<Option<Span>> {
    let (first, last) = spec.split_once('-')?;
    let (first, last) = (trim(first), trim(last));
    if first.is_empty() {
        let suffix = number(last)?;
        return Some(Span::new(size.saturating_sub(suffix), size));
    }
    let first = number(first)?;
    if first >= size {
        return Some(None);
    }
    if last.is_empty() {
        return Some(Span::new(first, size));
    }
    let last = number(last)?;
    if last < first {
        return None;
    }
    Some(Span::new(first, last.saturating_add(1).min(size)))
}

/// Digits only, within the 63 bits that Go reads.
fn number(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|&number| i64::try_from(number).is_ok())
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The value of `Content-Range` for a span of a blob of `size` bytes.
pub fn content_range(span: Span, size: u64) -> String {
    format!("bytes {}-{}/{size}", span.start(), span.end() - 1)
}

/// What stands before the bytes of a part.
pub fn part_head(boundary: &str, is_first: bool, span: Span, size: u64, media_type: &str) -> Bytes {
    let line_end = if is_first { "" } else { "\r\n" };
    let range = content_range(span, size);
    format!("{line_end}--{boundary}\r\nContent-Range: {range}\r\nContent-Type: {media_type}\r\n\r\n").into()
}

/// What stands after the last part.
pub fn parts_end(boundary: &str) -> Bytes {
    format!("\r\n--{boundary}--\r\n").into()
}
