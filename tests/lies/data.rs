//! Data frames that are not what a tail says, whose parts agree. A pull gets what the manifest names all the same; `verify` names the frame.

use std::io::Write as _;

use chunkify::blob::Blob;
use chunkify::digest::Digest;
use chunkify::verify;
use chunkify::zstd::codec::{FrameCompressor, Tables};

use crate::parts::{dictionary_frame, of, parts, window_frame};
use crate::support::made::noise;
use crate::tails::Lie;

/// The lies, and what `verify` says.
pub const LIES: &[Lie] = &[
    (
        "chunks with right digests in the wrong place",
        |p| {
            let digests = [0, 1].map(|nth| p.entry("b", nth)["chunkDigest"].clone());
            p.set("b", 0, "chunkDigest", digests[1].clone());
            p.set("b", 1, "chunkDigest", digests[0].clone());
        },
        "a chunk of entry \"b\", decompresses to bytes with digest",
    ),
    (
        "frames in the wrong place",
        |p| {
            let (first, last) = (p.span("b", 0), p.span("b", 1));
            let frames = [p.data[last.clone()].to_vec(), p.data[first.clone()].to_vec()];
            p.splice(last, &frames[1]);
            p.splice(first, &frames[0]);
        },
        "a chunk of entry \"b\", decompresses to",
    ),
    (
        "a frame that holds more",
        |p| {
            let more = [p.chunk("a", 0), vec![b'x']].concat();
            p.replace_chunk("a", 0, &more);
        },
        "a chunk of entry \"a\", decompresses to 701 bytes, not 700",
    ),
    (
        "a frame that holds less",
        |p| {
            let less = p.chunk("a", 0)[..699].to_vec();
            p.replace_chunk("a", 0, &less);
        },
        "a chunk of entry \"a\", decompresses to 699 bytes, not 700",
    ),
    (
        "a frame that holds a gigabyte",
        |p| {
            let span = p.span("a", 0);
            p.splice(span, &FrameCompressor::new().compress_zeros(1 << 30, 3));
        },
        "a chunk of entry \"a\", decompresses to 701 bytes, not 700",
    ),
    (
        "other bytes of the same length",
        |p| p.replace_chunk("a", 0, &noise(99, 700)),
        "a chunk of entry \"a\", decompresses to bytes with digest",
    ),
    (
        "zeros that are none",
        |p| p.set("b", 0, "chunkType", "zeros"),
        "a chunk of entry \"b\", is marked as zeros and is not",
    ),
    (
        "no zstd at all",
        |p| {
            let span = p.span("a", 0);
            p.splice(span, &noise(5, 700));
        },
        "a chunk of entry \"a\", does not decompress",
    ),
    (
        "a frame that is cut short",
        |p| {
            let span = p.span("a", 0);
            let cut = p.data[span.start..span.end - 1].to_vec();
            p.splice(span, &cut);
        },
        "a chunk of entry \"a\", does not decompress",
    ),
    (
        "a window bomb",
        |p| {
            let span = p.span("a", 0);
            p.splice(span, &window_frame(31));
        },
        "a chunk of entry \"a\", does not decompress",
    ),
    (
        "a dictionary",
        |p| {
            let span = p.span("a", 0);
            p.splice(span, &dictionary_frame(b'x'));
        },
        "a chunk of entry \"a\", does not decompress",
    ),
    (
        "headers that are others than those of the tar-split",
        |p| {
            let gap = p.span("a", 0).end..p.span("b", 0).start;
            let mut headers = chunkify::zstd::codec::decompress(&p.data[gap.clone()], 1 << 20).unwrap();
            let mode = headers.windows(7).position(|field| field == b"0000644").expect("the header has a mode");
            headers[mode..mode + 7].copy_from_slice(b"0006755");
            p.splice(gap, &FrameCompressor::new().compress(&headers, 6, Tables::Zstd));
        },
        "the headers before the payload of \"b\", decompresses to bytes with digest",
    ),
    (
        "another end",
        |p| {
            let end = p.entry("b", 0)["endOffset"].as_u64().unwrap();
            let gap = usize::try_from(end).unwrap()..p.data.len();
            p.splice(gap, &FrameCompressor::new().compress(&[0; 1024], 6, Tables::Zstd));
        },
        "the end of the archive, decompresses to",
    ),
    (
        "the tail of another layer",
        |p| {
            let other = of(&[("other", noise(9, 2000))]);
            (p.toc, p.tar_split) = (other.toc, other.tar_split);
        },
        "the headers before the payload of \"other\", does not decompress",
    ),
    (
        "a file's digest",
        |p| p.set("b", 0, "digest", Digest::of(b"").to_string()),
        "entry \"b\", whose frames begin at byte",
    ),
    ("a file's checksum", |p| p.line(1, "payload", "AAAAAAAAAAA="), "has checksum"),
];

#[test]
fn verify_names_the_frame() {
    let mut wrong = Vec::new();
    for (what, lie, expected) in LIES {
        let mut told = parts();
        lie(&mut told);
        assert!(told.clone().read().is_ok(), "{what}: the tail is in order");
        let told = told.tell();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&told.blob).unwrap();
        match verify::chunked(&Blob::whole(file).unwrap(), &told.annotations, None) {
            Ok(_) => wrong.push(format!("{what}: believed")),
            Err(refused) => {
                let said = refused.to_string();
                if !said.contains(expected) || !said.contains("byte") {
                    wrong.push(format!("{what}: {said}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
