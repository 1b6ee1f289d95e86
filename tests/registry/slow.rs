//! Servers that send next to nothing, or without an end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chunkify::digest::Digest;
use chunkify::ledger::{Cause, Ledger};
use chunkify::limits;
use chunkify::registry::{Client, Options, RegistryError};
use chunkify::span::Span;

use crate::server::{Reply, Server};
use crate::{blob, client_with, fetch, kinds, repo, spans};

const SIZE: usize = 1 << 20;

/// A client for which half a second is a long time.
fn hasty() -> Client {
    client_with(|options| {
        options.stall = Duration::from_millis(500);
        options.attempts = 2;
    })
}

#[tokio::test]
async fn a_byte_now_and_then_is_silence() {
    let bytes = blob(SIZE);
    let server = Server::start(move |seen| kinds::go(&bytes, seen).trickle(Duration::from_millis(40))).await;
    let ledger = Ledger::new();
    let result = fetch(&hasty(), &server, &blob(SIZE), &spans(3, 10_000, 20_000), &ledger).await;
    let Err(error @ RegistryError::Slow { attempts: 2, .. }) = result else { panic!("{result:?}") };
    assert!(error.to_string().contains("bytes in 0 s"), "{error}");
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("same command")), "{:?}", error.remedy());
    assert!(server.seen().len() <= 6, "{} requests", server.seen().len());
}

#[tokio::test]
async fn one_slow_answer_is_left_and_its_bytes_are_kept() {
    let (bytes, asked) = (blob(SIZE), AtomicUsize::new(0));
    let server = Server::start(move |seen| {
        let reply = kinds::go(&bytes, seen);
        if asked.fetch_add(1, Ordering::SeqCst) == 0 { reply.trickle(Duration::from_millis(40)) } else { reply }
    })
    .await;
    let ledger = Ledger::new();
    fetch(&hasty(), &server, &blob(SIZE), &spans(3, 10_000, 20_000), &ledger).await.expect("all of it");
    assert_eq!((ledger.bytes().payload, ledger.bytes().wasted), (30_000, 0), "nothing came twice");
}

#[tokio::test]
async fn silence_is_no_answer() {
    let bytes = blob(SIZE);
    let server = Server::start(move |seen| kinds::go(&bytes, seen).trickle(Duration::from_secs(3600))).await;
    let result = fetch(&hasty(), &server, &blob(SIZE), &spans(1, 10_000, 0), &Ledger::new()).await;
    assert!(matches!(result, Err(RegistryError::Stalled { attempts: 2, .. })), "{result:?}");
}

#[tokio::test]
async fn bodies_without_end_end() {
    // A length that is a lie, and zeros for ever.
    let endless = |status: u16, range: &str| {
        let range = range.to_owned();
        move |_: &crate::server::Seen| {
            let reply = Reply::new(status).with("Transfer-Encoding", "chunked").endless();
            if range.is_empty() { reply } else { reply.with("Content-Range", &range) }
        }
    };
    for (name, status, range) in [("206", 206, "bytes 10-109/1048576"), ("200", 200, ""), ("500", 500, "")] {
        let server = Server::start(endless(status, range)).await;
        let (client, ledger, span) = (hasty(), Ledger::new(), Span::with_len(10, 100).expect("a span"));
        let digest = Digest::of(b"x");
        let got = client.blob_range(&repo(&server), digest, SIZE as u64, span, &ledger, Cause::Payload).await;
        // A range that came is good, whatever comes behind it.
        assert_eq!(got.is_ok(), status == 206, "{name}");
        assert!(client.wire().body_bytes < 8 << 20, "{name}: {:?}", client.wire());
        let mut sink = |_: &[u8]| Ok(());
        let whole = client.blob_from(&repo(&server), digest, SIZE as u64, 0, &ledger, Cause::Whole, &mut sink).await;
        assert!(whole.is_err(), "{name}");
        assert!(client.wire().body_bytes < 16 << 20, "{name}: {:?}", client.wire());
        assert_eq!(ledger.bytes().total(), client.wire().body_bytes, "{name}");
    }
}

/// The tests above shorten the patience; what it is unless said otherwise stands in the table, and what they call slow is slower than that.
#[test]
fn patience_is_what_the_table_says() {
    assert_eq!(Options::default().stall, limits::SILENCE);
    assert_eq!(Options::default().attempts, limits::ATTEMPTS);
    // A byte every 40 ms.
    const { assert!(1000 / 40 < limits::SLOWEST) };
}
