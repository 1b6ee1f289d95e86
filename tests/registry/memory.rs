//! What one client learned about a host, the next one knows.

use chunkify::digest::Digest;
use chunkify::ledger::Ledger;

use crate::kinds;
use crate::server::{Reply, Seen, Server};
use crate::{blob, client_with, fetch, repo, spans};

const SIZE: usize = 1 << 20;

/// How many ranges each request of a first and of a second client has, and what the second was told before.
async fn asked_twice(kind: fn(&[u8], &Seen) -> Reply) -> ([Vec<usize>; 2], (u64, u64)) {
    let (bytes, folder) = (blob(SIZE), tempfile::tempdir().expect("a folder"));
    let server = Server::start(move |seen| kind(&bytes, seen)).await;
    let (missing, ledger) = (spans(300, 100, 3000), Ledger::new());
    let mut asked = [Vec::new(), Vec::new()];
    let mut predicted = Default::default();
    for asked in &mut asked {
        let before = server.ranges().len();
        let client = client_with(|options| options.memory = Some(folder.path().into()));
        let prediction = client.predict(&repo(&server), Digest::of(b"x"), SIZE as u64, &missing, &Ledger::new()).await;
        let prediction = prediction.expect("a URL");
        predicted = (prediction.requests, prediction.ranges);
        fetch(&client, &server, &blob(SIZE), &missing, &ledger).await.expect("all of it");
        client.save_memory();
        *asked = server.ranges()[before..].iter().map(|range| range.matches(',').count() + 1).collect();
    }
    (asked, predicted)
}

#[tokio::test]
async fn growth_is_remembered() {
    let ([first, second], predicted) = asked_twice(kinds::go).await;
    assert_eq!(first[..2], [16, 128], "{first:?}");
    assert_eq!(second, [128, 128, 44], "no trial is needed");
    assert_eq!(predicted, (3, 300), "and the plan knew");
}

#[tokio::test]
async fn a_limit_is_remembered() {
    let ([first, second], predicted) = asked_twice(kinds::zot_new).await;
    assert_eq!(first.iter().filter(|&&ranges| ranges > 16).count(), 1, "{first:?}");
    assert!(second.iter().all(|&ranges| ranges <= 16), "{second:?}");
    assert_eq!(predicted, (second.len() as u64, 300));
}

#[tokio::test]
async fn a_refusal_is_remembered() {
    let ([first, second], predicted) = asked_twice(kinds::s3).await;
    assert_eq!(first.iter().filter(|&&ranges| ranges > 1).count(), 1, "{first:?}");
    assert!(second.iter().all(|&ranges| ranges == 1), "{second:?}");
    assert_eq!(predicted, (300, 300));
}

#[tokio::test]
async fn what_was_remembered_wrongly_is_learned_anew() {
    let (bytes, folder) = (blob(SIZE), tempfile::tempdir().expect("a folder"));
    let known = std::sync::atomic::AtomicUsize::new(0);
    // The server is another one after the first pull.
    let server = Server::start(move |seen| match known.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0..4 => kinds::go(&bytes, seen),
        _ => kinds::s3(&bytes, seen),
    })
    .await;
    let (missing, ledger) = (spans(300, 100, 3000), Ledger::new());
    for _ in 0..2 {
        let client = client_with(|options| options.memory = Some(folder.path().into()));
        fetch(&client, &server, &blob(SIZE), &missing, &ledger).await.expect("all of it");
        client.save_memory();
    }
    let several = |range: &&String| range.contains(',');
    let refused = server.ranges()[4..].iter().filter(several).count();
    assert!((1..=9).contains(&refused), "those in flight, and sixteen once: {refused}");
}
