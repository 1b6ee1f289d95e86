//! Bombs cost what they are, not what they claim: processes with little memory pull and verify them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use chunkify::digest::Digest;
use chunkify::format::annotations::Annotations;
use chunkify::format::footer;
use chunkify::format::tail::{Position, Positions};
use chunkify::limits;
use chunkify::zstd::codec::{FrameCompressor, Tables};
use chunkify::zstd::frames::skippable_header;
use serde_json::{Value, json};

use crate::support::command::{Ran, run};
use crate::support::content::digest_of;
use crate::support::registry::{Mode, Registry};

/// What a process may have of private memory: far less than any limit on metadata, more than the program needs (`ulimit -d`).
const ALLOWED: u64 = 192 << 20;

/// Runs chunkify with so much memory.
fn chunkify_within(bytes: u64, arguments: &[&str]) -> Ran {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -d \"$1\" && shift && exec \"$@\"", "sh", &(bytes >> 10).to_string()]);
    command.arg(env!("CARGO_BIN_EXE_chunkify")).args(arguments);
    run(command.env("HOME", "/nonexistent").env("XDG_CACHE_HOME", "/dev/null").env("NO_PROXY", "*"))
}

/// A blob and its annotations.
type Bomb = (Vec<u8>, Annotations);

/// A blob that is one header frame and a tail, which claims that its two parts decompress to so much.
fn bomb(toc: &[u8], toc_claims: u64, tar_split: &[u8], split_claims: u64) -> Bomb {
    let framed = |content: &[u8]| [&skippable_header(content.len() as u64).unwrap()[..], content].concat();
    let data = FrameCompressor::new().compress(&[0; 1024], 3, Tables::Zstd);
    let at = Position { offset: data.len() as u64 + 8, compressed: toc.len() as u64, uncompressed: toc_claims };
    let offset = at.offset + at.compressed + 8;
    let split_at = Position { offset, compressed: tar_split.len() as u64, uncompressed: split_claims };
    let positions = Positions { toc: at, tar_split: split_at };
    let blob = [data, framed(toc), framed(tar_split), framed(&footer::write(&positions))].concat();
    (blob, Annotations { toc_digest: Digest::of(toc), positions })
}

fn image(registry: &Registry, tag: &str, (blob, annotations): &Bomb) {
    let mut content = registry.content();
    let mut map = BTreeMap::new();
    annotations.apply(&mut map);
    let digest = content.add_blob("app", Bytes::from(blob.clone()));
    let kind = "application/vnd.oci.image.layer.v1.tar+zstd";
    let layer = json!({"mediaType": kind, "digest": digest, "size": blob.len(), "annotations": map});
    let diff_ids = [digest_of(&[0; 1024])];
    let config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string();
    let digest = content.add_blob("app", config.clone().into());
    let config =
        json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()});
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest: Value = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
    content.put_manifest("app", tag, kind, manifest.to_string().into()).unwrap();
}

fn toc_for(tar_split: &[u8]) -> Vec<u8> {
    json!({"version": 1, "entries": [], "tarSplitDigest": Digest::of(tar_split).to_string()}).to_string().into_bytes()
}

#[test]
fn bombs_cost_what_they_are() {
    let mut compressor = FrameCompressor::new();
    let gigabyte = compressor.compress_zeros(1 << 30, 3);
    let small_split = compressor.compress(b"{\"type\":2,\"payload\":\"AAAA\",\"position\":0}\n", 3, Tables::Zstd);
    let toc_text = toc_for(&gigabyte);
    let toc = compressor.compress(&toc_text, 3, Tables::Zstd);
    // A window of 2 GiB in 10 bytes, and one of the size that is allowed.
    let window = |log: u8| [0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3, 0x09, 0x00, 0x00, b'{'];
    let bombs: [(&str, Bomb, &str); 5] = [
        (
            "a gigabyte of table of contents",
            bomb(&gigabyte, 1000, &small_split, 41),
            "does not decompress to the 1000 bytes",
        ),
        (
            "a gigabyte of tar-split in one line",
            bomb(&toc, toc_text.len() as u64, &gigabyte, limits::TAR_SPLIT_UNCOMPRESSED),
            "goes beyond the limit of 16777216",
        ),
        ("a table of contents with a window of 2 GiB", bomb(&window(31), 1, &small_split, 41), "does not decompress"),
        ("one with a window of 128 MiB", bomb(&window(27), 1, &small_split, 41), "does not parse"),
        (
            "more than a table of contents may have",
            bomb(&toc, limits::TOC_UNCOMPRESSED + 1, &small_split, 41),
            "157286401 bytes",
        ),
    ];
    let registry = Registry::with_mode(Mode::Go);
    for (at, (what, bomb, said)) in bombs.iter().enumerate() {
        let (tag, store) = (format!("bomb-{at}"), tempfile::tempdir().unwrap());
        image(&registry, &tag, bomb);
        let (image, folder) = (format!("docker://{}/app:{tag}", registry.address()), store.path().join("store"));
        let pulled =
            chunkify_within(ALLOWED, &["pull", "--plain-http", &image, "--store", folder.to_str().unwrap()]).ok();
        assert!(pulled.stdout.contains(said), "{what}: the layer came whole because {said}: {}", pulled.stdout);
        let name = format!("oci:{}:{}", folder.display(), image.trim_start_matches("docker://"));
        let refused = chunkify_within(ALLOWED, &["verify", &name]).refused();
        assert!(refused.stderr.contains(said), "{what}: {}", refused.stderr);
        assert!(size_of(&folder) < 1 << 20, "{what}: {} bytes on disk", size_of(&folder));
    }
    // The walls are there: within two kilobytes nothing does.
    let (image, store) = (format!("docker://{}/app:bomb-0", registry.address()), tempfile::tempdir().unwrap());
    let folder = store.path().join("store");
    let starved = chunkify_within(2048, &["pull", "--plain-http", &image, "--store", folder.to_str().unwrap()]);
    assert!(!starved.success, "{starved:?}");
}

fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| if entry.path().is_dir() { size_of(&entry.path()) } else { entry.metadata().unwrap().len() })
        .sum()
}
