//! Manifests, indexes and configs.

use std::sync::Arc;

use chunkify::digest::Digest;
use chunkify::image::{Index, Manifest, PlatformFilter};
use chunkify::ledger::Ledger;
use chunkify::limits;
use chunkify::pull;
use chunkify::registry::{Client, Options, Reference, Repository};
use chunkify::report;
use chunkify::store::Layout;
use serde_json::{Value, json};

use crate::server::{Reply, Server};
use crate::support::registry::{Mode, Registry};
use crate::wait;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub fn client() -> Client {
    let backoff = std::time::Duration::from_millis(1);
    Client::new(Options { plain_http: true, backoff, ..Options::default() }).unwrap()
}

fn descriptor(kind: &str, size: u64) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(b"").to_string(), "size": size})
}

pub fn manifest() {
    wait(async {
        for (len, fits) in [(limits::MANIFEST, true), (limits::MANIFEST + 1, false)] {
            let body = vec![b' '; usize::try_from(len).unwrap()];
            let server =
                Server::start(move |_| Reply::new(200).with("Content-Type", MANIFEST).body(body.clone())).await;
            let repo = Repository::new(&server.address, "team/app").unwrap();
            let ledger = Ledger::new();
            let answer = client().manifest(&repo, "tag", &ledger).await;
            assert_eq!(answer.as_ref().map_or(0, |manifest| manifest.bytes.len() as u64), if fits { len } else { 0 });
            assert!(fits || answer.unwrap_err().to_string().contains("more than 8388608 bytes"));
        }
    });
}

fn manifest_of(layers: usize, size: u64) -> Result<Manifest, String> {
    let layers = vec![descriptor("application/vnd.oci.image.layer.v1.tar+zstd", size); layers];
    let config = descriptor("application/vnd.oci.image.config.v1+json", 2);
    let text = json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string();
    Manifest::parse(text.as_bytes()).map_err(|error| error.to_string())
}

pub fn layers() {
    manifest_of(limits::LAYERS, 1).unwrap();
    let refused = manifest_of(limits::LAYERS + 1, 1).unwrap_err();
    assert!(refused.contains("4097") && refused.contains("4096"), "{refused}");
}

pub fn layer() {
    manifest_of(1, limits::LAYER).unwrap();
    let refused = manifest_of(1, limits::LAYER + 1).unwrap_err();
    for number in [limits::LAYER, limits::LAYER + 1] {
        assert!(refused.contains(&number.to_string()), "{refused}");
    }
}

pub fn index_manifests() {
    let index = |count: usize| {
        let text = json!({"schemaVersion": 2, "manifests": vec![descriptor(MANIFEST, 2); count]}).to_string();
        Index::parse(text.as_bytes()).map_err(|error| error.to_string())
    };
    index(limits::INDEX_MANIFESTS).unwrap();
    let refused = index(limits::INDEX_MANIFESTS + 1).unwrap_err();
    assert!(refused.contains("4097") && refused.contains("4096"), "{refused}");
}

pub fn index_depth() {
    for (depth, fits) in [(limits::INDEX_DEPTH, true), (limits::INDEX_DEPTH + 1, false)] {
        let registry = Registry::with_mode(Mode::Go);
        nest(&registry, depth);
        let store = tempfile::tempdir().unwrap();
        let layout = Layout::open_or_create(store.path()).unwrap();
        let reference: Reference = format!("{}/app:nested", registry.address()).parse().unwrap();
        let platform = PlatformFilter::host();
        let options =
            pull::Options { platform, all_platforms: true, max_wire_bytes: None, dry_run: false, seeds: Vec::new() };
        let pulled = wait(pull::pull(&client(), &reference, &layout, &options, Arc::new(|_| {})));
        let said = pulled.as_ref().err().map(|error| report::chain(error)).unwrap_or_default();
        assert_eq!(pulled.is_ok(), fits, "{depth}: {said}");
        assert!(fits || said.contains("more than 4 deep"), "{said}");
    }
}

/// An image inside so many indexes.
fn nest(registry: &Registry, depth: usize) {
    let mut content = registry.content();
    let config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).to_string();
    let digest = content.add_blob("app", config.clone().into());
    let config =
        json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()});
    let mut document = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
    for _ in 0..depth {
        let (kind, text) = (document["mediaType"].as_str().unwrap().to_owned(), document.to_string());
        let digest = crate::support::content::digest_of(text.as_bytes());
        content.put_manifest("app", &digest, &kind, text.clone().into()).unwrap();
        let child = json!({"mediaType": kind, "digest": digest, "size": text.len()});
        document = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]});
    }
    content.put_manifest("app", "nested", INDEX, document.to_string().into()).unwrap();
}
