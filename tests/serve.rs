//! The server, asked over a socket by a client of its own that is nothing but bytes written and read.

#![expect(clippy::disallowed_methods, reason = "plays the disk that rots")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use base64::Engine as _;
use chunkify::digest::Digest;
use chunkify::image::document::{self, REF_NAME};
use chunkify::image::{Descriptor, Index, media_type};
use chunkify::limits;
use chunkify::serve::{Counters, Options, ServeError, serve};
use chunkify::store::Layout;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A layout with a server in front; both go when it is dropped.
struct Served {
    layout: Layout,
    address: SocketAddr,
    counters: Arc<Counters>,
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Served {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::open_or_create(folder.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let options = Options::default();
        let counters = options.counters.clone();
        runtime.spawn(serve(layout.clone(), listener, options));
        Self { layout, address, counters, _runtime: runtime, _folder: folder }
    }

    fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
        let mut bytes = Vec::new();
        self.send(&request).read_to_end(&mut bytes).unwrap();
        Answer::parse(&bytes)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    /// Stores a document and returns its descriptor.
    fn put(&self, media_type: &str, document: &Value) -> Descriptor {
        let bytes = document.to_string().into_bytes();
        Descriptor::new(media_type, self.layout.put_blob(&bytes).unwrap(), bytes.len() as u64)
    }

    fn put_manifest(&self, extra: &Value) -> Descriptor {
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::MANIFEST,
            "config": Descriptor::new(media_type::CONFIG, Digest::of(b"{}"), 2),
            "layers": [],
        });
        manifest.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.put(media_type::MANIFEST, &manifest)
    }
}

/// A response, taken apart.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a response has a head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let (first, lines) = head.split_once("\r\n").unwrap_or((head, ""));
        let headers = lines.lines().filter_map(|line| line.split_once(": "));
        Self {
            status: first.split(' ').nth(1).unwrap().parse().unwrap(),
            headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().unwrap().to_owned()
    }

    /// Type, length and body with the boundary, which is random, replaced.
    fn normal(&self) -> (String, usize, Vec<u8>) {
        let kind = self.header("content-type");
        let Some((before, boundary)) = kind.split_once("boundary=") else {
            return (kind.into(), self.body.len(), self.body.clone());
        };
        let mut body = Vec::new();
        let mut rest = &self.body[..];
        while let Some(at) = rest.windows(boundary.len()).position(|window| window == boundary.as_bytes()) {
            body.extend_from_slice(&rest[..at]);
            body.extend_from_slice(b"BOUNDARY");
            rest = &rest[at + boundary.len()..];
        }
        body.extend_from_slice(rest);
        (format!("{before}boundary=BOUNDARY"), self.body.len(), body)
    }
}

/// Bytes without a period that a read size could hide.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(next).collect()
}

/// `servecontent.json` was printed by the program beside it. Where we differ from Go it is on purpose, and listed here.
#[test]
fn ranges_are_answered_as_go_answers_them() {
    let different = [
        // Go sends 206 with a Content-Range that ends before it starts, where RFC 9110 calls the range unsatisfiable.
        (100, "bytes=-0", 416, "bytes */100"),
        (100, "bytes=-0,100-", 416, "bytes */100"),
        (100, "bytes=-0,0-1", 206, "bytes 0-1/100"),
        (0, "bytes=-1", 200, ""),
        // Go's parser of integers takes a sign.
        (100, "bytes=+5-9", 416, ""),
        (100, "bytes=5-+9", 416, ""),
    ];
    let served = Served::new();
    let cases: Vec<Value> = serde_json::from_str(include_str!("serve/servecontent.json")).unwrap();
    let mut differences = 0;
    for case in &cases {
        let size = case["size"].as_u64().unwrap();
        let blob: Vec<u8> = (0..size).map(|offset| (offset % 251) as u8).collect();
        let digest = served.layout.put_blob(&blob).unwrap();
        let range = case["range"].as_str().unwrap();
        let answer = served.ask("GET", &format!("/v2/any/blobs/{digest}"), &[("Range", range)]);
        assert_eq!(answer.header("content-length"), answer.body.len().to_string(), "{case}");
        if let Some(known) = different.iter().find(|known| (known.0, known.1) == (size, range)) {
            differences += 1;
            assert_ne!((known.2, known.3), (case["status"].as_u64().unwrap(), case["content_range"].as_str().unwrap()));
            assert_eq!((u64::from(answer.status), answer.header("content-range")), (known.2, known.3), "{case}");
            continue;
        }
        assert_eq!(u64::from(answer.status), case["status"], "{case}");
        assert_eq!(answer.header("content-range"), case["content_range"], "{case}");
        assert_eq!(answer.header("accept-ranges"), "bytes");
        if answer.status == 416 {
            assert_eq!(answer.code(), "RANGE_INVALID", "{case}");
            continue;
        }
        let (kind, length, body) = answer.normal();
        assert_eq!(kind, case["content_type"], "{case}");
        assert_eq!(length as u64, case["length"], "{case}");
        let expected = base64::prelude::BASE64_STANDARD.decode(case["body"].as_str().unwrap()).unwrap();
        assert_eq!(body, expected, "{case}");
    }
    assert_eq!(differences, different.len());
}

#[test]
fn large_blobs_come_whole_and_in_parts() {
    let served = Served::new();
    let blob = noise(3_000_001);
    let digest = served.layout.put_blob(&blob).unwrap();
    let path = format!("/v2/a/b/blobs/{digest}");
    let whole = served.get(&path);
    assert!(whole.status == 200 && whole.body == blob);
    assert_eq!(whole.header("etag"), format!("\"{digest}\""));
    assert_eq!(whole.header("docker-content-digest"), digest.to_string());

    let spans = [(1, 700_000), (262_143, 262_144), (2_999_999, 3_000_000), (0, 1_000_000)];
    let list: Vec<String> = spans.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    let parts = served.ask("GET", &path, &[("Range", &format!("bytes={}", list.join(",")))]);
    assert_eq!(parts.status, 206);
    let boundary = parts.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut expected = Vec::new();
    for (index, (first, last)) in spans.into_iter().enumerate() {
        let line_end = if index == 0 { "" } else { "\r\n" };
        let head = format!("Content-Range: bytes {first}-{last}/3000001\r\nContent-Type: application/octet-stream");
        expected.extend(format!("{line_end}--{boundary}\r\n{head}\r\n\r\n").into_bytes());
        expected.extend(&blob[first..=last]);
    }
    expected.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    assert!(parts.body == expected);
    assert_eq!(served.counters.requests(), 2);
    assert_eq!(served.counters.body_bytes(), (whole.body.len() + parts.body.len()) as u64);
}

#[test]
fn conditions_on_the_content_are_kept() {
    let served = Served::new();
    let digest = served.layout.put_blob(b"0123456789").unwrap();
    let path = format!("/v2/a/blobs/{digest}");
    let (own, other) = (format!("\"{digest}\""), format!("\"{}\"", Digest::of(b"")));
    let weak = format!("{other}, W/{own}");
    for (name, value, status) in [
        ("If-None-Match", &own[..], 304),
        ("If-None-Match", &weak, 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", &other, 206),
        ("If-Range", &own, 206),
        ("If-Range", &other, 200),
        ("If-Range", &format!("W/{own}"), 200),
        ("If-Range", "Wed, 21 Oct 2015 07:28:00 GMT", 200),
    ] {
        let answer = served.ask("GET", &path, &[("Range", "bytes=2-4"), (name, value)]);
        assert_eq!(answer.status, status, "{name}: {value}");
        let expected: &[u8] = match status {
            200 => b"0123456789",
            206 => b"234",
            _ => b"",
        };
        assert_eq!(answer.body, expected, "{name}: {value}");
    }
}

#[test]
fn head_is_get_without_the_body() {
    let served = Served::new();
    let digest = served.layout.put_blob(b"0123456789").unwrap();
    let manifest = served.put_manifest(&json!({}));
    served.layout.set_image("new", manifest.clone()).unwrap();
    for path in [
        "/v2/".to_owned(),
        format!("/v2/a/blobs/{digest}"),
        "/v2/a/manifests/new".into(),
        format!("/v2/a/manifests/{}", manifest.digest),
        "/v2/a/tags/list".into(),
        "/v2/a/manifests/none".into(),
    ] {
        let (head, get) = (served.ask("HEAD", &path, &[]), served.get(&path));
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
        let lasting = |answer: &Answer| {
            let mut headers = answer.headers.clone();
            headers.retain(|(name, _)| name != "date");
            (answer.status, headers)
        };
        assert_eq!(lasting(&head), lasting(&get), "{path}");
    }
    // RFC 9110 defines ranges for GET alone; Go answers 206 here.
    let head = served.ask("HEAD", &format!("/v2/a/blobs/{digest}"), &[("Range", "bytes=1-2")]);
    assert_eq!((head.status, head.header("content-length")), (200, "10"));
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let served = Served::new();
    let digest = served.layout.put_blob(b"0123456789").unwrap();
    let one = |method: &str, range: &str, end: &str| {
        format!("{method} /v2/a/blobs/{digest} HTTP/1.1\r\nHost: test\r\nRange: bytes={range}\r\n{end}\r\n")
    };
    let requests =
        [one("HEAD", "0-0", ""), one("GET", "0-1", ""), one("GET", "x", ""), one("GET", "8-", "Connection: close\r\n")];
    let mut text = String::new();
    served.send(&requests.concat()).read_to_string(&mut text).unwrap();
    let statuses: Vec<&str> = text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "206", "416", "206"]);
    assert!(text.ends_with("\r\n\r\n89"), "{text}");
}

#[test]
fn requests_that_cannot_be_served_say_why() {
    let served = Served::new();
    let missing = Digest::of(b"missing");
    let config = served.layout.put_blob(br#"{"architecture":"amd64","os":"linux"}"#).unwrap();
    let shown = served.layout.put_blob(br#"{"schemaVersion":2,"mediaType":"text/html"}"#).unwrap();
    let split = served.layout.put_blob(br#"{"schemaVersion":2,"mediaType":"application/x\r\nSet-Cookie: a"}"#).unwrap();
    let dangling = Descriptor::new(media_type::MANIFEST, missing, 7);
    served.layout.set_image("dangling", dangling).unwrap();
    for (method, path, status, code) in [
        ("GET", "/".to_owned(), 404, "UNSUPPORTED"),
        ("GET", "/v2/a/blobs/uploads/x/y".into(), 404, "UNSUPPORTED"),
        ("GET", "/v2/_catalog".into(), 404, "UNSUPPORTED"),
        ("GET", format!("/v2/a/blobs/{missing}"), 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/a/blobs/sha256:../../index.json".into(), 404, "UNSUPPORTED"),
        ("GET", "/v2/a/blobs/sha256:..%2f..%2findex.json".into(), 404, "UNSUPPORTED"),
        ("GET", "/v2/a/blobs/..".into(), 400, "DIGEST_INVALID"),
        ("GET", format!("/v2/a/blobs/{}", missing.to_string().to_uppercase()), 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/sha512:00".into(), 400, "DIGEST_INVALID"),
        ("GET", format!("/v2/A/blobs/{config}"), 400, "NAME_INVALID"),
        ("GET", format!("/v2/a/../b/blobs/{config}"), 400, "NAME_INVALID"),
        ("GET", "/v2/a/manifests/none".into(), 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/a/manifests/dangling".into(), 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/a/manifests/{missing}"), 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/a/manifests/{config}"), 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/a/manifests/{shown}"), 404, "MANIFEST_UNKNOWN"),
        ("GET", format!("/v2/a/manifests/{split}"), 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/a/manifests/sha256:00".into(), 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/referrers/none".into(), 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/tags/list?n=x".into(), 400, "PAGINATION_NUMBER_INVALID"),
        ("PUT", "/v2/a/manifests/new".into(), 405, "UNSUPPORTED"),
        ("POST", "/v2/a/blobs/uploads/".into(), 405, "UNSUPPORTED"),
        ("DELETE", format!("/v2/a/blobs/{config}"), 405, "UNSUPPORTED"),
    ] {
        let answer = served.ask(method, &path, &[]);
        assert_eq!((answer.status, &answer.code()[..]), (status, code), "{method} {path}");
        assert_eq!(answer.header("allow"), if status == 405 { "GET, HEAD" } else { "" });
    }
}

#[test]
fn heads_have_a_limit_with_room_for_a_thousand_ranges() {
    let served = Served::new();
    let digest = served.layout.put_blob(&noise(100_000_000)).unwrap();
    let path = format!("/v2/a/blobs/{digest}");
    let ranges = |count: u32| (0..count).map(|i| format!("{0}-{0}", 90_000_000 + 2 * i)).collect::<Vec<_>>().join(",");
    let many = served.ask("GET", &path, &[("Range", &format!("bytes={}", ranges(2048)))]);
    assert_eq!(many.body.windows(14).filter(|window| window == b"Content-Range:").count(), 2048);

    // The server closes without having read all of it, so the answer may be lost to a reset, but it is no success.
    let mut stream = TcpStream::connect(served.address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nRange: bytes={}\r\n\r\n", ranges(20_000));
    let _ = stream.write_all(request.as_bytes());
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    assert!(bytes.is_empty() || Answer::parse(&bytes).status == 431);
    assert_eq!(served.counters.requests(), 1);
}

/// Exactly as many header lines as the table says, and a head of nearly as many bytes; what is above that is only found out with the next
/// read, so the head that is refused has several times as many.
#[test]
fn heads_meet_their_limits() {
    let served = Served::new();
    let status = |lines: usize, bytes: usize| {
        let mut request = "GET /v2/ HTTP/1.1\r\nHost: test\r\nConnection: close\r\n".to_owned();
        (2..lines).for_each(|at| write!(request, "x-{at}: y\r\n").unwrap());
        request += &format!("x-last: {}\r\n\r\n", "z".repeat(bytes));
        let mut stream = TcpStream::connect(served.address).unwrap();
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        if answer.is_empty() { 0 } else { Answer::parse(&answer).status }
    };
    assert_eq!(status(limits::REQUEST_HEADERS - 1, 1), 200);
    assert!([0, 400, 431].contains(&status(limits::REQUEST_HEADERS + 1, 1)), "one line more");
    assert_eq!(status(4, limits::REQUEST_HEAD - 2000), 200);
    assert!([0, 400, 431].contains(&status(4, limits::REQUEST_HEAD * 4)), "more bytes");
}

#[test]
fn tags_are_found_by_repository() {
    let served = Served::new();
    let manifest = |name: &str| served.put_manifest(&json!({ "annotations": { "is": name } }));
    let names = ["bare", "both", "app:own", "app:both", "127.0.0.1:5000/team/app:full", "localhost/team/app"];
    for name in names {
        served.layout.set_image(name, manifest(name)).unwrap();
    }
    for (repository, tag, name) in [
        ("app", "bare", Some("bare")),
        ("any/thing", "bare", Some("bare")),
        ("any", "both", Some("both")),
        ("app", "both", Some("app:both")),
        ("app", "own", Some("app:own")),
        ("any", "own", None),
        ("team/app", "full", Some("127.0.0.1:5000/team/app:full")),
        ("team/app", "latest", Some("localhost/team/app")),
        ("app", "full", None),
    ] {
        let answer = served.get(&format!("/v2/{repository}/manifests/{tag}"));
        let Some(name) = name else {
            assert_eq!(answer.code(), "MANIFEST_UNKNOWN", "{repository}:{tag}");
            continue;
        };
        assert_eq!(answer.json()["annotations"]["is"], name, "{repository}:{tag}");
        assert_eq!(answer.header("docker-content-digest"), Digest::of(&answer.body).to_string());
        assert_eq!(answer.header("content-type"), media_type::MANIFEST);
    }
    let tags = |repository: &str| served.get(&format!("/v2/{repository}/tags/list")).json()["tags"].clone();
    assert_eq!(tags("app"), json!(["bare", "both", "own"]));
    assert_eq!(tags("team/app"), json!(["bare", "both", "full", "latest"]));

    // Two hosts' images under one name: the later one, and what is added while serving is there at once.
    served.layout.set_image("a.example/team/app:full", manifest("later")).unwrap();
    assert_eq!(served.get("/v2/team/app/manifests/full").json()["annotations"]["is"], "later");
    for name in names.iter().filter(|name| !name.contains('/')) {
        assert!(served.layout.remove_image(name).unwrap());
    }
    assert_eq!(served.get("/v2/app/tags/list").code(), "NAME_UNKNOWN");
}

#[test]
fn tags_come_in_pages() {
    let served = Served::new();
    let manifest = served.put_manifest(&json!({}));
    for tag in ["b", "a", "d", "C", "_", "c"] {
        served.layout.set_image(&format!("app:{tag}"), manifest.clone()).unwrap();
    }
    for (query, tags, next) in [
        ("", json!(["C", "_", "a", "b", "c", "d"]), ""),
        ("?n=6", json!(["C", "_", "a", "b", "c", "d"]), ""),
        ("?n=2", json!(["C", "_"]), "</v2/app/tags/list?n=2&last=_>; rel=\"next\""),
        ("?n=2&last=_", json!(["a", "b"]), "</v2/app/tags/list?n=2&last=b>; rel=\"next\""),
        ("?last=b&n=2", json!(["c", "d"]), ""),
        ("?last=bb", json!(["c", "d"]), ""),
        ("?last=%7a", json!([]), ""),
        ("?n=0", json!([]), ""),
    ] {
        let answer = served.get(&format!("/v2/app/tags/list{query}"));
        assert_eq!(answer.json(), json!({ "name": "app", "tags": tags }), "{query}");
        assert_eq!(answer.header("link"), next, "{query}");
    }
}

#[test]
fn documents_by_digest_have_their_own_type() {
    let served = Served::new();
    let layers = json!([]);
    let config = json!({});
    for (document, media_type) in [
        (json!({ "schemaVersion": 2, "config": config, "layers": layers }), media_type::MANIFEST),
        (json!({ "schemaVersion": 2, "manifests": [] }), media_type::INDEX),
        (
            json!({ "schemaVersion": 2, "mediaType": media_type::DOCKER_MANIFEST, "config": config, "layers": layers }),
            media_type::DOCKER_MANIFEST,
        ),
        (json!({ "schemaVersion": 2, "mediaType": media_type::DOCKER_LIST, "manifests": [] }), media_type::DOCKER_LIST),
    ] {
        let stored = served.put("ignored", &document);
        let answer = served.get(&format!("/v2/x/manifests/{}", stored.digest));
        assert_eq!((answer.status, answer.header("content-type")), (200, media_type), "{document}");
        assert_eq!(answer.body, document.to_string().into_bytes());
    }
    // What `index.json` says of a document goes before what the document's shape says.
    let stored = served.put(media_type::DOCKER_LIST, &json!({ "schemaVersion": 2, "manifests": [], "more": 1 }));
    served.layout.set_image("list", stored.clone()).unwrap();
    for reference in ["list".to_owned(), stored.digest.to_string()] {
        let answer = served.get(&format!("/v2/x/manifests/{reference}"));
        assert_eq!(answer.header("content-type"), media_type::DOCKER_LIST);
    }
}

#[test]
fn referrers_are_listed_wherever_they_hang() {
    let served = Served::new();
    let subject = served.put_manifest(&json!({ "annotations": { "is": "subject" } }));
    let signature = served.put_manifest(&json!({
        "subject": subject, "artifactType": "application/x-signature", "annotations": { "by": "me" },
    }));
    // Without an artifact type the config's media type stands in. It hangs below an index, beside what the layout lacks.
    let sbom = served.put_manifest(&json!({ "subject": subject }));
    let absent = Descriptor::new(media_type::MANIFEST, Digest::of(b"absent"), 6);
    let mut index = Index::empty();
    index.manifests = vec![absent, sbom.clone(), sbom.clone()];
    let index = served.put(media_type::INDEX, &serde_json::to_value(&index).unwrap());
    for (name, descriptor) in [("image", &subject), ("signature", &signature), ("index", &index)] {
        served.layout.set_image(name, descriptor.clone()).unwrap();
    }
    let describe = |descriptor: &Descriptor, artifact_type: &str| {
        let mut described = Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size);
        described.rest.insert("artifactType".into(), artifact_type.into());
        described
    };
    let mut signature = describe(&signature, "application/x-signature");
    signature.annotations.insert("by".into(), "me".into());
    let sbom = describe(&sbom, media_type::CONFIG);
    let path = format!("/v2/app/referrers/{}", subject.digest);
    for (query, expected, filters) in [
        ("", vec![&signature, &sbom], ""),
        ("?artifactType=application%2Fx-signature", vec![&signature], "artifactType"),
        ("?artifactType=application/vnd.oci.image.config.v1%2Bjson", vec![&sbom], "artifactType"),
        ("?artifactType=none", vec![], "artifactType"),
    ] {
        let answer = served.get(&format!("{path}{query}"));
        assert_eq!((answer.status, answer.header("content-type")), (200, media_type::INDEX), "{query}");
        assert_eq!(answer.header("oci-filters-applied"), filters, "{query}");
        let listed = Index::parse(&answer.body).unwrap().manifests;
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let none = served.get(&format!("/v2/app/referrers/{}", Digest::of(b"nobody")));
    assert_eq!((none.status, &none.json()["manifests"]), (200, &json!([])));
}

#[test]
fn a_layout_that_rots_is_an_error_that_tells_no_paths() {
    let served = Served::new();
    let manifest = served.put_manifest(&json!({}));
    served.layout.set_image("new", manifest.clone()).unwrap();
    fs::write(served.layout.blob_path(&manifest.digest), document::to_bytes(&Index::empty())).unwrap();
    let rotten = served.get("/v2/a/manifests/new");
    assert_eq!((rotten.status, &rotten.code()[..]), (500, "UNKNOWN"));

    fs::write(served.layout.root().join("index.json"), b"{").unwrap();
    let broken = served.get("/v2/a/tags/list");
    assert_eq!((broken.status, &broken.code()[..]), (500, "UNKNOWN"));
    let root = served.layout.root().display().to_string();
    for answer in [rotten, broken] {
        assert!(!String::from_utf8(answer.body).unwrap().contains(&root));
    }
}

#[test]
fn a_blob_that_shrinks_under_way_breaks_off() {
    const SIZE: u64 = 256 << 20;
    let served = Served::new();
    let digest = served.layout.put_blob(b"").unwrap();
    let file = fs::File::options().write(true).open(served.layout.blob_path(&digest)).unwrap();
    file.set_len(SIZE).unwrap();
    let mut stream = served.send(&format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: test\r\n\r\n"));
    // Once the head is here the length is promised; far more than a socket buffers is still to come.
    let mut start = [0; 1024];
    stream.read_exact(&mut start).unwrap();
    let head = String::from_utf8_lossy(&start);
    assert!(head.contains(&format!("content-length: {SIZE}\r\n")), "{head}");
    file.set_len(0).unwrap();
    let mut rest = Vec::new();
    // An end or a reset, but no answer that looks whole.
    let _ = stream.read_to_end(&mut rest);
    assert!((rest.len() as u64) < SIZE - 1024);
    assert_eq!(served.get("/v2/").status, 200);
}

#[test]
fn only_loopback_unless_told() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::open_or_create(folder.path()).unwrap();
    let runtime = Runtime::new().unwrap();
    let everywhere = runtime.block_on(TcpListener::bind("0.0.0.0:0")).unwrap();
    let refused = runtime.block_on(serve(layout.clone(), everywhere, Options::default()));
    assert!(matches!(refused, Err(ServeError::Public(_))), "{refused:?}");

    let everywhere = runtime.block_on(TcpListener::bind("0.0.0.0:0")).unwrap();
    let port = everywhere.local_addr().unwrap().port();
    runtime.spawn(serve(layout, everywhere, Options { public: true, ..Options::default() }));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(Answer::parse(&bytes).body, b"{}");
}

/// Foreign layouts name images by the same annotation; without it an image is there by digest only.
#[test]
fn an_unnamed_image_is_there_by_digest() {
    let served = Served::new();
    let manifest = served.put_manifest(&json!({}));
    let mut index = served.layout.index().unwrap();
    assert!(!manifest.annotations.contains_key(REF_NAME));
    index.manifests.push(manifest.clone());
    fs::write(served.layout.root().join("index.json"), document::to_bytes(&index)).unwrap();
    assert_eq!(served.get(&format!("/v2/a/manifests/{}", manifest.digest)).status, 200);
    assert_eq!(served.get("/v2/a/tags/list").code(), "NAME_UNKNOWN");
}
