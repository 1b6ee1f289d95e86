//! Reading a whole blob, and zstd.

use std::io::Read as _;

use crate::digest::Digest;
use crate::format::annotations::Annotations;
use crate::format::footer;
use crate::format::frame_map::{self, FrameMap};
use crate::format::tail::{Position, Tail};
use crate::format::toc::Entry;
use crate::tar::scan::Scanner;
use crate::zstd::codec::{self, Decoder};

use super::agreement::tiles;
use super::pieces::{Cut, Slow};
use super::tar::Reading;

/// What a fuzzer's blob may decompress to.
const TAR: u64 = 4 << 20;

/// The data are a whole blob with its footer. When its tail is accepted, the frames tile it. When every frame holds what it should, the
/// blob decompressed at once is the frames decompressed one by one, and its tar has the entries of the table of contents.
pub fn frame_map(blob: &[u8]) {
    let Ok(positions) = footer::read(blob) else { return };
    let Ok(tail) = positions.check(blob.len() as u64) else { return };
    let at = usize::try_from(tail.data_end()).expect("it lies in the blob");
    let Some(toc) = content(blob, positions.toc) else { return };
    let annotations = Annotations { toc_digest: Digest::of(toc), positions };
    let Some((map, entries)) = checked(&annotations, &tail, &blob[at..]) else { return };
    tiles(&map);
    if map.tar_size > TAR {
        return;
    }
    let Some(tar) = frame_by_frame(&map, blob) else { return };
    assert!(codec::decompress(blob, TAR).is_ok_and(|whole| whole == tar), "decompressed at once it is another tar");
    let reading = Reading::new(Scanner::new(), &tar, Cut::Mixed);
    assert!(reading.is_whole(), "the tar does not read");
    let said: Vec<_> = reading.entries().map(|entry| Entry::from_tar(entry).expect("it was said")).collect();
    assert_eq!(said.len(), entries.len());
    assert!(entries.iter().zip(&said).all(|(entry, said)| entry.differs_from(said).is_none()));
}

fn content(blob: &[u8], position: Position) -> Option<&[u8]> {
    let start = usize::try_from(position.offset).ok()?;
    blob.get(start..)?.get(..usize::try_from(position.compressed).ok()?)
}

fn checked(annotations: &Annotations, tail: &Tail, bytes: &[u8]) -> Option<(FrameMap, Vec<Entry>)> {
    let mut entries = Vec::new();
    let map = frame_map::check_with(annotations, tail, bytes, |file| entries.push(file.entry.clone())).ok()?;
    Some((map, entries))
}

/// The tar, if every frame decompresses to what the map says.
pub fn frame_by_frame(map: &FrameMap, blob: &[u8]) -> Option<Vec<u8>> {
    let mut tar = Vec::new();
    for frame in &map.frames {
        let (start, end) = (usize::try_from(frame.span.start()).ok()?, usize::try_from(frame.span.end()).ok()?);
        let bytes = codec::decompress(blob.get(start..end)?, frame.len).ok()?;
        if bytes.len() as u64 != frame.len || Digest::of(&bytes) != frame.digest {
            return None;
        }
        tar.extend_from_slice(&bytes);
    }
    Some(tar)
}

/// Nothing decompresses to more than the limit; a source that gives a few bytes at a time makes no difference.
pub fn zstd(data: &[u8]) {
    const LIMIT: u64 = 1 << 20;
    let whole = codec::decompress(data, LIMIT);
    for cut in [Cut::Bytes, Cut::Mixed] {
        let mut slow = Vec::new();
        let read = Decoder::new(Slow::new(data, cut)).take(LIMIT + 1).read_to_end(&mut slow);
        match &whole {
            Ok(whole) => {
                assert!(read.is_ok() && slow == *whole, "in other pieces it decompresses otherwise");
                assert!(whole.len() as u64 <= LIMIT);
            }
            Err(_) => assert!(read.is_err() || slow.len() as u64 > LIMIT, "in other pieces it decompresses"),
        }
    }
}
