//! Reading table of contents and tar-split side by side.

use serde_json::Value;

use crate::digest::Digest;
use crate::format::annotations::Annotations;
use crate::format::footer;
use crate::format::frame_map::{self, Frame, FrameKind, FrameMap, LayerError};
use crate::format::tail::{Position, Positions, Tail};
use crate::format::tar_split::Line;
use crate::format::toc::Entry;
use crate::tar::scan::Scanner;
use crate::zstd::codec::{FrameCompressor, Tables};
use crate::zstd::frames::{SKIPPABLE_HEADER, skippable_header};

use super::pieces::{Cut, parts};
use super::tar::Reading;
use super::tar_split::lines;

/// A tar that is rebuilt has at most this many bytes.
const REBUILT: u64 = 1 << 20;

/// The first line is where the tail begins; then come the table of contents, an empty line and the tar-split. `"@"` in the table stands
/// for the tar-split's digest, so that who changes one need not compute the other.
///
/// What is accepted tiles the blob without a hole; its chunks are those of the JSON and its header frames the tar-split's bytes, as
/// somebody reads them who looks at one of the two alone; the tar that the tar-split describes has the entries of the table of contents;
/// and with one stated length changed it is refused.
pub fn agreement(data: &[u8]) {
    let (data_end, rest) = parts(data, b"\n");
    let Some(data_end) = std::str::from_utf8(data_end).ok().and_then(|text| text.parse::<u64>().ok()) else { return };
    let (toc, split) = parts(rest, b"\n\n");
    let mut compressor = FrameCompressor::new();
    let compressed = compressor.compress(split, 1, Tables::Zstd);
    let toc = with_digest(toc, Digest::of(&compressed));
    let Some(layer) =
        Layer::new(data_end, &toc, split.len() as u64, &compressor.compress(&toc, 1, Tables::Zstd), &compressed)
    else {
        return;
    };
    let Ok((map, entries)) = layer.check() else { return };
    tiles(&map);
    chunks_are_of_the_toc(&map, &toc);
    let lines = lines(&compressed, split.len() as u64).expect("it was read");
    headers_are_of_the_tar_split(&map, &lines);
    tar_has_the_entries(&map, &lines, &entries);
    layer.lies_are_refused();
}

fn with_digest(toc: &[u8], digest: Digest) -> Vec<u8> {
    match toc.windows(3).position(|window| window == b"\"@\"") {
        Some(at) => [&toc[..at], format!("\"{digest}\"").as_bytes(), &toc[at + 3..]].concat(),
        None => toc.to_vec(),
    }
}

/// A tail and what a manifest says of it.
struct Layer {
    annotations: Annotations,
    tail: Tail,
    bytes: Vec<u8>,
}

impl Layer {
    fn new(data_end: u64, toc: &[u8], split_len: u64, toc_frame: &[u8], split_frame: &[u8]) -> Option<Self> {
        let position = |offset: u64, frame: &[u8], uncompressed| {
            let offset = offset.checked_add(SKIPPABLE_HEADER)?;
            Some(Position { offset, compressed: frame.len() as u64, uncompressed })
        };
        let toc_at = position(data_end, toc_frame, toc.len() as u64)?;
        let split_at = position(toc_at.offset.checked_add(toc_frame.len() as u64)?, split_frame, split_len)?;
        let positions = Positions { toc: toc_at, tar_split: split_at };
        let mut bytes = Vec::new();
        for content in [toc_frame, split_frame, &footer::write(&positions)] {
            bytes.extend(skippable_header(content.len() as u64)?);
            bytes.extend(content);
        }
        let tail = positions.check(data_end.checked_add(bytes.len() as u64)?).expect("a tail that was made right");
        Some(Self { annotations: Annotations { toc_digest: Digest::of(toc_frame), positions }, tail, bytes })
    }

    fn check(&self) -> Result<(FrameMap, Vec<Entry>), LayerError> {
        let mut entries = Vec::new();
        let map = frame_map::check_with(&self.annotations, &self.tail, &self.bytes, |file| {
            let of_the_payload: u64 = file.frames.iter().map(|frame| frame.len).sum();
            assert_eq!(i64::try_from(of_the_payload), Ok(file.entry.size), "frames that are not the payload");
            assert_eq!(file.crc.is_some(), file.entry.size > 0);
            entries.push(file.entry.clone());
        })?;
        assert_eq!(map.entries, entries.len() as u64);
        Ok((map, entries))
    }

    /// One byte more or less than there is, in any of the numbers or in the tail.
    fn lies_are_refused(self) {
        let checked = |positions: Positions, bytes: &[u8]| {
            let size = self.tail.span().end();
            let tail = positions.check(size).map_err(LayerError::from)?;
            frame_map::check(&Annotations { positions, ..self.annotations }, &tail, bytes)
        };
        let honest = *self.tail.positions();
        for lie in [1, u64::MAX] {
            let mut positions = honest;
            positions.toc.uncompressed = honest.toc.uncompressed.wrapping_add(lie);
            assert!(checked(positions, &self.bytes).is_err(), "a length of the table of contents that is not so");
            let mut positions = honest;
            positions.tar_split.compressed = honest.tar_split.compressed.wrapping_add(lie);
            assert!(checked(positions, &self.bytes).is_err(), "a place that is not so");
        }
        let cut = self.bytes.len().saturating_sub(1);
        assert!(checked(honest, &self.bytes[..cut]).is_err(), "a tail that is cut short");
    }
}

/// Frames adjoin from the first byte to the tail, each of them holds something, and together they are the tar.
pub fn tiles(map: &FrameMap) {
    let mut at = 0;
    for frame in &map.frames {
        assert_eq!(frame.span.start(), at, "a hole or an overlap");
        assert!(frame.len > 0, "an empty frame");
        at = frame.span.end();
    }
    assert_eq!(at, map.data_end);
    let lens = map.frames.iter().map(|frame| u128::from(frame.len)).sum::<u128>();
    assert_eq!(lens, u128::from(map.tar_size), "frames that are not the tar");
}

/// What the JSON alone says of chunks: where each begins, what it holds, and how long it is.
fn chunks_are_of_the_toc(map: &FrameMap, toc: &[u8]) {
    let value: Value = serde_json::from_slice(toc).expect("it was read");
    let entries = value["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let number = |entry: &Value, key: &str| entry[key].as_u64().unwrap_or(0);
    let chunk = |entry: &Value| {
        let is_part = number(entry, "chunkSize") > 0;
        let (len, digest) = if is_part { ("chunkSize", "chunkDigest") } else { ("size", "digest") };
        let zeros = entry["chunkType"] == "zeros";
        (number(entry, "offset"), number(entry, len), entry[digest].as_str().unwrap_or_default().to_owned(), zeros)
    };
    let has_payload = |entry: &&Value| number(entry, "size") > 0 || entry["type"] == "chunk";
    let said = entries.iter().filter(has_payload).map(chunk);
    let is_chunk = |frame: &&Frame| frame.kind != FrameKind::Headers;
    let made = map
        .frames
        .iter()
        .filter(is_chunk)
        .map(|frame| (frame.span.start(), frame.len, frame.digest.to_string(), frame.kind == FrameKind::Zeros));
    assert!(made.eq(said), "other chunks than the JSON says");
}

/// What the tar-split alone says of headers: its segments, joined where no payload stands between them.
fn headers_are_of_the_tar_split(map: &FrameMap, lines: &[Line]) {
    let mut said = vec![Vec::new()];
    for line in lines {
        match (line, said.last_mut()) {
            (Line::Segment(bytes), Some(open)) => open.extend_from_slice(bytes),
            (Line::File { size, .. }, _) if *size > 0 => said.push(Vec::new()),
            _ => {}
        }
    }
    said.retain(|bytes| !bytes.is_empty());
    let said = said.iter().map(|bytes| (bytes.len() as u64, Digest::of(bytes)));
    let made = map.frames.iter().filter(|frame| frame.kind == FrameKind::Headers);
    assert!(made.map(|frame| (frame.len, frame.digest)).eq(said), "other headers than the tar-split says");
}

/// The tar that the tar-split describes, with zeros for payloads.
fn tar_has_the_entries(map: &FrameMap, lines: &[Line], entries: &[Entry]) {
    if map.tar_size > REBUILT {
        return;
    }
    let mut tar = Vec::new();
    for line in lines {
        match line {
            Line::Segment(bytes) => tar.extend_from_slice(bytes),
            Line::File { size, .. } => tar.resize(tar.len() + usize::try_from(*size).expect("a small tar"), 0),
        }
    }
    assert_eq!(tar.len() as u64, map.tar_size);
    let reading = Reading::new(Scanner::new(), &tar, Cut::Mixed);
    assert!(reading.is_whole(), "the tar-split's tar does not read");
    let said: Vec<_> = reading.entries().map(|entry| Entry::from_tar(entry).expect("it was said")).collect();
    assert_eq!(said.len(), entries.len());
    for (said, entry) in said.iter().zip(entries) {
        assert_eq!(entry.differs_from(said), None, "{entry:?}");
    }
}
