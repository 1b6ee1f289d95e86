//! Blobs and manifests on their way up.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chunkify::blob::Blob;
use chunkify::digest::Digest;
use chunkify::registry::{Client, RegistryError};

use crate::server::{Reply, Seen, Server};
use crate::{blob, client, client_with, repo};

/// Two pieces and a bit, as the client cuts them.
const LARGE: usize = (64 << 20) + 12_345;
const PIECE: usize = 32 << 20;

/// Sends a blob; gives what came of it and how many bytes the client believes to have sent.
async fn upload(client: &Client, server: &Server, bytes: &[u8]) -> (Result<(), RegistryError>, u64) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("written");
    let sent = Arc::new(AtomicU64::new(0));
    let open = || std::fs::File::open(file.path()).and_then(Blob::whole);
    let size = bytes.len() as u64;
    let result = client.upload_blob(&repo(server), Digest::of(bytes), size, open, sent.clone()).await;
    (result, sent.load(Ordering::Relaxed))
}

/// What a registry does with a request of an upload, before its usual rules.
type Whim = Box<dyn Fn(&Seen, usize) -> Option<Whimsy> + Send + Sync>;

/// Something else than the usual.
enum Whimsy {
    /// This answer.
    Answer(Reply),
    /// So many bytes of the body are kept, and the connection breaks.
    Keep(usize),
    /// The session is gone.
    Forget,
}

/// A registry that takes blobs in pieces, by the letter of the specification, but for its whims. `usize` counts requests of one method.
struct Sessions {
    open: HashMap<String, Vec<u8>>,
    begun: usize,
    asked: HashMap<String, usize>,
    done: Vec<Vec<u8>>,
}

async fn registry(whim: Whim) -> (Server, Arc<Mutex<Sessions>>) {
    let sessions = Sessions { open: HashMap::new(), begun: 0, asked: HashMap::new(), done: Vec::new() };
    let sessions = Arc::new(Mutex::new(sessions));
    let shared = sessions.clone();
    let server = Server::start(move |seen| {
        let mut state = shared.lock().expect("no handler panics");
        let count = state.asked.entry(seen.method.clone()).or_default();
        let nth = *count;
        *count += 1;
        let id = seen.target.split(['?', '/']).find(|part| part.starts_with("session-")).unwrap_or("").to_owned();
        match whim(seen, nth) {
            Some(Whimsy::Answer(reply)) => return reply,
            Some(Whimsy::Keep(bytes)) => {
                state.open.get_mut(&id).expect("a session").extend_from_slice(&seen.body[..bytes]);
                return Reply::silence();
            }
            Some(Whimsy::Forget) => {
                state.open.remove(&id);
            }
            None => {}
        }
        state.answer(seen, &id)
    })
    .await;
    (server, sessions)
}

impl Sessions {
    fn answer(&mut self, seen: &Seen, id: &str) -> Reply {
        if seen.method == "POST" {
            self.begun += 1;
            let id = format!("session-{}", self.begun);
            self.open.insert(id.clone(), Vec::new());
            return Reply::new(202).with("Location", format!("/up/{id}?_state=a%2Bb"));
        }
        let Some(bytes) = self.open.get_mut(id) else {
            return Reply::new(404).body("{\"errors\":[{\"code\":\"BLOB_UPLOAD_UNKNOWN\"}]}");
        };
        let here = |reply: Reply, bytes: &[u8]| {
            let range = format!("0-{}", bytes.len().saturating_sub(1));
            reply.with("Location", format!("/up/{id}?_state={}", bytes.len())).with("Range", range)
        };
        match seen.method.as_str() {
            "GET" => here(Reply::new(204), bytes),
            "PATCH" => {
                let range = seen.header("content-range").expect("pieces say where they go");
                let (first, last) = range.split_once('-').expect("two numbers");
                let (first, last): (usize, usize) = (first.parse().expect("digits"), last.parse().expect("digits"));
                if first != bytes.len() {
                    return here(Reply::new(416), bytes);
                }
                assert_eq!(last + 1 - first, seen.body.len(), "{range}");
                bytes.extend_from_slice(&seen.body);
                here(Reply::new(202), bytes)
            }
            "PUT" => {
                bytes.extend_from_slice(&seen.body);
                let digest = seen.target.split("digest=").nth(1).expect("a digest").replace("%3A", ":");
                if Digest::of(bytes).to_string() != digest {
                    return Reply::new(400).body("{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}");
                }
                self.done.push(self.open.remove(id).expect("it is open"));
                Reply::new(201)
            }
            _ => Reply::new(405),
        }
    }
}

/// How large the bodies were that came, by method.
fn bodies(server: &Server, method: &str) -> Vec<usize> {
    server.look(|all| all.iter().filter(|seen| seen.method == method).map(|seen| seen.body.len()).collect())
}

#[tokio::test]
async fn a_small_blob_is_sent_in_one_request_and_again_after_a_failure() {
    let bytes = blob(700_000);
    let (server, sessions) =
        registry(Box::new(|seen, nth| (seen.method == "PUT" && nth == 0).then(|| Whimsy::Answer(Reply::new(503)))))
            .await;
    let (result, sent) = upload(&client(), &server, &bytes).await;
    result.expect("sent at the second try");
    assert_eq!(sent, 700_000, "what was sent in vain does not count");
    assert!(sessions.lock().expect("no handler panics").done == [bytes.clone()]);
    let puts: Vec<_> = server.seen().into_iter().filter(|seen| seen.method == "PUT").collect();
    assert_eq!(puts.len(), 2);
    for (number, put) in puts.iter().enumerate() {
        let digest = Digest::of(&bytes).hex();
        assert_eq!(put.target, format!("/up/session-{}?_state=a%2Bb&digest=sha256%3A{digest}", number + 1));
        assert_eq!((put.header("content-length"), put.header("transfer-encoding")), (Some("700000"), None));
    }
}

/// Each row: what goes wrong, and the pieces that are sent because of it.
#[tokio::test]
async fn a_large_blob_goes_up_in_pieces_and_goes_on_where_it_was() {
    const REST: usize = LARGE - 2 * PIECE;
    const KEPT: usize = 5 << 20;
    let patch = |seen: &Seen, nth: usize, at: usize| seen.method == "PATCH" && nth == at;
    // What goes wrong, the whim that makes it so, the pieces, the closing requests, the sessions.
    type Row = (&'static str, Whim, Vec<usize>, Vec<usize>, usize);
    let table: Vec<Row> = vec![
        ("nothing", Box::new(|_, _| None), vec![PIECE, PIECE, REST], vec![0], 1),
        (
            "the connection breaks in a piece of which a part is kept",
            Box::new(move |seen, nth| patch(seen, nth, 1).then_some(Whimsy::Keep(KEPT))),
            vec![PIECE, PIECE, PIECE + REST - KEPT],
            vec![0],
            1,
        ),
        (
            "the connection breaks in a piece of which nothing is kept",
            Box::new(move |seen, nth| patch(seen, nth, 2).then_some(Whimsy::Keep(0))),
            vec![PIECE, PIECE, REST, REST],
            vec![0],
            1,
        ),
        (
            "a piece is out of order, says the registry",
            Box::new(move |seen, nth| {
                patch(seen, nth, 1).then(|| Whimsy::Answer(Reply::new(416).with("Range", "0-33554431")))
            }),
            vec![PIECE, PIECE, PIECE, REST],
            vec![0],
            1,
        ),
        (
            "the registry is busy",
            Box::new(move |seen, nth| {
                patch(seen, nth, 1).then(|| Whimsy::Answer(Reply::new(429).with("Retry-After", "0")))
            }),
            vec![PIECE, PIECE, PIECE, REST],
            vec![0],
            1,
        ),
        (
            "the session is lost",
            Box::new(move |seen, nth| patch(seen, nth, 1).then_some(Whimsy::Forget)),
            vec![PIECE, PIECE, PIECE, PIECE, REST],
            vec![0],
            2,
        ),
        (
            "pieces are refused",
            Box::new(|seen, _| (seen.method == "PATCH").then(|| Whimsy::Answer(Reply::new(405)))),
            vec![PIECE],
            vec![LARGE],
            2,
        ),
        (
            "a proxy takes no more than 9 MiB at once",
            Box::new(|seen, _| (seen.body.len() > 9 << 20).then(|| Whimsy::Answer(Reply::new(413)))),
            [vec![PIECE], vec![PIECE / 4; 8], vec![REST]].concat(),
            vec![0],
            2,
        ),
        (
            "bytes of a broken piece come late",
            Box::new(move |seen, nth| {
                (seen.method == "PUT" && nth == 0)
                    .then(|| Whimsy::Answer(Reply::new(400).body("{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}")))
            }),
            [PIECE, PIECE, REST].repeat(2),
            vec![0, 0],
            2,
        ),
    ];
    let bytes = blob(LARGE);
    for (fault, whim, pieces, puts, begun) in table {
        let (server, sessions) = registry(whim).await;
        let (result, sent) = upload(&client(), &server, &bytes).await;
        result.unwrap_or_else(|error| panic!("{fault}: {error:?}"));
        let state = sessions.lock().expect("no handler panics");
        assert!(state.done.len() == 1 && state.done[0] == bytes, "{fault}: the blob is what it was");
        assert_eq!(bodies(&server, "PATCH"), pieces, "{fault}");
        assert_eq!(bodies(&server, "PUT"), puts, "{fault}");
        assert_eq!(state.begun, begun, "{fault}: sessions");
        assert_eq!(sent, LARGE as u64, "{fault}: every byte counts once");
    }
}

#[tokio::test]
async fn the_registry_says_how_small_a_piece_may_be() {
    let bytes = blob(LARGE);
    let (server, _) = registry(Box::new(|seen, _| {
        let location = "/up/session-0?x=1";
        (seen.method == "POST").then(|| {
            Whimsy::Answer(Reply::new(202).with("Location", location).with("OCI-Chunk-Min-Length", "50000000"))
        })
    }))
    .await;
    let (result, _) = upload(&client(), &server, &bytes).await;
    assert!(result.expect_err("this registry knows no such session").is_not_found());
    assert!(bodies(&server, "PATCH").iter().all(|&len| len == 50_000_000), "{:?}", bodies(&server, "PATCH"));
}

#[tokio::test]
async fn what_cannot_succeed_ends_soon() {
    let table: Vec<(&str, Whim, u16)> = vec![
        ("nobody may push", Box::new(|seen, _| (seen.method == "PATCH").then(|| Whimsy::Answer(Reply::new(403)))), 403),
        ("sessions do not live", Box::new(|seen, _| (seen.method == "PATCH").then_some(Whimsy::Forget)), 404),
        (
            "nothing is small enough",
            Box::new(|seen, _| (seen.method != "POST").then(|| Whimsy::Answer(Reply::new(413)))),
            413,
        ),
        ("always busy", Box::new(|seen, _| (seen.method == "PATCH").then(|| Whimsy::Answer(Reply::new(503)))), 503),
    ];
    let bytes = blob(LARGE);
    for (fault, whim, status) in table {
        let (server, _) = registry(whim).await;
        let (result, sent) = upload(&client_with(|options| options.attempts = 3), &server, &bytes).await;
        let error = result.expect_err(fault);
        assert!(matches!(error, RegistryError::Status { status: found, .. } if found == status), "{fault}: {error:?}");
        let requests = server.look(<[Seen]>::len);
        assert!(requests < 20, "{fault}: {requests} requests");
        assert!(sent <= LARGE as u64, "{fault}");
    }
}

#[tokio::test]
async fn a_blob_that_cannot_be_read_is_no_failure_of_the_connection() {
    let (server, _) = registry(Box::new(|_, _| None)).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let open = || std::fs::File::open(file.path()).and_then(Blob::whole);
    let result = client().upload_blob(&repo(&server), Digest::of(b"x"), 1000, open, Arc::default()).await;
    assert!(matches!(result, Err(RegistryError::Source(_))), "{result:?}");
}

#[tokio::test]
async fn mounts_say_whether_they_worked() {
    let server = Server::start(|seen| match (seen.method.as_str(), seen.target.contains("from=here")) {
        ("POST", true) => Reply::new(201),
        ("POST", false) => Reply::new(202).with("Location", "/upload/2"),
        ("DELETE", _) => Reply::new(204),
        _ => Reply::new(405),
    })
    .await;
    let (client, repo, digest) = (client(), repo(&server), Digest::of(b"x"));
    assert!(client.mount_blob(&repo, digest, "here").await.expect("an answer"));
    assert!(!client.mount_blob(&repo, digest, "there").await.expect("an answer"));
    let target = server.seen()[0].target.clone();
    assert_eq!(target, format!("/v2/team/app/blobs/uploads/?mount=sha256%3A{}&from=here", digest.hex()));
    assert_eq!(server.seen()[2].method, "DELETE", "the session that nobody uses is closed");
}

#[tokio::test]
async fn presence_is_yes_no_or_an_error() {
    let server = Server::start(|seen| {
        let hex = |bytes| Digest::of(bytes).hex();
        match seen.target.rsplit(':').next() {
            Some(digest) if digest == hex(b"here") => Reply::new(200),
            Some(digest) if digest == hex(b"elsewhere") => Reply::new(307).with("Location", "http://127.0.0.1:1/x"),
            Some(digest) if digest == hex(b"gone") => Reply::new(404),
            _ => Reply::new(403),
        }
    })
    .await;
    let (client, repo) = (client(), repo(&server));
    assert!(client.has_blob(&repo, Digest::of(b"here")).await.expect("an answer"));
    assert!(client.has_blob(&repo, Digest::of(b"elsewhere")).await.expect("an answer"));
    assert!(!client.has_blob(&repo, Digest::of(b"gone")).await.expect("an answer"));
    assert!(client.has_blob(&repo, Digest::of(b"secret")).await.is_err());
    assert!(client.has_manifest(&repo, Digest::of(b"here")).await.expect("an answer"));
    assert!(!client.has_manifest(&repo, Digest::of(b"gone")).await.expect("an answer"));
}

#[tokio::test]
async fn manifests_are_put_with_their_type() {
    let server = Server::start(|seen| match seen.header("content-type") {
        Some("application/vnd.oci.image.manifest.v1+json") => Reply::new(201),
        _ => Reply::new(400).body("{\"errors\":[{\"code\":\"MANIFEST_INVALID\",\"message\":\"no\"}]}"),
    })
    .await;
    let (client, repo) = (client(), repo(&server));
    client.put_manifest(&repo, "new", "application/vnd.oci.image.manifest.v1+json", b"{}").await.expect("stored");
    assert_eq!(server.seen()[0].body, b"{}");
    let error = client.put_manifest(&repo, "new", "text/plain", b"{}").await.expect_err("refused");
    assert!(matches!(error, RegistryError::Status { status: 400, .. }));
    assert!(error.to_string().ends_with("answered 400: MANIFEST_INVALID no"), "{error}");
}
