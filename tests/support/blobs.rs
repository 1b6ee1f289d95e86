//! How the in-process registry serves blobs: whole, in part, by redirect, and spoiled on request.

use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::content::digest_of;
use super::message::{Asked, Reply};
use super::range_rules::{self, Answer, Mode};
use super::registry::{Fault, State};

/// A blob, or the way to it.
pub fn answer(state: &State, asked: &Asked, name: &str, digest: &str) -> Reply {
    if !matches!(asked.method.as_str(), "GET" | "HEAD") {
        return Reply::error(405, "UNSUPPORTED");
    }
    let Some(bytes) = state.content.lock().expect("no handler panics").blob(name, digest) else {
        return Reply::error(404, "BLOB_UNKNOWN");
    };
    if let Some(redirect) = state.options.redirect.filter(|_| asked.method == "GET") {
        let signature = format!("{SECRET}{}", state.signatures.fetch_add(1, Ordering::SeqCst));
        let location = format!("http://{}/{digest}?signature={signature}", state.target);
        state.signed.lock().expect("no handler panics").insert(signature, redirect.uses);
        return Reply::empty(redirect.status).with("location", location);
    }
    served(state, asked, digest, &bytes)
}

/// What signatures begin with; no log or error may show it.
pub const SECRET: &str = "presigned-secret-";

/// The second port: an object store that knows signed addresses only.
pub fn redirected(state: &State, asked: &Asked) -> Reply {
    if asked.header("authorization").is_some() {
        return Reply::text(400, "Only one auth mechanism allowed\n");
    }
    let mut signed = state.signed.lock().expect("no handler panics");
    let uses = asked.argument("signature").and_then(|signature| signed.get_mut(signature));
    match uses.filter(|_| asked.method == "GET") {
        None => return Reply::text(403, "SignatureDoesNotMatch\n"),
        Some(0) if state.options.mode == Mode::Gcs => return Reply::text(400, "ExpiredToken\n"),
        Some(0) => return Reply::text(403, "AccessDenied: Request has expired\n"),
        Some(uses) => *uses -= 1,
    }
    drop(signed);
    let digest = asked.path.trim_start_matches('/');
    let found = state.content.lock().expect("no handler panics").any_blob(digest);
    found.map_or_else(|| Reply::text(404, "NoSuchKey\n"), |bytes| served(state, asked, digest, &bytes))
}

/// A blob or the asked part of it.
fn served(state: &State, asked: &Asked, digest: &str, blob: &Bytes) -> Reply {
    let mode = state.options.mode;
    let size = blob.len() as u64;
    // Go alone honours a range in HEAD.
    let header = asked.header("range").filter(|_| asked.method == "GET" || mode == Mode::Go);
    let cold = range_rules::cold(mode, header.unwrap_or("")).filter(|_| !state.is_warm(digest));
    let cold = cold.filter(|_| asked.method == "GET");
    if cold.is_some() && mode != Mode::PullThrough3 {
        state.warm(digest);
    }
    let answer = cold.or_else(|| header.map(|header| range_rules::answer(mode, header, size)));
    let answer = answer.unwrap_or(Answer::Whole);
    let kind = match mode {
        Mode::Zot2116 => asked.header("accept").unwrap_or(""),
        _ => "application/octet-stream",
    };
    let (mut reply, first) = match answer {
        Answer::Whole => (Reply::empty(200).with("content-type", kind).part(blob, &(0..size)), None),
        Answer::FalseWhole(range) => (Reply::empty(200).with("content-type", kind).part(blob, &range), None),
        Answer::One(range) => {
            let told = content_range(mode, &range, size);
            let reply = Reply::empty(206).with("content-type", kind).with("content-range", told);
            (reply.part(blob, &range), Some(range))
        }
        Answer::Several(ranges) => (multipart(mode, blob, &ranges), ranges.into_iter().next()),
        Answer::Refused { status, tells_size, body } => {
            let mut refusal = if body.is_empty() { Reply::empty(status) } else { Reply::text(status, body) };
            refusal.false_length = (mode == Mode::LyingLength).then_some(size);
            return if tells_size { refusal.with("content-range", format!("bytes */{size}")) } else { refusal };
        }
    };
    reply = with_headers_of(mode, reply, digest, first.is_some(), asked.method == "HEAD");
    if asked.method == "GET" {
        play_faults(state, &mut reply, first, size);
    }
    reply
}

fn with_headers_of(mode: Mode, reply: Reply, digest: &str, partial: bool, head: bool) -> Reply {
    match mode {
        Mode::Go => reply
            .with("accept-ranges", "bytes")
            .with("docker-content-digest", digest)
            .with("etag", format!("\"{digest}\""))
            .with("cache-control", "max-age=31536000"),
        Mode::Zot2120 | Mode::Zot2116 if head => {
            reply.with("docker-content-digest", digest).with("accept-ranges", "bytes")
        }
        Mode::Zot2116 if partial => reply,
        _ => reply.with("docker-content-digest", digest),
    }
}

/// A multipart body: as Go's `mime/multipart` writes it, or in another server's hand.
fn multipart(mode: Mode, blob: &Bytes, ranges: &[Range<u64>]) -> Reply {
    let unique = digest_of(format!("{ranges:?}").as_bytes());
    let boundary = match mode {
        Mode::CloudFront => format!("CloudFront:{}", unique[7..39].to_uppercase()),
        Mode::NginxCache => "00000000000000000002".to_owned(),
        _ => unique[7..67].to_owned(),
    };
    let end = if mode == Mode::LineFeeds { "\n" } else { "\r\n" };
    let mut reply = Reply::empty(206).with("content-type", format!("multipart/byteranges; boundary={boundary}"));
    if mode == Mode::LineFeeds {
        reply = reply.bytes("This body has several parts.\n".into());
    }
    for (number, range) in ranges.iter().enumerate() {
        let line = if number == 0 { "" } else { end };
        let told = content_range(mode, range, blob.len() as u64);
        let head = match mode {
            Mode::LineFeeds => format!("{line}--{boundary}  \ncontent-type:x\ncontent-range:  {told}\n\n"),
            _ => {
                format!("{line}--{boundary}\r\nContent-Range: {told}\r\nContent-Type: application/octet-stream\r\n\r\n")
            }
        };
        reply = reply.bytes(head.into()).part(blob, range);
    }
    reply.bytes(format!("{end}--{boundary}--{end}").into())
}

fn content_range(mode: Mode, range: &Range<u64>, size: u64) -> String {
    let size = if mode == Mode::WrongTotal { size + 1 } else { size };
    format!("bytes {}-{}/{size}", range.start, range.end.wrapping_sub(1))
}

/// Makes the middle byte of the longest piece another.
fn spoil(body: &mut [Bytes]) {
    let Some(piece) = body.iter_mut().max_by_key(|piece| piece.len()).filter(|piece| !piece.is_empty()) else { return };
    let mut bytes = piece.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    *piece = bytes.into();
}

/// Spoils this answer if a fault waits for one like it.
fn play_faults(state: &State, reply: &mut Reply, first: Option<Range<u64>>, size: u64) {
    let number = state.bodies.fetch_add(1, Ordering::SeqCst);
    let mut faults = state.faults.lock().expect("no handler panics");
    faults.retain(|fault| match fault {
        Fault::WrongByte => {
            let Some(range) = first.as_ref().filter(|range| range.end < size && !range.is_empty()) else { return true };
            let Some(piece) = reply.body.iter_mut().find(|piece| piece.len() as u64 == range.end - range.start) else {
                return true;
            };
            let mut bytes = piece.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x20;
            *piece = bytes.into();
            false
        }
        Fault::WrongFrom(from) => {
            if number >= *from {
                spoil(&mut reply.body);
            }
            true
        }
        Fault::WrongRanges => {
            if first.as_ref().is_some_and(|range| range.end < size) {
                spoil(&mut reply.body);
            }
            true
        }
        Fault::TruncateEach(each) => {
            if number % each == each - 1 {
                reply.cut = Some(reply.body.iter().map(|piece| piece.len() as u64).sum::<u64>() / 2);
            }
            true
        }
        Fault::Hang(wanted) if *wanted == number => {
            reply.hang = Some(reply.body.iter().map(|piece| piece.len() as u64).sum::<u64>() / 2);
            false
        }
        Fault::Hang(_) => true,
        Fault::Truncate(wanted) if *wanted == number => {
            reply.cut = Some(reply.body.iter().map(|piece| piece.len() as u64).sum::<u64>() / 2);
            false
        }
        Fault::Truncate(_) => true,
    });
}
