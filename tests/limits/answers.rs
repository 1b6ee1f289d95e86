//! What registries answer.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chunkify::digest::Digest;
use chunkify::ledger::{Cause, Ledger};
use chunkify::limits;
use chunkify::registry::{Client, Options, RegistryError, Repository, SpanSink};
use chunkify::serve::{self, serve};
use chunkify::span::Span;
use chunkify::store::Layout;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::documents::client;
use crate::server::{Reply, Server};
use crate::wait;

fn repo(server: &Server) -> Repository {
    Repository::new(&server.address, "team/app").unwrap()
}

/// Fetches a config of two bytes, as the server gives it.
async fn config(server: &Server, client: &Client) -> Result<Vec<u8>, RegistryError> {
    client.blob_bytes(&repo(server), Digest::of(b"{}"), 2, &Ledger::new(), Cause::Metadata).await
}

pub fn redirects() {
    wait(async {
        for (hops, fits) in [(limits::REDIRECTS, true), (limits::REDIRECTS + 1, false)] {
            let server = Server::start(move |seen| {
                let hop: usize = seen.target.strip_prefix("/hop/").map_or(0, |hop| hop.parse().unwrap());
                if hop == hops {
                    Reply::new(200).body("{}")
                } else {
                    Reply::new(307).with("Location", format!("/hop/{}", hop + 1))
                }
            })
            .await;
            let answer = config(&server, &client()).await;
            assert_eq!(answer.is_ok(), fits, "{answer:?}");
            assert!(fits || answer.unwrap_err().to_string().contains("one more redirect than the 8 that are followed"));
        }
    });
}

pub fn attempts() {
    wait(async {
        let tries = usize::try_from(limits::ATTEMPTS).unwrap();
        for (failures, fits) in [(tries - 1, true), (tries, false)] {
            let asked = AtomicUsize::new(0);
            let server = Server::start(move |_| {
                if asked.fetch_add(1, Ordering::SeqCst) < failures {
                    Reply::new(502)
                } else {
                    Reply::new(200).body("{}")
                }
            })
            .await;
            assert_eq!(config(&server, &client()).await.is_ok(), fits);
            assert_eq!(server.seen().len(), tries);
        }
    });
}

pub fn error_body() {
    wait(async {
        for (len, fits) in [(limits::ERROR_BODY, true), (limits::ERROR_BODY + 1, false)] {
            let mut body = br#"{"errors":[{"code":"DENIED","message":"by rule 7"}]}"#.to_vec();
            body.resize(len, b' ');
            let server = Server::start(move |_| Reply::new(400).body(body.clone())).await;
            let said = config(&server, &client()).await.unwrap_err().to_string();
            assert!(said.contains("400") && said.contains("by rule 7") == fits, "{len}: {said}");
        }
    });
}

/// What comes of a token server's answer.
async fn with_token(answer: Vec<u8>) -> Result<Vec<u8>, RegistryError> {
    let tokens = Server::start(move |_| Reply::new(200).body(answer.clone())).await;
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"r\"", tokens.address);
    let server = Server::start(move |seen| match seen.header("authorization") {
        Some("Bearer word") => Reply::new(200).body("{}"),
        _ => Reply::new(401).with("WWW-Authenticate", &challenge),
    })
    .await;
    config(&server, &client()).await
}

pub fn token_body() {
    wait(async {
        for (len, fits) in [(limits::TOKEN_BODY, true), (limits::TOKEN_BODY + 1, false)] {
            let mut body = br#"{"token":"word"}"#.to_vec();
            body.resize(len, b' ');
            let answer = with_token(body).await;
            assert_eq!(answer.is_ok(), fits, "{answer:?}");
            assert!(fits || answer.unwrap_err().to_string().contains("more than 1048576 bytes"));
        }
    });
}

pub fn token_lifetime() {
    for seconds in [limits::TOKEN_LIFETIME.as_secs(), limits::TOKEN_LIFETIME.as_secs() + 1, u64::MAX] {
        wait(with_token(format!("{{\"token\":\"word\",\"expires_in\":{seconds}}}").into_bytes())).unwrap();
    }
}

struct Nowhere;

impl SpanSink for Nowhere {
    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

async fn fetch(server: &Server, size: u64, spans: &[Span]) -> Result<(), RegistryError> {
    let client =
        Client::new(Options { plain_http: true, attempts: 1, backoff: Duration::from_millis(1), ..Options::default() });
    client.unwrap().blob_spans(&repo(server), Digest::of(b""), size, spans, &Ledger::new(), &Nowhere).await
}

/// The range that was asked for would come behind bytes that were not. The connection ends before it does, so that it is those that count.
pub fn surplus() {
    wait(async {
        let (size, asked) = (64 << 20, 1000);
        let at = limits::SURPLUS + asked;
        for (before, cut, said) in [(at, false, None), (at, true, Some("cut")), (at + 1, true, Some("longer"))] {
            let told = format!("bytes 0-{}/{size}", before + asked - 1);
            let before = usize::try_from(before).unwrap();
            let body = vec![0; before + usize::try_from(asked).unwrap()];
            let server = Server::start(move |_| {
                let reply = Reply::new(206).with("Content-Range", &told).body(body.clone());
                if cut { reply.cut(before) } else { reply }
            });
            let answer = fetch(&server.await, size, &[Span::with_len(before as u64, asked).unwrap()]).await;
            refused(answer, said);
        }
    });
}

/// Two ranges are asked for, and would come behind parts that were not.
pub fn parts() {
    wait(async {
        let size = 64 << 20;
        let spans = [1 << 20, 32 << 20].map(|at| Span::with_len(at, 1000).unwrap());
        let most = 4 * spans.len() + limits::PARTS;
        for (before, cut, said) in
            [(most - spans.len(), false, None), (most, true, Some("cut")), (most + 1, true, Some("longer"))]
        {
            let mut body = Vec::new();
            for _ in 0..before {
                body.extend(format!("--b\r\nContent-Range: bytes 0-0/{size}\r\n\r\nx\r\n").bytes());
            }
            let surplus = body.len();
            for span in spans {
                let told = format!("--b\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n", span.start(), span.end() - 1);
                body.extend(told.bytes().chain([b'y'; 1000]).chain(*b"\r\n"));
            }
            body.extend(b"--b--\r\n");
            let server = Server::start(move |_| {
                let reply = Reply::new(206).with("Content-Type", "multipart/byteranges; boundary=b").body(body.clone());
                if cut { reply.cut(surplus) } else { reply }
            });
            refused(fetch(&server.await, size, &spans).await, said);
        }
    });
}

/// An answer that is refused with certain words, or not at all.
#[track_caller]
fn refused(answer: Result<(), RegistryError>, said: Option<&str>) {
    let told = answer.as_ref().err().map(ToString::to_string);
    let is = match (&told, said) {
        (None, None) => true,
        // A connection that ends early says so in the words of whoever notices it.
        (Some(told), Some("cut")) => !told.contains("longer than it may be"),
        (Some(told), Some(_)) => told.contains("longer than it may be"),
        _ => false,
    };
    assert!(is, "{told:?} and not {said:?}");
}

/// A head that is late by a second, on a clock that runs as fast as nothing else happens.
pub fn request_time() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let layout = Layout::open_or_create(folder.path()).unwrap();
        tokio::spawn(serve(layout, listener, serve::Options::default()));
        let second = Duration::from_secs(1);
        for (pause, fits) in [(limits::REQUEST_TIME - second, true), (limits::REQUEST_TIME + second, false)] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: test\r\n").await.unwrap();
            tokio::time::sleep(pause).await;
            // Of a connection that was ended both may fail.
            let _ = stream.write_all(b"Connection: close\r\n\r\n").await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert_eq!(answer.starts_with(b"HTTP/1.1 200"), fits, "{}", String::from_utf8_lossy(&answer));
        }
    });
}
