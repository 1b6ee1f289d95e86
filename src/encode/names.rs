//! Names that readers cannot put on a file system, though a table of contents could say them.
//!
//! The reference writes such layers and then fails on its own blob, without falling back (spec-notes/interop.md), so a chunked form would
//! be worse than none.

use std::collections::HashMap;

use crate::digest::Digest;
use crate::limits;
use crate::tar::header::{Entry, Kind};
use crate::tar::path;

/// What is wrong with an entry's name, given the entries before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// An earlier entry has the same cleaned path.
    #[error("the path of an earlier entry, which readers refuse")]
    Duplicate,
    /// The path leads out of the root.
    #[error("a name that leads above the root")]
    AboveRoot,
    /// A payload behind `..`, which readers look up without cleaning the path.
    #[error("a payload under a name that goes back with ..")]
    BackAgain,
    /// Longer than Linux has names.
    #[error("a name of more than 255 bytes between slashes, or a path or target of more than 4095")]
    TooLong,
    /// The root itself, as something other than a directory.
    #[error("the root's own name, and is no directory")]
    Root,
    /// A file's path and a folder's at once.
    #[error("a path below an entry that is no directory, or the path of a folder that other entries are in")]
    FileAndFolder,
    /// A regular file named like a directory.
    #[error("a regular file's payload under a name that ends in a slash")]
    SlashedFile,
    /// A whiteout marks absence and has nothing to hold.
    #[error("a whiteout's name and yet a payload")]
    WhiteoutWithContent,
}

/// Half a SHA-256 of a path stands for it.
type Key = [u8; 16];

/// What is known of a path, as bits: a million paths take 38 MB.
type Known = u8;

/// An entry has it.
const ENTRY: Known = 1;
/// Other entries are below of it, which may have an entry of its own or not.
const FOLDER: Known = 1 << 1;
/// Nothing can be below of it.
const FILE: Known = 1 << 2;
/// A hard link can lead to it.
const LINKABLE: Known = 1 << 3;

/// The names of an archive so far.
#[derive(Debug, Default)]
pub struct Names {
    paths: HashMap<Key, Known>,
    /// Hard links whose target has not come yet, by target.
    dangling: HashMap<Key, Vec<u8>>,
}

impl Names {
    /// Takes in an entry.
    ///
    /// # Errors
    /// [`NameFault`].
    pub fn add(&mut self, entry: &Entry) -> Result<(), NameFault> {
        let clean = path::clean(&entry.name);
        let own = key(rootless(&clean));
        if !self.learn(own, ENTRY) {
            return Err(NameFault::Duplicate);
        }
        if clean == b".." || clean.starts_with(b"../") {
            return Err(NameFault::AboveRoot);
        }
        if too_long(entry, &clean) {
            return Err(NameFault::TooLong);
        }
        if entry.size > 0 && entry.name.split(|&byte| byte == b'/').any(|element| element == b"..") {
            return Err(NameFault::BackAgain);
        }
        if rootless(&clean).is_empty() || clean == b"." {
            // Of devices and fifos the reference makes nothing, so they are in nobody's way, here and below.
            let made = matches!(entry.kind, Kind::Regular | Kind::HardLink | Kind::Symlink);
            return if made { Err(NameFault::Root) } else { Ok(()) };
        }
        self.place(entry.kind, rootless(&clean), own)?;
        let base = clean.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        if entry.size > 0 && base.starts_with(b".wh.") {
            return Err(NameFault::WhiteoutWithContent);
        }
        match entry.kind {
            Kind::Regular if entry.name.ends_with(b"/") && entry.size > 0 => return Err(NameFault::SlashedFile),
            Kind::Regular | Kind::Symlink => self.can_be_linked(own),
            Kind::HardLink => {
                let target = key(rootless(&path::clean(&entry.link_name)));
                if !self.is(&target, LINKABLE) {
                    self.dangling.insert(target, entry.name.clone());
                }
                // Readers make hard links in order and after all files, so a link to this one must come later.
                self.learn(own, LINKABLE);
            }
            _ => {}
        }
        Ok(())
    }

    /// At the end of the archive: a hard link whose target never came, if any.
    pub fn dangling(&self) -> Option<&[u8]> {
        self.dangling.values().min().map(Vec::as_slice)
    }

    /// Takes in where an entry is among folders. Symbolic links can lead to a folder, so they are neither.
    fn place(&mut self, kind: Kind, path: &[u8], own: Key) -> Result<(), NameFault> {
        if matches!(kind, Kind::Regular | Kind::HardLink) {
            if self.is(&own, FOLDER) {
                return Err(NameFault::FileAndFolder);
            }
            self.learn(own, FILE);
        }
        let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
        for (at, _) in slashes {
            let above = key(&path[..at]);
            if self.is(&above, FILE) {
                return Err(NameFault::FileAndFolder);
            }
            if !self.learn(above, FOLDER) {
                break; // What is above this one was taken in with it.
            }
        }
        Ok(())
    }

    fn is(&self, path: &Key, what: Known) -> bool {
        self.paths.get(path).is_some_and(|known| known & what != 0)
    }

    /// Says whether that was news.
    fn learn(&mut self, path: Key, what: Known) -> bool {
        let known = self.paths.entry(path).or_default();
        let news = *known & what == 0;
        *known |= what;
        news
    }

    fn can_be_linked(&mut self, key: Key) {
        self.learn(key, LINKABLE);
        self.dangling.remove(&key);
    }
}

fn too_long(entry: &Entry, clean: &[u8]) -> bool {
    let target = if entry.kind == Kind::Symlink { entry.link_name.len() } else { 0 };
    clean.len() >= limits::PATH
        || target >= limits::PATH
        || clean.split(|&byte| byte == b'/').any(|name| name.len() > 255)
}

fn rootless(clean: &[u8]) -> &[u8] {
    clean.strip_prefix(b"/").unwrap_or(clean)
}

fn key(path: &[u8]) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(&Digest::of(path).as_bytes()[..16]);
    key
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tar::number::Time;

    fn entry(kind: Kind, name: &str, link_name: &str, size: i64) -> Entry {
        Entry {
            kind,
            name: name.into(),
            link_name: link_name.into(),
            mode: 0o644,
            size,
            sparse: None,
            uid: 0,
            gid: 0,
            mtime: Time::seconds(0),
            atime: None,
            ctime: None,
            dev_major: 0,
            dev_minor: 0,
            xattrs: BTreeMap::new(),
        }
    }

    /// Each name alone in an archive; what the reference does with it was seen in its own store (tests/conformance).
    #[test]
    fn names_that_readers_cannot_use() {
        use Kind::{Directory, Fifo, Regular, Symlink};
        let table: &[(Kind, &str, i64, Result<(), NameFault>)] = &[
            (Directory, "./", 0, Ok(())),
            (Directory, "/", 0, Ok(())),
            (Regular, ".", 0, Err(NameFault::Root)),
            (Regular, "", 5, Err(NameFault::Root)),
            (Symlink, "a/..", 0, Err(NameFault::Root)),
            (Fifo, "//", 0, Ok(())),
            (Regular, "a/", 0, Ok(())),
            (Regular, "a/", 1, Err(NameFault::SlashedFile)),
            (Regular, "../a", 0, Err(NameFault::AboveRoot)),
            (Regular, "a/../b", 0, Ok(())),
            (Regular, "a/../b", 1, Err(NameFault::BackAgain)),
            (Regular, "a/..b", 1, Ok(())),
            (Directory, "..", 0, Err(NameFault::AboveRoot)),
            (Regular, ".wh.a", 0, Ok(())),
            (Regular, ".wh.a", 1, Err(NameFault::WhiteoutWithContent)),
        ];
        for (kind, name, size, expected) in table {
            assert_eq!(Names::default().add(&entry(*kind, name, "", *size)), *expected, "{kind:?} {name:?} {size}");
        }
    }

    #[test]
    fn names_are_as_long_as_linux_has_them() {
        let add = |kind, name: &str, link: &str| Names::default().add(&entry(kind, name, link, 0));
        let (longest, path) = ("n".repeat(255), "d/".repeat(2047) + "e");
        for (kind, name, link, fits) in [
            (Kind::Directory, format!("a/{longest}/"), String::new(), true),
            (Kind::Directory, format!("a/{longest}n/"), String::new(), false),
            (Kind::Regular, path.clone(), String::new(), true),
            (Kind::Regular, path.clone() + "e", String::new(), false),
            (Kind::Symlink, "a".to_owned(), path.clone(), true),
            (Kind::Symlink, "a".to_owned(), path + "e", false),
        ] {
            let expected = if fits { Ok(()) } else { Err(NameFault::TooLong) };
            assert_eq!(add(kind, &name, &link), expected, "{kind:?}, {} and {} bytes", name.len(), link.len());
        }
    }

    #[test]
    fn names_that_readers_cannot_use_together() {
        use Kind::{Directory, Regular, Symlink};
        type Named = (Kind, &'static str, &'static str);
        let table: &[(&[Named], Result<(), NameFault>)] = &[
            (&[(Directory, "a/", ""), (Regular, "a/b/c", ""), (Directory, "a/b", "")], Ok(())),
            (&[(Regular, "a", ""), (Regular, "a/b", "")], Err(NameFault::FileAndFolder)),
            (&[(Regular, "a/b/c", ""), (Regular, "a/", "")], Err(NameFault::FileAndFolder)),
            (&[(Regular, "/a", ""), (Regular, "./a/b/c", "")], Err(NameFault::FileAndFolder)),
            (&[(Symlink, "a", "b"), (Regular, "a/c", "")], Ok(())),
            (&[(Directory, "a", ""), (Directory, "./a/", "")], Err(NameFault::Duplicate)),
            (&[(Regular, "/a", ""), (Regular, "a", "")], Err(NameFault::Duplicate)),
        ];
        for (entries, expected) in table {
            let mut names = Names::default();
            let added: Result<Vec<()>, NameFault> =
                entries.iter().map(|(kind, name, link)| names.add(&entry(*kind, name, link, 0))).collect();
            assert_eq!(added.map(drop), *expected, "{entries:?}");
        }
    }

    #[test]
    fn links_that_readers_cannot_make() {
        use Kind::{HardLink, Regular, Symlink};
        type Named = (Kind, &'static str, &'static str);
        let table: &[(&[Named], Option<&str>)] = &[
            (&[(HardLink, "b", "a"), (Regular, "a", "")], None),
            (&[(Symlink, "a", "x"), (HardLink, "b", "./a")], None),
            (&[(Regular, "a", ""), (HardLink, "b", "a"), (HardLink, "c", "b")], None),
            (&[(Regular, "a", ""), (HardLink, "c", "b"), (HardLink, "b", "a")], Some("c")),
            (&[(HardLink, "a", "a")], Some("a")),
            (&[(HardLink, "a", "b"), (HardLink, "b", "a")], Some("a")),
            (&[(Kind::Fifo, "a", ""), (HardLink, "b", "a")], Some("b")),
        ];
        for (entries, expected) in table {
            let mut names = Names::default();
            entries.iter().for_each(|(kind, name, link)| names.add(&entry(*kind, name, link, 0)).unwrap());
            assert_eq!(names.dangling(), expected.map(str::as_bytes), "{entries:?}");
        }
    }
}
