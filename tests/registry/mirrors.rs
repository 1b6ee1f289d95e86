//! registries.conf at work: what comes from a mirror, what from the registry, and what neither gets to see.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use chunkify::digest::Digest;
use chunkify::ledger::{Cause, Ledger};
use chunkify::registry::{Client, Registries, RegistryError};

use crate::server::{Reply, Seen, Server};
use crate::{Checked, blob, client_with, kinds, repo, spans};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn registries(folder: &Path, toml: &str) -> Registries {
    let file = folder.join("registries.conf");
    std::fs::write(&file, toml).expect("written");
    let env = |name: &str| match name {
        "CONTAINERS_REGISTRIES_CONF" => Some(file.display().to_string()),
        "HOME" => Some(folder.display().to_string()),
        _ => None,
    };
    Registries::of_user(&env).expect("a good file")
}

/// A client of the registry `primary` with mirrors in this order; each is the end of a TOML table.
fn mirrored(primary: &Server, mirrors: &[(&str, &str)]) -> Client {
    let folder = tempfile::tempdir().expect("a folder");
    let mut toml = format!("[[registry]]\nlocation = \"{}\"\n", primary.address);
    for (address, more) in mirrors {
        toml += &format!("[[registry.mirror]]\nlocation = \"{address}/mirrored\"\ninsecure = true\n{more}\n");
    }
    let registries = registries(folder.path(), &toml);
    client_with(|options| {
        options.registries = registries.clone();
        options.credentials = "user:pa:ss".parse().ok();
    })
}

/// Paths asked for, without the look whether HTTPS is spoken.
fn asked(server: &Server) -> Vec<String> {
    server.seen().into_iter().map(|seen| seen.target).filter(|target| target.starts_with("/v2/")).collect()
}

fn manifest(bytes: &'static str) -> impl Fn(&Seen) -> Reply + Send + Sync {
    move |seen| match seen.target.contains("/manifests/") {
        true => Reply::new(200).with("Content-Type", MANIFEST).body(bytes),
        false => Reply::new(404),
    }
}

#[tokio::test]
async fn each_thing_comes_from_the_first_place_that_has_it() {
    // One mirror has nothing, one has the manifest, the registry has the blob; one more is not there at all.
    let empty = Server::start(|_| Reply::new(404)).await;
    let partial = Server::start(manifest("{}")).await;
    let primary = Server::start(|seen| match seen.header("authorization") {
        None => Reply::new(401).with("WWW-Authenticate", "Basic realm=r"),
        Some(_) if seen.target.contains("/blobs/") => Reply::new(200).body("config"),
        Some(_) => Reply::new(500),
    })
    .await;
    let gone = "127.0.0.1:1";
    let client = mirrored(&primary, &[(&empty.address, ""), (gone, ""), (&partial.address, "")]);
    let (repo, ledger, config) = (repo(&primary), Ledger::new(), Digest::of(b"config"));
    let got = client.manifest(&repo, "new", &ledger).await.expect("from the mirror that has it");
    assert_eq!(got.bytes, b"{}");
    for _ in 0..2 {
        let bytes = client.blob_bytes(&repo, config, 6, &ledger, Cause::Metadata).await.expect("from the registry");
        assert_eq!(bytes, b"config");
    }
    let blob_path = format!("/v2/mirrored/team/app/blobs/{config}");
    assert_eq!(asked(&empty), ["/v2/mirrored/team/app/manifests/new", &blob_path], "what is lacking is asked for once");
    assert_eq!(asked(&partial), asked(&empty));
    for mirror in [&empty, &partial] {
        assert!(
            mirror.seen().iter().all(|seen| seen.header("authorization").is_none()),
            "credentials for the registry are not for its mirrors"
        );
    }
    assert_eq!(ledger.bytes().total(), client.wire().body_bytes);
}

#[tokio::test]
async fn what_a_mirror_began_the_registry_ends() {
    let bytes = blob(1 << 20);
    let answers = AtomicUsize::new(0);
    let of_mirror = bytes.clone();
    let mirror = Server::start(move |seen| match answers.fetch_add(1, Ordering::SeqCst) {
        // The first request came to see whether this is HTTPS, and never was a request.
        0 => kinds::zot_old(&of_mirror, seen),
        _ if seen.header("range").is_some_and(|range| range.contains(',')) => Reply::new(416),
        1..=4 => kinds::zot_old(&of_mirror, seen),
        _ => Reply::new(403),
    })
    .await;
    let of_primary = bytes.clone();
    let primary = Server::start(move |seen| kinds::go(&of_primary, seen)).await;
    let client = mirrored(&primary, &[(&mirror.address, "")]);
    let (ledger, missing) = (Ledger::new(), spans(10, 1000, 80_000));
    let sink = Checked::new(&bytes, &missing, &ledger);
    let size = bytes.len() as u64;
    client.blob_spans(&repo(&primary), Digest::of(&bytes), size, &missing, &ledger, &sink).await.expect("all of it");
    assert!(sink.complete());
    let from_mirror = mirror.ranges().len();
    assert!(from_mirror >= 2 && !primary.ranges().is_empty(), "{from_mirror} {:?}", primary.ranges());
    assert_eq!(ledger.bytes().payload, 10_000, "nothing is fetched twice: {:?}", ledger.bytes());
}

#[tokio::test]
async fn mirrors_are_asked_for_what_they_are_for() {
    let mirror = Server::start(manifest("{}")).await;
    let primary = Server::start(manifest("{ }")).await;
    let digest = Digest::of(b"{}").to_string();
    for (more, tag, by_digest) in [
        ("pull-from-mirror = \"all\"", "{}", true),
        ("pull-from-mirror = \"digest-only\"", "{ }", true),
        ("pull-from-mirror = \"tag-only\"", "{}", false),
    ] {
        let client = mirrored(&primary, &[(&mirror.address, more)]);
        let by_tag = mirrored(&primary, &[(&mirror.address, more)]);
        let got = by_tag.manifest(&repo(&primary), "new", &Ledger::new()).await.expect("a manifest");
        assert_eq!(got.bytes, tag.as_bytes(), "{more}");
        let got = client.manifest(&repo(&primary), &digest, &Ledger::new()).await;
        assert_eq!(got.is_ok(), by_digest, "{more}: {got:?}");
    }
    // What belongs to a tag's image may be where the tag is, and nowhere else.
    let client = mirrored(&primary, &[(&mirror.address, "pull-from-mirror = \"tag-only\"")]);
    client.manifest(&repo(&primary), "new", &Ledger::new()).await.expect("the tag");
    client.manifest(&repo(&primary), &digest, &Ledger::new()).await.expect("what belongs to it");
}

#[tokio::test]
async fn pushes_go_to_the_registry_and_nowhere_else() {
    let mirror = Server::start(|_| Reply::new(201)).await;
    let primary = Server::start(|_| Reply::new(201)).await;
    let client = mirrored(&primary, &[(&mirror.address, "")]);
    client.put_manifest(&repo(&primary), "new", MANIFEST, b"{}").await.expect("stored");
    assert!(mirror.seen().is_empty());
    assert_eq!(asked(&primary), ["/v2/team/app/manifests/new"]);
}

#[tokio::test]
async fn what_is_blocked_is_not_asked_for() {
    let primary = Server::start(|_| Reply::new(200)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let toml = format!("[[registry]]\nlocation = \"{}/team\"\nblocked = true", primary.address);
    let registries = registries(folder.path(), &toml);
    let client = client_with(|options| options.registries = registries.clone());
    let (repo, ledger) = (repo(&primary), Ledger::new());
    let pulled = client.manifest(&repo, "new", &ledger).await.expect_err("blocked");
    let pushed = client.put_manifest(&repo, "new", MANIFEST, b"{}").await.expect_err("blocked");
    for error in [pulled, pushed] {
        assert!(matches!(error, RegistryError::Registries(_)), "{error:?}");
        assert!(error.to_string().contains("is blocked in "), "{error}");
    }
    assert!(primary.seen().is_empty());
}

#[tokio::test]
async fn when_nobody_helps_everybody_is_named() {
    let mirror = Server::start(|_| Reply::new(403).body("not yours")).await;
    let primary = Server::start(|_| Reply::new(404)).await;
    let client = mirrored(&primary, &[(&mirror.address, "")]);
    let error = client.manifest(&repo(&primary), "new", &Ledger::new()).await.expect_err("nobody has it");
    assert!(error.is_not_found(), "the registry's answer counts: {error:?}");
    let shown = format!("{error}");
    assert!(shown.contains(&mirror.address) && shown.contains("403: not yours"), "{shown}");
}

#[tokio::test]
async fn documents_that_a_mirror_has_wrong_come_from_the_registry() {
    let wrong = |seen: &Seen| match seen.target.contains("/manifests/") {
        true => Reply::new(200).with("Content-Type", MANIFEST).body("{ }"),
        false => Reply::new(200).body("CONFIG"),
    };
    let mirror = Server::start(wrong).await;
    let primary = Server::start(|seen| match seen.target.contains("/manifests/") {
        true => Reply::new(200).with("Content-Type", MANIFEST).body("{}"),
        false => Reply::new(200).body("config"),
    })
    .await;
    let client = mirrored(&primary, &[(&mirror.address, "")]);
    let (repo, ledger, config) = (repo(&primary), Ledger::new(), Digest::of(b"config"));
    for _ in 0..2 {
        let got = client.manifest(&repo, &Digest::of(b"{}").to_string(), &ledger).await.expect("from the registry");
        assert_eq!(got.bytes, b"{}");
        let got = client.blob_bytes(&repo, config, 6, &ledger, Cause::Metadata).await.expect("from the registry");
        assert_eq!(got, b"config");
    }
    assert_eq!(asked(&mirror).len(), 2, "what is wrong there is asked for once");
    let bytes = ledger.bytes();
    assert_eq!((bytes.wasted, bytes.metadata), (3 + 6, 2 * (2 + 6)), "{bytes:?}");
}
