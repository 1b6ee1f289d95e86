//! Names that readers cannot put on a file system, though a table of contents could say them.
//!
//! The reference writes such layers and then fails on its own blob, without falling back (spec-notes/interop.md), so a chunked form would
//! be worse than none.

use std::collections::{HashMap, HashSet};

use crate::digest::Digest;
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
    /// A regular file named like a directory.
    #[error("a regular file's payload under a name that ends in a slash")]
    SlashedFile,
    /// A whiteout marks absence and has nothing to hold.
    #[error("a whiteout's name and yet a payload")]
    WhiteoutWithContent,
}

/// Half a SHA-256 of a path stands for it: a million paths take 16 MB.
type Key = [u8; 16];

/// The names of an archive so far.
#[derive(Debug, Default)]
pub struct Names {
    paths: HashSet<Key>,
    linkable: HashSet<Key>,
    dangling: HashMap<Key, Vec<u8>>,
}

impl Names {
    /// Takes in an entry.
    ///
    /// # Errors
    /// [`NameFault`].
    pub fn add(&mut self, entry: &Entry) -> Result<(), NameFault> {
        let clean = path::clean(&entry.name);
        if !self.paths.insert(key(&clean)) {
            return Err(NameFault::Duplicate);
        }
        if clean == b".." || clean.starts_with(b"../") {
            return Err(NameFault::AboveRoot);
        }
        let base = clean.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        if entry.size > 0 && base.starts_with(b".wh.") {
            return Err(NameFault::WhiteoutWithContent);
        }
        match entry.kind {
            Kind::Regular if entry.name.ends_with(b"/") => return Err(NameFault::SlashedFile),
            Kind::Regular => self.can_be_linked(&clean),
            Kind::HardLink => {
                let target = key(rootless(&path::clean(&entry.link_name)));
                if !self.linkable.contains(&target) {
                    self.dangling.insert(target, entry.name.clone());
                }
                self.can_be_linked(&clean);
            }
            _ => {}
        }
        Ok(())
    }

    /// At the end of the archive: a hard link whose target never came, if any.
    pub fn dangling(&self) -> Option<&[u8]> {
        self.dangling.values().min().map(Vec::as_slice)
    }

    fn can_be_linked(&mut self, clean: &[u8]) {
        let key = key(rootless(clean));
        self.linkable.insert(key);
        self.dangling.remove(&key);
    }
}

fn rootless(clean: &[u8]) -> &[u8] {
    clean.strip_prefix(b"/").unwrap_or(clean)
}

fn key(path: &[u8]) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(&Digest::of(path).as_bytes()[..16]);
    key
}
