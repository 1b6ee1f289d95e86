//! Owners, modes, times and extended attributes: from an entry to the file system.

use std::borrow::Cow;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::fs::{self, AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::tar::header::Entry;
use crate::tar::number::Time;

use super::error::{EntryFailure, doing, shown};

/// Whose the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Theirs whom the image names; this takes root.
    Image,
    /// The caller's. Who should own a file or folder is noted in its attribute `user.rootlesscontainers`, as umoci and PRoot do, and an
    /// empty file takes a device node's place.
    Caller,
}

/// Attributes that belong to a machine and not to an image: umoci leaves them out too.
const OF_THE_MACHINE: [&[u8]; 2] = [b"security.selinux", b"system.nfs4_acl"];

/// Where a rootless file's owner is noted.
const ROOTLESS: &[u8] = b"user.rootlesscontainers";

/// What an object is given beside its content.
#[derive(Debug)]
pub struct Attributes<'a> {
    owner: Option<(u32, u32)>,
    /// Permission bits, set-user-ID, set-group-ID, sticky.
    pub mode: u32,
    times: Timestamps,
    xattrs: Vec<(&'a [u8], Cow<'a, [u8]>)>,
}

/// An attribute that was left out, and why.
pub type LeftOut<'a> = &'a mut dyn FnMut(&[u8], &'static str);

/// What becomes of extended attributes that an object has from elsewhere: its folder's default list, or the layer below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// There are none.
    None,
    /// They go.
    Remove,
}

impl<'a> Attributes<'a> {
    /// What an entry says.
    ///
    /// # Errors
    /// [`EntryFailure::Number`] when an owner is out of range.
    pub fn of(entry: &'a Entry, ownership: Ownership, left_out: LeftOut<'_>) -> Result<Self, EntryFailure> {
        let (uid, gid) = (id("owner", entry.uid)?, id("group", entry.gid)?);
        let mut xattrs = Vec::with_capacity(entry.xattrs.len());
        for (name, value) in &entry.xattrs {
            if OF_THE_MACHINE.contains(&&name[..]) {
                left_out(name, "belongs to a machine, not to an image");
            } else if ownership == Ownership::Image || name != ROOTLESS {
                xattrs.push((&name[..], Cow::Borrowed(&value[..])));
            }
        }
        let owner = match ownership {
            Ownership::Image => Some((uid, gid)),
            Ownership::Caller => {
                if (uid, gid) != (0, 0) {
                    xattrs.push((ROOTLESS, Cow::Owned(rootless_note(uid, gid))));
                }
                None
            }
        };
        let times = Timestamps {
            last_access: timespec(entry.atime.unwrap_or(entry.mtime)),
            last_modification: timespec(entry.mtime),
        };
        let mode = u32::try_from(entry.mode & 0o7777).unwrap_or(0);
        Ok(Self { owner, mode, times, xattrs })
    }

    /// Those of a folder that an archive implies and does not have: root's, and as old as time.
    pub fn implied(ownership: Ownership) -> Self {
        let owner = (ownership == Ownership::Image).then_some((0, 0));
        let epoch = Timespec { tv_sec: 0, tv_nsec: 0 };
        Self {
            owner,
            mode: 0o755,
            times: Timestamps { last_access: epoch, last_modification: epoch },
            xattrs: Vec::new(),
        }
    }

    /// Gives them to an open file or folder, in an order in which none undoes another: a new owner clears set-user-ID and capabilities,
    /// and everything changes times. `or_mode` is added to the mode.
    ///
    /// # Errors
    /// [`EntryFailure`].
    pub fn give_open(
        &self,
        object: BorrowedFd<'_>,
        or_mode: u32,
        others: Others,
        left_out: LeftOut<'_>,
    ) -> Result<(), EntryFailure> {
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            doing(fs::fchown(object, Some(uid), Some(gid)), "set its owner")?;
        }
        if others == Others::Remove {
            remove_xattrs(object)?;
        }
        for (name, value) in &self.xattrs {
            let set = fs::fsetxattr(object, *name, value, XattrFlags::empty());
            self.xattr(set, name, left_out)?;
        }
        doing(fs::fchmod(object, Mode::from_raw_mode(self.mode | or_mode)), "set its mode")?;
        doing(fs::futimens(object, &self.times), "set its times")
    }

    /// Gives them to what cannot be opened for that: symlinks, which have no mode, and devices and pipes.
    ///
    /// # Errors
    /// [`EntryFailure`].
    pub fn give_named(
        &self,
        folder: BorrowedFd<'_>,
        base: &[u8],
        is_symlink: bool,
        others: Others,
        left_out: LeftOut<'_>,
    ) -> Result<(), EntryFailure> {
        // There is no call for a name in an open folder, but the kernel's own link to the folder is as good.
        let path = || [format!("/proc/self/fd/{}/", folder.as_raw_fd()).as_bytes(), base].concat();
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
            let given = fs::chownat(folder, base, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
            doing(given, "set its owner")?;
        }
        if others == Others::Remove && !is_symlink {
            match fs::lremovexattr(path(), "system.posix_acl_access") {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                removed => doing(removed, "remove its inherited access list")?,
            }
        }
        for (name, value) in &self.xattrs {
            let set = fs::lsetxattr(path(), *name, value, XattrFlags::empty());
            self.xattr(set, name, left_out)?;
        }
        if !is_symlink {
            // The object was made a moment ago in a folder that is nobody else's.
            let given = fs::chmodat(folder, base, Mode::from_raw_mode(self.mode), AtFlags::empty());
            doing(given, "set its mode")?;
        }
        doing(fs::utimensat(folder, base, &self.times, AtFlags::SYMLINK_NOFOLLOW), "set its times")
    }

    fn xattr(&self, set: rustix::io::Result<()>, name: &[u8], left_out: LeftOut<'_>) -> Result<(), EntryFailure> {
        match set {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP) => {
                left_out(name, "is not supported by the file system");
                Ok(())
            }
            Err(Errno::PERM | Errno::ACCESS) if self.owner.is_none() => {
                left_out(name, "takes root, or another kind of file");
                Ok(())
            }
            Err(errno) => Err(EntryFailure::Xattr { name: shown(name), source: errno.into() }),
        }
    }
}

/// Removes the extended attributes of an open file or folder, but for those of the machine.
pub fn remove_xattrs(object: BorrowedFd<'_>) -> Result<(), EntryFailure> {
    let mut names = Vec::new();
    loop {
        let len = match fs::flistxattr_query(object) {
            Err(Errno::OPNOTSUPP) => return Ok(()),
            len => doing(len, "list its extended attributes")?,
        };
        names.resize(len, 0);
        match fs::flistxattr(object, &mut names[..]) {
            // They grew meanwhile.
            Err(Errno::RANGE) => {}
            read => {
                names.truncate(doing(read, "list its extended attributes")?);
                break;
            }
        }
    }
    let of_the_image = |name: &&[u8]| !name.is_empty() && !OF_THE_MACHINE.contains(name);
    for name in names.split(|&byte| byte == 0).filter(of_the_image) {
        match fs::fremovexattr(object, name) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => {}
            Err(errno) => return Err(EntryFailure::Xattr { name: shown(name), source: errno.into() }),
        }
    }
    Ok(())
}

/// Whether objects made in a folder get attributes from it.
pub fn hands_down(folder: BorrowedFd<'_>) -> bool {
    fs::fgetxattr_query(folder, "system.posix_acl_default").is_ok()
}

/// The times that an object has.
pub fn times_of(stat: &Stat) -> Timestamps {
    #[expect(
        clippy::cast_possible_wrap,
        clippy::useless_conversion,
        clippy::as_conversions,
        reason = "the fields' types differ between machines"
    )]
    let time = |seconds: i64, nanos: u64| Timespec { tv_sec: seconds.into(), tv_nsec: nanos as _ };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn timespec(time: Time) -> Timespec {
    Timespec { tv_sec: time.seconds, tv_nsec: time.nanos.into() }
}

/// An owner or group; the highest number means "nobody said" to the system.
fn id(what: &'static str, value: i64) -> Result<u32, EntryFailure> {
    match u32::try_from(value) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(EntryFailure::Number { what, value }),
    }
}

/// The value of `user.rootlesscontainers`: a protocol buffer of two numbers, the user (field 1) and the group (field 2), where the highest
/// number stands for root (<https://rootlesscontaine.rs/>).
fn rootless_note(uid: u32, gid: u32) -> Vec<u8> {
    let mut note = Vec::new();
    for (key, id) in [(0x08, uid), (0x10, gid)] {
        note.push(key);
        let mut left = if id == 0 { u32::MAX } else { id };
        while left >= 0x80 {
            note.push(0x80 | u8::try_from(left & 0x7f).unwrap_or(0));
            left >>= 7;
        }
        note.push(u8::try_from(left).unwrap_or(0));
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rootless_owners_are_noted_as_umoci_does() {
        assert_eq!(rootless_note(1, 300), [0x08, 1, 0x10, 0xac, 0x02]);
        assert_eq!(rootless_note(0, 42), [0x08, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x10, 42]);
    }

    #[test]
    fn owners_that_the_system_cannot_say_are_refused() {
        assert_eq!(id("owner", 65534).unwrap(), 65534);
        for value in [-1, i64::from(u32::MAX), 1 << 32] {
            assert!(matches!(id("owner", value), Err(EntryFailure::Number { .. })), "{value}");
        }
    }
}
