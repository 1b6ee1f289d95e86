//! The folder in which a root file system grows, beside its destination, and the move at the end.
//!
//! A destination is there whole or as it was. The folder beside it is called `.NAME.unpack-…`, lets only its owner in, and is locked
//! while somebody unpacks; the next who unpacks to the same place removes what one that was killed has left.

#![expect(clippy::disallowed_methods, reason = "io shell")]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, FlockOperation, Gid, Mode, OFlags};
use rustix::io::Errno;

use super::error::{EntryFailure, StagingError};
use super::metadata;
use super::remove;

/// The folder. Dropped without [`Staging::publish`], it removes itself.
pub struct Staging {
    /// The folder above both.
    parent: OwnedFd,
    /// Its name there.
    name: OsString,
    /// The destination.
    target: PathBuf,
    /// The folder, locked.
    root: OwnedFd,
    published: bool,
}

fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> StagingError {
    move |source| StagingError::Io { doing, path: path.into(), source }
}

impl Staging {
    /// An empty folder beside `target`, which is empty or not there.
    ///
    /// # Errors
    /// [`StagingError`].
    pub fn begin(target: &Path) -> Result<Self, StagingError> {
        let target = destination(target)?;
        let (Some(above), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(StagingError::NoName(target));
        };
        let parent = open(above).map_err(|errno| failed("open", above)(errno.into()))?;
        let prefix = [b".", name.as_bytes(), b".unpack-"].concat();
        sweep(&parent, above, &prefix);
        let (name, root) = make(above, OsStr::from_bytes(&prefix))?;
        let staging = Self { parent, name, target, root, published: false };
        // Neither a group nor a list that the folder above hands down belongs to the image.
        let root = staging.root.as_fd();
        let path = staging.path();
        let plain = sys::fchown(root, None, Some(Gid::from_raw(rustix::process::getegid().as_raw())))
            .and_then(|()| sys::fchmod(root, Mode::RWXU));
        plain.map_err(|errno| failed("prepare", &path)(errno.into()))?;
        metadata::remove_xattrs(root).map_err(|failure| staging.failed(failure))?;
        Ok(staging)
    }

    /// The folder.
    ///
    /// # Errors
    /// [`StagingError::Io`] when no handle is to be had.
    pub fn root(&self) -> Result<OwnedFd, StagingError> {
        self.root.try_clone().map_err(failed("open", &self.path()))
    }

    /// What went wrong with the folder as a whole.
    pub fn failed(&self, failure: EntryFailure) -> StagingError {
        failed("prepare", &self.path())(io::Error::other(failure))
    }

    fn path(&self) -> PathBuf {
        self.target.with_file_name(&self.name)
    }

    /// Puts everything on disk if `sync`, and moves the folder to its destination.
    ///
    /// # Errors
    /// [`StagingError`]; the folder is removed then.
    pub fn publish(mut self, sync: bool) -> Result<(), StagingError> {
        if sync {
            // A disk that is full or broken may say so only now.
            sys::syncfs(&self.root).map_err(|errno| failed("write to disk", &self.path())(errno.into()))?;
        }
        let base = self.target.file_name().unwrap_or_default();
        match sys::renameat(&self.parent, &*self.name, &self.parent, base) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {
                return Err(StagingError::Appeared(self.target.clone()));
            }
            Err(errno) => return Err(failed("move the finished folder to", &self.target)(errno.into())),
        }
        self.published = true;
        if sync {
            sys::fsync(&self.parent).map_err(|errno| failed("sync the folder above", &self.target)(errno.into()))?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        if let Err(errno) = remove::object(self.parent.as_fd(), self.name.as_bytes(), &|_, _| false) {
            tracing::warn!(folder = %self.path().display(), error = %errno, "what was unpacked so far could not be removed");
        }
    }
}

/// The destination without symlinks, if something can be moved there.
fn destination(target: &Path) -> Result<PathBuf, StagingError> {
    let metadata = match fs::symlink_metadata(target) {
        Ok(_) => fs::metadata(target),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(name) = target.file_name() else { return Err(StagingError::NoName(target.into())) };
            let above = target.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return match fs::canonicalize(above) {
                Ok(above) => Ok(above.join(name)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StagingError::NoParent(above.into())),
                Err(error) => Err(failed("look at", above)(error)),
            };
        }
        Err(error) => Err(error),
    };
    let metadata = metadata.map_err(failed("look at", target))?;
    if !metadata.is_dir() {
        return Err(StagingError::NotAFolder(target.into()));
    }
    if fs::read_dir(target).map_err(failed("read", target))?.next().is_some() {
        return Err(StagingError::NotEmpty(target.into()));
    }
    let real = fs::canonicalize(target).map_err(failed("look at", target))?;
    if target.file_name().is_none() {
        return Err(StagingError::NoName(real));
    }
    let above = real.parent().ok_or_else(|| StagingError::NoName(real.clone()))?;
    if fs::metadata(above).map_err(failed("look at", above))?.dev() != metadata.dev() {
        return Err(StagingError::MountPoint(real));
    }
    Ok(real)
}

fn open(folder: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    sys::openat(sys::CWD, folder, flags, Mode::empty())
}

/// Makes a folder with a name of its own, and locks it.
fn make(above: &Path, prefix: &OsStr) -> Result<(OsString, OwnedFd), StagingError> {
    loop {
        let mut builder = tempfile::Builder::new();
        let made = builder.prefix(prefix).permissions(fs::Permissions::from_mode(0o700)).tempdir_in(above);
        let made = made.map_err(failed("make a folder in", above))?;
        let path = made.path().to_owned();
        let locked = open(&path).and_then(|folder| {
            sys::flock(&folder, FlockOperation::LockExclusive)?;
            let linked = sys::fstat(&folder)?.st_nlink > 0;
            Ok((folder, linked))
        });
        match locked {
            // Somebody who sweeps came between the making and the locking.
            Ok((_, false)) | Err(Errno::NOENT) => {}
            Ok((folder, true)) => {
                let name = made.keep().file_name().unwrap_or_default().to_owned();
                return Ok((name, folder));
            }
            Err(errno) => return Err(failed("lock", &path)(errno.into())),
        }
    }
}

/// Removes what processes that were killed have left for this destination.
fn sweep(parent: &OwnedFd, above: &Path, prefix: &[u8]) {
    let Ok(entries) = fs::read_dir(above) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.as_bytes().starts_with(prefix) {
            continue;
        }
        let path = entry.path();
        let Ok(folder) = open(&path) else { continue };
        if sys::flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        match remove::object(parent.as_fd(), name.as_bytes(), &|_, _| false) {
            Ok(()) => tracing::warn!(folder = %path.display(), "removed what an unpack that was killed has left"),
            Err(errno) => {
                tracing::warn!(folder = %path.display(), error = %errno, "what a killed unpack has left could not be removed");
            }
        }
    }
}
