//! How registries of the field answer ranged requests.

use crate::server::{Reply, Seen};

pub type Range = (u64, u64);

/// The ranges of a `Range` header, ends inclusive.
pub fn parse(seen: &Seen) -> Option<Vec<Range>> {
    let ranges = seen.header("range")?.strip_prefix("bytes=").expect("the unit is bytes");
    let pair = |range: &str| {
        let (first, last) = range.split_once('-').expect("an absolute range");
        (first.parse().expect("a start"), last.parse().expect("an end"))
    };
    Some(ranges.split(',').map(pair).collect())
}

pub fn slice(blob: &[u8], (first, last): Range) -> &[u8] {
    assert!(first <= last && last < blob.len() as u64, "ranges are in bounds");
    &blob[first as usize..=last as usize]
}

pub fn single(blob: &[u8], range: Range) -> Reply {
    Reply::new(206)
        .with("Content-Range", format!("bytes {}-{}/{}", range.0, range.1, blob.len()))
        .with("Content-Type", "application/octet-stream")
        .body(slice(blob, range))
}

pub fn multipart(blob: &[u8], ranges: &[Range]) -> Reply {
    let mut body = Vec::new();
    for &range in ranges {
        let head = format!(
            "--b0und:ary\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {}-{}/{}\r\n\r\n",
            range.0,
            range.1,
            blob.len()
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(slice(blob, range));
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b0und:ary--\r\n");
    Reply::new(206).with("Content-Type", "multipart/byteranges; boundary=b0und:ary").body(body)
}

/// Go's file server: any number of ranges, in the order asked, never merged.
pub fn go(blob: &[u8], seen: &Seen) -> Reply {
    match parse(seen).as_deref() {
        None => Reply::new(200).body(blob),
        Some([range]) => single(blob, *range),
        Some(ranges) => multipart(blob, ranges),
    }
}

/// zot since 2.1.17: sixteen ranges, sorted and merged where they touch.
pub fn zot_new(blob: &[u8], seen: &Seen) -> Reply {
    let Some(mut ranges) = parse(seen) else { return Reply::new(200).body(blob) };
    if ranges.len() > 16 {
        return Reply::new(416).with("Content-Range", format!("bytes */{}", blob.len()));
    }
    ranges.sort_unstable();
    let mut merged: Vec<Range> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.0 <= last.1 + 1 => last.1 = last.1.max(range.1),
            _ => merged.push(range),
        }
    }
    if let [range] = merged[..] { single(blob, range) } else { multipart(blob, &merged) }
}

/// zot before 2.1.17: 416 for any comma.
pub fn zot_old(blob: &[u8], seen: &Seen) -> Reply {
    match parse(seen).as_deref() {
        Some([range]) => single(blob, *range),
        Some(_) => Reply::new(416),
        None => Reply::new(200).body(blob),
    }
}

/// Object stores: the whole object for several ranges.
pub fn s3(blob: &[u8], seen: &Seen) -> Reply {
    match parse(seen).as_deref() {
        Some([range]) => single(blob, *range),
        _ => Reply::new(200).body(blob),
    }
}

/// Only the first range.
pub fn first_only(blob: &[u8], seen: &Seen) -> Reply {
    parse(seen).map_or_else(|| Reply::new(200).body(blob), |ranges| single(blob, ranges[0]))
}

/// A status for several ranges.
pub fn refuses(status: u16) -> impl Fn(&[u8], &Seen) -> Reply {
    move |blob, seen| match parse(seen).as_deref() {
        Some([range]) => single(blob, *range),
        // Some servers announce the blob's length for an error text.
        Some(_) if status == 416 => Reply::new(416).with("Content-Length", blob.len()).body("no\n").cut(3),
        Some(_) => Reply::new(status).body("<html>no</html>"),
        None => Reply::new(200).body(blob),
    }
}
