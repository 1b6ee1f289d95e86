//! What a plan costs against a store of a thousand layers with twenty million frames.
//!
//! `cargo test --release --test store scale:: -- --ignored --nocapture` prints times and memory; `LAYERS`, `FRAMES` and `DIR` change what is
//! made and where. It takes 1.2 GB of disk.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use chunkify::digest::Digest;
use chunkify::format::annotations::Annotations;
use chunkify::format::frame_map::{Frame, FrameKind, FrameMap};
use chunkify::format::tail::{Position, Positions};
use chunkify::image::{Descriptor, media_type};
use chunkify::local::{self, LocalFrames};
use chunkify::plan::missing::{self, Known};
use chunkify::span::Span;
use chunkify::store::{FrameIndex, FrameKey, FrameRecord, Layout, Shelf, Wanted};
use serde_json::json;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// The `at`th frame of a layer, of 5,000 bytes.
fn key(layer: u64, at: u64) -> FrameKey {
    let digest = Digest::of(&[layer.to_le_bytes(), at.to_le_bytes()].concat());
    FrameKey { digest, len: 9000 + at % 100, compressed: 5000 }
}

/// Images of five layers that share nothing; their blobs are holes, their indexes are real.
fn make(layout: &Layout, layers: u64, frames: u64) -> f64 {
    let mut dearest: f64 = 0.0;
    let position = |offset| Position { offset, compressed: 100, uncompressed: 100 };
    for image in 0..layers.div_ceil(5) {
        let mut listed = Vec::new();
        for layer in image * 5..((image + 1) * 5).min(layers) {
            let (blob, size) = (Digest::of(&layer.to_le_bytes()), frames * 5000 + 300);
            fs::File::create(layout.blob_path(&blob)).unwrap().set_len(size).unwrap();
            let records = (0..frames).map(|at| FrameRecord { key: key(layer, at), offset: at * 5000 }).collect();
            let begun = Instant::now();
            FrameIndex::save(layout, Shelf::Own, &blob, size, records).unwrap();
            dearest = dearest.max(begun.elapsed().as_secs_f64());
            let positions = Positions { toc: position(frames * 5000 + 8), tar_split: position(frames * 5000 + 116) };
            let mut descriptor = Descriptor::new(media_type::LAYER_ZSTD, blob, size);
            Annotations { toc_digest: blob, positions }.apply(&mut descriptor.annotations);
            listed.push(descriptor);
        }
        let config = Descriptor::new(media_type::CONFIG, layout.put_blob(b"{}").unwrap(), 2);
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": listed}).to_string().into_bytes();
        let digest = layout.put_blob(&manifest).unwrap();
        let descriptor = Descriptor::new(media_type::MANIFEST, digest, manifest.len() as u64);
        layout.set_image(&format!("app:{image}"), descriptor).unwrap();
    }
    dearest
}

/// Plans layers of so many frames, of which the first `known` are those of a layer here.
fn plan(layout: &Layout, layer: u64, frames: u64, known: u64) {
    let frame = |at: u64| {
        let FrameKey { digest, len, compressed } = key(if at < known { layer } else { u64::MAX }, at);
        let span = Span::with_len(at * compressed, compressed).unwrap();
        Frame { span, len, digest, kind: FrameKind::Chunk }
    };
    let frames: Vec<_> = (0..frames).map(frame).collect();
    let data_end = frames.last().unwrap().span.end();
    let map = FrameMap { frames, data_end, tar_size: 0, entries: 0 };
    let begun = Instant::now();
    let here = LocalFrames::gather(layout, &[]).unwrap();
    let gathered = begun.elapsed();
    let key_of = |at: usize| local::key(&map.frames[at]);
    let mut wanted = Wanted::new(0..map.frames.len(), &key_of);
    let mut found = vec![Known::Missing; map.frames.len()];
    here.find(&mut wanted, |at, place| found[at] = Known::Local(place));
    let plan = missing::plan(&map, &found);
    let took = begun.elapsed();
    assert_eq!(plan.copied_frames as u64, known);
    println!("{} frames, {known} of them here: {took:.2?}, of it {gathered:.2?} for the images", map.frames.len());
}

fn memory(what: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let fields: BTreeMap<_, _> = status.lines().filter_map(|line| line.split_once(':')).collect();
    fields.get(what).map_or_else(|| "unknown".into(), |value| value.trim().to_owned())
}

#[test]
#[ignore = "a measurement, with 1.2 GB of files"]
fn a_thousand_layers() {
    let (layers, frames) = (number("LAYERS", 1000), number("FRAMES", 20_000));
    let folder = std::env::var("DIR").map_or_else(|_| tempfile::tempdir(), tempfile::tempdir_in).unwrap();
    let layout = Layout::open_or_create(&folder.path().join("store")).unwrap();
    let begun = Instant::now();
    let dearest = make(&layout, layers, frames);
    println!("{layers} layers with {} frames made in {:.1?}", layers * frames, begun.elapsed());
    println!("a layer's index took {dearest:.3} s at most");
    if fs::write("/proc/sys/vm/drop_caches", "3").is_ok() {
        print!("from a cold cache: ");
        plan(&layout, 1, frames, frames * 19 / 20);
    }
    for (frames, known) in [(frames, frames * 19 / 20), (frames, 0), (frames * 10, frames / 2), (100, 50)] {
        plan(&layout, layers / 2, frames, known.min(frames));
    }
    println!("peak memory {} (with what the making took)", memory("VmHWM"));
}
