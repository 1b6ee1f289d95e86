//! The registry client against servers that play the field's registries, and against servers that lie.

#![allow(clippy::disallowed_methods, reason = "tests are shells")]

mod auth;
mod blobs;
mod kinds;
mod logins;
mod memory;
mod mirrors;
mod push;
mod ranges;
mod referrers;
mod secrets;
mod server;
mod slow;

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use chunkify::digest::Digest;
use chunkify::ledger::{Cause, Ledger};
use chunkify::plan::cost::Prefer;
use chunkify::registry::{Client, Options, RegistryError, Repository, SpanSink};
use chunkify::span::Span;
use server::Server;

/// Bytes in which every position tells where it is.
fn blob(size: usize) -> Vec<u8> {
    (0..size as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn client() -> Client {
    client_with(|_| {})
}

fn client_with(change: impl Fn(&mut Options)) -> Client {
    // What is fetched must not depend on how fast the machine is.
    let prefer = Prefer::Bytes;
    let mut options = Options { plain_http: true, backoff: Duration::from_millis(1), prefer, ..Options::default() };
    change(&mut options);
    Client::new(options).expect("a client")
}

fn repo(server: &Server) -> Repository {
    Repository::new(&server.address, "team/app").expect("a repository")
}

/// `count` spans of `len` bytes, `gap` bytes apart.
fn spans(count: u64, len: u64, gap: u64) -> Vec<Span> {
    (0..count).map(|index| Span::with_len(10 + index * (len + gap), len).expect("not empty")).collect()
}

/// Checks each byte against the blob and notes it as its owner would.
struct Checked<'a> {
    blob: &'a [u8],
    missing: &'a [Span],
    ledger: &'a Ledger,
    came: Mutex<Vec<bool>>,
}

impl<'a> Checked<'a> {
    fn new(blob: &'a [u8], missing: &'a [Span], ledger: &'a Ledger) -> Self {
        Self { blob, missing, ledger, came: Mutex::new(vec![false; blob.len()]) }
    }

    /// Whether all that was missing came.
    fn complete(&self) -> bool {
        let came = self.came.lock().expect("the map");
        self.missing.iter().all(|span| came[span.start() as usize..span.end() as usize].iter().all(|&byte| byte))
    }
}

impl SpanSink for Checked<'_> {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let from = offset as usize;
        assert_eq!(bytes, &self.blob[from..from + bytes.len()], "bytes at {offset}");
        self.came.lock().expect("the map")[from..from + bytes.len()].fill(true);
        let wanted: u64 = {
            let written = Span::with_len(offset, bytes.len() as u64).expect("not empty");
            self.missing.iter().filter_map(|span| span.intersection(written)).map(Span::len).sum()
        };
        self.ledger.add(Cause::Payload, wanted);
        self.ledger.add(Cause::Gaps, bytes.len() as u64 - wanted);
        Ok(())
    }
}

/// Fetches spans, and checks that the ledger and the wire agree whatever came of it.
async fn fetch(
    client: &Client,
    server: &Server,
    blob: &[u8],
    missing: &[Span],
    ledger: &Ledger,
) -> Result<(), RegistryError> {
    let sink = Checked::new(blob, missing, ledger);
    let (bytes, requests) = (ledger.bytes().total(), ledger.requests());
    let before = client.wire();
    let result = client.blob_spans(&repo(server), Digest::of(blob), blob.len() as u64, missing, ledger, &sink).await;
    let after = client.wire();
    assert_eq!(ledger.bytes().total() - bytes, after.body_bytes - before.body_bytes, "ledger and wire");
    assert_eq!(ledger.requests() - requests, after.requests - before.requests, "requests");
    assert_eq!(result.is_ok(), result.is_ok() && sink.complete(), "success means that all came");
    result
}
