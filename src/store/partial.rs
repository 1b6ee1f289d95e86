//! A blob being put together in place, which survives a crash.
//!
//! There is no journal: what is in an unfinished blob proves itself, because every frame has a digest. Holes read as zeros and are no
//! frames.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};

use super::StoreError;
use super::files::{self, Files, OpenFile, doing};

/// An unfinished blob, locked for this process. Dropped, it stays for the next attempt, unless the layout wants it removed.
#[derive(Debug)]
pub struct Partial {
    file: OpenFile,
    files: Files,
    digest: Digest,
    size: u64,
    fresh: bool,
    blob: PathBuf,
    discard: bool,
}

impl Partial {
    pub(super) fn open(
        files: &Files,
        path: &Path,
        digest: Digest,
        size: u64,
        blob: PathBuf,
        discard: bool,
    ) -> Result<Self, StoreError> {
        loop {
            let (file, fresh) = doing(OpenFile::open_or_create(files, path), "open the unfinished blob", path)?;
            files.lock_file(&file, "it fetches a blob that is wanted here too")?;
            // Whoever held the lock may have finished or discarded the file that was opened here.
            if doing(file.has_its_name(), "look at", path)? {
                let len = doing(file.len(), "look at", path)?;
                if len != size {
                    doing(file.set_len(size), "set the size of", path)?;
                }
                let files = files.clone();
                return Ok(Self { file, files, digest, size, fresh: fresh || len == 0, blob, discard });
            }
        }
    }

    /// Whether nothing was there before.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Whether the blob has appeared in the store meanwhile: another process has finished it.
    pub fn is_finished(&self) -> bool {
        files::exists(&self.blob)
    }

    /// Bytes of the whole blob.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes at an offset.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes).map_err(|error| self.failed("write the unfinished blob", error))
    }

    /// Reads exactly at an offset.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.file().read_exact_at(out, offset)
    }

    /// Copies from another file, in the kernel where it can, sharing blocks where the file system can.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::UnexpectedEof`] when the other file is too short.
    pub fn copy_from(&self, from: &File, from_offset: u64, offset: u64, len: u64) -> io::Result<()> {
        let copied = self.file.copy_from(from, from_offset, offset, len);
        copied.map_err(|error| self.failed("copy local frames into", error))
    }

    /// A full disk is told in full; other errors belong to whoever reads or writes.
    fn failed(&self, doing: &'static str, error: io::Error) -> io::Error {
        match StoreError::io(doing, self.file.path(), error) {
            StoreError::Io { source, .. } => source,
            other => other.into_io(),
        }
    }

    /// Digest of the first `len` bytes, as a hasher that can go on.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn hash(&self, len: u64) -> io::Result<Hasher> {
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < len {
            let now = usize::try_from(len - at).unwrap_or(usize::MAX).min(buffer.len());
            self.read_at(at, &mut buffer[..now])?;
            hasher.update(&buffer[..now]);
            at += now as u64;
        }
        Ok(hasher)
    }

    /// Verifies the whole blob, puts it on disk and then under its digest. It may be repaired and committed again after an error.
    ///
    /// # Errors
    /// [`StoreError::Digest`] when its bytes are not the blob's.
    pub fn commit(&self) -> Result<(), StoreError> {
        let path = self.file.path();
        let got = doing(self.hash(self.size), "read the unfinished blob", path)?.finish();
        if got != self.digest {
            return Err(StoreError::Digest { expected: self.digest, got });
        }
        doing(self.file.sync(), "sync", path)?;
        self.files.rename(path, &self.blob)?;
        self.files.sync_dir(self.blob.parent().unwrap_or(&self.blob))
    }

    /// Forgets all bytes, so that no later attempt takes them for a beginning.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn clear(&self) -> Result<(), StoreError> {
        doing(self.file.set_len(0), "empty the unfinished blob", self.file.path())
    }

    /// Removes what there is.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn discard(self) -> Result<(), StoreError> {
        self.files.remove(self.file.path())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // A committed one has another name by now.
        if self.discard && self.file.has_its_name().unwrap_or(false) {
            let _ = self.files.remove(self.file.path());
        }
    }
}
