//! Manifests that state wrong sizes, and registries that send other bytes than they promised.

use serde_json::{Value, json};

use crate::parts::{of, parts};
use crate::pulls::Scene;
use crate::support::layout;
use crate::support::made::noise;
use crate::support::registry::Fault;

/// A layer's size is the manifest's word. Whatever it is, no blob appears that is not what its digest says.
#[test]
fn a_manifest_whose_sizes_lie_is_refused() {
    let told = parts().tell();
    let size = told.blob.len() as u64;
    let table: &[(&str, u64, &str)] = &[
        ("nothing", 0, "0 bytes"),
        ("one byte", 1, "bytes"),
        ("one too few", size - 1, "bytes"),
        ("one too many", size + 1, "bytes"),
        ("ten times as many", size * 10, "bytes"),
        ("a terabyte", 1 << 40, "bytes, expected 1099511627776"),
        ("more than is accepted", (1 << 40) + 1, "states that layer"),
        ("as many as can be written down", u64::MAX, "states that layer"),
    ];
    for (what, stated, expected) in table {
        let scene = Scene::new();
        let mut layer = scene.layer(&told);
        layer["size"] = json!(stated);
        scene.image("lie", std::slice::from_ref(&layer), &[told.diff_id.to_string()]);
        let mark = scene.registry.log().len();
        let refused = scene.try_pull("lie").map(|_| ()).expect_err(what);
        let digest = &layer["digest"].as_str().unwrap()[..19];
        let named = refused.contains(expected) && refused.contains(digest) && !refused.contains("no remedy");
        assert!(named, "{what}: {refused}");
        scene.assert_nothing_kept(what, &[&layer]);
        let sent = scene.registry.count_after(mark);
        // At most two answers in part, which are no use, and the whole.
        assert!(sent.body_bytes <= 3 * size + 4000, "{what}: {sent:?} for a layer of {size} bytes");
        assert!(on_disk(&scene) < 4 * size + 100_000, "{what}: {} bytes on disk", on_disk(&scene));
    }
}

/// Bytes that the store takes on disk.
fn on_disk(scene: &Scene) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fn below(folder: &std::path::Path) -> u64 {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        entries
            .map(
                |entry| {
                    if entry.path().is_dir() { below(&entry.path()) } else { entry.metadata().unwrap().blocks() * 512 }
                },
            )
            .sum()
    }
    below(&scene.store())
}

/// Sizes of documents are stated twice: by who names them, and by what comes.
#[test]
fn a_config_whose_size_lies_is_refused() {
    let told = parts().tell();
    for stated in [0, 1, 5000, 8 << 20, (8 << 20) + 1, u64::MAX] {
        let scene = Scene::new();
        let layer = scene.layer(&told);
        scene.image("honest", std::slice::from_ref(&layer), &[told.diff_id.to_string()]);
        let (_, kind, bytes) = scene.registry.content().manifest("app", "honest").unwrap();
        let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
        manifest["config"]["size"] = json!(stated);
        let digest = manifest["config"]["digest"].as_str().unwrap()[..19].to_owned();
        scene.registry.content().put_manifest("app", "lie", &kind, manifest.to_string().into()).unwrap();
        let refused = scene.try_pull("lie").map(|_| ()).expect_err("a wrong size");
        assert!(refused.contains(&digest) && !refused.contains("no remedy"), "{stated}: {refused}");
        scene.assert_nothing_kept("a config", &[&layer]);
    }
}

/// The tail comes as it should and the rest does not, however often it is asked for.
#[test]
fn other_bytes_on_the_second_request_are_refused() {
    let told = of(&[("a", noise(3, 700)), ("c", noise(4, 400_000))]).tell();
    let size = told.blob.len() as u64;
    // Blob bodies: the config, the tail, the data.
    for (what, from) in [("from the data on", 2), ("from the tail on", 1)] {
        let scene = Scene::new();
        scene.told("turning", &told);
        let layer = scene.layer(&told);
        scene.registry.inject(Fault::WrongFrom(from));
        let mark = scene.registry.log().len();
        let refused = scene.try_pull("turning").map(|_| ()).expect_err(what);
        for words in ["layer 1 of 1", &layer["digest"].as_str().unwrap()[..19], "digest", "nothing of it was kept"] {
            assert!(refused.contains(words), "{what}: {words}: {refused}");
        }
        scene.assert_nothing_kept(what, &[&layer]);
        let sent = scene.registry.count_after(mark).body_bytes;
        assert!(sent <= 3 * size + 4000, "{what}: {sent} bytes for a layer of {size}");
    }
}

/// Ranges are wrong, the whole is right: the layer comes whole.
#[test]
fn wrong_ranges_lead_to_the_whole_blob() {
    let told = of(&[("a", noise(3, 700)), ("c", noise(4, 400_000))]).tell();
    let scene = Scene::new();
    scene.told("ranges", &told);
    scene.registry.inject(Fault::WrongRanges);
    let mut pulled = scene.try_pull("ranges").unwrap();
    let layer = pulled.layers.remove(0);
    assert!(layer.mode == chunkify::pull::Mode::Whole && layer.reason.is_some(), "{layer:?}");
    assert!(layer.by_cause.whole >= layer.size && layer.by_cause.wasted > 0, "{layer:?}");
    layout::check_blobs(&scene.store());
    assert_eq!(layout::names(&scene.store()).len(), 1);
}
