//! Tails that lie. Every one is refused, and what is wrong is named.

use std::collections::BTreeMap;

use chunkify::digest::Digest;
use chunkify::format::annotations::Annotations;
use chunkify::format::tail::{Position, Positions};
use chunkify::zstd::codec::{FrameCompressor, Tables};
use serde_json::json;

use crate::parts::{Parts, dictionary_frame, of, parts, window_frame};
use crate::support::made::noise;

/// What it is about, the lie, and what the refusal says.
pub type Lie = (&'static str, fn(&mut Parts), &'static str);

/// Of what an entry is.
const ENTRIES: &[Lie] = &[
    ("mode", |p| p.set("a", 0, "mode", 0o777), "\"a\": its mode is not"),
    ("size", |p| p.set("a", 0, "size", 701), "\"a\": its size is not"),
    ("negative size", |p| p.set("a", 0, "size", -1), "\"a\": its size is not"),
    ("a file that is not the sum of its chunks", |p| p.set("b", 0, "size", 16_999), "\"b\": its size is not"),
    ("type", |p| p.set("empty", 0, "type", "dir"), "\"empty\": its type is not"),
    ("time", |p| p.set("a", 0, "modtime", "2020-01-01T00:00:00Z"), "\"a\": its modtime is not"),
    ("xattr", |p| p.set("a", 0, "xattrs", json!({"user.x": "AA=="})), "\"a\": its xattrs is not"),
    ("owner", |p| p.set("a", 0, "uid", 1000), "\"a\": its uid is not"),
    ("device", |p| p.set("a", 0, "devMajor", 1), "\"a\": its devMajor is not"),
    ("link", |p| p.set("a", 0, "linkName", "/etc/shadow"), "\"a\": its linkName is not"),
    ("a name that leads out", |p| p.set("a", 0, "name", "../../a"), "\"../../a\": its name is not"),
    ("unknown type", |p| p.set("a", 0, "type", "whiteout"), "does not parse"),
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
    (
        "the same entry twice",
        |p| {
            let copy = p.entry("a", 0).clone();
            p.toc["entries"].as_array_mut().unwrap().insert(1, copy);
        },
        "\"a\": its name is not",
    ),
    ("another order", |p| p.toc["entries"].as_array_mut().unwrap().reverse(), "is not what the tar header says"),
    ("no entries", |p| p.toc["entries"] = json!(null), "not in the table of contents: \"a\""),
];

/// Of where things are.
const PLACES: &[Lie] = &[
    ("offset back", |p| p.set("b", 0, "offset", 1), "\"b\": its frame at byte 1 "),
    ("offset beyond", |p| p.set("b", 0, "offset", u64::MAX), "\"b\": its frame at byte 18446744073709551615 "),
    ("end beyond", |p| p.set("b", 0, "endOffset", u64::MAX), "\"b\": its frame at byte 18446744073709551615 "),
    ("end back", |p| p.set("a", 0, "endOffset", 1), "\"a\": its frame at byte 1 "),
    ("chunk back", |p| p.set("b", 1, "offset", 2), "\"b\": its frame at byte 2 "),
    (
        "reversed chunks",
        |p| {
            let offsets = [1, 2].map(|nth| p.entry("b", nth)["offset"].clone());
            p.set("b", 1, "offset", offsets[1].clone());
            p.set("b", 2, "offset", offsets[0].clone());
        },
        "\"b\": its frame at byte",
    ),
    (
        "two chunks in one frame",
        |p| {
            let offset = p.entry("b", 1)["offset"].clone();
            p.set("b", 2, "offset", offset);
        },
        "\"b\": its frame at byte",
    ),
    (
        "two files in one frame",
        |p| {
            let [from, to] = ["offset", "endOffset"].map(|field| p.entry("a", 0)[field].clone());
            p.set("b", 0, "offset", from);
            p.set("b", 0, "endOffset", to);
        },
        "\"b\": its frame at byte",
    ),
    ("headers without a frame", |p| p.set("a", 0, "offset", 0), "\"a\": its frame at byte 0 "),
    ("chunk moved in the file", |p| p.set("b", 1, "chunkOffset", 3), "\"b\": its chunks are not"),
    ("chunk beyond the file", |p| p.set("b", 1, "chunkOffset", u64::MAX), "\"b\": its chunks are not"),
    ("first chunk not at the beginning", |p| p.set("b", 0, "chunkOffset", 1), "\"b\": its chunks are not"),
    ("chunk too long", |p| p.set("b", 1, "chunkSize", u64::MAX), "\"b\": its chunks are not"),
    ("chunk too short", |p| p.set("b", 1, "chunkSize", 1), "\"b\": its chunks are not"),
    ("chunk of nothing", |p| p.set("b", 1, "chunkSize", 0), "\"b\": its chunks are not"),
    (
        "a file of one chunk that is shorter",
        |p| {
            p.set("a", 0, "chunkSize", 699);
            let digest = p.entry("a", 0)["digest"].clone();
            p.set("a", 0, "chunkDigest", digest);
        },
        "\"a\": its chunks are not the 700 bytes",
    ),
    ("chunk of another", |p| p.set("b", 1, "name", "a"), "belongs to another file"),
    (
        "stray chunk",
        |p| p.toc["entries"].as_array_mut().unwrap().insert(0, json!({"type":"chunk","name":"a"})),
        "follows no regular file",
    ),
    (
        "a chunk of an empty file",
        |p| {
            let end = p.data.len();
            let chunk = json!({"type":"chunk","name":"empty","offset":end,"chunkSize":1,"chunkDigest":Digest::of(b"").to_string()});
            p.toc["entries"].as_array_mut().unwrap().push(chunk);
        },
        "follows no regular file",
    ),
    ("no digest", |p| p.without("a", 0, "digest"), "\"a\": no digest"),
    ("no chunk digest", |p| p.without("b", 1, "chunkDigest"), "\"b\": no digest"),
    (
        "the tail of a longer layer",
        |p| {
            let other = of(&[("other", noise(9, 40_000))]);
            (p.toc, p.tar_split) = (other.toc, other.tar_split);
        },
        "\"other\": its frame at byte",
    ),
];

/// Of the text.
const TEXTS: &[Lie] = &[
    ("version", |p| p.toc["version"] = json!(2), "version 2"),
    ("no version", |p| drop(p.toc.as_object_mut().unwrap().remove("version")), "version 0"),
    ("digest of another kind", |p| p.set("a", 0, "digest", "sha512:00"), "does not parse"),
    ("digest too short", |p| p.set("a", 0, "digest", "sha256:00"), "does not parse"),
    (
        "digest in capitals",
        |p| {
            let digest = p.entry("a", 0)["digest"].as_str().unwrap().to_uppercase().replace("SHA", "sha");
            p.set("a", 0, "digest", digest);
        },
        "does not parse",
    ),
    (
        "digest that is a path",
        |p| p.set("a", 0, "digest", format!("sha256:../../{}", "0".repeat(58))),
        "does not parse",
    ),
    ("a number too large", |p| p.rewrite("\"size\":700", "\"size\":18446744073709551616"), "does not parse"),
    ("a number without end", |p| p.rewrite("\"size\":700", "\"size\":1e999"), "does not parse"),
    ("a number with a fraction", |p| p.rewrite("\"size\":700", "\"size\":700.0"), "does not parse"),
    ("a negative offset", |p| p.set("a", 0, "offset", -1), "does not parse"),
    ("a number as text", |p| p.set("a", 0, "size", "700"), "does not parse"),
    ("entries twice", |p| p.rewrite("{\"version\"", "{\"entries\":[],\"version\""), "\"entries\" stands twice"),
    ("version twice", |p| p.rewrite("{\"version\":1", "{\"version\":2,\"version\":1"), "\"version\" stands twice"),
    (
        "tar-split's digest twice",
        |p| p.rewrite("{\"version\"", &format!("{{\"tarSplitDigest\":\"{}\",\"version\"", Digest::of(b""))),
        "\"tarSplitDigest\" stands twice",
    ),
    ("a field twice", |p| p.rewrite("\"size\":700", "\"size\":7,\"size\":700"), "duplicate field `size`"),
    (
        "an attribute twice, which JSON allows",
        |p| {
            p.set("a", 0, "xattrs", json!({"user.x": "AA=="}));
            p.rewrite("\"user.x\":\"AA==\"", "\"user.x\":\"AA==\",\"user.x\":\"AQ==\"");
        },
        "\"a\": its xattrs is not",
    ),
    ("deep nesting", |p| p.raw_toc = Some(vec![b'['; 100_000]), "does not parse"),
    (
        "deep nesting where nobody looks",
        |p| {
            let deep = format!("{{\"x\":{}{},\"version\"", "[".repeat(1_000_000), "]".repeat(999_999));
            p.rewrite("{\"version\"", &deep);
        },
        "does not parse",
    ),
    ("junk behind", |p| p.raw_toc = Some([&serde_json::to_vec(&p.toc).unwrap()[..], b"{}"].concat()), "does not parse"),
    (
        "a name that is not UTF-8",
        |p| {
            p.rewrite("\"name\":\"a\"", "\"name\":\"@\"");
            let text = p.raw_toc.as_mut().unwrap();
            let at = text.iter().position(|&byte| byte == b'@').unwrap();
            text[at] = 0xff;
        },
        "does not parse",
    ),
    ("a name of half a letter", |p| p.rewrite("\"name\":\"a\"", "\"name\":\"\\ud800\""), "does not parse"),
];

/// Of the frames that hold the texts, and of the tar-split.
const FRAMES: &[Lie] = &[
    ("stated longer", |p| p.stated[0] = 1, "the table of contents does not decompress to the"),
    ("stated shorter", |p| p.stated[0] = -1, "the table of contents does not decompress to the"),
    (
        "a ratio bomb",
        |p| p.frames[0] = Some(FrameCompressor::new().compress_zeros(1 << 30, 3)),
        "does not decompress to the",
    ),
    ("a window bomb", |p| p.frames[0] = Some(window_frame(31)), "the table of contents does not decompress"),
    ("a dictionary", |p| p.frames[0] = Some(dictionary_frame(b'{')), "the table of contents does not decompress"),
    (
        "not compressed",
        |p| p.frames[0] = Some(p.toc.to_string().into_bytes()),
        "the table of contents does not decompress",
    ),
    (
        "cut short",
        |p| {
            let whole = FrameCompressor::new().compress(p.toc.to_string().as_bytes(), 3, Tables::Zstd);
            p.frames[0] = Some(whole[..whole.len() - 1].to_vec());
        },
        "the table of contents does not decompress",
    ),
    (
        "a tar-split that is a ratio bomb",
        |p| {
            p.frames[1] = Some(FrameCompressor::new().compress_zeros(1 << 30, 3));
        },
        "line 1 of the tar-split goes beyond the limit",
    ),
    (
        "a tar-split that is a window bomb",
        |p| p.frames[1] = Some(window_frame(31)),
        "line 1 of the tar-split does not decompress",
    ),
    (
        "a tar-split with a dictionary",
        |p| p.frames[1] = Some(dictionary_frame(b'{')),
        "line 1 of the tar-split does not decompress",
    ),
    ("a tar-split stated shorter", |p| p.stated[1] = -1, "of the tar-split goes beyond the limit"),
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
    ("tar-split cut", |p| p.tar_split.truncate(p.tar_split.len() / 2), "line "),
    ("tar-split twice", |p| p.tar_split.extend(p.tar_split.clone()), "the tar-split holds"),
    ("tar-split of junk", |p| p.tar_split = vec![0xff; 100], "line 1 of the tar-split does not parse"),
    ("a line for another file", |p| p.line(1, "name", "ghost"), "\"a\": the tar-split's file line"),
    ("a line for another size", |p| p.line(1, "size", 701), "\"a\": the tar-split's file line"),
    ("a checksum too short", |p| p.line(1, "payload", "AAAA"), "line 2 of the tar-split is malformed"),
    ("an unknown line", |p| p.line(1, "type", 9), "line 2 of the tar-split is malformed"),
    ("a negative size in a line", |p| p.line(1, "size", -1), "line 2 of the tar-split is malformed"),
    ("headers that are damaged", |p| p.line(2, "payload", "AAAA"), "the tar-split"),
    (
        "a file behind the end",
        |p| {
            p.tar_split.extend(b"{\"type\":1,\"name\":\"ghost\",\"payload\":null,\"position\":99}\n");
        },
        "not in the table of contents: \"ghost\"",
    ),
];

/// All of them.
pub fn all() -> impl Iterator<Item = Lie> {
    [ENTRIES, PLACES, TEXTS, FRAMES].into_iter().flatten().copied()
}

#[test]
fn the_truth_is_read() {
    let map = parts().read().unwrap();
    assert_eq!(map.entries, 3);
    assert!(map.frames.len() > 6, "{} frames", map.frames.len());
}

#[test]
fn lies_are_refused_and_named() {
    let mut wrong = Vec::new();
    for (what, lie, expected) in all() {
        let mut told = parts();
        lie(&mut told);
        match told.read() {
            Ok(_) => wrong.push(format!("{what}: believed")),
            Err(refused) if refused.to_string().contains(expected) => {}
            Err(refused) => wrong.push(format!("{what}: {refused}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Frames that reach behind the data part, or leave no room for the last headers, are noticed.
#[test]
fn frames_must_fit_the_data_part() {
    let last = parts().toc["entries"].as_array().unwrap().iter().filter_map(|entry| entry["endOffset"].as_u64()).max();
    let last = usize::try_from(last.unwrap()).unwrap();
    for (data_end, expected) in [(last - 1, "its frame at byte"), (last, "the data frames end at byte")] {
        let mut told = parts();
        told.data.truncate(data_end);
        let refused = told.read().map(|_| ()).expect_err("no room").to_string();
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
        (at(26, 10, 20), at(8, 10, 20), 108, Some("do not adjoin")),
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
