//! Manifests and whole blobs.

use std::sync::atomic::{AtomicUsize, Ordering};

use chunkify::digest::Digest;
use chunkify::ledger::{Cause, Ledger};
use chunkify::registry::RegistryError;

use crate::server::{Reply, Server};
use crate::{blob, client, kinds, repo};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[tokio::test]
async fn manifests_are_verified_when_the_digest_is_known() {
    let server = Server::start(|seen| match seen.target.as_str() {
        "/v2/team/app/manifests/gone" => Reply::new(404).body("{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}"),
        "/v2/team/app/manifests/huge" => Reply::new(200).body(vec![b' '; 9 << 20]),
        _ => Reply::new(200).with("Content-Type", format!("{INDEX}; charset=utf-8")).body("{}"),
    })
    .await;
    let (client, repo, ledger) = (client(), repo(&server), Ledger::new());
    let manifest = client.manifest(&repo, "new", &ledger).await.expect("a manifest");
    assert_eq!((manifest.bytes.as_slice(), manifest.media_type.as_str()), (&b"{}"[..], INDEX));
    assert_eq!(manifest.digest, Digest::of(b"{}"));
    let same = client.manifest(&repo, &manifest.digest.to_string(), &ledger).await.expect("the same by digest");
    assert_eq!(same, manifest);
    assert_eq!(ledger.bytes().metadata, 4);
    let other = client.manifest(&repo, &Digest::of(b"x").to_string(), &ledger).await;
    assert!(matches!(other, Err(RegistryError::Digest { .. })));
    assert!(client.manifest(&repo, "gone", &ledger).await.is_err_and(|error| error.is_not_found()));
    assert!(matches!(client.manifest(&repo, "huge", &ledger).await, Err(RegistryError::TooLarge { .. })));
    assert!(server.ranges().is_empty(), "never a range of a manifest");
    assert_eq!(ledger.bytes().total(), client.wire().body_bytes);
}

#[tokio::test]
async fn small_blobs_are_verified() {
    let server = Server::start(|_| Reply::new(200).body("config")).await;
    let (client, repo, ledger) = (client(), repo(&server), Ledger::new());
    let get = |digest, size| client.blob_bytes(&repo, digest, size, &ledger, Cause::Metadata);
    assert_eq!(get(Digest::of(b"config"), 6).await.expect("the config"), b"config");
    assert!(matches!(get(Digest::of(b"other!"), 6).await, Err(RegistryError::Digest { .. })));
    assert!(matches!(get(Digest::of(b"config"), 5).await, Err(RegistryError::Size { .. })));
    assert!(matches!(get(Digest::of(b"config"), 1 << 40).await, Err(RegistryError::TooLarge { .. })));
    assert_eq!(ledger.bytes().total(), client.wire().body_bytes);
}

#[tokio::test]
async fn a_whole_blob_goes_on_where_the_connection_broke() {
    for ranges in [true, false] {
        let bytes = blob(1 << 20);
        let asked = AtomicUsize::new(0);
        let served = bytes.clone();
        let server = Server::start(move |seen| {
            let reply = if ranges { kinds::go(&served, seen) } else { Reply::new(200).body(served.clone()) };
            if asked.fetch_add(1, Ordering::SeqCst) < 2 { reply.cut(200_000) } else { reply }
        })
        .await;
        let (client, ledger, mut came) = (client(), Ledger::new(), Vec::new());
        let mut sink = |piece: &[u8]| {
            came.extend_from_slice(piece);
            Ok(())
        };
        let size = bytes.len() as u64;
        client
            .blob_from(&repo(&server), Digest::of(&bytes), size, 0, &ledger, Cause::Whole, &mut sink)
            .await
            .expect("the blob");
        assert_eq!(came, bytes);
        assert_eq!(ledger.bytes().whole, size);
        // Without ranges the second answer repeats what is there, and the third as well.
        assert_eq!(ledger.bytes().wasted, if ranges { 0 } else { 400_000 });
        assert_eq!(ledger.bytes().total(), server.sent());
        assert_eq!(client.wire().body_bytes, server.sent());
    }
}

#[tokio::test]
async fn a_blob_of_another_size_is_refused() {
    let server = Server::start(|_| Reply::new(200).body("longer")).await;
    let mut sink = |_: &[u8]| Ok(());
    let (client, ledger) = (client(), Ledger::new());
    let result = client.blob_from(&repo(&server), Digest::of(b"long"), 4, 0, &ledger, Cause::Whole, &mut sink).await;
    assert!(matches!(result, Err(RegistryError::Size { expected: 4, actual: 6, .. })), "{result:?}");
}
