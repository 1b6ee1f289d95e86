//! One entry of a layer, put into the tree.

use std::fs::File;
use std::os::fd::AsFd as _;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::tar::header::{Entry, Kind};

use super::content::Content;
use super::error::{EntryFailure, doing, shown};
use super::metadata::{Attributes, Others, Ownership};
use super::name::{Inside, Meaning};
use super::outcome::Outcome;
use super::room::Room;
use super::tree::{self, Tree};

/// A regular file whose content is on its way.
pub struct Arriving {
    entry: Box<Entry>,
    content: Content,
    others: Others,
}

/// Puts an entry into the tree, all but a regular file's content.
///
/// # Errors
/// [`EntryFailure`].
pub fn begin(tree: &mut Tree, entry: Box<Entry>, out: &mut Outcome) -> Result<Option<Arriving>, EntryFailure> {
    let inside = Inside::new(&entry.name)?;
    match inside.meaning()? {
        Meaning::Root => root(tree, &entry, out)?,
        Meaning::Reserved => out.reserved += 1,
        Meaning::Opaque { folder } => {
            out.whiteouts += 1;
            tree.opaque(folder)?;
        }
        Meaning::Whiteout { folder, base } => {
            out.whiteouts += 1;
            tree.whiteout(folder, base)?;
        }
        Meaning::Object { folder, base } => {
            let others = tree.folder(folder)?.others();
            let arriving = object(tree, &inside, base, others, entry, out)?;
            tree.placed(base);
            return Ok(arriving);
        }
    }
    Ok(None)
}

/// Completes a regular file.
///
/// # Errors
/// [`EntryFailure`].
pub fn end(tree: &Tree, arriving: Arriving, out: &mut Outcome) -> Result<(), EntryFailure> {
    let Arriving { entry, content, others } = arriving;
    let (file, size) = content.finish()?;
    let mut left_out = |name: &[u8], why| out.left_out(name, why);
    let attributes = Attributes::of(&entry, tree.ownership(), &mut left_out)?;
    attributes.give_open(file.as_fd(), 0, others, &mut left_out)?;
    out.files += 1;
    out.bytes += size;
    Ok(())
}

impl Arriving {
    /// The entry's name.
    pub fn name(&self) -> &[u8] {
        &self.entry.name
    }

    /// Takes a piece of its content.
    ///
    /// # Errors
    /// [`EntryFailure`].
    pub fn take(&mut self, payload: &[u8], room: &mut Room) -> Result<(), EntryFailure> {
        self.content.take(payload, room)
    }
}

fn root(tree: &mut Tree, entry: &Entry, out: &mut Outcome) -> Result<(), EntryFailure> {
    if entry.kind != Kind::Directory {
        return Err(EntryFailure::RootType);
    }
    tree.leave()?;
    let root = doing(tree.root().try_clone_to_owned().map_err(|_| Errno::MFILE), "open the root")?;
    let mut left_out = |name: &[u8], why| out.left_out(name, why);
    let attributes = Attributes::of(entry, tree.ownership(), &mut left_out)?;
    tree.dress(root.as_fd(), b"", &attributes, Others::Remove, &mut left_out)
}

fn object(
    tree: &mut Tree,
    inside: &Inside,
    base: &[u8],
    others: Others,
    entry: Box<Entry>,
    out: &mut Outcome,
) -> Result<Option<Arriving>, EntryFailure> {
    match entry.kind {
        Kind::Regular => {
            let file = regular(tree, inside, base)?;
            let size = u64::try_from(entry.size).unwrap_or(0);
            let content = Content::new(file, size, entry.sparse.as_ref());
            return Ok(Some(Arriving { entry, content, others }));
        }
        Kind::Directory => directory(tree, inside, base, others, &entry, out)?,
        Kind::HardLink => hard_link(tree, inside, base, &entry.link_name, out)?,
        Kind::Symlink => symlink(tree, inside, base, &entry, out)?,
        Kind::Char | Kind::Block if tree.ownership() == Ownership::Caller => {
            out.device_replaced(&entry.name);
            let file = regular(tree, inside, base)?;
            let mut left_out = |name: &[u8], why| out.left_out(name, why);
            let attributes = Attributes::of(&entry, tree.ownership(), &mut left_out)?;
            attributes.give_open(file.as_fd(), 0, others, &mut left_out)?;
        }
        Kind::Char | Kind::Block | Kind::Fifo => node(tree, inside, base, &entry, out)?,
    }
    Ok(None)
}

/// Makes something in the entry's folder; what stands there goes first. Mostly nothing does, so it is tried before it is looked for.
fn make<T>(
    tree: &mut Tree,
    inside: &Inside,
    base: &[u8],
    make: impl Fn(std::os::fd::BorrowedFd<'_>) -> rustix::io::Result<T>,
) -> Result<rustix::io::Result<T>, EntryFailure> {
    let (path, _) = inside.split().unwrap_or_default();
    match make(tree.folder(path)?.fd()) {
        Err(Errno::EXIST) => {
            tree.clear(base)?;
            Ok(make(tree.folder(path)?.fd()))
        }
        made => Ok(made),
    }
}

fn regular(tree: &mut Tree, inside: &Inside, base: &[u8]) -> Result<File, EntryFailure> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = make(tree, inside, base, |folder| fs::openat(folder, base, flags, Mode::RUSR | Mode::WUSR))?;
    doing(made, "make the file").map(File::from)
}

fn directory(
    tree: &mut Tree,
    inside: &Inside,
    base: &[u8],
    others: Others,
    entry: &Entry,
    out: &mut Outcome,
) -> Result<(), EntryFailure> {
    let (path, _) = inside.split().unwrap_or_default();
    let folder = tree.folder(path)?;
    // A folder on a folder keeps what is in it, and gets the new entry's attributes and only those.
    let (opened, others) = match fs::mkdirat(folder.fd(), base, Mode::RWXU) {
        Err(Errno::EXIST) => (tree::open_folder(folder.fd(), base), Others::Remove),
        made => (made.and_then(|()| tree::open_folder(folder.fd(), base)), others),
    };
    let opened = match opened {
        Err(Errno::NOTDIR | Errno::LOOP) => {
            tree.clear(base)?;
            let folder = tree.folder(path)?.fd();
            fs::mkdirat(folder, base, Mode::RWXU).and_then(|()| tree::open_folder(folder, base))
        }
        opened => opened,
    };
    let opened = doing(opened, "make the folder")?;
    let mut left_out = |name: &[u8], why| out.left_out(name, why);
    let attributes = Attributes::of(entry, tree.ownership(), &mut left_out)?;
    tree.dress(opened.as_fd(), inside.as_bytes(), &attributes, others, &mut left_out)?;
    out.folders += 1;
    Ok(())
}

fn hard_link(
    tree: &mut Tree,
    inside: &Inside,
    base: &[u8],
    target: &[u8],
    out: &mut Outcome,
) -> Result<(), EntryFailure> {
    let no_target = || EntryFailure::NoTarget(shown(target));
    let target_inside = Inside::new(target)?;
    let (target_path, target_base) = target_inside.split().ok_or_else(|| EntryFailure::FolderTarget(shown(target)))?;
    let target_folder = match tree.look(target_path) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(no_target()),
        opened => doing(opened, "open the folder of the hard link's target")?,
    };
    let stat = match fs::statat(&target_folder, target_base, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Err(no_target()),
        stat => doing(stat, "look at the hard link's target")?,
    };
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(EntryFailure::FolderTarget(shown(target)));
    }
    let (path, _) = inside.split().unwrap_or_default();
    let there = fs::statat(tree.folder(path)?.fd(), base, AtFlags::SYMLINK_NOFOLLOW);
    // A link to itself, or said twice: removing what is there would remove the target.
    if there.is_ok_and(|there| there.st_ino == stat.st_ino) {
        return Ok(());
    }
    // The target itself is linked: the last element of neither path is followed.
    let made =
        make(tree, inside, base, |folder| fs::linkat(&target_folder, target_base, folder, base, AtFlags::empty()))?;
    match made {
        // It was below what the link has replaced.
        Err(Errno::NOENT) => return Err(no_target()),
        made => doing(made, "make the hard link")?,
    }
    out.hard_links += 1;
    Ok(())
}

fn symlink(
    tree: &mut Tree,
    inside: &Inside,
    base: &[u8],
    entry: &Entry,
    out: &mut Outcome,
) -> Result<(), EntryFailure> {
    let made = make(tree, inside, base, |folder| fs::symlinkat(&entry.link_name[..], folder, base))?;
    doing(made, "make the symlink")?;
    named(tree, inside, base, entry, true, out)?;
    out.symlinks += 1;
    Ok(())
}

/// A device node or a pipe.
fn node(tree: &mut Tree, inside: &Inside, base: &[u8], entry: &Entry, out: &mut Outcome) -> Result<(), EntryFailure> {
    let number = |what, value| u32::try_from(value).map_err(|_| EntryFailure::Number { what, value });
    let (kind, device) = match entry.kind {
        Kind::Fifo => (FileType::Fifo, 0),
        kind => {
            let device =
                fs::makedev(number("major number", entry.dev_major)?, number("minor number", entry.dev_minor)?);
            (if kind == Kind::Char { FileType::CharacterDevice } else { FileType::BlockDevice }, device)
        }
    };
    let made = make(tree, inside, base, |folder| fs::mknodat(folder, base, kind, Mode::RUSR | Mode::WUSR, device))?;
    match made {
        Err(errno @ Errno::PERM) if kind != FileType::Fifo => return Err(EntryFailure::Device(errno.into())),
        made => doing(made, "make the node")?,
    }
    named(tree, inside, base, entry, false, out)?;
    match kind {
        FileType::Fifo => out.pipes += 1,
        _ => out.devices += 1,
    }
    Ok(())
}

fn named(
    tree: &mut Tree,
    inside: &Inside,
    base: &[u8],
    entry: &Entry,
    is_symlink: bool,
    out: &mut Outcome,
) -> Result<(), EntryFailure> {
    let ownership = tree.ownership();
    let (path, _) = inside.split().unwrap_or_default();
    let mut left_out = |name: &[u8], why| out.left_out(name, why);
    let attributes = Attributes::of(entry, ownership, &mut left_out)?;
    let folder = tree.folder(path)?;
    attributes.give_named(folder.fd(), base, is_symlink, folder.others(), &mut left_out)
}
