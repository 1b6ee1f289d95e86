//! A file that is open for changes.

#![expect(clippy::disallowed_methods, reason = "io shell")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::early_sync::EarlySync;
use super::{Change, Files, copy};

/// A file that is open for changes.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    path: PathBuf,
    files: Files,
    /// Where [`Write`] goes on.
    at: u64,
    early: EarlySync,
}

impl OpenFile {
    /// Makes a file that must not be there.
    pub(super) fn create_new(files: &Files, path: &Path) -> io::Result<Self> {
        files.tell(&Change::Create(path))?;
        let file = File::options().create_new(true).read(true).write(true).open(path)?;
        // Every reader that the folders let in may read, whatever the umask of the process that wrote.
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        Ok(Self::new(file, path, files))
    }

    fn new(file: File, path: &Path, files: &Files) -> Self {
        Self { file, path: path.into(), files: files.clone(), at: 0, early: EarlySync::default() }
    }

    /// Opens a file, making an empty one where there is none; tells whether it did.
    pub fn open_or_create(files: &Files, path: &Path) -> io::Result<(Self, bool)> {
        loop {
            match File::options().read(true).write(true).open(path) {
                Ok(file) => return Ok((Self::new(file, path, files), false)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            match Self::create_new(files, path) {
                // Another process was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|file| (file, true)),
            }
        }
    }

    /// Its name when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, for reading and locking.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Bytes in it.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Locks a file that nobody else knows yet.
    pub(super) fn lock_new(&self) -> io::Result<()> {
        self.files.tell(&Change::Lock(&self.path))?;
        self.file.lock()
    }

    /// Whether its name still leads to it.
    pub fn has_its_name(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        Ok(fs::metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
    }

    /// Writes at an offset.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.files.tell(&Change::Write { path: &self.path, offset, bytes })?;
        self.file.write_all_at(bytes, offset)?;
        self.early.wrote(&self.file, bytes.len() as u64);
        Ok(())
    }

    /// Copies from another file, sharing blocks with it where the file system can.
    pub fn copy_from(&self, from: &File, from_offset: u64, offset: u64, len: u64) -> io::Result<()> {
        self.files.tell(&Change::Copy { path: &self.path, offset, from, from_offset, len })?;
        copy::copy(from, from_offset, &self.file, offset, len)?;
        self.early.wrote(&self.file, len);
        Ok(())
    }

    /// Gives it another length.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        self.files.tell(&Change::SetLen { path: &self.path, len })?;
        self.file.set_len(len)
    }

    /// Puts its bytes on disk.
    pub fn sync(&self) -> io::Result<()> {
        self.files.tell(&Change::Sync(&self.path))?;
        self.early.finish()?;
        self.file.sync_all()
    }
}

impl Write for OpenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_at(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
