//! What past versions of the reference wrote, and the formats that came before or beside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chunkify::digest::Digest;
use chunkify::format::annotations::Annotations;
use chunkify::format::frame_map;
use chunkify::zstd::codec;
use serde_json::Value;

use crate::oracle::{self, Oracle, Written};
use crate::support::command::{chunkify, run};
use crate::support::layout::{self, MadeLayer};
use crate::support::made;
use crate::support::registry::{Mode, Registry};
use crate::support::report::Report;
use crate::tally::{Peer, Tally};

/// The fastest, the one that skopeo takes by default, and a high one.
const LEVELS: [i32; 3] = [1, 3, 19];

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// What becomes of a writer's layers.
enum Fate {
    /// They are zstd:chunked to us, and an update comes in part.
    Partial,
    /// They are taken whole, for a reason that has these words.
    Whole(&'static str),
}

/// The writers, by the names of their programs.
const WRITERS: [(&str, Fate); 11] = [
    ("containers-1.43.0", Fate::Whole("old zstd:chunked dialect")),
    ("containers-1.46.0", Fate::Whole("before zstd:chunked had a tar-split")),
    ("containers-1.47.0", Fate::Whole("the short zstd:chunked footer of 2023")),
    ("containers-1.50.2", Fate::Whole("names no tar-split")),
    ("containers-1.53.0", Fate::Whole("names no tar-split")),
    ("containers-1.54.0", Fate::Partial),
    ("containers-1.56.0", Fate::Partial),
    ("containers-1.59.1", Fate::Partial),
    ("podman-1.61.0", Fate::Partial),
    ("podman-1.63.0", Fate::Partial),
    ("newest", Fate::Partial),
];

#[test]
fn past_versions() {
    let mut oracle = Oracle::start("past");
    let mut tally = Tally::new("past");
    let tars = tars(oracle.work());
    for (writer, fate) in WRITERS {
        for level in LEVELS {
            let case = format!("{writer} at level {level}");
            let layout = oracle.work().join(format!("{writer}-{level}"));
            for (tag, tars) in ["old", "new"].into_iter().zip(&tars) {
                let layers: Vec<MadeLayer> = tars.iter().map(|tar| layer(&mut oracle, writer, level, tar)).collect();
                if matches!(fate, Fate::Partial) {
                    layers
                        .iter()
                        .zip(tars)
                        .for_each(|(layer, tar)| tiles(&case, layer, &fs::read(tar).expect("it is there")));
                }
                layout::write_made(&layout, tag, &layers);
            }
            match fate {
                Fate::Partial => comes_in_part(&case, &layout),
                Fate::Whole(why) => comes_whole(&case, &layout, why),
            }
            tally.compared(if matches!(fate, Fate::Partial) { Peer::Past } else { Peer::Foreign });
        }
    }
    estargz(&mut oracle, &tars, &mut tally);
    tally.settle();
}

/// eStargz, as stargz-snapshotter's library writes it: gzip, with a table of contents of its own.
fn estargz(oracle: &mut Oracle, tars: &[Vec<PathBuf>; 2], tally: &mut Tally) {
    let layout = oracle.work().join("estargz");
    for (tag, tars) in ["old", "new"].into_iter().zip(tars) {
        let layer = |tar: &PathBuf| {
            let (written, diff_id) = oracle.estargz(tar).unwrap_or_else(|no| panic!("eStargz: {}", no.error));
            made_layer(GZIP, &written, diff_id)
        };
        let layers: Vec<MadeLayer> = tars.iter().map(layer).collect();
        layout::write_made(&layout, tag, &layers);
    }
    comes_whole("eStargz", &layout, "eStargz");
    tally.compared(Peer::Foreign);
}

/// The images' tars as files.
fn tars(work: &Path) -> [Vec<PathBuf>; 2] {
    let mut number = 0;
    made::tars().map(|layers| {
        let mut file = |tar: Vec<u8>| {
            number += 1;
            let path = work.join(format!("layer-{number}.tar"));
            fs::write(&path, tar).expect("an archive can be written");
            path
        };
        layers.into_iter().map(&mut file).collect()
    })
}

/// A writer's blob of a tar.
#[track_caller]
fn layer(oracle: &mut Oracle, writer: &str, level: i32, tar: &Path) -> MadeLayer {
    let written = if writer == "newest" {
        oracle.write(tar, Some(level)).unwrap_or_else(|no| panic!("{writer}: {}", no.error))
    } else {
        let blob = tar.with_extension(writer);
        let program = oracle::program(&format!("past-{writer}"));
        let ran = run(Command::new(program).arg(tar).arg(&blob).arg(level.to_string())).ok();
        Written { blob, annotations: serde_json::from_str(&ran.stdout).expect("annotations are JSON") }
    };
    let diff_id = Digest::of(&fs::read(tar).expect("it is there")).to_string();
    made_layer(ZSTD, &written, diff_id)
}

fn made_layer(kind: &'static str, written: &Written, diff_id: String) -> MadeLayer {
    let bytes = fs::read(&written.blob).expect("it was written");
    fs::remove_file(&written.blob).expect("a blob can be removed");
    MadeLayer { kind, bytes, annotations: written.annotations.clone(), diff_id }
}

/// Every frame decompresses alone to what the frame map says of it, and all of them are the tar.
#[track_caller]
fn tiles(case: &str, layer: &MadeLayer, tar: &[u8]) {
    let annotations: BTreeMap<String, String> =
        serde_json::from_value(layer.annotations.clone()).expect("they are text");
    let annotations = Annotations::parse(&annotations).unwrap_or_else(|error| panic!("{case}: {error}"));
    let tail = annotations.positions.check(layer.bytes.len() as u64).unwrap_or_else(|error| panic!("{case}: {error}"));
    let at = |offset: u64| usize::try_from(offset).expect("it fits memory");
    let map = frame_map::check(&annotations, &tail, &layer.bytes[at(tail.span().start())..])
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    let mut whole = Vec::with_capacity(tar.len());
    for frame in &map.frames {
        let bytes = &layer.bytes[at(frame.span.start())..at(frame.span.end())];
        let content = codec::decompress(bytes, frame.len).unwrap_or_else(|error| panic!("{case}: {frame:?}: {error}"));
        assert_eq!(Digest::of(&content), frame.digest, "{case}: {frame:?}");
        whole.extend(content);
    }
    assert!(whole == tar, "{case}: the frames together are another tar");
}

/// The image is verified, its update comes in part, and the blobs are those that were written.
#[track_caller]
fn comes_in_part(case: &str, layout: &Path) {
    let (modes, _) = pulled(case, layout);
    assert!(modes.iter().all(|mode| mode == "partial" || mode == "present"), "{case}: {modes:?}");
    assert!(modes.iter().any(|mode| mode == "partial"), "{case}: {modes:?}");
    chunkify(&["verify", &format!("oci:{}:new", layout.display())]).ok();
    let layers = inspected(layout);
    assert!(layers.iter().all(|layer| layer["chunked"] == true), "{case}: {layers:?}");
}

/// `inspect` and `pull` say what it is, and the layers that changed come whole.
#[track_caller]
fn comes_whole(case: &str, layout: &Path, why: &str) {
    let (modes, reasons) = pulled(case, layout);
    assert!(modes.iter().all(|mode| mode == "whole" || mode == "present"), "{case}: {modes:?}");
    assert!(reasons.iter().any(|reason| reason.contains(why)), "{case}: pull says {reasons:?}");
    chunkify(&["verify", &format!("oci:{}:new", layout.display())]).ok();
    for layer in inspected(layout) {
        let said = layer["reason"].as_str().unwrap_or_default();
        assert!(layer["chunked"] == false && said.contains(why), "{case}: inspect says {layer}");
        let digest = layer["digest"].as_str().expect("a digest");
        let of_the_file = chunkify(&["inspect", &layout::blob_path(layout, digest).display().to_string()]).ok();
        if why == "eStargz" || why.starts_with("old") {
            assert!(of_the_file.stdout.contains(why), "{case}: inspect says of the file: {}", of_the_file.stdout);
        }
    }
}

/// Pulls the old image and then the new one; tells how the new one's layers came, and why.
#[track_caller]
fn pulled(case: &str, layout: &Path) -> (Vec<String>, Vec<String>) {
    let registry = Registry::with_mode(Mode::Go);
    let place = tempfile::tempdir().expect("a temporary folder can be made");
    let (store, report) = (place.path().join("store"), place.path().join("report.json"));
    let mut last = None;
    for tag in ["old", "new"] {
        registry.load("past/app", layout, tag, tag);
        let from = format!("docker://{}/past/app:{tag}", registry.address());
        let (store, report) = (store.display().to_string(), report.display().to_string());
        chunkify(&["pull", "--plain-http", &from, "--store", &store, "--report", &report]).ok();
        last = Some(Report::read(Path::new(&report)));
    }
    let report = last.expect("two were pulled");
    layout::check_blobs(&store);
    for layer in &report.layers {
        let ours = fs::read(layout::blob_path(&store, &layer.digest)).expect("it was pulled");
        assert!(
            ours == fs::read(layout::blob_path(layout, &layer.digest)).expect("it was written"),
            "{case}: {}",
            layer.digest
        );
    }
    let modes = report.layers.iter().map(|layer| layer.mode.clone()).collect();
    let reasons = report.layers.iter().filter_map(|layer| layer.reason.clone()).collect();
    (modes, reasons)
}

/// What `inspect` says of the new image's layers.
#[track_caller]
fn inspected(layout: &Path) -> Vec<Value> {
    let ran = chunkify(&["inspect", "--json", &format!("oci:{}:new", layout.display())]).ok();
    let image: Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    image["manifests"][0]["layers"].as_array().cloned().expect("layers")
}
