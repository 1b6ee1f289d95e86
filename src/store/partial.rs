//! A blob being put together in place, which survives a crash.
//!
//! There is no journal: what is in an unfinished blob proves itself, because every frame has a digest. Holes read as zeros and are no
//! frames.

#![expect(clippy::disallowed_methods, reason = "io shell")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};

use super::StoreError;
use super::files::{self, doing};

/// An unfinished blob, locked for this process. Dropped, it stays for the next attempt.
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
    digest: Digest,
    size: u64,
    fresh: bool,
    blob: PathBuf,
}

impl Partial {
    pub(super) fn open(path: PathBuf, digest: Digest, size: u64, blob: PathBuf) -> Result<Self, StoreError> {
        loop {
            let fresh = !path.exists();
            let options = File::options().create(true).truncate(false).read(true).write(true).clone();
            let file = doing(options.open(&path), "open the unfinished blob", &path)?;
            Self::lock(&file, &path)?;
            // Whoever held the lock may have finished or discarded the file that was opened here.
            if Self::is_still(&file, &path)? {
                let len = doing(file.metadata(), "look at", &path)?.len();
                doing(file.set_len(size), "set the size of", &path)?;
                return Ok(Self { file, path, digest, size, fresh: fresh || len == 0, blob });
            }
        }
    }

    fn lock(file: &File, path: &Path) -> Result<(), StoreError> {
        match file.try_lock() {
            Ok(()) => Ok(()),
            Err(fs::TryLockError::WouldBlock) => {
                tracing::warn!(blob = %path.display(), "another process fetches this blob, waiting for it");
                doing(file.lock(), "lock", path)
            }
            Err(fs::TryLockError::Error(source)) => Err(StoreError::Io { doing: "lock", path: path.into(), source }),
        }
    }

    fn is_still(file: &File, path: &Path) -> Result<bool, StoreError> {
        use std::os::unix::fs::MetadataExt as _;
        let ours = doing(file.metadata(), "look at", path)?;
        Ok(fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
    }

    /// Whether nothing was there before.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Whether the blob has appeared in the store meanwhile: another process has finished it.
    pub fn is_finished(&self) -> bool {
        self.blob.exists()
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
        self.file.write_all_at(bytes, offset)
    }

    /// Reads exactly at an offset.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    /// Copies from another file, in the kernel where it can (which shares blocks where the file system can).
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::UnexpectedEof`] when the other file is too short.
    pub fn copy_from(&self, from: &File, from_offset: u64, offset: u64, len: u64) -> io::Result<()> {
        let (mut source, mut target, end) = (from_offset, offset, offset + len);
        while target < end {
            let wanted = usize::try_from(end - target).unwrap_or(usize::MAX).min(1 << 30);
            match rustix::fs::copy_file_range(from, Some(&mut source), &self.file, Some(&mut target), wanted) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(
                    rustix::io::Errno::XDEV
                    | rustix::io::Errno::INVAL
                    | rustix::io::Errno::NOSYS
                    | rustix::io::Errno::OPNOTSUPP
                    | rustix::io::Errno::PERM,
                ) => return self.copy_by_hand(from, source, target, end - target),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn copy_by_hand(&self, from: &File, from_offset: u64, offset: u64, len: u64) -> io::Result<()> {
        let mut buffer = vec![0; 256 << 10];
        let mut done = 0;
        while done < len {
            let now = usize::try_from(len - done).unwrap_or(usize::MAX).min(buffer.len());
            from.read_exact_at(&mut buffer[..now], from_offset + done)?;
            self.write_at(offset + done, &buffer[..now])?;
            done += now as u64;
        }
        Ok(())
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
            self.file.read_exact_at(&mut buffer[..now], at)?;
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
        let got = doing(self.hash(self.size), "read the unfinished blob", &self.path)?.finish();
        if got != self.digest {
            return Err(StoreError::Digest { expected: self.digest, got });
        }
        doing(files::world_readable(&self.file), "set the mode of", &self.path)?;
        doing(self.file.sync_all(), "sync", &self.path)?;
        doing(fs::rename(&self.path, &self.blob), "move a blob to", &self.blob)?;
        files::sync_dir(self.blob.parent().unwrap_or(&self.blob))
    }

    /// Forgets all bytes, so that no later attempt takes them for a beginning.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn clear(&self) -> Result<(), StoreError> {
        doing(self.file.set_len(0), "empty the unfinished blob", &self.path)
    }

    /// Removes what there is.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn discard(self) -> Result<(), StoreError> {
        doing(fs::remove_file(&self.path), "remove the unfinished blob", &self.path)
    }
}
