//! Removing trees of any depth: no recursion, three open folders at most, and nothing followed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, Result};

use super::metadata;

/// Whether a name in a folder (by its inode) is to stay.
pub type Keep<'a> = &'a dyn Fn(u64, &[u8]) -> bool;

/// A folder that is being emptied.
struct Level {
    name: Vec<u8>,
    stat: Stat,
    /// Folders in it that are still to be emptied.
    pending: Vec<Vec<u8>>,
}

/// Removes `name` from `parent`, with all below it, but for what is to stay and the folders that lead there.
///
/// # Errors
/// Those of the system. What was removed until then is gone.
pub fn object(parent: BorrowedFd<'_>, name: &[u8], keep: Keep<'_>) -> Result<()> {
    let stays = keep(fs::fstat(parent)?.st_ino, name);
    match open(parent, name) {
        Ok(folder) => contents(folder.as_fd(), keep)?,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) if stays => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return fs::unlinkat(parent, name, AtFlags::empty()),
        Err(errno) => return Err(errno),
    }
    if !stays {
        if_empty(parent, name)?;
    }
    Ok(())
}

/// Removes what is in `top`, but for what is to stay and the folders that lead there.
///
/// # Errors
/// As [`object`].
pub fn contents(top: BorrowedFd<'_>, keep: Keep<'_>) -> Result<()> {
    let mut current = open(top, b".")?;
    let mut levels = vec![empty(&current, Vec::new(), keep)?];
    while let Some(level) = levels.last_mut() {
        if let Some(next) = level.pending.pop() {
            let below = open(current.as_fd(), &next)?;
            let level = empty(&below, next, keep)?;
            levels.push(level);
            current = below;
            continue;
        }
        let Some(done) = levels.pop() else { break };
        // A folder that stays looks as if nothing had been taken from it.
        fs::futimens(&current, &metadata::times_of(&done.stat))?;
        let Some(above) = levels.last() else { break };
        let up = open(current.as_fd(), b"..")?;
        if !keep(above.stat.st_ino, &done.name) {
            if_empty(up.as_fd(), &done.name)?;
        }
        current = up;
    }
    Ok(())
}

/// Unlinks everything in a folder that is no folder itself; those are handed back.
fn empty(folder: &OwnedFd, name: Vec<u8>, keep: Keep<'_>) -> Result<Level> {
    let stat = fs::fstat(folder)?;
    let mut pending = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => FileType::from_raw_mode(fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            kind => kind,
        };
        if kind == FileType::Directory {
            pending.push(name.to_vec());
        } else if !keep(stat.st_ino, name) {
            fs::unlinkat(folder, name, AtFlags::empty())?;
        }
    }
    Ok(Level { name, stat, pending })
}

/// Removes a folder; one that leads to what stays is not empty, and stays too.
fn if_empty(parent: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    match fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        other => other,
    }
}

/// Opens a folder, and gives its owner the right to do so where that is missing.
fn open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            fs::openat(parent, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    if !Mode::from_raw_mode(fs::fstat(&folder)?.st_mode).contains(Mode::RWXU) && !rustix::process::geteuid().is_root() {
        fs::fchmod(&folder, Mode::RWXU)?;
    }
    Ok(folder)
}
