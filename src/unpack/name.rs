//! Names in layers, as paths inside the root file system.

use crate::limits;
use crate::tar::path;

/// A path from the root file system's own folder: clean, without a slash in front, empty for the folder itself. It has no `..`, but its
/// elements may be symlinks, so only the tree that it is looked up in knows where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside(Vec<u8>);

/// Why a name is none that can be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// More `..` than folders.
    #[error("the name leads above the root")]
    AboveRoot,
    /// Above [`limits::PATH`].
    #[error("the name has {0} bytes, more than the {limit} that a path may have", limit = limits::PATH)]
    TooLong(usize),
    /// A whiteout of nothing, `.` or `..`.
    #[error("the whiteout names no file")]
    Whiteout,
}

impl Inside {
    /// Reads an entry's name or a hard link's target. Absolute ones are taken from the root file system's own folder.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn new(name: &[u8]) -> Result<Self, NameError> {
        let relative = name.iter().position(|&byte| byte != b'/').map_or(&b""[..], |start| &name[start..]);
        let clean = path::clean(relative);
        match &clean[..] {
            b"." => Ok(Self(Vec::new())),
            b".." => Err(NameError::AboveRoot),
            clean if clean.starts_with(b"../") => Err(NameError::AboveRoot),
            clean if clean.len() >= limits::PATH => Err(NameError::TooLong(clean.len())),
            _ => Ok(Self(clean)),
        }
    }

    /// The path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its folder and its last element; `None` for the root.
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        match self.0.iter().rposition(|&byte| byte == b'/') {
            _ if self.0.is_empty() => None,
            None => Some((b"", &self.0)),
            Some(slash) => Some((&self.0[..slash], &self.0[slash + 1..])),
        }
    }

    /// What an entry of this name is about.
    ///
    /// # Errors
    /// [`NameError::Whiteout`].
    pub fn meaning(&self) -> Result<Meaning<'_>, NameError> {
        let Some((folder, base)) = self.split() else { return Ok(Meaning::Root) };
        let reserved = |element: &[u8]| element.starts_with(b".wh..wh.");
        if folder.split(|&byte| byte == b'/').any(reserved) {
            return Ok(Meaning::Reserved);
        }
        match base.strip_prefix(b".wh.") {
            None => Ok(Meaning::Object { folder, base }),
            Some(b".wh..opq") => Ok(Meaning::Opaque { folder }),
            Some(_) if reserved(base) => Ok(Meaning::Reserved),
            Some(b"" | b"." | b"..") => Err(NameError::Whiteout),
            Some(base) => Ok(Meaning::Whiteout { folder, base }),
        }
    }
}

/// What a name in a layer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// The root file system's own folder.
    Root,
    /// An object.
    Object {
        /// Its folder.
        folder: &'a [u8],
        /// Its name there.
        base: &'a [u8],
    },
    /// An object of a lower layer is gone.
    Whiteout {
        /// Its folder.
        folder: &'a [u8],
        /// Its name there.
        base: &'a [u8],
    },
    /// All that lower layers have in the folder is gone.
    Opaque {
        /// The folder.
        folder: &'a [u8],
    },
    /// What old engines kept for themselves (`.wh..wh.aufs` and the like).
    Reserved,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        for (name, expected) in [
            ("", Ok("")),
            (".", Ok("")),
            ("./", Ok("")),
            ("/", Ok("")),
            ("a/b/", Ok("a/b")),
            ("//a//./b", Ok("a/b")),
            ("a/../b", Ok("b")),
            ("..", Err(NameError::AboveRoot)),
            ("/..", Err(NameError::AboveRoot)),
            ("a/../../b", Err(NameError::AboveRoot)),
            ("...", Ok("...")),
        ] {
            let read = Inside::new(name.as_bytes());
            let read =
                read.as_ref().map(|inside| std::str::from_utf8(inside.as_bytes()).unwrap()).map_err(|error| *error);
            assert_eq!(read, expected, "{name:?}");
        }
        // The system's limit counts the end.
        assert!(Inside::new(&[b'a'; limits::PATH - 1]).is_ok(), "at the limit");
        assert_eq!(Inside::new(&[b'a'; limits::PATH]), Err(NameError::TooLong(limits::PATH)));
    }

    #[test]
    fn whiteouts_are_told_from_objects() {
        let object = |folder: &'static str, base: &'static str| {
            Ok(Meaning::Object { folder: folder.as_bytes(), base: base.as_bytes() })
        };
        for (name, expected) in [
            ("./", Ok(Meaning::Root)),
            ("a", object("", "a")),
            ("a/b/c", object("a/b", "c")),
            ("a/.wh.b", Ok(Meaning::Whiteout { folder: b"a", base: b"b" })),
            (".wh..bashrc", Ok(Meaning::Whiteout { folder: b"", base: b".bashrc" })),
            ("a/b/.wh..wh..opq", Ok(Meaning::Opaque { folder: b"a/b" })),
            (".wh..wh..opq", Ok(Meaning::Opaque { folder: b"" })),
            (".wh..wh.aufs", Ok(Meaning::Reserved)),
            (".wh..wh.plnk/12.34", Ok(Meaning::Reserved)),
            ("a/.wh.b/c", object("a/.wh.b", "c")),
            ("a/.wh.", Err(NameError::Whiteout)),
            ("a/.wh..", Err(NameError::Whiteout)),
            ("a/.wh...", Err(NameError::Whiteout)),
        ] {
            assert_eq!(Inside::new(name.as_bytes()).unwrap().meaning(), expected, "{name}");
        }
    }
}
