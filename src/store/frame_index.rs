//! A cache beside each blob: its frames, sorted by what they hold.
//!
//! It is only ever believed as far as the digest of the finished blob proves it, so it may be deleted, and a damaged one is rebuilt.

#![expect(clippy::disallowed_methods, reason = "io shell")]

use std::fs;
use std::path::PathBuf;

use crate::digest::Digest;

use super::files::{self, doing};
use super::{Layout, StoreError};

/// What makes two frames the same bytes: equal content, compressed to equal length. (Another compressor may still differ.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameKey {
    /// Of the uncompressed content.
    pub digest: Digest,
    /// Bytes of the uncompressed content.
    pub len: u64,
    /// Bytes of the frame.
    pub compressed: u64,
}

/// Where one frame is in its blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameRecord {
    /// What it is.
    pub key: FrameKey,
    /// Where it begins.
    pub offset: u64,
}

/// The frames of one blob, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameIndex {
    records: Vec<FrameRecord>,
}

/// Magic and version; a change of the records' form changes it.
const MAGIC: &[u8; 8] = b"CHKFIDX1";
const RECORD: usize = 56;
const DIGEST: usize = 32;

impl FrameIndex {
    /// An index of these records.
    pub fn new(mut records: Vec<FrameRecord>) -> Self {
        records.sort_unstable();
        records.dedup_by_key(|record| record.key);
        Self { records }
    }

    /// Tells for every wanted frame that is here where it begins. `wanted` must be sorted by key.
    pub fn find<T>(&self, wanted: &[(FrameKey, T)], mut found: impl FnMut(&T, u64)) {
        let mut records = &self.records[..];
        for (key, tag) in wanted {
            let skip = records.partition_point(|record| record.key < *key);
            records = &records[skip..];
            match records.first() {
                Some(record) if record.key == *key => found(tag, record.offset),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// How many different frames there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Reads the index of a blob; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::FrameIndex`] when it is damaged or of another version.
    pub fn load(layout: &Layout, blob: &Digest) -> Result<Option<Self>, StoreError> {
        let path = Self::path(layout, blob);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Io { doing: "read", path, source }),
        };
        match Self::decode(&bytes) {
            Ok(index) => Ok(Some(index)),
            Err(why) => Err(StoreError::FrameIndex { path, why }),
        }
    }

    /// Writes the index of a blob.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn save(&self, layout: &Layout, blob: &Digest) -> Result<(), StoreError> {
        let path = Self::path(layout, blob);
        let folder = path.parent().unwrap_or(&path).to_path_buf();
        files::make_dir(&folder)?;
        // Not synced: a cache that is lost is made again, and its own digest tells a torn one.
        let mut file = doing(tempfile::NamedTempFile::new_in(&folder), "make a temporary file in", &folder)?;
        doing(std::io::Write::write_all(&mut file, &self.encode()), "write", &path)?;
        doing(file.persist(&path).map_err(|error| error.error), "replace", &path)?;
        Ok(())
    }

    fn path(layout: &Layout, blob: &Digest) -> PathBuf {
        layout.private().join("frames").join(blob.hex())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + self.records.len() * RECORD + DIGEST);
        out.extend_from_slice(MAGIC);
        for FrameRecord { key, offset } in &self.records {
            out.extend_from_slice(key.digest.as_bytes());
            for number in [key.len, key.compressed, *offset] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        let digest = Digest::of(&out);
        out.extend_from_slice(digest.as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let (body, digest) = bytes.split_last_chunk::<DIGEST>().ok_or("it is too short")?;
        let records = body.strip_prefix(MAGIC).ok_or("it is of another version")?;
        if Digest::of(body).as_bytes() != digest || !records.len().is_multiple_of(RECORD) {
            return Err("it is damaged");
        }
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let record = |bytes: &[u8]| FrameRecord {
            key: FrameKey {
                digest: Digest::from_bytes(bytes[..32].try_into().expect("32 bytes")),
                len: number(&bytes[32..40]),
                compressed: number(&bytes[40..48]),
            },
            offset: number(&bytes[48..56]),
        };
        Ok(Self { records: records.chunks_exact(RECORD).map(record).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u8, offset: u64) -> FrameRecord {
        FrameRecord { key: FrameKey { digest: Digest::of(&[n]), len: u64::from(n), compressed: 1 }, offset }
    }

    #[test]
    fn finds_what_is_there_and_survives_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::open_or_create(folder.path()).unwrap();
        let blob = Digest::of(b"blob");
        assert_eq!(FrameIndex::load(&layout, &blob).unwrap(), None);
        FrameIndex::new((0..100).map(|n| record(n, u64::from(n) * 7)).collect()).save(&layout, &blob).unwrap();
        let index = FrameIndex::load(&layout, &blob).unwrap().unwrap();
        let mut wanted: Vec<_> = (50..150).map(|n| (record(n, 0).key, n)).collect();
        wanted.sort_unstable();
        let mut found = Vec::new();
        index.find(&wanted, |n, offset| found.push((*n, offset)));
        found.sort_unstable();
        assert_eq!(found, (50..100).map(|n| (n, u64::from(n) * 7)).collect::<Vec<_>>());
    }

    #[test]
    fn damage_is_noticed() {
        let good = FrameIndex::new(vec![record(1, 2), record(3, 4)]).encode();
        assert!(FrameIndex::decode(&good).is_ok());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(FrameIndex::decode(&bad).is_err(), "byte {at}");
            assert!(FrameIndex::decode(&good[..at]).is_err(), "cut at {at}");
        }
    }
}
