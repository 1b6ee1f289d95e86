//! Missing spans from every kind of server.

use std::sync::atomic::{AtomicUsize, Ordering};

use chunkify::digest::Digest;
use chunkify::ledger::{Cause, Ledger};
use chunkify::plan::cost::Prefer;
use chunkify::registry::RegistryError;
use chunkify::span::Span;

use crate::kinds::{self, multipart, parse, single};
use crate::server::{Reply, Seen, Server};
use crate::{blob, client, client_with, fetch, repo, spans};

const SIZE: usize = 1 << 20;

async fn serve(kind: impl Fn(&[u8], &Seen) -> Reply + Send + Sync + 'static) -> Server {
    let bytes = blob(SIZE);
    Server::start(move |seen| kind(&bytes, seen)).await
}

fn commas(server: &Server) -> Vec<usize> {
    server.ranges().iter().map(|range| range.matches(',').count() + 1).collect()
}

#[tokio::test]
async fn grows_where_the_server_has_proved_it() {
    let server = serve(kinds::go).await;
    let (client, ledger, missing) = (client(), Ledger::new(), spans(900, 100, 900));
    fetch(&client, &server, &blob(SIZE), &missing, &ledger).await.expect("all of it");
    let asked = commas(&server);
    assert_eq!(asked[..2], [16, 128], "two trials, one after the other: {asked:?}");
    assert!(asked.iter().all(|&ranges| ranges <= 128) && asked.len() == 8, "and then as many as possible: {asked:?}");
    assert_eq!(asked.iter().sum::<usize>(), 900, "no range is asked for twice");
    let bytes = ledger.bytes();
    assert_eq!((bytes.payload, bytes.gaps, bytes.wasted), (90_000, 0, 0));
    assert!(bytes.framing > 900 * 80, "boundaries and part headers: {}", bytes.framing);
    assert_eq!(client.wire().body_bytes, server.sent());
    assert!(server.seen().iter().all(|seen| seen.header("accept-encoding") == Some("identity")));
}

#[tokio::test]
async fn stays_at_sixteen_on_zot() {
    let server = serve(kinds::zot_new).await;
    let (client, ledger, missing) = (client(), Ledger::new(), spans(200, 100, 900));
    fetch(&client, &server, &blob(SIZE), &missing, &ledger).await.expect("all of it");
    let over = commas(&server).iter().filter(|&&ranges| ranges > 16).count();
    assert_eq!(over, 1, "growth is tried once: {:?}", commas(&server));
    assert_eq!((ledger.bytes().payload, ledger.bytes().wasted), (20_000, 0));
    assert_eq!(client.wire().body_bytes, server.sent());
    fetch(&client, &server, &blob(SIZE), &missing, &ledger).await.expect("all of it again");
    assert_eq!(commas(&server).iter().filter(|&&ranges| ranges > 16).count(), 1, "and remembered");
}

#[tokio::test]
async fn falls_back_to_single_ranges_where_several_are_refused() {
    for status in [400, 404, 413, 414, 416, 431, 500, 501] {
        let server = serve(kinds::refuses(status)).await;
        let (client, ledger, missing) = (client(), Ledger::new(), spans(20, 100, 40_000));
        fetch(&client, &server, &blob(SIZE), &missing, &ledger).await.expect("all of it");
        assert_eq!(commas(&server).iter().filter(|&&ranges| ranges > 1).count(), 1, "{status}: {:?}", commas(&server));
        assert_eq!((ledger.bytes().payload, ledger.bytes().wasted), (2000, 0), "{status}");
        fetch(&client, &server, &blob(SIZE), &missing, &ledger).await.expect("all of it again");
        assert_eq!(commas(&server).iter().filter(|&&ranges| ranges > 1).count(), 1, "{status} is remembered");
    }
}

#[tokio::test]
async fn old_zot_object_stores_and_first_range_only() {
    for (name, kind) in [
        ("zot before 2.1.17", kinds::zot_old as fn(&[u8], &Seen) -> Reply),
        ("object store", kinds::s3),
        ("first range only", kinds::first_only),
    ] {
        let server = serve(kind).await;
        let (client, ledger, missing) = (client(), Ledger::new(), spans(20, 100, 40_000));
        fetch(&client, &server, &blob(SIZE), &missing, &ledger).await.expect(name);
        assert_eq!(commas(&server).iter().filter(|&&ranges| ranges > 1).count(), 1, "{name}");
        assert_eq!((ledger.bytes().payload, ledger.bytes().gaps), (2000, 0), "{name}");
        assert!(ledger.bytes().wasted < SIZE as u64 / 2, "{name}: a whole blob is dropped, not read");
    }
}

#[tokio::test]
async fn single_ranges_merge_larger_gaps() {
    let server = serve(kinds::zot_old).await;
    let client = client_with(|options| options.prefer = Prefer::Time);
    let (ledger, missing) = (Ledger::new(), spans(40, 100, 1000));
    fetch(&client, &server, &blob(SIZE), &missing, &ledger).await.expect("all of it");
    assert_eq!(commas(&server), [16, 1]);
    assert_eq!((ledger.bytes().payload, ledger.bytes().gaps), (4000, 39_000));
    assert_eq!(client.wire().body_bytes, server.sent());
}

#[tokio::test]
async fn a_server_without_ranges_is_told_on_the_headers() {
    let server = serve(|blob, _| Reply::new(200).body(blob)).await;
    let (client, ledger) = (client(), Ledger::new());
    for _ in 0..5 {
        let error = fetch(&client, &server, &blob(SIZE), &spans(3, 100, 20_000), &ledger).await;
        assert!(error.as_ref().is_err_and(RegistryError::is_ranges_refused), "{error:?}");
    }
    assert!(client.wire().body_bytes < SIZE as u64, "{:?}", client.wire());
    let asked = server.seen().len();
    let span = Span::new(0, 100).expect("a span");
    let digest = Digest::of(b"");
    let error = client.blob_range(&repo(&server), digest, SIZE as u64, span, &ledger, Cause::TableOfContents).await;
    assert!(error.is_err_and(|error| error.is_ranges_refused()));
    assert_eq!(server.seen().len(), asked, "a host that never answered a range is not asked again");
}

#[tokio::test]
async fn the_whole_blob_is_welcome_when_nearly_all_is_missing() {
    let server = serve(|blob, _| Reply::new(200).body(blob)).await;
    let (client, ledger) = (client(), Ledger::new());
    let span = Span::new(1000, SIZE as u64).expect("a span");
    let bytes = client
        .blob_range(&repo(&server), Digest::of(b""), SIZE as u64, span, &ledger, Cause::TableOfContents)
        .await
        .expect("the span");
    assert_eq!(bytes, blob(SIZE)[1000..]);
    assert_eq!((ledger.bytes().table_of_contents, ledger.bytes().wasted), (SIZE as u64 - 1000, 1000));
    assert_eq!(client.wire().body_bytes, server.sent());
}

#[tokio::test]
async fn parts_in_any_order_merged_twice_or_left_out() {
    let server = serve(|blob, seen| {
        let ranges = parse(seen).expect("ranges");
        match ranges[..] {
            [range] => single(blob, range),
            // Backwards, without the last, with one more than was asked, and the first twice.
            _ => {
                let mut parts: Vec<_> = ranges[..ranges.len() - 1].to_vec();
                parts.reverse();
                parts.extend([(500_000, 500_009), ranges[0]]);
                multipart(blob, &parts)
            }
        }
    })
    .await;
    let (client, ledger, missing) = (client(), Ledger::new(), spans(10, 100, 900));
    fetch(&client, &server, &blob(SIZE), &missing, &ledger).await.expect("all of it");
    assert_eq!((ledger.bytes().payload, ledger.bytes().wasted), (1000, 110));
    assert_eq!(client.wire().body_bytes, server.sent());
}

#[tokio::test]
async fn a_connection_that_breaks_costs_only_the_rest() {
    let broken = AtomicUsize::new(0);
    let server = serve(move |blob, seen| {
        let reply = kinds::go(blob, seen);
        let half = reply.body.len() / 2;
        if broken.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { reply.cut(half) } else { reply }
    })
    .await;
    let (client, ledger, missing) = (client(), Ledger::new(), spans(12, 20_000, 900));
    fetch(&client, &server, &blob(SIZE), &missing, &ledger).await.expect("all of it");
    assert_eq!((ledger.bytes().payload, ledger.bytes().wasted), (240_000, 0), "nothing came twice");
    assert_eq!(client.wire().body_bytes, server.sent());
}

#[tokio::test]
async fn lies_end_in_errors() {
    type Kind = fn(&[u8], &Seen) -> Reply;
    let lies: [(&str, Kind); 7] = [
        ("no Content-Range", |blob, _| Reply::new(206).body(&blob[..100])),
        ("another size", |blob, seen| single(&blob[..SIZE - 1], parse(seen).expect("ranges")[0])),
        ("another place", |blob, _| single(blob, (0, 5))),
        ("no boundary", |_, _| Reply::new(206).with("Content-Type", "multipart/byteranges").body("x")),
        ("no parts", |_, _| Reply::new(206).with("Content-Type", "multipart/byteranges; boundary=b").body("--b--\r\n")),
        ("compressed", |blob, seen| kinds::go(blob, seen).with("Content-Encoding", "gzip")),
        ("nothing at all", |blob, seen| kinds::go(blob, seen).cut(0)),
    ];
    for (name, lie) in lies {
        let server = serve(lie).await;
        let (client, ledger) = (client(), Ledger::new());
        let result = fetch(&client, &server, &blob(SIZE), &spans(3, 100, 20_000), &ledger).await;
        assert!(result.is_err(), "{name}");
        assert!(server.seen().len() < 40, "{name}: {} requests", server.seen().len());
    }
}

#[tokio::test]
async fn a_trickle_ends_too() {
    let server = serve(|blob, seen| {
        let first = parse(seen).expect("ranges")[0].0;
        single(blob, (first, first))
    })
    .await;
    let ledger = Ledger::new();
    let result = fetch(&client(), &server, &blob(SIZE), &spans(3, 100_000, 20_000), &ledger).await;
    assert!(matches!(result, Err(RegistryError::NoProgress { .. })), "{result:?}");
    assert!(server.seen().len() < 60, "{} requests", server.seen().len());
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let asked = AtomicUsize::new(0);
    let server = serve(move |blob, seen| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(429).with("Retry-After", "0").body("slow down"),
        1 => Reply::new(503).body("{}"),
        _ => kinds::go(blob, seen),
    })
    .await;
    let (client, ledger, missing) = (client(), Ledger::new(), spans(5, 100, 900));
    fetch(&client, &server, &blob(SIZE), &missing, &ledger).await.expect("all of it");
    assert_eq!((ledger.bytes().protocol, server.seen().len()), (11, 3));
    assert_eq!(client.wire().body_bytes, server.sent());
}

#[tokio::test]
async fn layers_share_one_probe() {
    let server = serve(kinds::zot_old).await;
    let (client, ledger, missing) = (client(), Ledger::new(), spans(20, 100, 40_000));
    let blob = blob(SIZE);
    let sink = crate::Checked::new(&blob, &missing, &ledger);
    let (repo, digests) = (repo(&server), [Digest::of(b"1"), Digest::of(b"2"), Digest::of(b"3")]);
    let layers = digests.map(|digest| client.blob_spans(&repo, digest, SIZE as u64, &missing, &ledger, &sink));
    for layer in futures_util::future::join_all(layers).await {
        layer.expect("all of it");
    }
    assert_eq!(commas(&server).iter().filter(|&&ranges| ranges > 1).count(), 1);
    assert_eq!(ledger.bytes().total(), client.wire().body_bytes);
}

#[tokio::test]
async fn a_registry_that_sends_us_to_a_new_host_each_time_ends_too() {
    // Each port is a host that has proved nothing yet; all refuse several ranges, and every URL is good for one answer.
    let mut stores = Vec::new();
    for _ in 0..40 {
        let used = AtomicUsize::new(0);
        let kind = kinds::refuses(416);
        let bytes = blob(SIZE);
        stores.push(
            Server::start(
                move |seen| {
                    if used.fetch_add(1, Ordering::SeqCst) == 0 { kind(&bytes, seen) } else { Reply::new(403) }
                },
            )
            .await,
        );
    }
    let addresses: Vec<_> = stores.iter().map(|store| store.address.clone()).collect();
    let next = AtomicUsize::new(0);
    let server = Server::start(move |_| {
        let address = &addresses[next.fetch_add(1, Ordering::SeqCst) % addresses.len()];
        Reply::new(307).with("Location", format!("http://{address}/x"))
    })
    .await;
    let client = client_with(|options| options.requests_in_flight = 1);
    let (ledger, missing) = (Ledger::new(), spans(20, 100, 40_000));
    let result = fetch(&client, &server, &blob(SIZE), &missing, &ledger).await;
    assert!(result.is_ok(), "single ranges get there: {result:?}");
    let several = stores.iter().flat_map(commas).filter(|&ranges| ranges > 1).count();
    assert!((1..=16).contains(&several), "{several} requests of several ranges");
}
