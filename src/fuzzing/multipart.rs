//! Reading `multipart/byteranges`.

use crate::registry::content_range::ContentRange;
use crate::registry::multipart::{Event, Multipart, MultipartError};
use crate::serve::{part_head, parts_end};

use super::pieces::{Cut, cuts, parts, pieces};

#[derive(Debug, Default, PartialEq)]
struct Reading {
    parts: Vec<(ContentRange, Vec<u8>)>,
    ended: bool,
    fault: Option<MultipartError>,
}

/// The first line is the content type, the rest the body. Pieces make no difference; a reader that has the whole body at once finds
/// the same; no part has more bytes than it states; and whole parts, framed as our own server does it, read as the same.
pub fn multipart(data: &[u8]) {
    let (content_type, body) = parts(data, b"\n");
    let Ok(content_type) = std::str::from_utf8(content_type) else { return };
    let Ok(Some(_)) = Multipart::for_content_type(content_type) else { return };
    let whole = read(content_type, body, Cut::Whole);
    for &cut in cuts(body) {
        assert_eq!(whole, read(content_type, body, cut), "in other pieces it reads otherwise");
    }
    let bytes: usize = whole.parts.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes <= body.len());
    let is_whole = |(range, bytes): &(ContentRange, Vec<u8>)| {
        assert!(bytes.len() as u64 <= range.span.len(), "more bytes than the part states");
        bytes.len() as u64 == range.span.len()
    };
    let complete = whole.parts.iter().all(is_whole);
    if whole.fault.is_some() {
        return;
    }
    if complete {
        framed_by_us(&whole.parts);
    }
    // Where the boundary needs no rules to be found.
    if let Some(boundary) = content_type.strip_prefix("multipart/byteranges; boundary=")
        && boundary.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        assert_eq!(whole, at_once(boundary, body), "two readers differ");
    }
}

/// The body as somebody reads it who has all of it.
fn at_once(boundary: &str, body: &[u8]) -> Reading {
    let (open, close) = (format!("--{boundary}"), format!("--{boundary}--"));
    let mut reading = Reading::default();
    let mut rest = body;
    while !rest.is_empty() && !reading.ended {
        let (line, after) = line_of(rest);
        let text = line.trim_ascii_end();
        rest = after;
        reading.ended = text == close.as_bytes();
        if text != open.as_bytes() || !line.ends_with(b"\n") {
            continue;
        }
        let Some((range, after)) = headers(rest) else { break };
        let len = usize::try_from(range.span.len()).unwrap_or(usize::MAX).min(after.len());
        reading.parts.push((range, after[..len].to_vec()));
        rest = &after[len..];
    }
    reading
}

/// The last `Content-Range` before an empty line, and what follows it.
fn headers(mut rest: &[u8]) -> Option<(ContentRange, &[u8])> {
    let mut range = None;
    loop {
        let (line, after) = line_of(rest);
        if !line.ends_with(b"\n") {
            return None;
        }
        rest = after;
        let text = String::from_utf8_lossy(line.trim_ascii()).into_owned();
        if text.is_empty() {
            return Some((range?, rest));
        }
        let value = text.split_once(':').filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-range"));
        range = value.and_then(|(_, value)| ContentRange::parse(value)).or(range);
    }
}

/// The first line with its end, and what follows.
fn line_of(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1))
}

fn read(content_type: &str, body: &[u8], cut: Cut) -> Reading {
    let mut reader = Multipart::for_content_type(content_type).expect("a boundary").expect("a multipart type");
    let mut reading = Reading::default();
    for piece in pieces(body, cut) {
        let pushed = reader.push::<MultipartError>(piece, &mut |event| {
            match event {
                Event::Part(range) => reading.parts.push((range, Vec::new())),
                Event::Data(data) => {
                    assert!(!data.is_empty());
                    reading.parts.last_mut().expect("a part before its data").1.extend_from_slice(data);
                }
            }
            Ok(())
        });
        if let Err(fault) = pushed {
            reading.fault = Some(fault);
            return reading;
        }
    }
    reading.ended = reader.ended();
    reading
}

fn framed_by_us(parts: &[(ContentRange, Vec<u8>)]) {
    let total = parts.iter().map(|(range, _)| range.span.end()).max().unwrap_or(0);
    let mut body = Vec::new();
    for (at, (range, bytes)) in parts.iter().enumerate() {
        body.extend_from_slice(&part_head("boundary", at == 0, range.span, total, "application/octet-stream"));
        body.extend_from_slice(bytes);
    }
    body.extend_from_slice(&parts_end("boundary"));
    let expected = parts.iter().map(|(range, bytes)| (ContentRange { total: Some(total), ..*range }, bytes.clone()));
    let expected = Reading { parts: expected.collect(), ended: true, fault: None };
    assert_eq!(read("multipart/byteranges; boundary=boundary", &body, Cut::Mixed), expected);
}
