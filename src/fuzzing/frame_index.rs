//! Reading the index of a blob's frames.

#![expect(clippy::disallowed_methods, reason = "the index is a file, and the property writes one")]

use std::cell::OnceCell;
use std::fs;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::store::{FrameIndex, FrameKey, FrameRecord, Layout, Shelf, StoreError, Wanted};

/// A store of this thread's own, and the file of its only index.
struct Place {
    _folder: tempfile::TempDir,
    layout: Layout,
    file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::open_or_create(folder.path()).expect("a store");
        FrameIndex::save(&layout, Shelf::Own, &blob(), 1, Vec::new()).expect("an index");
        let file = folder.path().join(".chunkify/frames").join(blob().hex());
        assert!(file.exists(), "the index is where the notes say");
        Self { _folder: folder, layout, file }
    }

    fn open(&self, bytes: &[u8]) -> Result<FrameIndex, StoreError> {
        fs::write(&self.file, bytes).expect("written");
        FrameIndex::open(&self.layout, Shelf::Own, &blob()).map(|index| index.expect("it is there"))
    }
}

thread_local! {
    static PLACE: OnceCell<Place> = const { OnceCell::new() };
}

fn blob() -> Digest {
    Digest::of(b"blob")
}

/// The first byte says what the rest is: with an odd one a file as it stands, with an even one the records of a file, from which one
/// is made as the notes describe it, checksums included.
///
/// What is read is what another reader finds at the places that the notes name; asked for one by one the same records are found; and
/// written again they read as the same. Of a file that is cut short nothing is believed, nor of one with a bit turned.
pub fn frame_index(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    PLACE.with(|place| {
        let place = place.get_or_init(Place::new);
        let made;
        let bytes = if kind % 2 == 1 {
            data
        } else {
            made = file_of(&data[..data.len().min(1 << 16)]);
            &made
        };
        let Ok(index) = place.open(bytes) else { return assert!(kind % 2 == 1, "a file that was made right") };
        let mut records = Vec::new();
        if index.each(0..=u64::MAX, |record| records.push(record)).is_err() {
            return assert!(kind % 2 == 1, "a file that was made right");
        }
        assert_eq!(index.len(), records.len() as u64);
        let details = HEADER + column(records.len(), FINGERPRINTS, 8);
        assert_eq!(bytes.len(), details + column(records.len(), DETAILS, DETAIL));
        for (at, record) in records.iter().enumerate() {
            assert_eq!(*record, record_at(bytes, details, at));
        }
        found_one_by_one(&index, &records);
        written_again(place, index.blob_size(), records);
        damaged(place, bytes, usize::from(*kind));
    });
}

const HEADER: usize = 64;
const CHECK: usize = 8;
const FINGERPRINTS: usize = 2048;
const DETAIL: usize = 48;
const DETAILS: usize = 64;

fn column(count: usize, per_block: usize, item: usize) -> usize {
    count * item + count.div_ceil(per_block) * CHECK
}

/// Where an item of a column stands.
fn at(number: usize, per_block: usize, item: usize) -> usize {
    number * item + number / per_block * CHECK
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn record_at(bytes: &[u8], details: usize, nth: usize) -> FrameRecord {
    let fingerprint = HEADER + at(nth, FINGERPRINTS, 8);
    let detail = details + at(nth, DETAILS, DETAIL);
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&bytes[fingerprint..fingerprint + 8]);
    digest[..8].reverse();
    digest[8..].copy_from_slice(&bytes[detail..detail + 24]);
    let key = FrameKey {
        digest: Digest::from_bytes(digest),
        len: number(bytes, detail + 24),
        compressed: number(bytes, detail + 32),
    };
    FrameRecord { key, offset: number(bytes, detail + 40) }
}

/// A file whose records are the data, 56 bytes each, in the order in which they stand.
fn file_of(data: &[u8]) -> Vec<u8> {
    let records: Vec<&[u8]> = data.chunks_exact(8 + DETAIL).collect();
    let mut facts = b"CHKFIDX2".to_vec();
    facts.extend_from_slice(blob().as_bytes());
    facts.extend_from_slice(&(data.len() as u64).to_le_bytes());
    facts.extend_from_slice(&(records.len() as u64).to_le_bytes());
    let mut out = checked(0, facts);
    for (nth, records) in (0..).zip(records.chunks(FINGERPRINTS)) {
        out.extend(checked(nth, records.iter().flat_map(|record| &record[..8]).copied().collect()));
    }
    for (nth, records) in (0..).zip(records.chunks(DETAILS)) {
        out.extend(checked(nth, records.iter().flat_map(|record| &record[8..]).copied().collect()));
    }
    out
}

fn checked(block: u64, mut bytes: Vec<u8>) -> Vec<u8> {
    let check = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &[&block.to_le_bytes(), &bytes[..]].concat());
    bytes.extend_from_slice(&check.to_le_bytes());
    bytes
}

/// Every record is found by its key, at its place or at that of one with the same key.
fn found_one_by_one(index: &FrameIndex, records: &[FrameRecord]) {
    let key_of = |at: usize| records[at].key;
    let mut wanted = Wanted::new(0..records.len(), &key_of);
    let mut found = vec![None; records.len()];
    let told = index.find(&mut wanted, |at, record| {
        assert_eq!(record.key, key_of(at), "another frame is found");
        found[at] = Some(record.offset);
        true
    });
    told.expect("an index that was read");
    assert_eq!(wanted.missing(), 0, "a frame that is there is not found");
    for (at, offset) in found.iter().enumerate() {
        assert!(records.iter().any(|record| record.key == key_of(at) && Some(record.offset) == *offset));
    }
}

fn written_again(place: &Place, size: u64, mut records: Vec<FrameRecord>) {
    FrameIndex::save(&place.layout, Shelf::Own, &blob(), size, records.clone()).expect("saved");
    records.sort_unstable();
    records.dedup_by_key(|record| record.key);
    let index = FrameIndex::open(&place.layout, Shelf::Own, &blob()).expect("a good index").expect("it is there");
    assert_eq!(index.blob_size(), size);
    let mut again = Vec::new();
    index.each(0..=u64::MAX, |record| again.push(record)).expect("a good index");
    assert_eq!(again, records, "what is written reads otherwise");
}

/// One bit turned, at a place that the input chooses, and the last byte missing.
fn damaged(place: &Place, bytes: &[u8], chosen: usize) {
    let mut bad = bytes.to_vec();
    let at = chosen.wrapping_mul(7919) % bad.len();
    bad[at] ^= 1 << (chosen % 8);
    for bad in [&bad[..], &bytes[..bytes.len() - 1]] {
        let read = place.open(bad).and_then(|index| index.each(0..=u64::MAX, |_| {}));
        assert!(matches!(read, Err(StoreError::FrameIndex { .. })), "damage at byte {at} is not noticed");
    }
}
