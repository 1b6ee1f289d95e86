//! ls, rm, gc, stats and reindex, against stores whose contents are known.

use std::fs;
use std::path::Path;
use std::time::Duration;

use chunkify::digest::Digest;
use chunkify::housekeeping::{self, GcOptions};
use chunkify::image::{Descriptor, media_type};
use chunkify::store::{Files, Layout};
use serde_json::json;

use crate::support::command::chunkify;
use crate::world::{Run, World, check_whole, copy, folder};

const PLAIN: GcOptions =
    GcOptions { dry_run: false, keep_last: None, max_bytes: None, leftovers_older_than: Duration::from_secs(3600) };

/// Puts an image of such layers into a layout: manifest, config, layers.
fn image(layout: &Layout, layers: &[&[u8]], more: serde_json::Value) -> Descriptor {
    // A run of its own, or all of it would be kept as long as the layout is open.
    let run = layout.for_run();
    let blob = |bytes: &[u8], kind: &str| {
        let digest = run.put_blob(bytes).unwrap();
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    };
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = blob(config.to_string().as_bytes(), media_type::CONFIG);
    let layers: Vec<_> = layers.iter().map(|layer| blob(layer, media_type::LAYER_TAR)).collect();
    let mut manifest =
        json!({"schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers});
    manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let bytes = manifest.to_string().into_bytes();
    Descriptor::new(media_type::MANIFEST, run.put_blob(&bytes).unwrap(), bytes.len() as u64)
}

fn empty(folder: &tempfile::TempDir) -> Layout {
    Layout::open_or_create(&folder.path().join("store")).unwrap()
}

fn names(layout: &Layout) -> Vec<String> {
    layout.images().unwrap().iter().map(|image| image.label()).collect()
}

#[test]
fn what_is_shared_and_what_is_not() {
    let folder = folder();
    let layout = empty(&folder);
    let (base, one, two) = ([1; 1000], [2; 300], [3; 500]);
    for (name, layers) in [("app:1", [&base[..], &one]), ("app:2", [&base, &two])] {
        let image = image(&layout, &layers, json!({}));
        layout.set_image(name, image).unwrap();
    }
    layout.for_run().put_blob(b"nobody's").unwrap();
    let listing = housekeeping::list(&layout).unwrap();
    let [first, second] = &listing.images[..] else { panic!("two images") };
    assert_eq!((first.shared, second.shared), (1000, 1000));
    assert_eq!(first.size, first.unique + 1000);
    assert!(first.unique > 300 && second.unique > 500);
    assert_eq!((first.blobs, first.missing), (4, 0));
    assert_eq!((listing.blobs, listing.unreferenced, listing.unreferenced_bytes), (8, 1, 8));
    // What ls promises is what rm and gc free.
    let promised = first.unique;
    housekeeping::remove(&layout, &["app:1".into()]).unwrap();
    let collected = housekeeping::collect(&layout, &PLAIN).unwrap();
    assert_eq!(collected.blob_bytes, promised + 8);
    assert_eq!(housekeeping::list(&layout).unwrap().images[0].unique, collected.left_bytes);
}

#[test]
fn a_removal_of_what_is_not_there_removes_nothing() {
    let folder = folder();
    let layout = empty(&folder);
    let one = image(&layout, &[b"1"], json!({}));
    layout.set_image("app:1", one).unwrap();
    let refused = housekeeping::remove(&layout, &["app:1".into(), "app:2".into()]).unwrap_err();
    assert!(refused.to_string().contains("no image \"app:2\"; it holds app:1"), "{refused}");
    assert_eq!(names(&layout), ["app:1"]);
}

#[test]
fn the_last_of_each_repository_stay_and_signatures_follow_their_images() {
    let folder = folder();
    let layout = empty(&folder);
    for at in 0..4_u8 {
        for repository in ["host:5000/app", "other"] {
            let image = image(&layout, &[&[at; 512], &[repository.len().to_le_bytes()[0]; 512]], json!({}));
            layout.set_image(&format!("{repository}:{at}"), image.clone()).unwrap();
            if repository == "other" {
                // One signature by subject, one by name.
                let subject = json!({"mediaType": image.media_type, "digest": image.digest, "size": image.size});
                let signature = self::image(&layout, &[&[100 + at; 512]], json!({"subject": subject}));
                let by_name = self::image(&layout, &[&[200 + at; 512]], json!({}));
                layout.set_image(&format!("other:sha256-{}.sig", image.digest.hex()), by_name).unwrap();
                layout.set_image(&format!("signature of {at}"), signature).unwrap();
            }
        }
        let bare = image(&layout, &[&[at; 1024]], json!({}));
        layout.set_image(&format!("bare{at}"), bare).unwrap();
    }
    let before = (names(&layout), layout.all_blobs().unwrap());
    let dry = housekeeping::collect(&layout, &GcOptions { dry_run: true, keep_last: Some(2), ..PLAIN }).unwrap();
    assert_eq!(before, (names(&layout), layout.all_blobs().unwrap()), "a dry run changes nothing");
    let collected = housekeeping::collect(&layout, &GcOptions { keep_last: Some(2), ..PLAIN }).unwrap();
    assert_eq!(
        (dry.images.len(), dry.blobs, dry.blob_bytes),
        (collected.images.len(), collected.blobs, collected.blob_bytes)
    );
    let gone: Vec<_> = collected.images.iter().map(|gone| gone.image.clone()).collect();
    assert_eq!(gone.len(), 8, "{gone:?}");
    let left = names(&layout);
    for name in ["host:5000/app:2", "host:5000/app:3", "other:2", "other:3", "signature of 2", "bare0", "bare3"] {
        assert!(left.iter().any(|left| left == name), "{name} stays: {left:?}");
    }
    assert_eq!(left.iter().filter(|name| name.contains(".sig")).count(), 2);
    check_whole(&folder.path().join("store"), "after the collection");
}

#[test]
fn a_size_is_kept_and_the_newest_image_in_any_case() {
    let folder = folder();
    let layout = empty(&folder);
    for at in 0..5_u8 {
        let image = image(&layout, &[&vec![at; 10_000]], json!({}));
        layout.set_image(&format!("app:{at}"), image).unwrap();
    }
    let most = Some(25_000);
    let collected = housekeeping::collect(&layout, &GcOptions { max_bytes: most, ..PLAIN }).unwrap();
    assert_eq!(names(&layout), ["app:3", "app:4"]);
    assert!(collected.left_bytes <= 25_000 && collected.over.is_none());
    let collected = housekeeping::collect(&layout, &GcOptions { max_bytes: Some(1), ..PLAIN }).unwrap();
    assert_eq!((names(&layout), collected.over), (vec!["app:4".to_owned()], Some(1)));
}

#[test]
fn nothing_goes_while_a_document_cannot_be_read() {
    let folder = folder();
    let layout = empty(&folder);
    let image = image(&layout, &[b"layer"], json!({}));
    layout.set_image("app:1", image.clone()).unwrap();
    layout.for_run().put_blob(b"nobody's, or the damaged document's").unwrap();
    let path = layout.blob_path(&image.digest);
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[20] ^= 1;
    fs::write(&path, bad).unwrap();
    let blobs = layout.all_blobs().unwrap();
    let ran = chunkify(&["store", "gc", "--store", &layout.root().display().to_string()]).refused();
    assert!(
        ran.stderr.contains(&image.digest.to_string()) && ran.stderr.contains("no blob was removed"),
        "{}",
        ran.stderr
    );
    assert_eq!(layout.all_blobs().unwrap(), blobs);
    fs::write(&path, good).unwrap();
    assert_eq!(housekeeping::collect(&layout, &PLAIN).unwrap().blobs, 1);
}

#[test]
fn what_documents_name_in_unknown_ways_stays() {
    let folder = folder();
    let layout = empty(&folder);
    let [blob, child] =
        [b"a blob of an artifact", b"of another kind......"].map(|bytes| layout.for_run().put_blob(bytes).unwrap());
    let artifact = json!({
        "mediaType": "application/vnd.oci.artifact.manifest.v1+json",
        "blobs": [{"mediaType": "x", "digest": blob, "size": 21}], "also": {"see": [{"digest": child}]},
    });
    let bytes = artifact.to_string().into_bytes();
    let digest = layout.for_run().put_blob(&bytes).unwrap();
    let kind = "application/vnd.oci.artifact.manifest.v1+json";
    layout.set_image("artifact", Descriptor::new(kind, digest, bytes.len() as u64)).unwrap();
    assert_eq!(housekeeping::collect(&layout, &PLAIN).unwrap().blobs, 0);
}

#[test]
fn leftovers_go_by_age_and_not_while_somebody_works_on_them() {
    let folder = folder();
    let layout = empty(&folder);
    let [old, busy] = [b"old", b"new"].map(|bytes| Digest::of(bytes));
    layout.partial(&old, 1 << 20).unwrap().write_at(0, &[1; 10_000]).unwrap();
    let held = layout.partial(&busy, 9).unwrap();
    let now = GcOptions { leftovers_older_than: Duration::ZERO, ..PLAIN };
    assert_eq!(housekeeping::collect(&layout, &PLAIN).unwrap().partials, 0, "it is young");
    let collected = housekeeping::collect(&layout, &now).unwrap();
    assert_eq!(collected.partials, 1);
    assert!((10_000..200_000).contains(&collected.partial_bytes), "holes take no room: {}", collected.partial_bytes);
    drop(held);
    assert_eq!(housekeeping::collect(&layout, &now).unwrap().partials, 1);
}

#[test]
fn what_is_remembered_of_a_conversion_goes_with_its_blob() {
    let world = World::new();
    let folder = folder();
    let store = folder.path().join("store");
    copy(&world.before(Run::Remove), &store);
    let records = store.join(".chunkify/converted");
    let count = || fs::read_dir(&records).unwrap().count();
    let layout = Layout::open(&store).unwrap();
    assert_eq!(count(), 3, "one layer is in both images");
    fs::write(records.join("damaged"), "{").unwrap();
    assert_eq!(housekeeping::collect(&layout, &PLAIN).unwrap().leftovers, 1);
    housekeeping::remove(&layout, &["old".into()]).unwrap();
    let dry = housekeeping::collect(&layout, &GcOptions { dry_run: true, ..PLAIN }).unwrap();
    assert_eq!((dry.leftovers, count()), (1, 3), "a dry run tells it and leaves it");
    // The index of the blob goes with the blob and is not counted.
    assert_eq!(housekeeping::collect(&layout, &PLAIN).unwrap().leftovers, 1);
    assert_eq!(count(), 2);
    world.run(Run::Convert, &store, Files::default()).unwrap();
    check_whole(&store, "after a conversion that finds its records");
    assert_eq!(count(), 2, "nothing was converted again");
}

#[test]
fn stats_tell_what_versions_share_and_reindex_makes_what_is_missing_or_damaged() {
    let world = World::new();
    let folder = folder();
    let store = folder.path().join("store");
    copy(&world.before(Run::Remove), &store);
    let layout = Layout::open(&store).unwrap();
    let stats = housekeeping::stats(&layout).unwrap();
    let [pair] = &stats.pairs[..] else { panic!("one pair: {:?}", stats.pairs) };
    let [old, new] = &stats.images[..] else { panic!("two images") };
    assert_eq!((old.shared_bytes, new.shared_bytes), (pair.bytes, pair.bytes));
    assert_eq!(old.bytes, old.unique_bytes + old.shared_bytes);
    assert_eq!(stats.bytes, old.unique_bytes + new.unique_bytes + pair.bytes);
    assert!(pair.bytes * 2 > old.bytes && old.unique_bytes > 0 && old.unknown_bytes == 0);

    let indexes = store.join(".chunkify/frames");
    let read = |indexes: &Path| -> Vec<_> {
        let mut files: Vec<_> = fs::read_dir(indexes).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    };
    let good = read(&indexes);
    assert_eq!(good.len(), 3, "one layer is in both images");
    let same = |layout: &Layout| {
        let again = housekeeping::stats(layout).unwrap();
        assert_eq!((again.frames, again.bytes, again.pairs), (stats.frames, stats.bytes, stats.pairs.clone()));
    };
    fs::remove_dir_all(&indexes).unwrap();
    same(&layout);
    for (path, bytes) in &good {
        fs::write(path, [&b"CHKFIDX1"[..], &bytes[8..]].concat()).unwrap();
    }
    same(&layout);
    fs::write(indexes.join(Digest::of(b"gone").hex()), b"an index of nothing").unwrap();
    fs::write(&good[0].0, b"damaged").unwrap();
    let done = housekeeping::reindex(&layout).unwrap();
    assert_eq!((done.blobs, done.removed, done.failed), (3, 1, 0));
    assert_eq!(read(&indexes), good);
    // A blob that no image names describes itself.
    housekeeping::remove(&layout, &["old".into(), "new".into()]).unwrap();
    assert_eq!(housekeeping::reindex(&layout).unwrap().blobs, 3);
}

#[test]
fn the_commands_say_it_in_words_and_in_json() {
    let world = World::new();
    let folder = folder();
    let store = folder.path().join("store");
    copy(&world.before(Run::Collect), &store);
    let dir = store.display().to_string();
    let ls = chunkify(&["store", "ls", "--store", &dir]).ok().stdout;
    for word in ["image", "unique", "shared", "app:1", "app:3", "in 8 blobs, 3 images", "belong to no image"] {
        assert!(ls.contains(word), "{word}: {ls}");
    }
    let json = chunkify(&["store", "ls", "--store", &dir, "--json"]).ok().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["images"].as_array().unwrap().len(), 3);
    let stats = chunkify(&["store", "stats", "--store", &dir]).ok().stdout;
    assert!(stats.contains("nearest other") && stats.contains("different frames"), "{stats}");
    let dry = chunkify(&["store", "gc", "--store", &dir, "--keep-last", "1", "--dry-run"]).ok().stdout;
    assert!(dry.contains("app:2 would go: 1 newer of app stay") && dry.contains("would be freed"), "{dry}");
    let rm = chunkify(&["store", "rm", "app:3", "--store", &dir]).ok().stdout;
    assert!(rm.contains("app:3 is no longer in the store"), "{rm}");
    let gc = chunkify(&["store", "gc", "--store", &dir, "--max-size", "1MiB"]).ok().stdout;
    assert!(gc.contains("freed") && !gc.contains("would"), "{gc}");
    let verify = chunkify(&["store", "verify", "--store", &dir]).ok().stdout;
    assert!(verify.contains("all is whole"), "{verify}");
    let index = chunkify(&["store", "reindex", "--store", &dir]).ok().stdout;
    assert!(index.contains("2 blobs indexed"), "{index}");
}
