//! Locks between processes: on open files, so that they end with whoever holds them.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::store::StoreError;

use super::{Change, Files, OpenFile, doing, exists};

/// A lock that is held until it is dropped. Its file stays for the next who wants it.
#[derive(Debug)]
pub struct Lock {
    _file: OpenFile,
}

/// A lock whose file goes with it.
#[derive(Debug)]
pub struct Held {
    file: OpenFile,
    files: Files,
}

/// How many may hold a lock at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    One,
    Many,
}

impl Files {
    /// Takes a lock for this process alone. `waiting` says what a wait is for.
    pub fn lock(&self, path: &Path, waiting: &'static str) -> Result<Lock, StoreError> {
        self.take(path, Share::One, waiting)
    }

    /// Takes a lock that others may share.
    pub fn lock_shared(&self, path: &Path, waiting: &'static str) -> Result<Lock, StoreError> {
        self.take(path, Share::Many, waiting)
    }

    fn take(&self, path: &Path, share: Share, waiting: &'static str) -> Result<Lock, StoreError> {
        let file = self.open_to_lock(path)?;
        self.wait(&file, share, waiting)?;
        Ok(Lock { _file: file })
    }

    /// Takes the lock that a file of this name stands for, which is made here and removed with the lock.
    pub fn hold(&self, path: &Path, waiting: &'static str) -> Result<Held, StoreError> {
        loop {
            let file = self.open_to_lock(path)?;
            self.lock_file(&file, waiting)?;
            // Whoever held it before has removed the file that was opened here.
            if doing(file.has_its_name(), "look at", path)? {
                return Ok(Held { file, files: self.clone() });
            }
        }
    }

    /// Locks an open file for this process alone.
    pub fn lock_file(&self, file: &OpenFile, waiting: &'static str) -> Result<(), StoreError> {
        self.wait(file, Share::One, waiting)
    }

    fn open_to_lock(&self, path: &Path) -> Result<OpenFile, StoreError> {
        Ok(doing(OpenFile::open_or_create(self, path), "open the lock", path)?.0)
    }

    fn wait(&self, file: &OpenFile, share: Share, waiting: &'static str) -> Result<(), StoreError> {
        let path = file.path();
        let refused = |source| no_locks(path, source);
        self.tell(&Change::Lock(path)).map_err(refused)?;
        let now = if share == Share::One { file.file().try_lock() } else { file.file().try_lock_shared() };
        match now {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => tracing::warn!("waiting for another process: {waiting}"),
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        let locked = if share == Share::One { file.file().lock() } else { file.file().lock_shared() };
        locked.map_err(refused)?;
        tracing::info!("the wait is over: {waiting}");
        Ok(())
    }
}

/// Whether nobody holds the lock of an existing file.
pub fn is_free(file: &File) -> bool {
    file.try_lock().is_ok()
}

/// Some network file systems have no locks, or have them switched off.
fn no_locks(path: &Path, source: io::Error) -> StoreError {
    use rustix::io::Errno;
    let errno = source.raw_os_error().map(Errno::from_raw_os_error);
    match errno {
        Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => StoreError::NoLocks { path: path.into(), source },
        _ => StoreError::io("lock", path, source),
    }
}

impl Held {
    /// The file whose lock it is.
    pub fn file(&self) -> &OpenFile {
        &self.file
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let path: PathBuf = self.file.path().into();
        // Best left to the next sweep if it fails: an unlocked file says nothing.
        if exists(&path) && self.file.has_its_name().unwrap_or(false) {
            let _ = self.files.remove(&path);
        }
    }
}
