//! A cache for each blob: its frames, sorted by what they hold, in a file that is looked up in place.
//!
//! `spec-notes/frame-index.md` has the file's form and its reasons. It is only ever believed as far as the digest of the finished blob
//! proves it, so it may be deleted, and one that is damaged or of another version is made again.

mod form;
mod wanted;

pub use wanted::Wanted;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

use self::form::{Details, Header, Place};
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

impl FrameKey {
    /// The first eight bytes of the digest, as a number that sorts as the digests do.
    pub fn fingerprint(&self) -> u64 {
        let (first, _) = self.digest.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
        u64::from_be_bytes(*first)
    }
}

/// Where one frame is in its blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameRecord {
    /// What it is.
    pub key: FrameKey,
    /// Where it begins.
    pub offset: u64,
}

/// The frames of one blob, in a file.
#[derive(Debug)]
pub struct FrameIndex {
    file: File,
    path: PathBuf,
    header: Header,
}

/// Which of the two caches: of the store's own blobs, or of blobs in other layouts that have none of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// The store's own blobs.
    Own,
    /// Blobs of seeds.
    Seeds,
}

impl Shelf {
    /// The folder in the store's own.
    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::Own => "frames",
            Self::Seeds => "seed-frames",
        }
    }
}

impl FrameIndex {
    /// Writes the index of a blob of `size` bytes. A frame that is there several times is listed once.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn save(
        layout: &Layout,
        shelf: Shelf,
        blob: &Digest,
        size: u64,
        mut records: Vec<FrameRecord>,
    ) -> Result<(), StoreError> {
        records.sort_unstable();
        records.dedup_by_key(|record| record.key);
        let path = Self::path(layout, shelf, blob);
        layout.files().make_dir(path.parent().unwrap_or(&path))?;
        let scratch = layout.files().scratch(&layout.scratch()?)?;
        let mut out = std::io::BufWriter::with_capacity(256 << 10, scratch);
        let written = form::write(&mut out, blob, size, &records).and_then(|()| out.flush());
        doing(written, "write", &path)?;
        // Not synced: a cache that a power loss takes is made again, and what it tears does not check.
        let scratch = doing(out.into_inner().map_err(std::io::IntoInnerError::into_error), "write", &path)?;
        layout.files().name(scratch, &path)
    }

    /// Opens the index of a blob; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::FrameIndex`] when it is damaged, of another version or of another blob.
    pub fn open(layout: &Layout, shelf: Shelf, blob: &Digest) -> Result<Option<Self>, StoreError> {
        let path = Self::path(layout, shelf, blob);
        let Some(file) = doing(files::open_if_there(&path), "open", &path)? else { return Ok(None) };
        let mut start = [0; form::HEADER];
        let len = doing(file.metadata(), "look at", &path)?.len();
        let read = if len < form::HEADER as u64 { Err("it is too short") } else { Ok(()) };
        let header = read.and_then(|()| {
            file.read_exact_at(&mut start, 0).map_err(|_| "it cannot be read")?;
            Header::read(&start, len)
        });
        match header {
            Ok(header) if header.blob == *blob => Ok(Some(Self { file, path, header })),
            Ok(_) => Err(StoreError::FrameIndex { path, why: "it is of another blob" }),
            Err(why) => Err(StoreError::FrameIndex { path, why }),
        }
    }

    /// Removes the index of a blob.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove(layout: &Layout, shelf: Shelf, blob: &Digest) -> Result<(), StoreError> {
        layout.files().remove(&Self::path(layout, shelf, blob))
    }

    /// The blobs that have an index, by the names of the files.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn all(layout: &Layout, shelf: Shelf) -> Result<Vec<(Digest, u64)>, StoreError> {
        let folder = layout.private().join(shelf.folder());
        let entries = doing(files::list(&folder), "list", &folder)?;
        Ok(entries.iter().filter_map(|entry| Some((Digest::from_hex(entry.name.to_str()?)?, entry.len))).collect())
    }

    /// Bytes of the blob that it describes.
    pub fn blob_size(&self) -> u64 {
        self.header.size
    }

    /// How many different frames there are.
    pub fn len(&self) -> u64 {
        self.header.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.header.count == 0
    }

    /// Tells for every wanted frame that is here, and that no index before had, where it is; `take` answers whether that will do.
    ///
    /// # Errors
    /// [`StoreError::FrameIndex`] when a block of it is damaged; what was told before is right.
    pub fn find(
        &self,
        wanted: &mut Wanted<'_>,
        mut take: impl FnMut(usize, &FrameRecord) -> bool,
    ) -> Result<(), StoreError> {
        let mut details = Details::new(&self.file, &self.header);
        self.fingerprints(|at, fingerprint| {
            wanted.offer(fingerprint, |key, number| {
                let record = details.read(at, fingerprint)?;
                Ok(record.key == *key && take(number, &record))
            })
        })
    }

    /// Tells every frame whose fingerprint is in `range`, in order.
    ///
    /// # Errors
    /// [`StoreError::FrameIndex`] when a block of it is damaged.
    pub fn each(
        &self,
        range: std::ops::RangeInclusive<u64>,
        mut tell: impl FnMut(FrameRecord),
    ) -> Result<(), StoreError> {
        let mut details = Details::new(&self.file, &self.header);
        self.fingerprints(|at, fingerprint| {
            if range.contains(&fingerprint) {
                tell(details.read(at, fingerprint)?);
            }
            Ok(())
        })
    }

    /// Reads the first column from its beginning to its end.
    fn fingerprints(&self, mut tell: impl FnMut(Place, u64) -> Result<(), &'static str>) -> Result<(), StoreError> {
        let read = form::fingerprints(&self.file, &self.header, &mut tell);
        read.map_err(|why| StoreError::FrameIndex { path: self.path.clone(), why })
    }

    fn path(layout: &Layout, shelf: Shelf, blob: &Digest) -> PathBuf {
        let folder: &Path = &layout.private();
        folder.join(shelf.folder()).join(blob.hex())
    }
}

#[cfg(test)]
mod tests;
