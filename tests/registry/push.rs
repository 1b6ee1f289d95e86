//! Blobs and manifests on their way up.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use chunkify::digest::Digest;
use chunkify::registry::RegistryError;

use crate::server::{Reply, Server};
use crate::{blob, client, repo};

#[tokio::test]
async fn a_blob_is_sent_in_one_request_and_again_after_a_failure() {
    let bytes = blob(700_000);
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |seen| match seen.method.as_str() {
        "POST" => Reply::new(202).with("Location", "/upload/1?_state=a%2Bb"),
        "PUT" if asked.fetch_add(1, Ordering::SeqCst) == 0 => Reply::new(503),
        "PUT" => Reply::new(201),
        _ => Reply::new(405),
    })
    .await;
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&bytes).expect("written");
    let (digest, sent) = (Digest::of(&bytes), Arc::new(AtomicU64::new(0)));
    let open = || std::fs::File::open(file.path());
    client()
        .upload_blob(&repo(&server), digest, bytes.len() as u64, open, sent.clone())
        .await
        .expect("sent at the second try");
    assert_eq!(sent.load(Ordering::Relaxed), bytes.len() as u64);
    let puts: Vec<_> = server.seen().into_iter().filter(|seen| seen.method == "PUT").collect();
    assert_eq!(puts.len(), 2);
    for put in puts {
        assert_eq!(put.target, format!("/upload/1?_state=a%2Bb&digest=sha256%3A{}", digest.hex()));
        assert_eq!(put.header("content-length"), Some("700000"));
        assert_eq!(put.header("transfer-encoding"), None);
        assert!(put.body == bytes, "the whole blob");
    }
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
