//! The root file system on its way: where a path in it leads, and what each layer has put there.
//!
//! The kernel follows paths (`openat2`), with the tree's folder as the root: an absolute symlink starts there and `..` ends there, and no
//! moment exists between looking and using in which somebody could change what was looked at. Objects are then made, linked and removed by
//! one name in one open folder, which nothing can lead astray.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Timestamps};
use rustix::io::Errno;

use super::error::{EntryFailure, doing, shown};
use super::metadata::{self, Attributes, Others, Ownership};
use super::remove;

/// Symlinks that one path may lead through; the kernel's own limit.
const LINKS: usize = 40;

/// The tree. It is nobody else's until it is done: its folder lets only its owner in.
pub struct Tree {
    root: OwnedFd,
    ownership: Ownership,
    /// The folder of the last entry; most entries share theirs with the one before.
    folder: Option<Folder>,
    /// What the current layer has put where, as hashes of folder and name; nothing in the first layer, below which there is none.
    placed: Option<HashSet<u64>>,
    /// Nobody who makes an image can know these hashes.
    hashes: RandomState,
    /// Modes that would lock us out of our own folders, by inode, until everything is in them.
    late_modes: HashMap<u64, (Vec<u8>, u32)>,
}

/// An open folder of the tree.
pub struct Folder {
    path: Vec<u8>,
    fd: OwnedFd,
    inode: u64,
    times: Timestamps,
    hands_down: bool,
    changed: bool,
}

impl Folder {
    /// The open folder.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What becomes of attributes that new objects get from it.
    pub fn others(&self) -> Others {
        if self.hands_down { Others::Remove } else { Others::None }
    }
}

impl Tree {
    /// A tree in an empty folder.
    pub fn new(root: OwnedFd, ownership: Ownership) -> Self {
        let hashes = RandomState::new();
        Self { root, ownership, folder: None, placed: None, hashes, late_modes: HashMap::new() }
    }

    /// Whose the files are.
    pub fn ownership(&self) -> Ownership {
        self.ownership
    }

    /// The tree's own folder.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Makes the tree's own folder what it is when no layer says anything of it: root's, and as old as time.
    ///
    /// # Errors
    /// [`EntryFailure`].
    pub fn begin(&mut self) -> Result<(), EntryFailure> {
        Attributes::implied(self.ownership).give_open(self.root.as_fd(), 0, Others::None, &mut |_, _| {})
    }

    /// What is there now belongs to lower layers.
    pub fn next_layer(&mut self) {
        self.placed = Some(HashSet::new());
    }

    /// The folder at `path`, made where it is missing, with those above it.
    ///
    /// # Errors
    /// [`EntryFailure`] when something that is no folder stands there or above.
    pub fn folder(&mut self, path: &[u8]) -> Result<&mut Folder, EntryFailure> {
        if self.folder.as_ref().is_none_or(|folder| folder.path != path) {
            self.leave()?;
            let fd = match in_root(self.root.as_fd(), path) {
                Err(Errno::NOENT) => self.make_folders(path)?,
                opened => led(opened, path)?,
            };
            self.folder = Some(enter(fd, path)?);
        }
        let folder = self.folder.as_mut().expect("it was opened just now");
        // Whoever asks for a folder is about to change it.
        folder.changed = true;
        Ok(folder)
    }

    /// The folder at `path`, if there is one.
    ///
    /// # Errors
    /// [`EntryFailure`].
    fn existing_folder(&mut self, path: &[u8]) -> Result<Option<&mut Folder>, EntryFailure> {
        self.leave()?;
        match in_root(self.root.as_fd(), path) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            opened => {
                let folder = enter(led(opened, path)?, path)?;
                Ok(Some(self.folder.insert(Folder { changed: true, ..folder })))
            }
        }
    }

    /// A folder to look into, such as that of a hard link's target.
    ///
    /// # Errors
    /// [`Errno`] as the kernel has it.
    pub fn look(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        in_root(self.root.as_fd(), path)
    }

    /// Leaves the current folder, which then looks as if nothing had changed in it: its own entry says how old it is.
    ///
    /// # Errors
    /// [`EntryFailure`].
    pub fn leave(&mut self) -> Result<(), EntryFailure> {
        match self.folder.take() {
            Some(folder) if folder.changed => {
                doing(fs::futimens(&folder.fd, &folder.times), "restore the times of its folder")
            }
            _ => Ok(()),
        }
    }

    /// Notes that the current layer has put `base` into the current folder.
    pub fn placed(&mut self, base: &[u8]) {
        if let (Some(folder), Some(placed)) = (&self.folder, &mut self.placed) {
            placed.insert(self.hashes.hash_one((folder.inode, base)));
        }
    }

    /// Takes away what lower layers have put at `base` in `path`.
    ///
    /// # Errors
    /// [`EntryFailure`].
    pub fn whiteout(&mut self, path: &[u8], base: &[u8]) -> Result<(), EntryFailure> {
        self.take_away(path, |folder, keep| remove::object(folder, base, keep))
    }

    /// Takes away all that lower layers have put into `path`.
    ///
    /// # Errors
    /// [`EntryFailure`].
    pub fn opaque(&mut self, path: &[u8]) -> Result<(), EntryFailure> {
        self.take_away(path, remove::contents)
    }

    fn take_away(
        &mut self,
        path: &[u8],
        remove: impl FnOnce(BorrowedFd<'_>, remove::Keep<'_>) -> rustix::io::Result<()>,
    ) -> Result<(), EntryFailure> {
        let Some(placed) = self.placed.take() else { return Ok(()) };
        let hashes = self.hashes.clone();
        let keep = |folder: u64, base: &[u8]| placed.contains(&hashes.hash_one((folder, base)));
        let removed = match self.existing_folder(path) {
            Ok(Some(folder)) => doing(remove(folder.fd(), &keep), "remove what it takes away"),
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        self.placed = Some(placed);
        removed
    }

    /// Removes what stands at `base` in the current folder, whoever put it there.
    ///
    /// # Errors
    /// [`EntryFailure`].
    pub fn clear(&mut self, base: &[u8]) -> Result<(), EntryFailure> {
        let Some(folder) = &self.folder else { return Ok(()) };
        doing(remove::object(folder.fd(), base, &|_, _| false), "remove what stood in its place")
    }

    /// Gives a folder of the tree its attributes.
    ///
    /// # Errors
    /// [`EntryFailure`].
    pub fn dress(
        &mut self,
        folder: BorrowedFd<'_>,
        path: &[u8],
        attributes: &Attributes<'_>,
        others: Others,
        left_out: metadata::LeftOut<'_>,
    ) -> Result<(), EntryFailure> {
        let mut or_mode = 0;
        if self.ownership == Ownership::Caller {
            let inode = doing(fs::fstat(folder), "look at it")?.st_ino;
            self.late_modes.remove(&inode);
            // A folder that its owner may not use, and the owner is not root: it gets its mode when everything is in it.
            if attributes.mode & 0o700 != 0o700 {
                let path = self.real_path(folder).unwrap_or_else(|| path.to_vec());
                self.late_modes.insert(inode, (path, attributes.mode));
                or_mode = 0o700;
            }
        }
        attributes.give_open(folder, or_mode, others, left_out)
    }

    /// Where a folder of the tree is, without symlinks: a way to it that does not lead through others which may be closed by then.
    fn real_path(&self, folder: BorrowedFd<'_>) -> Option<Vec<u8>> {
        let path = |fd: BorrowedFd<'_>| {
            let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
            fs::readlinkat(fs::CWD, link, Vec::new()).ok().map(std::ffi::CString::into_bytes)
        };
        let (root, path) = (path(self.root.as_fd())?, path(folder)?);
        let below = path.strip_prefix(&root[..])?;
        Some(below.strip_prefix(b"/").unwrap_or(below).to_vec())
    }

    /// Makes the folders of `path` that are missing, following symlinks as the kernel does, and opens the last.
    fn make_folders(&mut self, path: &[u8]) -> Result<OwnedFd, EntryFailure> {
        let mut todo: VecDeque<Vec<u8>> = elements(path).collect();
        let mut real: Vec<Vec<u8>> = Vec::new();
        let mut current = led(in_root(self.root.as_fd(), b""), b"")?;
        let mut links = 0;
        while let Some(element) = todo.pop_front() {
            if element == b".." {
                real.pop();
                current = led(in_root(self.root.as_fd(), &real.join(&b'/')), path)?;
                continue;
            }
            let kind = match fs::statat(&current, &element[..], AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(FileType::from_raw_mode(stat.st_mode)),
                Err(Errno::NOENT) => None,
                Err(errno) => return doing(Err(errno), "look at its folder"),
            };
            match kind {
                None => {
                    real.push(element.clone());
                    current = self.make_implied(&current, &element, &real.join(&b'/'))?;
                }
                Some(FileType::Directory) => {
                    current = led(open_folder(current.as_fd(), &element), path)?;
                    real.push(element);
                }
                Some(FileType::Symlink) => {
                    links += 1;
                    if links > LINKS {
                        return Err(EntryFailure::Links(shown(path)));
                    }
                    let target = doing(fs::readlinkat(&current, &element[..], Vec::new()), "follow its folder")?;
                    if target.as_bytes().starts_with(b"/") {
                        real.clear();
                        current = led(in_root(self.root.as_fd(), b""), path)?;
                    }
                    for element in elements(target.as_bytes()).collect::<Vec<_>>().into_iter().rev() {
                        todo.push_front(element);
                    }
                }
                Some(_) => return Err(EntryFailure::NotAFolder(shown(path))),
            }
        }
        Ok(current)
    }

    fn make_implied(&mut self, above: &OwnedFd, name: &[u8], path: &[u8]) -> Result<OwnedFd, EntryFailure> {
        let stat = doing(fs::fstat(above), "look at its folder")?;
        doing(fs::mkdirat(above, name, Mode::RWXU), "make its folder")?;
        let folder = doing(open_folder(above.as_fd(), name), "open its folder")?;
        let others = if metadata::hands_down(above.as_fd()) { Others::Remove } else { Others::None };
        self.dress(folder.as_fd(), path, &Attributes::implied(self.ownership), others, &mut |_, _| {})?;
        doing(fs::futimens(above, &metadata::times_of(&stat)), "restore the times of its folder")?;
        if let Some(placed) = &mut self.placed {
            placed.insert(self.hashes.hash_one((stat.st_ino, name)));
        }
        Ok(folder)
    }

    /// Gives folders the modes that had to wait, the deepest first. Nothing can be put into the tree afterwards.
    ///
    /// # Errors
    /// [`EntryFailure`].
    pub fn finish(&mut self) -> Result<(), EntryFailure> {
        self.leave()?;
        let mut late: Vec<(u64, Vec<u8>, u32)> =
            self.late_modes.drain().map(|(inode, (path, mode))| (inode, path, mode)).collect();
        late.sort_by(|(_, one, _), (_, other, _)| other.cmp(one));
        for (inode, path, mode) in late {
            // What stood there may have gone or been replaced.
            let Ok(folder) = in_root(self.root.as_fd(), &path) else { continue };
            if doing(fs::fstat(&folder), "look at a folder")?.st_ino == inode {
                doing(fs::fchmod(&folder, Mode::from_raw_mode(mode)), "set the mode of a folder")?;
            }
        }
        Ok(())
    }
}

fn enter(fd: OwnedFd, path: &[u8]) -> Result<Folder, EntryFailure> {
    let stat = doing(fs::fstat(&fd), "look at its folder")?;
    let hands_down = metadata::hands_down(fd.as_fd());
    let times = metadata::times_of(&stat);
    Ok(Folder { path: path.to_vec(), fd, inode: stat.st_ino, times, hands_down, changed: false })
}

fn elements(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let path = path.split(|&byte| byte == b'/').filter(|element| !element.is_empty() && *element != b".");
    path.map(<[u8]>::to_vec)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens the folder `name` right in `parent`, not through a symlink.
pub fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    fs::openat(parent, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())
}

/// Opens the folder at `path`, with `root` as the root of all symlinks.
fn in_root(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    const TRIES: usize = 1000;
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match fs::openat2(root, path, FOLDER, Mode::empty(), resolve) {
            // Something was renamed somewhere in the system, and the kernel could not be sure of a `..`.
            Err(Errno::AGAIN) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// Says what it means when a path leads to no folder.
fn led(opened: rustix::io::Result<OwnedFd>, path: &[u8]) -> Result<OwnedFd, EntryFailure> {
    match opened {
        Err(Errno::NOTDIR) => Err(EntryFailure::NotAFolder(shown(path))),
        Err(Errno::LOOP) => Err(EntryFailure::Links(shown(path))),
        Err(errno @ Errno::NOSYS) => Err(EntryFailure::OpenAt2(errno.into())),
        opened => doing(opened, "open its folder"),
    }
}
