//! Files that are whole or not there.

#![expect(clippy::disallowed_methods, reason = "io shell")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::StoreError;

/// Adds what was being done to an error.
pub fn doing<T>(result: io::Result<T>, doing: &'static str, path: &Path) -> Result<T, StoreError> {
    result.map_err(|source| StoreError::Io { doing, path: path.into(), source })
}

/// Makes a folder and those above it.
pub fn make_dir(path: &Path) -> Result<(), StoreError> {
    doing(fs::create_dir_all(path), "make the folder", path)
}

/// Puts a folder's entries on disk.
pub fn sync_dir(path: &Path) -> Result<(), StoreError> {
    doing(File::open(path).and_then(|dir| dir.sync_all()), "sync the folder", path)
}

/// Replaces `path` with `bytes` so that a reader sees the old or the new, at any moment and after any crash.
pub fn replace(path: &Path, bytes: &[u8], scratch: &Path) -> Result<(), StoreError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = scratch_file(scratch)?;
    doing(file.write_all(bytes), "write", file.path())?;
    doing(world_readable(file.as_file()), "set the mode of", file.path())?;
    doing(file.as_file().sync_all(), "sync", file.path())?;
    doing(file.persist(path).map_err(|error| error.error), "replace", path)?;
    sync_dir(dir)
}

/// Temporary files are private; what they become is for every reader that the folders let in.
pub fn world_readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

/// Moves a finished file to its place in a folder, and puts both on disk first.
pub fn publish(file: tempfile::NamedTempFile, path: &Path) -> Result<(), StoreError> {
    doing(world_readable(file.as_file()), "set the mode of", file.path())?;
    doing(file.as_file().sync_all(), "sync", file.path())?;
    doing(file.persist(path).map_err(|error| error.error), "move a blob to", path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// A temporary file, locked for as long as it is written: one that nobody locks was left by a process that died.
pub fn scratch_file(scratch: &Path) -> Result<tempfile::NamedTempFile, StoreError> {
    let file = doing(tempfile::NamedTempFile::new_in(scratch), "make a temporary file in", scratch)?;
    doing(file.as_file().lock(), "lock", file.path())?;
    Ok(file)
}

/// Removes temporary files that dead processes left. A young one may be on its way to its lock and stays.
pub fn sweep(scratch: &Path) {
    const YOUNG: std::time::Duration = std::time::Duration::from_secs(60);
    let Ok(entries) = fs::read_dir(scratch) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let old = |metadata: fs::Metadata| metadata.modified().ok()?.elapsed().ok().map(|age| age > YOUNG);
        let is_old = entry.metadata().ok().and_then(old).unwrap_or(false);
        let Ok(file) = File::open(&path) else { continue };
        if is_old && file.try_lock().is_ok() {
            tracing::info!(file = %path.display(), "removed what an interrupted run left");
            // Whoever was faster has removed it already.
            let _ = fs::remove_file(&path);
        }
    }
}

/// Opens (or makes) a lock file and waits for it; says through the log that it waits.
pub fn lock(path: &Path) -> Result<File, StoreError> {
    let file = doing(File::options().create(true).truncate(false).write(true).open(path), "open the lock", path)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            tracing::warn!(lock = %path.display(), "another process works on this, waiting for it");
        }
        Err(fs::TryLockError::Error(source)) => {
            return Err(StoreError::Io { doing: "lock", path: path.into(), source });
        }
    }
    doing(file.lock(), "lock", path)?;
    Ok(file)
}
