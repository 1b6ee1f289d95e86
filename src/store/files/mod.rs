//! The one room where the store touches files. All changes pass through [`Files`], where a test can watch, refuse or end them.
//!
//! A file appears under its name whole and on disk or not at all; folders are on disk before anything in them counts.

#![expect(clippy::disallowed_methods, reason = "io shell")]

mod copy;
mod early_sync;
mod lock;
mod open_file;
mod read;
mod watch;

pub use lock::{Held, Lock, is_free};
pub use open_file::OpenFile;
pub use read::{Entry, exists, holds_something, len, list, open, open_if_there, read_up_to, temporary_folder};
pub use watch::{Change, Watch};

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use super::StoreError;

/// Adds what was being done to an error.
pub fn doing<T>(result: io::Result<T>, doing: &'static str, path: &Path) -> Result<T, StoreError> {
    result.map_err(|source| StoreError::io(doing, path, source))
}

/// How files are changed.
#[derive(Clone, Debug, Default)]
pub struct Files {
    watch: Option<Arc<dyn Watch>>,
}

/// A file that has no lasting name yet. Dropped, it is removed. It is locked while it is written: one that nobody locks was left by a
/// process that died.
pub type Scratch = tempfile::NamedTempFile<OpenFile>;

impl Files {
    /// Files whose every change `watch` hears of first.
    pub fn watched(watch: Arc<dyn Watch>) -> Self {
        Self { watch: Some(watch) }
    }

    fn tell(&self, change: &Change<'_>) -> io::Result<()> {
        self.watch.as_ref().map_or(Ok(()), |watch| watch.before(change))
    }

    /// Makes a folder and those above it, and puts each on disk in the one above: what is synced inside a folder that a power loss
    /// takes away was synced for nothing.
    pub fn make_dir(&self, path: &Path) -> Result<(), StoreError> {
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(Path::new("/"));
        self.make_dir(parent)?;
        let made = self.tell(&Change::MakeDir(path)).and_then(|()| match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        });
        doing(made, "make the folder", path)?;
        self.sync_dir(parent)
    }

    /// Puts a folder's entries on disk.
    pub fn sync_dir(&self, path: &Path) -> Result<(), StoreError> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let synced = self.tell(&Change::SyncDir(path)).and_then(|()| fs::File::open(path)?.sync_all());
        doing(synced, "sync the folder", path)
    }

    /// A new file of no lasting name in `folder`.
    pub fn scratch(&self, folder: &Path) -> Result<Scratch, StoreError> {
        let made = tempfile::Builder::new().make_in(folder, |path| OpenFile::create_new(self, path));
        let scratch = doing(made, "make a temporary file in", folder)?;
        doing(scratch.as_file().lock_new(), "lock", scratch.path())?;
        Ok(scratch)
    }

    /// A new file of no lasting name beside `path`, which it is going to replace; its own name says so. What a killed process left of the
    /// same kind is removed.
    pub fn scratch_for(&self, path: &Path) -> Result<Scratch, StoreError> {
        let folder = folder_of(path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.unfinished-");
        self.sweep_those(folder, |name| name.starts_with(&prefix));
        let made = tempfile::Builder::new().prefix(&prefix).make_in(folder, |path| OpenFile::create_new(self, path));
        let scratch = doing(made, "make a temporary file in", folder)?;
        doing(scratch.as_file().lock_new(), "lock", scratch.path())?;
        Ok(scratch)
    }

    /// Puts a finished file on disk and gives it its name; both outlast a power loss.
    pub fn publish(&self, scratch: Scratch, path: &Path) -> Result<(), StoreError> {
        doing(scratch.as_file().sync(), "sync", scratch.path())?;
        self.name(scratch, path)?;
        self.sync_dir(folder_of(path))
    }

    /// Gives a file its name without putting it on disk: for caches that prove themselves.
    pub fn name(&self, scratch: Scratch, path: &Path) -> Result<(), StoreError> {
        self.rename(scratch.path(), path)?;
        let (_file, name) = scratch.into_parts();
        // Nothing has the old name any more, so there is nothing to remove.
        name.keep().map(|_| ()).map_err(|error| StoreError::io("name", path, error.error))
    }

    /// Replaces `path` with `bytes` so that a reader sees the old or the new, at any moment and after any crash.
    pub fn replace(&self, path: &Path, bytes: &[u8], folder: &Path) -> Result<(), StoreError> {
        let mut scratch = self.scratch(folder)?;
        let written = scratch.as_file_mut().write_all(bytes);
        doing(written, "write", scratch.path())?;
        self.publish(scratch, path)
    }

    /// Gives a file another name, in place of whatever has it.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        doing(self.tell(&Change::Rename { from, to }).and_then(|()| fs::rename(from, to)), "move a file to", to)
    }

    /// Removes a file; one that is not there is removed.
    pub fn remove(&self, path: &Path) -> Result<(), StoreError> {
        let removed = self.tell(&Change::Remove(path)).and_then(|()| match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        });
        doing(removed, "remove", path)
    }

    /// Removes temporary files that dead processes left. A young one may be on its way to its lock and stays.
    pub fn sweep(&self, folder: &Path) {
        self.sweep_those(folder, |_| true);
    }

    fn sweep_those(&self, folder: &Path, ours: impl Fn(&str) -> bool) {
        const YOUNG: std::time::Duration = std::time::Duration::from_secs(60);
        for entry in list(folder).unwrap_or_default() {
            if !entry.name.to_str().is_some_and(&ours) {
                continue;
            }
            let path = folder.join(&entry.name);
            let dead = entry.age() > YOUNG && open(&path).is_ok_and(|file| is_free(&file));
            if dead && self.remove(&path).is_ok() {
                tracing::info!(file = %path.display(), "removed what an interrupted run left");
            }
        }
    }
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
