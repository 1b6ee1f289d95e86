//! Where a tail is: the footer and the annotations.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::format::annotations::{self, Annotations, OF_THE_BLOB, TAR_SPLIT_POSITION, TOC_DIGEST, TOC_POSITION};
use crate::format::footer::{self, FooterError, Positions};
use crate::limits;
use crate::zstd::frames::SKIPPABLE_HEADER;

/// The first eight bytes are the size of a blob, the rest its end. What is read is written as it stood, and says in annotations what
/// it says in the footer; positions that pass are within the limits and end with the blob.
pub fn footer(data: &[u8]) {
    let Some((size, end)) = data.split_first_chunk() else { return };
    let positions = match footer::read(end) {
        Ok(positions) => positions,
        Err(FooterError::Type(kind)) => return assert_ne!(kind, footer::TYPE_CRFS),
        Err(FooterError::OldDialect) => return assert!(end.ends_with(b"GnUlInUx")),
        Err(FooterError::Estargz) => return,
        Err(FooterError::Absent) => return assert!(end.len() < footer::LEN || !end.ends_with(b"GNUlInUx")),
    };
    let written = footer::write(&positions);
    assert!(end.ends_with(&written), "another footer is written than was read");
    check(positions, u64::from_le_bytes(*size));
    let said = Annotations { toc_digest: Digest::of(data), positions };
    let mut map = BTreeMap::new();
    said.apply(&mut map);
    assert_eq!(Annotations::parse(&map), Ok(said));
}

fn check(positions: Positions, size: u64) {
    let Ok(tail) = positions.check(size) else { return };
    let Positions { toc, tar_split } = positions;
    let parts = [toc.compressed, tar_split.compressed, footer::LEN as u64];
    let whole: u128 = parts.iter().map(|len| u128::from(len + SKIPPABLE_HEADER)).sum();
    assert_eq!(u128::from(tail.span().len()), whole);
    assert_eq!((tail.span().start(), tail.span().end()), (tail.data_end(), size));
    assert_eq!(toc.offset, tail.data_end() + SKIPPABLE_HEADER);
    assert!(toc.compressed <= limits::TOC_COMPRESSED && toc.uncompressed <= limits::TOC_UNCOMPRESSED);
    assert!(tar_split.compressed <= limits::TAR_SPLIT_COMPRESSED);
    assert!(tar_split.uncompressed <= limits::TAR_SPLIT_UNCOMPRESSED);
}

/// Lines of `key=value`, where a digit stands for a known key; the first line is the size of the blob. What is read is written, and
/// reads as the same; other keys stay; and the numbers are those that stand there.
pub fn annotations(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let size = lines.next().and_then(|size| size.parse().ok()).unwrap_or(0);
    let known = |key: &str| key.parse().ok().and_then(|at: usize| OF_THE_BLOB.get(at)).map(|key| (*key).to_owned());
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((known(key).unwrap_or_else(|| key.to_owned()), value.to_owned()))
    };
    let map: BTreeMap<String, String> = lines.filter_map(pair).collect();
    let Ok(read) = Annotations::parse(&map) else { return };
    check(read.positions, size);
    assert_eq!(map[TOC_DIGEST], read.toc_digest.to_string());
    let Positions { toc, tar_split } = read.positions;
    let numbers = |key: &str| -> Vec<u64> { map[key].split(':').map(|number| number.parse().unwrap()).collect() };
    assert_eq!(numbers(TOC_POSITION), [toc.offset, toc.compressed, toc.uncompressed, footer::TYPE_CRFS]);
    assert_eq!(numbers(TAR_SPLIT_POSITION), [tar_split.offset, tar_split.compressed, tar_split.uncompressed]);
    let (mut again, mut others) = (map.clone(), map);
    read.apply(&mut again);
    assert_eq!(Annotations::parse(&again), Ok(read));
    annotations::strip(&mut again);
    others.retain(|key, _| !OF_THE_BLOB.contains(&key.as_str()));
    assert_eq!(again, others, "keys of others do not stay");
}
