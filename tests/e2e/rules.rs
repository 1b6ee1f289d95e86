//! The in-process registry's rules, first against tables, then (in `peers`) against the servers that they are the rules of.

use std::net::SocketAddr;

use crate::support::content::digest_of;
use crate::support::http::{self, Answer};
use crate::support::made::noise;
use crate::support::registry::{Mode, Registry};

/// The blob that is asked for in part.
fn blob() -> Vec<u8> {
    noise(7, 100_000)
}

/// Headers that registries disagree about, for a blob of 100,000 bytes.
fn headers() -> Vec<String> {
    let several = |count: u64, step: u64| {
        let specs: Vec<_> = (0..count).map(|n| format!("{}-{}", n * step, n * step + 9)).collect();
        format!("bytes={}", specs.join(","))
    };
    let mut headers: Vec<String> = [
        "bytes=0-0",
        "bytes=0-9",
        "bytes=99990-",
        "bytes=99999-99999",
        "bytes=99990-200000",
        "bytes=0-",
        "bytes=-16",
        "bytes=-200000",
        "bytes=100000-",
        "bytes=100000-100010",
        "bytes=5-1",
        "bytes=",
        "bytes=x-y",
        "octets=0-9",
        "Bytes=0-9",
        "bytes=0-9,20-29",
        "bytes=20-29,0-9",
        "bytes=0-9,10-19",
        "bytes=0-19,10-29",
        "bytes=0-9, 20-29",
        "bytes=0-9,",
        "bytes=0-9,200000-200010",
        "bytes=200000-,300000-",
        "bytes=0-9,5-1",
        "bytes=0-9,-10",
        "bytes=0-99999,0-5",
        "bytes=0-9,20-",
        "bytes=+1-5",
    ]
    .map(str::to_owned)
    .into();
    headers.extend([several(16, 100), several(17, 100), several(17, 10), several(200, 100)]);
    headers
}

/// Status, Content-Range and the parts of an answer, without what differs from run to run.
fn essence(answer: &Answer) -> (u16, Option<String>, Vec<(String, Vec<u8>)>) {
    let range = answer.header("content-range").map(str::to_owned);
    let kind = answer.header("content-type").unwrap_or("");
    let parts = match kind.strip_prefix("multipart/byteranges; boundary=") {
        Some(boundary) => split(&answer.body, boundary),
        None if answer.status < 400 => vec![(String::new(), answer.body.clone())],
        None => Vec::new(),
    };
    (answer.status, range, parts)
}

/// The parts of a multipart body, each with its Content-Range, read the slow and simple way.
fn split(body: &[u8], boundary: &str) -> Vec<(String, Vec<u8>)> {
    let find = |bytes: &[u8], needle: &[u8]| bytes.windows(needle.len()).position(|window| window == needle);
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(&delimiter.as_bytes()[2..]).expect("a body begins with its boundary");
    let mut parts = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let head_end = find(part, b"\r\n\r\n").expect("a part has a head");
        let head = String::from_utf8_lossy(&part[..head_end]).into_owned();
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let range = lines
            .find(|(name, _)| name.eq_ignore_ascii_case("content-range"))
            .expect("a part has a range")
            .1
            .to_owned();
        let content = &part[head_end + 4..];
        let end = find(content, delimiter.as_bytes()).expect("a part ends");
        parts.push((range, content[..end].to_vec()));
        rest = &content[end + delimiter.len()..];
    }
    assert_eq!(rest, b"--\r\n", "a body ends with its boundary");
    parts
}

/// Pushes the blob by the API that every registry has.
fn push(server: SocketAddr, repository: &str) -> String {
    let blob = blob();
    let digest = digest_of(&blob);
    let begun =
        http::request(server, "POST", &format!("/v2/{repository}/blobs/uploads/"), &[], &[]).expect("an answer");
    assert_eq!(begun.status, 202, "{begun:?}");
    let location = begun.header("location").expect("an upload has a place");
    let path = location.find("/v2/").map_or(location, |at| &location[at..]);
    let joint = if path.contains('?') { '&' } else { '?' };
    let kind = [("content-type".to_owned(), "application/octet-stream".to_owned())];
    let ended =
        http::request(server, "PUT", &format!("{path}{joint}digest={digest}"), &kind, &blob).expect("an answer");
    assert_eq!(ended.status, 201, "{ended:?}");
    format!("/v2/{repository}/blobs/{digest}")
}

/// Which zot's rules a zot has, by its answer to two ranges.
pub fn zot_mode(zot: SocketAddr) -> Mode {
    let path = push(zot, "e2e/probe");
    let answer = http::get(zot, &path, Some(("Range", "bytes=0-9,20-29"))).expect("an answer");
    if answer.status == 206 { Mode::Zot2120 } else { Mode::Zot2116 }
}

/// Asks both servers the same and compares what matters to a client.
pub fn compare(real: SocketAddr, mode: Mode, repository: &str) {
    let played = Registry::with_mode(mode);
    let path = push(real, repository);
    assert_eq!(path, push(played.address(), repository));
    for header in headers() {
        let ask = |server| http::get(server, &path, Some(("Range", header.as_str()))).expect("an answer");
        let (real, ours) = (ask(real), ask(played.address()));
        assert_eq!(essence(&real), essence(&ours), "Range: {header}\nreal {:?}\nours {:?}", real.headers, ours.headers);
    }
    let head = |server| http::request(server, "HEAD", &path, &[], &[]).expect("an answer");
    for name in ["content-length", "accept-ranges", "docker-content-digest"] {
        assert_eq!(head(real).header(name), head(played.address()).header(name), "{name} of HEAD");
    }
}

#[test]
fn each_mode_answers_as_its_server() {
    let multi = "bytes=0-9,20-29";
    let seventeen = "bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-30,32-32";
    // Mode, header, status, Content-Range, how many parts, bytes of content.
    let table: [(Mode, &str, u16, Option<&str>, usize, usize); 16] = [
        (Mode::Go, "bytes=10-19", 206, Some("bytes 10-19/100000"), 1, 10),
        (Mode::Go, multi, 206, None, 2, 20),
        (Mode::Go, seventeen, 206, None, 17, 17),
        (Mode::Go, "bytes=0-99999,0-5", 200, None, 1, 100_000),
        (Mode::Zot2120, multi, 206, None, 2, 20),
        (Mode::Zot2120, "bytes=20-29,0-9,10-19", 206, Some("bytes 0-29/100000"), 1, 30),
        (Mode::Zot2120, seventeen, 416, Some("bytes */100000"), 0, 0),
        (Mode::Zot2120, "bytes=0-9,200000-", 416, Some("bytes */100000"), 0, 0),
        (Mode::Zot2116, "bytes=5-", 206, Some("bytes 5-99999/100000"), 1, 99_995),
        (Mode::Zot2116, multi, 416, None, 0, 0),
        (Mode::Zot2116, "bytes=-5", 416, None, 0, 0),
        (Mode::Zot2116, "bytes=100000-", 500, None, 0, 0),
        (Mode::S3, multi, 200, None, 1, 100_000),
        (Mode::S3, "bytes=0-9", 206, Some("bytes 0-9/100000"), 1, 10),
        (Mode::FirstOnly, multi, 206, Some("bytes 0-9/100000"), 1, 10),
        (Mode::NoRanges, "bytes=0-9", 200, None, 1, 100_000),
    ];
    for (mode, header, status, range, parts, bytes) in table {
        let registry = Registry::with_mode(mode);
        let path = push(registry.address(), "app");
        let answer = http::get(registry.address(), &path, Some(("Range", header))).expect("an answer");
        let got = essence(&answer);
        assert_eq!((got.0, got.1.as_deref()), (status, range), "{mode:?} {header}");
        assert_eq!(got.2.len(), parts, "{mode:?} {header}");
        assert_eq!(got.2.iter().map(|(_, content)| content.len()).sum::<usize>(), bytes, "{mode:?} {header}");
        let count = registry.count_after(2);
        assert_eq!((count.requests, count.body_bytes), (1, answer.body.len() as u64), "{mode:?} {header}");
    }
}
