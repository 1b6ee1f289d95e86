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
use chunkify::tar::scan::{Event, Scanner};
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

/// What a scan gives, with payload pieces joined: the entries, and every byte in order.
fn scan(tar: &[u8], piece: usize) -> (Vec<String>, Vec<u8>, Option<String>) {
    let mut scanner = Scanner::new();
    let (mut events, mut bytes) = (Vec::new(), Vec::new());
    for part in tar.chunks(piece) {
        let mut input = part;
        loop {
            match scanner.next(&mut input) {
                Ok(Some(Event::Entry { entry, segment, padding })) => {
                    events.push(format!("{entry:?} {} {padding}", segment.len()));
                    bytes.extend(segment);
                }
                Ok(Some(Event::Payload(payload))) => bytes.extend(payload),
                Ok(Some(Event::PayloadEnd)) => events.push("end".into()),
                Ok(Some(Event::Trailer(rest))) => bytes.extend(rest),
                Ok(None) => break,
                Err(fault) => {
                    bytes.extend(scanner.into_pending());
                    let at = tar.len() - bytes.len();
                    bytes.extend(&tar[tar.len() - at..]);
                    return (events, bytes, Some(fault.kind.to_string()));
                }
            }
        }
        assert!(input.is_empty(), "all input is taken before more is wanted");
    }
    match scanner.finish() {
        Ok(rest) => bytes.extend(rest.unwrap_or_default()),
        Err(fault) => {
            bytes.extend(scanner.into_pending());
            return (events, bytes, Some(fault.kind.to_string()));
        }
    }
    (events, bytes, None)
}

/// Segments and payloads in order are the archive, and nothing depends on the pieces in which it comes.
#[test]
fn pieces_of_any_size_scan_alike() {
    for path in archives() {
        let tar = fs::read(&path).unwrap();
        let whole = scan(&tar, usize::MAX);
        assert_eq!(whole.1, tar, "{}: every byte leaves the scanner", path.display());
        for piece in [1, 7, 511, 512, 513] {
            let (events, bytes, fault) = scan(&tar, piece);
            assert_eq!((&events, &fault), (&whole.0, &whole.2), "{}, {piece} bytes at a time", path.display());
            assert_eq!(bytes, tar, "{}, {piece} bytes at a time", path.display());
        }
    }
}
