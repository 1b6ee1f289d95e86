//! Blobs that were damaged, cut short or deleted behind our back.

use std::fs;
use std::path::{Path, PathBuf};

use chunkify::digest::Digest;
use chunkify::store::{Files, Layout};

use crate::support::command::{Ran, chunkify};
use crate::support::layout::{self, Image, blob_path};
use crate::world::{Run, World, check_whole, copy, folder};

fn flip(path: &Path, at: &[usize]) {
    let mut bytes = fs::read(path).unwrap();
    at.iter().for_each(|at| bytes[*at] ^= 0x10);
    fs::write(path, bytes).unwrap();
}

/// Damages a file.
type Damage = fn(&Path);

/// What can happen to a layer that is larger than a few kilobytes.
const DAMAGES: [(&str, Damage); 4] = [
    ("flipped bits", |path| flip(path, &[10_000, 70_000])),
    ("flipped bits in the tail", |path| {
        flip(path, &[usize::try_from(fs::metadata(path).unwrap().len()).unwrap() - 400])
    }),
    ("cut short", |path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    }),
    ("deleted", |path| fs::remove_file(path).unwrap()),
];

struct Damaged {
    world: World,
    _folder: tempfile::TempDir,
    store: PathBuf,
    layer: String,
}

/// A store with the old image, whose layer that changes is damaged.
fn damaged(damage: Damage) -> Damaged {
    let world = World::new();
    let folder = folder();
    let store = folder.path().join("store");
    copy(&world.before(Run::PullUpdate), &store);
    let name = layout::names(&store)[0].clone();
    let layer = Image::read(&store, &name).layers()[1].clone();
    damage(&blob_path(&store, &layer));
    Damaged { world, _folder: folder, store, layer }
}

impl Damaged {
    fn pull(&self) -> Ran {
        let reference = format!("docker://{}/app:moving", self.world.registry.address());
        chunkify(&["pull", "--plain-http", &reference, "--store", &self.store.display().to_string()])
    }

    fn verify(&self, more: &[&str]) -> Ran {
        let store = self.store.display().to_string();
        chunkify(&[&["store", "verify", "--store", &store][..], more].concat())
    }

    fn repair(&self) -> Ran {
        let repository = format!("docker://{}/app", self.world.registry.address());
        self.verify(&["--plain-http", "--repair", &repository])
    }
}

#[test]
fn a_pull_that_meets_damage_succeeds_and_names_the_blob() {
    for (what, damage) in DAMAGES {
        let damaged = damaged(damage);
        let said = damaged.pull().ok();
        damaged.world.check_done(Run::PullUpdate, &damaged.store);
        let name = layout::names(&damaged.store)[0].clone();
        let source = format!("oci:{}:{name}", damaged.store.display());
        chunkify(&["verify", &source]).ok();
        // The tail is no frame, and what is deleted is simply not there.
        let is_met = matches!(what, "flipped bits" | "cut short");
        assert_eq!(
            said.stderr.contains(&format!("blob {} is damaged", damaged.layer)),
            is_met,
            "{what}: {}",
            said.stderr
        );
        assert_eq!(said.stderr.contains("store verify --store"), is_met, "{what}: the remedy is told: {}", said.stderr);
    }
}

#[test]
fn repair_fetches_only_the_wrong_frames() {
    for (what, damage) in DAMAGES {
        let damaged = damaged(damage);
        damaged.world.publish("old");
        let found = damaged.verify(&[]).refused_with_words();
        assert!(found.contains(&damaged.layer), "{what}: {found}");
        let mark = damaged.world.registry.log().len();
        let said = damaged.repair().ok();
        assert!(said.stdout.contains(&format!("{} is back", damaged.layer)), "{what}: {}", said.stdout);
        check_whole(&damaged.store, what);
        let size = fs::metadata(blob_path(&damaged.store, &damaged.layer)).unwrap().len();
        let came = damaged.world.registry.count_after(mark).body_bytes;
        let most = match what {
            "cut short" => size * 3 / 4,
            // One layer stays in the store and shares nothing with this one.
            "deleted" => size * 11 / 10,
            _ => size / 5,
        };
        assert!(came <= most, "{what}: {came} of {size} bytes were fetched");
        damaged.verify(&[]).ok();
    }
}

#[test]
fn documents_come_back_too() {
    let damaged = damaged(|path| flip(path, &[5000]));
    damaged.world.publish("old");
    let name = layout::names(&damaged.store)[0].clone();
    let image = Image::read(&damaged.store, &name);
    flip(&blob_path(&damaged.store, &image.digest), &[30]);
    fs::remove_file(blob_path(&damaged.store, image.manifest["config"]["digest"].as_str().unwrap())).unwrap();
    damaged.repair().ok();
    check_whole(&damaged.store, "after the repair");
    damaged.verify(&[]).ok();
}

#[test]
fn what_the_registry_has_not_is_an_error_and_what_is_right_is_kept() {
    let damaged = damaged(|path| flip(path, &[5000]));
    damaged.world.registry.content().forget_blob("app", &damaged.layer);
    let refused = damaged.repair().refused();
    assert!(refused.stderr.contains(&damaged.layer), "{}", refused.stderr);
    let layout = Layout::open(&damaged.store).unwrap();
    let digest: Digest = damaged.layer.parse().unwrap();
    assert_eq!(layout.blob_size(&digest).unwrap(), None, "what is damaged does not look whole any more");
    assert!(damaged.store.join(".chunkify/partial").join(digest.hex()).exists());
    damaged.world.publish("old");
    damaged.repair().ok();
    check_whole(&damaged.store, "after the repair");
}

#[test]
fn frames_are_copied_from_seeds() {
    let world = World::new();
    let folder = folder();
    let store = folder.path().join("store");
    let seed = folder.path().join("seed");
    copy(&world.before(Run::Convert), &seed);
    fs::remove_dir_all(seed.join(".chunkify")).unwrap();
    let reference = format!("docker://{}/app:moving", world.registry.address());
    let (dir, seed_argument) = (store.display().to_string(), format!("oci:{}", seed.display()));
    let pull = ["pull", "--plain-http", &reference, "--store", &dir, "--seed", &seed_argument];
    let ran = chunkify(&pull).ok();
    assert!(ran.stdout.contains("partial"), "{}", ran.stdout);
    check_whole(&store, "after a pull with a seed");
    assert!(!seed.join(".chunkify").exists(), "other people's layouts are not written to");
    let size: u64 =
        fs::read_dir(store.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let came = world.registry.count_after(0).body_bytes;
    let alone = tempfile::tempdir().unwrap();
    let mark = world.registry.log().len();
    world.pull(&alone.path().join("store"), Files::default()).unwrap();
    let whole = world.registry.count_after(mark).body_bytes;
    assert!(whole >= size && came > 0);
    let refused = chunkify(&["pull", "--plain-http", &reference, "--store", &dir, "--seed", "oci:/nowhere"]).refused();
    assert!(refused.stderr.contains("/nowhere"), "{}", refused.stderr);
}

impl Ran {
    /// What was said by a command that found a fault.
    #[track_caller]
    fn refused_with_words(self) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        self.stdout
    }
}
