//! Every archive of fixtures/tars, held against what the reference reads in it.
//!
//! Each `NAME.json` was printed by the reference's own code (tests/interop, `facts`): which members it reads, the table of contents and the
//! tar-split that its compressor writes, and whether its blob gives the archive back.

#![allow(clippy::disallowed_methods, reason = "tests are shells")]

use std::fs;
use std::path::PathBuf;

use chunkify::digest::Digest;
use chunkify::encode::{Encoded, Form, Settings, encode};
use chunkify::format::frame_map;
use chunkify::format::tail::Contents;
use chunkify::zstd::codec;
use serde_json::Value;

/// Archives that the reference writes and then cannot pull or export again (spec-notes/interop.md): kept plain.
const REFERENCE_FAILS_ON_ITS_OWN: &[&str] = &[
    "absolute-and-dotted",
    "archive-after-end",
    "directory-with-size",
    "hardlink-to-nothing",
    "hardlink-with-size",
    "non-utf8-link",
    "non-utf8-name",
    "pax-hdrcharset-binary",
    "pax-non-utf8-path",
    "regular-with-slash",
    "symlink-with-size",
    "trailing-garbage",
    "trailing-zeros-odd",
    "whiteouts",
];

fn archives() -> Vec<PathBuf> {
    let folder = fs::read_dir("fixtures/tars").expect("fixtures are there");
    let mut all: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "tar"));
    all.sort();
    assert!(all.len() >= 70, "only {} archives", all.len());
    all
}

struct Made {
    name: String,
    tar: Vec<u8>,
    facts: Value,
    blob: Vec<u8>,
    encoded: Encoded,
}

fn make(path: &PathBuf) -> Made {
    let tar = fs::read(path).unwrap();
    let facts = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
    let mut blob = Vec::new();
    let encoded = encode(&tar[..], &mut blob, &Settings::default(), &mut |_| {}).unwrap();
    Made { name: path.file_stem().unwrap().to_str().unwrap().to_owned(), tar, facts, blob, encoded }
}

fn contents<'a>(made: &'a Made) -> Option<(Contents<'a>, &'a [u8])> {
    let Form::Chunked(chunked) = &made.encoded.form else { return None };
    let tail = chunked.annotations.positions.check(made.encoded.size).unwrap();
    let bytes = &made.blob[usize::try_from(tail.span().start()).unwrap()..];
    Some((tail.split(bytes).unwrap(), bytes))
}

#[test]
fn chunked_exactly_where_the_reference_can_use_it() {
    for path in archives() {
        let made = make(&path);
        let name = made.name.as_str();
        let usable = made.facts["faithful"] == true && !REFERENCE_FAILS_ON_ITS_OWN.contains(&name);
        match &made.encoded.form {
            Form::Chunked(_) => assert!(usable, "{name} is chunked and the reference cannot use it"),
            Form::Plain(why) => assert!(!usable, "{name} is plain without need: {why}"),
        }
        assert_eq!(codec::decompress(&made.blob, 1 << 30).unwrap(), made.tar, "{name}: the tar comes back");
    }
}

#[test]
fn our_own_reader_takes_what_we_write() {
    for path in archives() {
        let made = make(&path);
        let Form::Chunked(chunked) = &made.encoded.form else { continue };
        let tail = chunked.annotations.positions.check(made.encoded.size).unwrap();
        let (_, bytes) = contents(&made).unwrap();
        let map = frame_map::check(&chunked.annotations, &tail, bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", made.name));
        assert_eq!(map.tar_size, made.tar.len() as u64, "{}", made.name);
    }
}

/// The tar-split is the reference's, byte for byte: it does not depend on where payloads are cut.
#[test]
fn the_tar_split_is_the_references() {
    let mut compared = 0;
    for path in archives() {
        let made = make(&path);
        let Some((contents, _)) = contents(&made) else { continue };
        let ours = codec::decompress(contents.tar_split, 1 << 30).unwrap();
        let lines: Vec<Value> =
            ours.split_inclusive(|&byte| byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect();
        let theirs = made.facts["tar_split"].as_array().cloned().unwrap_or_default();
        assert_eq!(lines, theirs, "{}", made.name);
        assert_eq!(Digest::of(&ours).to_string(), made.facts["tar_split_digest"], "{}: byte for byte", made.name);
        compared += 1;
    }
    assert!(compared > 25, "only {compared} compared");
}

/// What the table of contents says of the members is what the reference says; where the data lies differs with compressor and cuts.
#[test]
fn the_entries_are_the_references() {
    const OURS: [&str; 6] = ["offset", "endOffset", "chunkSize", "chunkOffset", "chunkDigest", "chunkType"];
    let members = |toc: &Value| -> Vec<Value> {
        let entries = toc["entries"].as_array().cloned().unwrap_or_default();
        let files = entries.into_iter().filter(|entry| entry["type"] != "chunk");
        files
            .map(|mut entry| {
                entry.as_object_mut().unwrap().retain(|key, _| !OURS.contains(&key.as_str()));
                entry
            })
            .collect()
    };
    for path in archives() {
        let made = make(&path);
        let Some((contents, _)) = contents(&made) else { continue };
        let ours: Value = serde_json::from_slice(&codec::decompress(contents.toc, 1 << 30).unwrap()).unwrap();
        let theirs: Value = match &made.facts["toc"] {
            Value::String(text) => serde_json::from_str(text).unwrap(),
            other => other.clone(),
        };
        assert_eq!(members(&ours), members(&theirs), "{}", made.name);
    }
}
