//! Tails that lie, with every outer digest made right: each is refused, and the entry is named.

use std::collections::BTreeMap;

use chunkify::cut::{Average, Policy};
use chunkify::digest::Digest;
use chunkify::encode::{Form, Settings, encode};
use chunkify::format::annotations::Annotations;
use chunkify::format::footer;
use chunkify::format::frame_map::{FrameMap, LayerError, check};
use chunkify::format::tail::{Position, Positions};
use chunkify::zstd::codec::{FrameCompressor, Tables, decompress};
use chunkify::zstd::frames::skippable_header;
use serde_json::{Value, json};

/// A layer taken apart: what a liar starts from.
#[derive(Clone)]
struct Parts {
    data_end: u64,
    toc: Value,
    tar_split: Vec<u8>,
    /// Whether the table of contents gets the tar-split's true digest.
    seal: bool,
    /// The text in place of the table of contents.
    raw_toc: Option<Vec<u8>>,
}

/// `a` is one chunk, `b` several and one of zeros, then a directory and an empty file.
fn parts() -> Parts {
    let mut builder = tar::Builder::new(Vec::new());
    let varied =
        |seed: usize, len: usize| (0..len).map(|at| ((at * at / 7 + seed) >> 2).to_le_bytes()[0]).collect::<Vec<_>>();
    let long = [varied(1, 9000), vec![0; 5000], varied(2, 3000)].concat();
    for (name, payload) in [("a", varied(3, 700)), ("b", long), ("empty", Vec::new())] {
        let mut header = tar::Header::new_ustar();
        header.set_size(payload.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &payload[..]).unwrap();
    }
    let tar = builder.into_inner().unwrap();
    let cut = Policy { whole_below: 1024, average: Average::Fixed(2048), zeros: 1024 };
    let mut blob = Vec::new();
    let encoded = encode(&tar[..], &mut blob, &Settings { cut, ..Settings::default() }, &mut |_| {}).unwrap();
    let Form::Chunked(chunked) = encoded.form else { panic!("faithful") };
    let tail = chunked.annotations.positions.check(encoded.size).unwrap();
    let bytes = &blob[usize::try_from(tail.span().start()).unwrap()..];
    let contents = tail.split(bytes).unwrap();
    let toc = serde_json::from_slice(&decompress(contents.toc, 1 << 20).unwrap()).unwrap();
    let tar_split = decompress(contents.tar_split, 1 << 20).unwrap();
    Parts { data_end: tail.data_end(), toc, tar_split, seal: true, raw_toc: None }
}

fn framed(content: &[u8]) -> Vec<u8> {
    [&skippable_header(content.len() as u64).unwrap()[..], content].concat()
}

/// Puts a tail together around the lie and reads it as a puller does.
fn read(mut parts: Parts) -> Result<FrameMap, LayerError> {
    let mut compressor = FrameCompressor::new();
    let tar_split = compressor.compress(&parts.tar_split, 3, Tables::Zstd);
    if parts.seal {
        parts.toc["tarSplitDigest"] = json!(Digest::of(&tar_split).to_string());
    }
    let text = parts.raw_toc.unwrap_or_else(|| serde_json::to_vec(&parts.toc).unwrap());
    let toc = compressor.compress(&text, 3, Tables::Zstd);
    let position = |offset: u64, bytes: &[u8], uncompressed: usize| Position {
        offset,
        compressed: bytes.len() as u64,
        uncompressed: uncompressed as u64,
    };
    let at = position(parts.data_end + 8, &toc, text.len());
    let split_at = position(at.offset + at.compressed + 8, &tar_split, parts.tar_split.len());
    let positions = Positions { toc: at, tar_split: split_at };
    let bytes = [framed(&toc), framed(&tar_split), framed(&footer::write(&positions))].concat();
    let annotations = Annotations { toc_digest: Digest::of(&toc), positions };
    let tail = positions.check(parts.data_end + bytes.len() as u64)?;
    check(&annotations, &tail, &bytes)
}

/// The entry of the table of contents that is the `nth` of that name.
fn entry<'a>(parts: &'a mut Parts, name: &str, nth: usize) -> &'a mut Value {
    let entries = parts.toc["entries"].as_array_mut().unwrap();
    entries.iter_mut().filter(|entry| entry["name"] == name).nth(nth).unwrap()
}

#[test]
fn the_truth_is_read() {
    let map = read(parts()).unwrap();
    assert_eq!(map.entries, 3);
    assert!(map.frames.len() > 6, "{} frames", map.frames.len());
}

#[test]
fn lies_are_refused_and_named() {
    type Lie = fn(&mut Parts);
    let lies: &[(&str, Lie, &str)] = &[
        ("mode", |p| entry(p, "a", 0)["mode"] = json!(0o777), "\"a\": its mode is not"),
        ("size", |p| entry(p, "a", 0)["size"] = json!(701), "\"a\": its size is not"),
        ("negative size", |p| entry(p, "a", 0)["size"] = json!(-1), "\"a\": its size is not"),
        ("type", |p| entry(p, "empty", 0)["type"] = json!("dir"), "\"empty\": its type is not"),
        ("time", |p| entry(p, "a", 0)["modtime"] = json!("2020-01-01T00:00:00Z"), "\"a\": its modtime is not"),
        ("xattr", |p| entry(p, "a", 0)["xattrs"] = json!({"user.x": "AA=="}), "\"a\": its xattrs is not"),
        ("offset back", |p| entry(p, "b", 0)["offset"] = json!(1), "\"b\": its frame at byte 1 "),
        (
            "offset beyond",
            |p| entry(p, "b", 0)["offset"] = json!(u64::MAX),
            "\"b\": its frame at byte 18446744073709551615 ",
        ),
        (
            "end beyond",
            |p| entry(p, "b", 0)["endOffset"] = json!(u64::MAX),
            "\"b\": its frame at byte 18446744073709551615 ",
        ),
        ("end back", |p| entry(p, "a", 0)["endOffset"] = json!(1), "\"a\": its frame at byte 1 "),
        ("chunk back", |p| entry(p, "b", 1)["offset"] = json!(2), "\"b\": its frame at byte 2 "),
        ("chunk moved in the file", |p| entry(p, "b", 1)["chunkOffset"] = json!(3), "\"b\": its chunks are not"),
        ("chunk too long", |p| entry(p, "b", 1)["chunkSize"] = json!(u64::MAX), "\"b\": its chunks are not"),
        ("chunk too short", |p| entry(p, "b", 1)["chunkSize"] = json!(1), "\"b\": its chunks are not"),
        ("chunk of nothing", |p| entry(p, "b", 1)["chunkSize"] = json!(0), "\"b\": its chunks are not"),
        ("chunk of another", |p| entry(p, "b", 1)["name"] = json!("a"), "belongs to another file"),
        ("no digest", |p| drop(entry(p, "a", 0).as_object_mut().unwrap().remove("digest")), "\"a\": no digest"),
        (
            "no chunk digest",
            |p| drop(entry(p, "b", 1).as_object_mut().unwrap().remove("chunkDigest")),
            "\"b\": no digest",
        ),
        ("digest of another kind", |p| entry(p, "a", 0)["digest"] = json!("sha512:00"), "does not parse"),
        ("unknown type", |p| entry(p, "a", 0)["type"] = json!("whiteout"), "does not parse"),
        (
            "surplus entry",
            |p| p.toc["entries"].as_array_mut().unwrap().push(json!({"type":"dir","name":"ghost"})),
            "\"ghost\": the tar-split has no",
        ),
        (
            "missing entry",
            |p| drop(p.toc["entries"].as_array_mut().unwrap().pop()),
            "not in the table of contents: \"empty\"",
        ),
        ("another order", |p| p.toc["entries"].as_array_mut().unwrap().reverse(), "is not what the tar header says"),
        (
            "stray chunk",
            |p| p.toc["entries"].as_array_mut().unwrap().insert(0, json!({"type":"chunk","name":"a"})),
            "follows no regular file",
        ),
        ("version", |p| p.toc["version"] = json!(2), "version 2"),
        ("no entries", |p| p.toc["entries"] = json!(null), "not in the table of contents: \"a\""),
        ("entries twice", |p| p.raw_toc = Some(br#"{"version":1,"entries":[],"entries":[]}"#.to_vec()), "stand twice"),
        (
            "no tar-split",
            |p| {
                p.seal = false;
                p.toc.as_object_mut().unwrap().remove("tarSplitDigest");
            },
            "names no tar-split",
        ),
        (
            "another tar-split",
            |p| {
                p.seal = false;
                p.toc["tarSplitDigest"] = json!(Digest::of(b"").to_string());
            },
            "the tar-split has digest",
        ),
        ("depth", |p| p.raw_toc = Some(vec![b'['; 100_000]), "does not parse"),
        (
            "junk behind",
            |p| p.raw_toc = Some([&serde_json::to_vec(&p.toc).unwrap()[..], b"{}"].concat()),
            "does not parse",
        ),
        ("tar-split cut", |p| p.tar_split.truncate(p.tar_split.len() / 2), "line "),
        ("tar-split twice", |p| p.tar_split.extend(p.tar_split.clone()), "the tar-split holds"),
        ("tar-split of junk", |p| p.tar_split = vec![0xff; 100], "line 1 of the tar-split does not parse"),
    ];
    for (what, lie, expected) in lies {
        let mut told = parts();
        lie(&mut told);
        let refused = read(told).map(|_| ()).expect_err(what).to_string();
        assert!(refused.contains(expected), "{what}: {refused}");
    }
}

/// Frames that reach behind the data part, or leave no room for the last headers, are noticed.
#[test]
fn frames_must_fit_the_data_part() {
    let last = parts().toc["entries"].as_array().unwrap().iter().filter_map(|entry| entry["endOffset"].as_u64()).max();
    let last = last.unwrap();
    for (data_end, expected) in [(last - 1, "its frame at byte"), (last, "the data frames end at byte")] {
        let told = Parts { data_end, ..parts() };
        let refused = read(told).map(|_| ()).expect_err("no room").to_string();
        assert!(refused.contains(expected), "{data_end}: {refused}");
    }
}

#[test]
fn positions_that_cannot_be_are_refused() {
    let at = |offset, compressed, uncompressed| Position { offset, compressed, uncompressed };
    let table = [
        (at(8, 10, 20), at(26, 10, 20), 26 + 10 + 8 + 64, None),
        (at(7, 10, 20), at(25, 10, 20), 107, Some("do not adjoin")),
        (at(8, 10, 20), at(27, 10, 20), 109, Some("do not adjoin")),
        (at(8, 10, 20), at(26, 10, 20), 109, Some("do not adjoin")),
        (at(8, 0, 20), at(16, 10, 20), 98, Some("do not adjoin")),
        (at(u64::MAX, 10, 20), at(26, 10, 20), 108, Some("do not adjoin")),
        (at(8, u64::MAX, 20), at(26, 10, 20), 108, Some("compressed table of contents is")),
        (at(8, 10, 1 << 40), at(26, 10, 20), 108, Some("the table of contents is")),
        (at(8, 10, 20), at(26, 1 << 40, 20), 108, Some("compressed tar-split is")),
        (at(8, 10, 20), at(26, 10, 1 << 40), 108, Some("the tar-split is")),
    ];
    for (toc, tar_split, size, expected) in table {
        let checked = Positions { toc, tar_split }.check(size);
        match expected {
            None => assert!(checked.is_ok()),
            Some(expected) => assert!(checked.unwrap_err().to_string().contains(expected), "{toc:?}"),
        }
    }
    let empty = Annotations::parse(&BTreeMap::new());
    assert!(empty.is_err());
}
