//! Pulls of layers that lie, from a registry that does not: the blob is the one that the manifest names, whatever its tail says. It comes
//! into a store that has frames to copy, costs no more than its own bytes, and the ledger has every byte that the registry sent.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chunkify::format::annotations::Annotations;
use chunkify::image::PlatformFilter;
use chunkify::limits;
use chunkify::pull::{self, Mode as Came, Pulled};
use chunkify::registry::{self, Client, Reference};
use chunkify::report;
use chunkify::store::Layout;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::data;
use crate::parts::{Parts, Told, of, parts};
use crate::support::content::digest_of;
use crate::support::layout;
use crate::support::made::noise;
use crate::support::registry::{Mode, Registry};
use crate::tails;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry, a store, and what is pulled from the one into the other.
pub struct Scene {
    pub registry: Registry,
    folder: TempDir,
}

impl Scene {
    pub fn new() -> Self {
        Self { registry: Registry::with_mode(Mode::Go), folder: tempfile::tempdir().unwrap() }
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Empties the store.
    pub fn forget(&self) {
        let _ = std::fs::remove_dir_all(self.store());
    }

    /// The descriptor of a layer that the registry has.
    pub fn layer(&self, told: &Told) -> Value {
        let digest = self.registry.content().add_blob("app", Bytes::from(told.blob.clone()));
        let mut annotations = BTreeMap::new();
        told.annotations.apply(&mut annotations);
        let media_type = "application/vnd.oci.image.layer.v1.tar+zstd";
        json!({"mediaType": media_type, "digest": digest, "size": told.blob.len(), "annotations": annotations})
    }

    /// Gives the registry an image of these layers, as their descriptors have them.
    pub fn image(&self, tag: &str, layers: &[Value], diff_ids: &[String]) {
        let config = json!({
            "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string();
        let mut content = self.registry.content();
        let digest = content.add_blob("app", Bytes::from(config.clone()));
        let config =
            json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()});
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        content.put_manifest("app", tag, MANIFEST, Bytes::from(manifest.to_string())).unwrap();
    }

    /// An image of one layer.
    pub fn told(&self, tag: &str, told: &Told) {
        self.image(tag, &[self.layer(told)], &[told.diff_id.to_string()]);
    }

    /// Pulls, whatever comes of it: the error in the words that people see.
    pub fn try_pull(&self, tag: &str) -> Result<Pulled, String> {
        let reference: Reference = format!("{}/app:{tag}", self.registry.address()).parse().unwrap();
        let layout = Layout::open_or_create(&self.store()).unwrap();
        let platform = PlatformFilter::host();
        let options =
            pull::Options { platform, all_platforms: false, max_wire_bytes: None, dry_run: false, seeds: Vec::new() };
        let backoff = std::time::Duration::from_millis(1);
        let client =
            Client::new(registry::Options { plain_http: true, backoff, ..registry::Options::default() }).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pulled = runtime.block_on(pull::pull(&client, &reference, &layout, &options, Arc::new(|_| {})));
        pulled.map_err(|error| format!("{} ({})", report::chain(&error), error.remedy().unwrap_or("no remedy")))
    }

    /// Pulls, and holds the ledger against what the registry sent.
    #[track_caller]
    pub fn pull(&self, what: &str, tag: &str) -> Pulled {
        let mark = self.registry.log().len();
        let pulled = self.try_pull(tag).unwrap_or_else(|error| panic!("{what}: {error}"));
        let sent = self.registry.count_after(mark);
        assert_eq!((pulled.wire.requests, pulled.wire.body_bytes), (sent.requests, sent.body_bytes), "{what}");
        layout::check_blobs(&self.store());
        pulled
    }

    /// Nothing has a name, and no blob is other than its name says.
    #[track_caller]
    pub fn assert_nothing_kept(&self, what: &str, layers: &[&Value]) {
        assert!(layout::names(&self.store()).is_empty(), "{what}: an image has a name");
        layout::check_blobs(&self.store());
        for layer in layers {
            let path = layout::blob_path(&self.store(), layer["digest"].as_str().unwrap());
            assert!(!path.exists(), "{what}: {} is in the store", path.display());
        }
    }
}

/// An honest image that has something of what the lies are about: the file `a`.
fn honest(scene: &Scene) {
    scene.told("honest", &of(&[("a", noise(3, 700)), ("empty", Vec::new())]).tell());
    scene.pull("honest", "honest");
}

/// Pulls a lie; what is told of its layer.
#[track_caller]
fn pull_lie(scene: &Scene, what: &str, told: Parts) -> pull::LayerReport {
    let told = told.tell();
    scene.told("lie", &told);
    let mut pulled = scene.pull(what, "lie");
    let layer = pulled.layers.remove(0);
    let blob = std::fs::read(layout::blob_path(&scene.store(), &digest_of(&told.blob))).unwrap();
    assert!(blob == told.blob, "{what}: the blob is the one that the manifest names");
    let cost = layer.fetched_bytes - layer.by_cause.framing;
    assert!(cost <= layer.size, "{what}: a layer of {} bytes cost {cost}: {layer:?}", layer.size);
    layer
}

#[test]
fn a_lying_tail_costs_a_whole_layer_and_no_more() {
    let scene = Scene::new();
    honest(&scene);
    for (what, lie, expected) in tails::all() {
        let mut told = parts();
        lie(&mut told);
        let layer = pull_lie(&scene, what, told);
        let reason = layer.reason.unwrap_or_default();
        assert!(layer.mode == Came::Whole && reason.contains(expected), "{what}: {:?}, {reason:?}", layer.mode);
        forget_lie(&scene.store());
    }
}

#[test]
fn lying_data_is_what_the_manifest_names_and_nothing_else() {
    let scene = Scene::new();
    for (what, lie, _) in data::LIES {
        for into_empty in [true, false] {
            scene.forget();
            if !into_empty {
                honest(&scene);
            }
            let mut told = parts();
            lie(&mut told);
            pull_lie(&scene, what, told);
        }
    }
}

/// The honest frame that a lie claims to have is copied, and turns out not to be what the blob has; other frames that came have digests
/// that the table of contents lies about. What was copied is fetched, and of what came only as much as a bad line may have spoilt.
#[test]
fn lies_that_spoil_what_was_copied_do_not_cost_the_layer_twice() {
    let scene = Scene::new();
    let large = || {
        let mut told = of(&[("a", noise(3, 700)), ("c", noise(4, 3_000_000))]);
        told.replace_chunk("a", 0, &noise(99, 700));
        told
    };
    let lies: [(&str, u64, Range<u64>); 3] = [
        ("a copied frame", 0, 700..10_000),
        (
            "and as much as a line may have spoilt",
            limits::FETCHED_AGAIN,
            limits::FETCHED_AGAIN / 2..limits::FETCHED_AGAIN + 10_000,
        ),
        ("and all that came", u64::MAX, 700..10_000),
    ];
    for (what, lied_about, wasted) in lies {
        scene.forget();
        honest(&scene);
        let mut told = large();
        let mut left = lied_about;
        for nth in 0..told.chunks("c") {
            let span = told.span("c", nth);
            match left.checked_sub(span.len() as u64) {
                Some(rest) => left = rest,
                None => break,
            }
            told.set("c", nth, "chunkDigest", digest_of(b"a lie"));
        }
        let told = told.tell();
        scene.told("lie", &told);
        let layer = scene.pull(what, "lie").layers.remove(0);
        assert_eq!(layer.mode, Came::Partial, "{what}: {layer:?}");
        assert!(wasted.contains(&layer.by_cause.wasted), "{what}: {layer:?}");
        let cost = layer.fetched_bytes - layer.by_cause.framing;
        assert!(cost <= layer.size + limits::FETCHED_AGAIN, "{what}: a layer of {} bytes cost {cost}", layer.size);
    }
}

/// Takes the lie away, and leaves what can be copied from.
fn forget_lie(store: &Path) {
    let layout = Layout::open(store).unwrap();
    let name = layout::names(store).into_iter().find(|name| name.ends_with(":lie")).unwrap();
    layout.remove_image(&name).unwrap();
}

/// Of one layer the annotations of another: both come whole, and are what they are.
#[test]
fn swapped_annotations_are_noticed() {
    let scene = Scene::new();
    let [one, two] = [noise(11, 30_000), noise(12, 50_000)].map(|payload| of(&[("file", payload)]).tell());
    let mut layers = [scene.layer(&one), scene.layer(&two)];
    let swapped = layers[0]["annotations"].take();
    layers[0]["annotations"] = layers[1]["annotations"].take();
    layers[1]["annotations"] = swapped;
    scene.image("swapped", &layers, &[one.diff_id.to_string(), two.diff_id.to_string()]);
    let pulled = scene.pull("swapped", "swapped");
    for layer in &pulled.layers {
        let reason = layer.reason.clone().unwrap_or_default();
        assert!(layer.mode == Came::Whole && reason.contains("do not adjoin at the end"), "{layer:?}");
        assert_eq!(layer.fetched_bytes, layer.size, "{layer:?}");
    }
}

/// A descriptor whose digest of the table of contents is another's: the tail is not believed.
#[test]
fn a_digest_of_another_table_of_contents_is_noticed() {
    let scene = Scene::new();
    let told = parts().tell();
    let annotations = Annotations { toc_digest: told.diff_id, ..told.annotations };
    let told = Told { annotations, ..told };
    scene.told("lie", &told);
    let layer = scene.pull("another digest", "lie").layers.remove(0);
    let reason = layer.reason.clone().unwrap_or_default();
    assert!(layer.mode == Came::Whole && reason.contains("the table of contents has digest"), "{layer:?}");
    assert_eq!(layer.fetched_bytes, layer.size, "{layer:?}");
}
